"""What is done after a request was answered: the other version of a rollout is asked the same, and counters are stored."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable
from tenfold.serving.answer.asking import Asking, Matrix, Part
from tenfold.serving.answer.predictions import SHADOW, PredictionLog, Predictions
from tenfold.serving.seen.counters import Counters
from tenfold.training.vector import Categories

logger = logging.getLogger(__name__)

MOST = 10_000
"""Rows that may wait; what comes beyond that is counted and left out."""
GATHER = 0.05
"""Seconds in which rows are gathered: they are asked about and stored together, so that answers seldom wait for that."""
EVERY, SELDOM = 1.0, 10.0
"""Seconds after which counters are stored while a candidate is asked, and otherwise: each time the answers' own syncs are delayed."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """Rows that were answered, the version to ask about them aside, and their features as the answer was made from."""

    asking: Asking
    version: int
    matrix: Matrix
    answers: Predictions


class Aside:
    """One thread that asks versions aside; `put` never waits and never raises, so no caller is delayed or failed by it.

    What waits when a process dies is lost: then there are fewer pairs, and no answer is missing.
    """

    def __init__(
        self, predictions: PredictionLog, counters: Counters, clock: Clock, *, most: int = MOST
    ) -> None:
        self._predictions, self._counters, self._clock, self._most = predictions, counters, clock, most
        self._waiting: deque[Shadowed] = deque()
        self._rows = 0
        self._lock = threading.Lock()
        self._wake, self._idle, self._hurry = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._idle.set()

    def put(self, task: Shadowed) -> None:
        """Have rows asked about as soon as there is time; left out when too many wait."""
        rows = len(task.answers)
        with self._lock:
            fits = self._rows + rows <= self._most and not self._closed
            if fits:
                self._waiting.append(task)
                self._rows += rows
                self._idle.clear()
        if not fits:
            self._counters.drop(task.asking.model.name, task.version, rows)
        self.start()
        self._wake.set()

    def start(self) -> None:
        """Have what was counted stored every few seconds."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closed:
                    self._thread = threading.Thread(target=self._work, name="aside", daemon=True)
                    self._thread.start()

    def settle(self, seconds: float = 30.0) -> bool:
        """Wait until nothing waits any more, and store the counters; return whether it came to that in time."""
        self._hurry.set()
        self._wake.set()
        done = self._idle.wait(seconds)
        self._hurry.clear()
        self._counters.flush()
        return done

    def close(self) -> None:
        """Ask what waits, store the counters, unless that cannot be done now, and end; may be called twice."""
        try:
            self.settle()
        except Unavailable as error:
            logger.warning("counters were not stored: %s", error)
        with self._lock:
            self._closed, thread, self._thread = True, self._thread, None
        self._hurry.set()
        self._wake.set()
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        stored, every = self._clock.elapsed(), 0.0
        while not self._closed:
            self._wake.wait(EVERY)
            self._hurry.wait(GATHER)
            self._wake.clear()
            while tasks := self._taken():
                self._shadow(tasks)
                self._done(tasks)
                every = EVERY
            if self._clock.elapsed() - stored >= every * 1e6:
                stored, every = self._clock.elapsed(), SELDOM
                self._store()

    def _store(self) -> None:
        """Store the counters; what cannot be stored now is kept."""
        try:
            self._counters.flush()
        except Unavailable as error:
            logger.warning("counters are not stored yet: %s", error)
        except Exception:  # whatever it is, the thread goes on
            logger.exception("counters were not stored")

    def _taken(self) -> Sequence[Shadowed]:
        with self._lock:
            tasks = list(self._waiting)
            self._waiting.clear()
            return tasks

    def _done(self, tasks: Sequence[Shadowed]) -> None:
        with self._lock:
            self._rows -= sum(len(task.answers) for task in tasks)
            if not self._waiting:
                self._idle.set()

    def _shadow(self, tasks: Sequence[Shadowed]) -> None:
        """Ask about all tasks; those of one version are one matrix and one append."""
        groups: dict[tuple[int, int], list[Shadowed]] = {}
        for task in tasks:
            groups.setdefault((id(task.asking), task.version), []).append(task)
        for group in groups.values():
            try:
                found = shadow(group)
                if found is not None:
                    self._predictions.keep(found)
            except Unavailable as error:
                logger.warning(
                    "shadow was not kept model=%s rows=%s: %s", group[0].asking.model.name, len(group), error
                )
            except Exception:  # a log that cannot be written must not end the thread that counts
                logger.exception(
                    "shadow was not kept model=%s rows=%s", group[0].asking.model.name, len(group)
                )


def shadow(tasks: Sequence[Shadowed]) -> Predictions | None:
    """Return what a version says of rows that another one answered; None when it has no answer for any of them."""
    asking, number = tasks[0].asking, tasks[0].version
    counts = [len(task.answers) for task in tasks]

    def matrix(categories: Categories) -> np.ndarray:
        return np.concatenate([task.matrix(categories) for task in tasks])

    tried = asking.tried(number, matrix, sum(counts))
    asking.blame(tried, np.isfinite(np.concatenate([task.answers.score for task in tasks])))
    asking.alone(tried)
    return None if tried.part is None else as_shadow([task.answers for task in tasks], tried.part)


def as_shadow(answers: Sequence[Predictions], part: Part) -> Predictions:
    """Return what a version said of rows as predictions of their own, under the ids of the answers."""
    texts = {
        name: [text for one in answers for text in getattr(one, name)]
        for name in ("id", "row", "on", "request")
    }
    at = np.concatenate([one.at for one in answers])
    rows = part.rows.tolist()
    taken = {name: [values[row] for row in rows] for name, values in texts.items()}
    return Predictions(
        answers[0].model,
        SHADOW,
        **taken,
        version=np.full(len(rows), part.version.number, dtype=np.int64),
        at=at[part.rows],
        score=part.said.score,
        decision=part.said.decision,
        features=part.X,
        ages=np.full((len(rows), 0), np.nan),
        probabilities=part.said.probabilities,
        classes=part.said.classes,
    )
