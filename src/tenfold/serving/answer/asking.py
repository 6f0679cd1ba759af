"""Asks versions: the one that a route names, the champion where a candidate fails, and counts what comes of it."""

import logging
import threading
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.errors import SchemaError, Unavailable
from tenfold.core.times import UNITS
from tenfold.registry.rollouts import CANARY
from tenfold.serving.answer.answers import Said, all_numbers, said
from tenfold.serving.answer.limited import Call, Late, Limited
from tenfold.serving.answer.route import Route
from tenfold.serving.answer.versions import Loaded, Versions
from tenfold.serving.seen.counters import Counters
from tenfold.training.estimators import spread, together
from tenfold.training.model import Model
from tenfold.training.vector import Categories

logger = logging.getLogger(__name__)

LIMIT, A_ROW = 2.0, 0.001
"""Seconds that a version which may fail may take at least, and for each row more."""
LOADING = 60.0
"""Seconds that it may take to be loaded."""
PATIENCE = 200
"""For how many rows asked about together a version may raise before what is left counts as raised too, unasked."""
ALONE = 4
"""How often a row is asked about alone before a version is slow: what else a machine does makes some late, but not each time."""

NO_ROWS = np.zeros(0, dtype=np.int64)

Matrix = Callable[[Categories], np.ndarray]
"""Gives the features of n rows as an estimator takes them, shape (n, n_features), with the codes of a version's texts."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that one version answered: their places among those asked about, the matrix of its features, what it said.

    `instead` says that it answered because a candidate that was asked first had no answer; `took` is how many microseconds the
    call took, None where that is counted already.
    """

    version: Loaded
    rows: np.ndarray
    X: np.ndarray
    said: Said
    instead: bool = False
    took: int | None = None


class Tried(NamedTuple):
    """What came of asking a version that may fail: what it said, the rows that it raised or has no number for, and how long that took in us."""

    number: int
    part: Part | None
    raised: np.ndarray = NO_ROWS
    blank: np.ndarray = NO_ROWS
    took: int = 0

    @property
    def rows(self) -> int:
        """How many rows it was asked about."""
        return len(self.raised) + len(self.blank) + (0 if self.part is None else len(self.part.rows))


class Asking:
    """Asks the versions of one model. A candidate can raise, answer no number, or never return, and no request fails of it.

    Parameters
    ----------
    budget
        Microseconds that the release allows a version for a row, if it says so.
    """

    def __init__(
        self, model: Model, versions: Versions, counters: Counters, clock: Clock, budget: int | None = None
    ) -> None:
        self.model = model
        self._versions, self._counters, self._clock = versions, counters, clock
        self._silent: dict[int, int] = {}
        self._budget, self._limit = budget, max(LIMIT, (budget or 0) / 1e6)
        self._limited, self._lock = Limited(), threading.Lock()
        self._loading: dict[int, tuple[Call[Loaded], int]] = {}
        self._stuck: set[int] = set()
        self._counted = True

    def uncounted(self) -> "Asking":
        """Return what asks the same versions and counts nothing: whoever asks why gets no answer that a candidate is judged by."""
        found = copy(self)
        found._counted = False
        return found

    def close(self) -> None:
        """End the threads in which candidates are asked; may be called twice."""
        self._limited.close()

    def many(
        self,
        route: Route,
        keys: Callable[[], Sequence[str]],
        matrix: Matrix,
        count: int,
        *,
        apart: bool = False,
    ) -> list[Part]:
        """Return the answers for rows by version; together they are all rows, each once. See `count`.

        Parameters
        ----------
        keys
            Gives the key of each row's entity; asked for only while a canary needs it.
        apart
            Whether a row that the champion raises for has no number, and the others their answers; else all fail.
        """
        if route.candidate is None or route.phase != CANARY:
            return [self.champion(matrix, count, route.production, apart=apart)]
        chosen = route.to_candidate(keys())
        if not chosen.any():
            return [self.champion(matrix, count, route.production, apart=apart)]
        tried = self.tried(route.candidate, matrix, count, np.flatnonzero(chosen))
        parts = [] if tried.part is None else [tried.part]
        answered, known = np.zeros((2, count), dtype=np.bool_)
        for part in parts:
            answered[part.rows] = True
        for rows, instead in ((~chosen, False), (chosen & ~answered, True)):
            if rows.any():
                part = self.champion(matrix, count, route.production, np.flatnonzero(rows), apart=apart)
                parts.append(replace(part, instead=instead))
                known[part.rows] = np.isfinite(part.said.score)
        self.blame(tried, known)
        return parts

    def champion(
        self,
        matrix: Matrix,
        count: int,
        number: int | None,
        rows: np.ndarray | None = None,
        *,
        apart: bool = False,
    ) -> Part:
        """Return what the version in Production says of some of `count` rows, all unless given; `apart` as of `many`.

        Raises
        ------
        Unavailable
            When it cannot be asked: no row of a client's is to blame for that.
        """
        try:
            version = (
                self._versions.production(self.model)
                if number is None
                else self._versions.get(self.model, number)
            )
        except SchemaError as error:
            raise Unavailable(str(error)) from error
        X = version.own(matrix(version.package.manifest.categories))
        X, rows = (X, np.arange(count)) if rows is None else (X[rows], rows)
        return self._each(version, X, rows) if apart else self._said(version, X, rows)

    def count(self, parts: Sequence[Part], left: Sequence[int] | None = None) -> None:
        """Count the rows of parts that are told, all unless given: those not counted yet, which the champion answered.

        Rows may be asked about once more before their answers are stored, which is not to count twice.
        """
        for part in parts:
            if part.took is not None:
                score = part.said.score if left is None else part.said.score[np.isin(part.rows, left)]
                if len(score):
                    took = part.took * len(score) // len(part.rows)
                    self._count(part.version.number, len(score), took, no_number=_missing(score))

    def tried(self, number: int, matrix: Matrix, count: int, rows: np.ndarray | None = None) -> Tried:
        """Return what a version says of those of some of `count` rows that it has an answer for.

        Where it raises for several rows, they are asked about in smaller groups, so that one row costs no other its answer.
        One that does not return in time raised for all of them, and is not asked again in this process. What it has no
        answer for is not counted: see `blame`.
        """
        rows, begun = np.arange(count) if rows is None else rows, self._clock.elapsed()
        try:
            if number not in self._stuck and not self._loaded(number):
                return Tried(number, None)
            if number not in self._stuck:
                call = self._limited.start(partial(self._tried, number, matrix, rows))
                tried = call.result(self._limit + A_ROW * len(rows))
                return tried._replace(took=self._clock.elapsed() - begun)
        except Late:
            self._give_up(number)
        except Exception:  # noqa: BLE001 - whatever a candidate does, it is counted and logged, and the champion answers
            self._log(number, len(rows))
        return Tried(number, None, rows, took=self._clock.elapsed() - begun)

    def _tried(self, number: int, matrix: Matrix, rows: np.ndarray) -> Tried:
        """Return what a version says, and the rows that it has no answer for."""
        failed: list[np.ndarray] = []
        version = self._versions.get(self.model, number)
        X = version.own(matrix(version.package.manifest.categories))
        parts = self._halved(version, X if len(rows) == len(X) else X[rows], rows, failed)
        part, blank = _numbers_only(parts) if parts else (None, NO_ROWS)
        return Tried(number, part, np.concatenate([NO_ROWS, *failed]), blank)

    def _loaded(self, number: int) -> bool:
        """Return whether a version is in memory; when that takes long, it is loaded while the champion answers.

        Raises
        ------
        Late
            When it does not come to an end.
        """
        with self._lock:
            first = number not in self._loading
            if first:
                load = self._limited.start(partial(self._versions.get, self.model, number))
                self._loading[number] = load, self._clock.elapsed()
        load, begun = self._loading[number]
        try:
            load.result(self._limit if first else 0.0)
        except Late:
            if self._clock.elapsed() - begun > LOADING * 1e6:
                raise
            return False
        except Exception:
            self._loading.pop(number, None)  # the next time, it may be there
            raise
        return True

    def _give_up(self, number: int) -> None:
        self._stuck.add(number)
        logger.error(
            "version did not return, and is not asked again model=%s version=%s", self.model.name, number
        )

    def alone(self, tried: Tried) -> None:
        """Count rows that were asked about together as slow where one of them is that alone: a call may take long of any of them.

        To be called where nobody waits.
        """
        budget, part = self._budget, tried.part
        if budget is None or part is None or not budget < tried.took <= budget * tried.rows:
            return
        place = tried.took % len(part.rows)
        one = part.X[place : place + 1], part.rows[place : place + 1]
        if all(self._lasted(part.version, *one) > budget for _ in range(ALONE)):
            self._counters.slow(self.model.name, tried.number, len(part.rows), budget)

    def _lasted(self, version: Loaded, X: np.ndarray, rows: np.ndarray) -> int:
        """Return how many microseconds a version takes for rows, which are not counted."""
        begun = self._clock.elapsed()
        try:
            self._limited.start(partial(self._said, version, X, rows)).result(self._limit + A_ROW * len(rows))
        except Late:
            self._give_up(version.number)
        except Exception:  # noqa: BLE001 - as above
            self._log(version.number, len(rows))
        return self._clock.elapsed() - begun

    def blame(self, tried: Tried, known: np.ndarray) -> None:
        """Count what a version raised or gave no number for, of the rows that the other one has a number for.

        The others are to blame themselves, and count for nothing. `known` says it of all rows that were asked about.
        """
        for what, rows in (("raised", tried.raised), ("no_number", tried.blank)):
            count = int(known[rows].sum())
            if count:
                self._count(tried.number, count, tried.took * count // tried.rows, **{what: count})

    def _each(self, version: Loaded, X: np.ndarray, rows: np.ndarray) -> Part:
        """Return what a version says of rows, no number where it raises; it may for all of them, as nobody else has an answer."""
        begun, failed = self._clock.elapsed(), list[np.ndarray]()
        parts = self._halved(version, X, rows, failed, blanks=True, patience=len(rows))
        if failed:
            raised = np.concatenate(failed)
            at, classes = np.flatnonzero(np.isin(rows, raised)), len(version.package.manifest.classes)
            blank = np.full((len(at), classes) if classes else len(at), np.nan)
            parts.append(Part(version, rows[at], X[at], said(version.package.manifest, blank)))
            took = (self._clock.elapsed() - begun) * len(at) // len(rows)
            self._count(version.number, len(at), took, raised=len(at))
        return joined(parts)

    def _halved(
        self,
        version: Loaded,
        X: np.ndarray,
        rows: np.ndarray,
        failed: list[np.ndarray],
        *,
        blanks: bool = False,
        patience: int = PATIENCE,
    ) -> list[Part]:
        """Return what a version says of rows in as many parts as are needed; those that it raises for come to `failed`."""
        try:
            return [self._asked(version, X, rows, blanks=blanks)]
        except Exception:  # noqa: BLE001 - as above
            if len(rows) == 1 or len(failed) >= patience:
                self._log(version.number, len(rows))
                failed.append(rows)
                return []
        half = len(rows) // 2
        smaller = partial(self._halved, version, failed=failed, blanks=blanks, patience=patience)
        return [*smaller(X[:half], rows[:half]), *smaller(X[half:], rows[half:])]

    def _log(self, number: int, rows: int) -> None:
        """Log what a version raised, the first of a minute."""
        now = self._clock.elapsed()
        if now >= self._silent.get(number, 0):
            self._silent[number] = now + UNITS["m"]
            logger.exception("version raised model=%s version=%s rows=%s", self.model.name, number, rows)

    def _asked(self, version: Loaded, X: np.ndarray, rows: np.ndarray, *, blanks: bool) -> Part:
        """Return what a version says, and count it: rows that it gives no number for only with `blanks`."""
        part = self._said(version, X, rows)
        missing = _missing(part.said.score)
        count = len(rows) if blanks else len(rows) - missing
        if count:
            took = (part.took or 0) * count // len(rows)
            self._count(version.number, count, took, no_number=missing if blanks else 0)
        return replace(part, took=None)

    def _said(self, version: Loaded, X: np.ndarray, rows: np.ndarray) -> Part:
        """Return what a version says, not counted yet."""
        begun = self._clock.elapsed()
        found = said(version.package.manifest, version.package.predictor.predict(X))
        return Part(version, rows, X, found, took=self._clock.elapsed() - begun)

    def _count(self, number: int, rows: int, took: int, **failed: int) -> None:
        if self._counted:
            name = self.model.name
            self._counters.add(name, number, rows=rows, took=took, budget=self._budget, **failed)


def _missing(score: np.ndarray) -> int:
    """Return how many scores are no numbers."""
    return 0 if all_numbers(score) else len(score) - int(np.isfinite(score).sum())


def joined(parts: Sequence[Part]) -> Part:
    """Return parts as one, in the order of the rows; its version is that of the first part."""
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    known = [part.version.package.manifest.classes for part in parts if part.said.classes]
    names = tuple(map(str, together(*known)))
    several = [spread(part.said.probabilities, part.said.classes, names, np.nan) for part in parts if names]
    found = Said(
        np.concatenate([part.said.score for part in parts])[order],
        np.concatenate([part.said.decision for part in parts])[order],
        np.concatenate(several)[order] if names else parts[0].said.probabilities,
        names,
    )
    return Part(parts[0].version, rows[order], _together([part.X for part in parts])[order], found)


def _together(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Return the features of several versions below each other, NaN behind those of a version that has fewer."""
    width = max(X.shape[1] for X in matrices)
    return np.concatenate(
        [np.pad(X, ((0, 0), (0, width - X.shape[1])), constant_values=np.nan) for X in matrices]
    )


def some(parts: Sequence[Part], rows: Sequence[int]) -> list[Part]:
    """Return which of some rows each version answered; without what it said."""
    left = [replace(part, rows=part.rows[np.isin(part.rows, rows)]) for part in parts]
    return [part for part in left if len(part.rows)]


def numbers(parts: Sequence[Part]) -> np.ndarray:
    """Return the number of the version that answered each of all rows: (n,) int64."""
    if len(parts) == 1:
        return np.full(len(parts[0].rows), parts[0].version.number)
    found = np.empty(sum(len(part.rows) for part in parts), dtype=np.int64)
    for part in parts:
        found[part.rows] = part.version.number
    return found


def _numbers_only(parts: Sequence[Part]) -> tuple[Part | None, np.ndarray]:
    """Return parts of one version as one, without the rows that it gave no number for, and these."""
    part = joined(parts)
    fine = np.isfinite(part.said.score)
    if fine.all():
        return part, NO_ROWS
    several = part.said.probabilities[fine] if part.said.classes else part.said.probabilities
    found = Said(part.said.score[fine], part.said.decision[fine], several, part.said.classes)
    some = Part(part.version, part.rows[fine], part.X[fine], found) if fine.any() else None
    return some, part.rows[~fine]
