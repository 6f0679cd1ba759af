"""Features that a source reads of other views, for records as they come from the log."""

from collections.abc import Iterator, Sequence

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.view import FeatureView
from tenfold.processing.batches import ARRIVAL, OFFSET, read_frame
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import Source
from tenfold.processing.frame import Column, Frame, column, concat, to_arrow
from tenfold.sources.base import Log
from tenfold.store.offline import features
from tenfold.store.pieces import asked_at, reads
from tenfold.store.refused import Refused
from tenfold.store.spill import hashes

BATCHES, ROWS, BYTES = 20_000, 500_000, 64 << 20
"""How many batches and records are read from the log at once, at most, and after how many bytes that ends."""
MARKS = (KNOWN, OFFSET, ARRIVAL)


class Upstream:
    """Adds the features that sources read, each as of when its record happened, or became known if that was earlier.

    Where a view's sums are too large to be exact its features are null, so what one key holds does not hold up the others.

    Computed from the log itself, so they do not depend on how far the states of the other view are: that moment is never
    after the record's arrival, and whatever was known before it lies before the record in the log. That holds for history
    too when it is loaded first.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._held: dict[str, Held] = {}

    def added(self, source: Source, frame: Frame) -> Frame:
        """Return records of a source's root with the features the source reads, as columns "view.name"."""
        for view in source.upstream:
            at = asked_at(source.root, frame)
            held = self._held.setdefault(view.fingerprint, Held(self._log, view))
            known, keys = self.added(view.source, held.until(at)), [frame[name] for name in view.keys]
            found = features(view, known, keys, at, refused=Refused(len(at)))
            frame = {**frame, **{f"{view.name}.{name}": item for name, item in found.items()}}
        return frame


class Held:
    """The records of a view's source that may count at the moments asked about, in the columns that the view reads.

    What is too old for every window is forgotten. When a row comes so late that it needs more, the log is read again, and from
    then on twice as much is held as so late a row needs. All records are held of a view with a window that has no end, or
    that reads features itself.
    """

    def __init__(self, log: Log, view: FeatureView) -> None:
        self._log, self._root = log, view.source.root
        keys = {name for one in (view, *view.source.upstream) for name in one.keys}
        names = {*reads(view), *keys, *self._root.ids, self._root.time} & self._root.fields.keys()
        types = {name: self._root.fields[name].type for name in sorted(names)} | dict.fromkeys(MARKS, "int")
        self._none: Frame = {name: column(type_, []) for name, type_ in types.items()}
        self._reach = FOREVER if view.source.upstream or view.plan.reach is None else view.plan.reach
        self._slack = self._reach
        self._frame, self._newest, self._end = self._none, -FOREVER, 0
        self._floor = -FOREVER if self._reach == FOREVER else FOREVER

    def until(self, at: np.ndarray) -> Frame:
        """Return the records by now, at least those that count at one of the moments."""
        if not len(at):
            return self._none
        oldest, self._newest = int(at.min()), max(self._newest, int(at.max()))
        if oldest - self._reach < self._floor and self._reach < FOREVER:
            if self._end:
                self._slack = max(self._slack, 2 * (self._newest - oldest))
            self._load(oldest)
        for new in self._pieces(self._end, FOREVER):
            self._frame = _joined([self._frame, new])
            if (self._event(new) > self._floor)[new[KNOWN].values <= self._floor].any():
                self._load(oldest)  # what replaced a record that was announced may be forgotten
                break
        self._forget(self._needed(oldest))
        return self._frame

    def _needed(self, oldest: int) -> int:
        """Return the moment after which records count, for rows no older than this and as late as some were."""
        return max(min(oldest, self._newest - self._slack) - self._reach, -FOREVER)

    def _load(self, oldest: int) -> None:
        """Hold what is needed of the whole log."""
        self._floor = self._needed(oldest)
        young = [_taken(new, self._young(new)) for new in self._pieces(0, FOREVER)]
        ids = self._ids(_joined([self._none, *young]))
        old = [_taken(new, ~self._young(new) & self._again(new, ids)) for new in self._pieces(0, self._end)]
        self._frame = _joined([self._none, *young, *old])

    def _forget(self, floor: int) -> None:
        """Forget what is too old once that is more than half."""
        before, self._floor = self._floor, max(floor, self._floor)
        young = self._young(self._frame)
        if 2 * np.count_nonzero(young) >= len(young):
            self._floor = before
            return
        self._frame = _taken(
            self._frame, young | self._again(self._frame, self._ids(_taken(self._frame, young)))
        )

    def _pieces(self, after: int, upto: int) -> Iterator[Frame]:
        """Yield what the log holds, some records at a time."""
        while True:
            read = self._log.read(self._root.name, after, limit=BATCHES, rows=ROWS, size=BYTES)
            batches = [batch for batch in read if batch.end <= upto]
            if not batches:
                return
            after = batches[-1].end
            self._end = max(self._end, after)
            frame = read_frame(self._root, batches)
            yield {name: frame[name] for name in self._none}

    def _event(self, frame: Frame) -> np.ndarray:
        return frame[self._root.time].values

    def _young(self, frame: Frame) -> np.ndarray:
        """Return which records may count, or end one that does."""
        return np.maximum(self._event(frame), frame[KNOWN].values) > self._floor

    def _ids(self, frame: Frame) -> np.ndarray:
        return hashes(to_arrow({name: frame[name] for name in self._root.ids}).columns)

    def _again(self, frame: Frame, ids: np.ndarray) -> np.ndarray:
        """Return which records are other versions of some: these end each other in the order in which they became known."""
        return np.isin(self._ids(frame), ids)


def _taken(frame: Frame, rows: np.ndarray) -> dict[str, Column]:
    return {name: item.take(rows) for name, item in frame.items()}


def _joined(frames: Sequence[Frame]) -> dict[str, Column]:
    return {name: concat([frame[name] for frame in frames]) for name in frames[0]}
