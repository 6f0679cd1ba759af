"""Scores the rows of a partition as of their own prediction times, in pieces, and stores them in the lake as one version."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tenfold.processing.derive import apply
from tenfold.processing.frame import Column, Frame, from_arrow
from tenfold.serving.answer.answers import apart
from tenfold.serving.answer.asking import Part, joined, numbers
from tenfold.serving.answer.outputs import Deciding
from tenfold.serving.answer.predictions import (
    BATCH,
    SCORES,
    PredictionLog,
    Predictions,
    lists,
    to_rows,
)
from tenfold.serving.answer.route import Route
from tenfold.serving.answer.sticky import entities
from tenfold.serving.answer.traffic import Traffic
from tenfold.serving.scores import Partition, Tally, among, ids, listed, same, stored, tally, texts
from tenfold.sources.base import Lake
from tenfold.training.dataset import Dataset
from tenfold.training.model import Model
from tenfold.training.ranges import Ranges
from tenfold.training.vector import Categories, encode

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

T = TypeVar("T")
U = TypeVar("U")
Places = np.ndarray | slice
ORDER = [("at", "ascending"), ("prediction_id", "ascending")]
"""The order in which a partition is sent: the same whatever was merged in the table."""
AT = {"at": "time"}
PIECE = 100_000
"""Rows that are asked about together."""
AHEAD = 2
"""Pieces that may be ready before they are written."""


def score(
    ranges: Ranges,
    part: Partition,
    lake: Lake,
    traffic: Traffic,
    *,
    run: int,
    again: bool = False,
    advance: Callable[[int], object] = lambda rows: None,  # noqa: ARG005
    hold: Callable[[], object] | None = None,
) -> Tally:
    """Answer the rows of a partition and store them; return what is stored afterwards, added up.

    While a rollout is under way, its route says which version answers a row, and the other one is asked about it too.
    A partition that was scored stays as it is, and so do rows that another partition holds, unless it is scored again:
    then all answers for its period are replaced, in one version of the table.

    Parameters
    ----------
    ranges
        Gives the rows of the partition.
    run
        The number of the run; the same one stores a partition once, however often it is called.
    advance
        Told of rows as they are answered.
    hold
        Raises when the rows are no longer this run's to store.
    """
    made, some = Tally(), False

    def pieces() -> "Iterator[pa.Table]":
        nonlocal some
        held = None if again else stored(lake, part.model, part.start, part.end, ["prediction_id"])
        some = held is not None and held.num_rows > 0
        route = traffic.routes.look(part.model)
        for dataset, start, end in ranges.read(part.start, part.end):
            rows = _Rows(dataset, traffic, route, Deciding(dataset.model))
            made.left_out += rows.left_out(start, end)
            for answers, tables in ahead(rows.answer, rows.pieces(start, end, held)):
                made.add(answers.score, answers.decision, answers.version)
                for table in tables:
                    yield to_rows(table, same("", len(table)))
                advance(len(answers))

    replaced = among(part.model, part.start, part.end) if again else ""
    # also where its position says that it is stored, which counts when an append has made sure of it
    done = lake.append(
        SCORES,
        pieces(),
        writer=part.writer,
        upto=run,
        after=None if again else 0,
        instead=replaced,
        check=hold,
    )
    return made if done and not some else replace(tally(lake, part), left_out=made.left_out)


def send(
    lake: Lake, part: Partition, log: PredictionLog, *, run: int, version: int, before: int = -1
) -> None:
    """Put what is stored for a partition into the log, without features, for those who are sent what is there.

    Once for the run that stored it: who asks for it again and finds it answered sends nothing.

    Parameters
    ----------
    run
        The number of the run, under which a piece is put once, however often this is called.
    version
        The version of the table that says which rows are a piece, the same at each call. What is sent of them is what is
        stored now: others may have scored some of them again since.
    before
        The version of the table before this run: what it holds was sent when it was stored, by whichever partition.
    """
    if version < 0:
        return
    sent, newest = 0, lake.version(SCORES)
    for start, end in _spans(from_arrow(stored(lake, part.model, part.start, part.end, ["at"], version), AT)):
        rows = _bare(stored(lake, part.model, start, end, version=version))
        now = rows if newest == version else _bare(stored(lake, part.model, start, end, version=newest))
        if before >= 0:
            rows = _less(rows, stored(lake, part.model, start, end, ["prediction_id"], before))
        for first in range(0, rows.num_rows, PIECE):
            piece = _only(now, rows.slice(first, PIECE))
            if piece.num_rows:
                log.copy(piece.combine_chunks(), key=f"{part.writer}/{run}/{sent + first}")
        sent += rows.num_rows


def _spans(rows: Frame) -> Iterator[tuple[int, int]]:
    """Yield periods one after the other that have as many rows as a piece each, or a little more where they have the same time."""
    at = np.sort(rows["at"].values)
    bounds = np.append(np.unique(at[::PIECE]), at[-1:] + 1)
    yield from pairwise(bounds.tolist())


def ahead(make: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yield what is made of items, in order, while a thread makes the next ones.

    Examples
    --------
    >>> list(ahead(lambda item: 2 * item, [1, 2, 3]))
    [2, 4, 6]
    """
    pool = ThreadPoolExecutor(1)
    try:
        waiting: deque[Future[U]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a dataset, and where they are asked about."""

    dataset: Dataset
    traffic: Traffic
    route: Route
    deciding: Deciding

    def left_out(self, start: int, end: int) -> int:
        """Return how many rows have no features, as a window of theirs holds more than can be summed exactly, and log why."""
        refused = self.dataset.computed[1]
        count = int(refused.rows[self.dataset.select(start, end)].sum())
        if count:
            logger.warning(
                "rows without features model=%s rows=%s why=%s", self.dataset.model.name, count, refused.error
            )
        return count

    def pieces(self, start: int, end: int, held: "pa.Table | None") -> Iterator[Places]:
        """Yield the positions of the rows predicted in [start, end) piece by piece, without those that are answered or have no features."""
        rows = self.dataset.select(start, end)
        rows = rows[~self.dataset.computed[1].rows[rows]]
        if held is not None and held.num_rows:
            rows = rows[~_among(self._ids(rows), held["prediction_id"])]
        for first in range(0, len(rows), PIECE):
            yield _sliced(rows[first : first + PIECE])

    def answer(self, rows: Places) -> tuple[Predictions, Sequence[Predictions]]:
        """Return the answers for rows, and what is stored: these, and what other versions of a rollout say of the rows."""
        dataset, model = self.dataset, self.dataset.model
        columns = {name: taken(item, rows) for name, item in dataset.computed[0].items()}
        count = len(dataset.at[rows])

        def matrix(categories: Categories) -> np.ndarray:
            return encode(columns, categories)

        def who() -> list[str]:
            return entities(
                model, self.route.sticky, lambda name: dataset.spine[name].take(rows).plain(), count
            )

        parts = self.traffic.asking(model).many(self.route, who, matrix, count, apart=True)
        answers = self._answers(rows, parts, columns)
        if self.route.candidate is None:
            return answers, [answers]
        answers = listed(answers)
        manifests = {part.version.number: part.version.package.manifest for part in parts}
        aside = self.traffic.shadow_batch(self.route, model, answers, parts, matrix)
        return answers, [*apart(answers, manifests), *aside]

    def _ids(self, rows: Places) -> "pa.Array":
        return ids(self.dataset.model.name, texts(self.dataset.ids[rows]), self.dataset.at[rows])

    def _answers(self, rows: Places, parts: Sequence[Part], columns: Frame) -> Predictions:
        dataset, model, found = self.dataset, self.dataset.model, joined(parts)
        at, versions, named = dataset.at[rows], numbers(parts), texts(dataset.ids[rows])

        def asked() -> Frame:
            root = {name: item.take(rows) for name, item in dataset.spine.items()}
            return apply(model.spine, root, len(at))[0]

        return Predictions(
            model.name,
            BATCH,
            ids(model.name, named, at),
            named,
            texts(dataset.spine[model.label.on].values[rows]),
            versions,
            at,
            found.said.score,
            found.said.decision,
            found.X,
            _within_reach(model, dataset.ages(rows)),
            same("", len(at)),
            found.said.shares,
            found.said.classes,
            self.deciding.many(asked, at, lambda: columns, found.said, versions)
            if model.rules.by
            else same("", len(at)),
            same(model.rules.by, len(at)),
        )


def _within_reach(model: Model, ages: np.ndarray) -> np.ndarray:
    """Return ages without those of records that no window of their view reaches: they may not have been read at all."""
    reaches = [view.plan.reach for view in model.stored]
    limits = np.array([np.inf if reach is None else reach for reach in reaches])
    return np.where(ages > limits, np.nan, ages)


def _sliced(rows: np.ndarray) -> Places:
    """Return positions, as a slice where they follow each other: then nothing is copied."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    return slice(first, last) if last - first == len(rows) else rows


def taken(item: Column, rows: Places) -> Column:
    """Return the values at positions, with the codes of texts, so that each distinct one is looked at once in all."""
    found = item.take(rows)
    if item.type == "str":
        codes, values = item.coded
        found.__dict__["coded"] = codes[rows], values
    return found


def _bare(rows: "pa.Table") -> "pa.Table":
    """Return rows in the order in which they are sent, without features."""
    for name in ("features", "ages"):
        blank = lists(np.zeros((rows.num_rows, 0)))
        rows = rows.set_column(rows.column_names.index(name), name, blank)
    return rows.sort_by(ORDER)


def _less(rows: "pa.Table", others: "pa.Table") -> "pa.Table":
    """Return the rows that others are not."""
    import pyarrow as pa

    return rows.filter(pa.array(~_among(rows["prediction_id"], others["prediction_id"])))


def _only(rows: "pa.Table", others: "pa.Table") -> "pa.Table":
    """Return the rows that others are too."""
    import pyarrow as pa

    return rows.filter(pa.array(_among(rows["prediction_id"], others["prediction_id"])))


def _among(names: "pa.Array", held: "pa.ChunkedArray") -> np.ndarray:
    import pyarrow.compute as pc

    return np.asarray(pc.is_in(names, value_set=held.combine_chunks()))
