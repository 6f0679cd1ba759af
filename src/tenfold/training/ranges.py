"""Rows of a model's spine with their features, range by range of their prediction times: as many as fit memory at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from tenfold.features.view import FeatureView, with_upstream
from tenfold.processing.frame import from_arrow
from tenfold.sources.declare import Events
from tenfold.store.offline import History
from tenfold.store.pieces import reads
from tenfold.store.ranged import Again, Span, Within
from tenfold.training.dataset import Dataset
from tenfold.training.model import Model

ROWS_AT_ONCE = 2_000_000
"""Rows whose features are in memory at once; also how many there may be in all for everything to be read at once."""


class Slice(NamedTuple):
    """The rows of a dataset that are predicted in [start, end)."""

    dataset: Dataset
    start: int
    end: int


class Ranges:
    """Rows predicted in ranges of a period, to be asked for in order; a thread makes the next ones meanwhile.

    Parameters
    ----------
    history
        The table versions that are read.
    whole
        Gives all rows at once; asked for where the tables are small.
    rows
        The most rows that are read at once; partitions that are smaller are read several at a time.
    """

    def __init__(
        self, model: Model, history: History, whole: Callable[[], Dataset], *, rows: int = ROWS_AT_ONCE
    ) -> None:
        self._model, self._history, self._whole, self._rows = model, history, whole, rows
        self._again = Again(history.lake)
        self._held: Slice | None = None
        self._next: Future[Slice] | None = None
        self._pool = ThreadPoolExecutor(1, "ranges")
        self._times, self._last = np.zeros(0, dtype=np.int64), 0

    def close(self) -> None:
        """End the thread; may be called twice."""
        self._pool.shutdown(cancel_futures=True)

    def times(self, start: int, end: int) -> np.ndarray:
        """Return when rows are predicted in a period, sorted; some may turn out to be no rows, as later versions of others."""
        if self._small():
            dataset = self._whole()
            self._held = Slice(dataset, start, end)
            return dataset.at[dataset.select(start, end)]
        root, lead = self._model.spine.root, self._model.lead_us
        span = Span(start + lead, end + lead)
        table = self._history.lake.read(
            root.name, version=self._history.version(root), columns=[root.time], where=span.where(root)
        )
        self._times = np.sort(from_arrow(table, {root.time: "time"})[root.time].values) - lead
        self._held, self._last = None, end
        return self._times

    def read(self, start: int, end: int) -> Iterator[Slice]:
        """Yield the rows predicted in [start, end), in one or several parts; within the period `times` was asked for."""
        while start < end:
            held = self._held
            if held is None or not held.start <= start < held.end:
                held = self._held = self._after(start)
            until = min(end, held.end)
            yield Slice(held.dataset, start, until)
            start = until

    def _after(self, start: int) -> Slice:
        """Return the range that begins at a moment, or holds it, and have the next one made."""
        self._held = None
        ahead = None if self._next is None else self._next.result()
        found = ahead if ahead is not None and ahead.start <= start < ahead.end else self._made(start)
        # not before this one is there: to make one takes more memory than to hold it
        self._next = self._pool.submit(self._made, found.end) if found.end < self._last else None
        return found

    def _made(self, start: int) -> Slice:
        """Return the range that begins at a moment, with its features."""
        until = self._until(start)
        dataset = self._dataset(start, until)
        _ = dataset.computed
        return Slice(dataset, start, until)

    def _until(self, start: int) -> int:
        """Return the end of a range with the most rows that are read at once; at least one instant."""
        place = int(np.searchsorted(self._times, start)) + self._rows
        return self._last if place >= len(self._times) else max(int(self._times[place]), start + 1)

    def _small(self) -> bool:
        sources = {view.source.root for view in self._model.stored} | {self._model.spine.root}
        return all(self._history.rows(source) <= self._rows for source in sources)

    def _dataset(self, start: int, end: int) -> Dataset:
        lead, root = self._model.lead_us, self._model.spine.root
        asked = Within(self._history, self._again, {root.name: Span(start + lead, end + lead)})
        read = Within(self._history, self._again, spans(self._model, start, end))
        return Dataset(self._model, read, spine=asked)


def spans(model: Model, start: int, end: int) -> dict[str, Span]:
    """Return what of each source the features of rows predicted in [start, end) depend on; what is not there, on all."""
    found: dict[str, list[Span | None]] = {}
    for view in model.stored:
        found.setdefault(view.source.root.name, []).append(_span(view, start, end))
        for other in with_upstream(view.source.upstream):
            found.setdefault(other.source.root.name, []).append(None)
    return {
        name: Span(
            min(part.first for part in parts if part),
            max(part.end for part in parts if part),
            frozenset().union(*(part.names or () for part in parts if part)),
        )
        for name, parts in found.items()
        if None not in parts
    }


def _span(view: FeatureView, start: int, end: int) -> Span | None:
    """Return which records a view looks at; None when there is no limit, or when they read other features themselves."""
    reach = view.plan.reach
    if reach is None or view.source.upstream:
        return None
    root: Events = view.source.root
    names = {*reads(view), *(set(view.keys) & root.fields.keys()), *root.ids, root.time}
    return Span(start - reach, end, frozenset(names))
