"""Folds records into a divided state: only the chunks they fall into, and where their other versions are, are made again.

A chunk that loses its first record, because it is too old, is one with the chunk before it from then on. So the chunks are
those that the records which are left would have been divided into.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tenfold.features.records import Rows
from tenfold.features.state import chunks, layout
from tenfold.features.state.buckets import Part
from tenfold.features.state.building import Build
from tenfold.features.state.chunks import (
    NEVER,
    Directory,
    Get,
    Sizes,
    begins,
    hashed,
    is_divided,
    joined,
    sums_of,
)
from tenfold.features.state.fold import horizon, in_groups, survivors
from tenfold.features.state.fresh import Fresh
from tenfold.features.state.index import Index, rows_of
from tenfold.features.state.layout import IDS, WORD
from tenfold.features.state.shapes import States, states_of
from tenfold.features.state.splice import Piece, spliced
from tenfold.features.state.stored import as_stored, gather, join
from tenfold.features.view import FeatureView

HEAD = b""
"""The name of the part that is at the key itself."""


def is_large(state: bytes, sizes: Sizes) -> bool:
    """Return whether a state in one piece has so many records that it is to be divided."""
    if len(state) < sizes.most * (IDS + 1) * WORD:
        return False
    words = memoryview(state).cast("q")
    return words[layout.COUNT] + words[layout.GONE] >= sizes.most


def divide(view: FeatureView, state: bytes, sizes: Sizes) -> Iterator[Part]:
    """Yield the parts of a state that is in one piece."""
    made = states_of(view)
    group, rows, before = gather(made, [state])
    _, rows = in_groups(group, rows)
    folding = _Folding(made, Directory.read(made, None), lambda _: None, sizes)
    yield from folding.parts(np.zeros_like(group), rows, rows_of(rows), int(before[0, 0]), int(before[1, 0]))


def fold_divided(
    view: FeatureView, state: bytes, get: Get, new: Rows, arrival: int, sizes: Sizes
) -> Iterator[Part]:
    """Yield the parts of a divided state that change with more records; adding the same records again changes none.

    Parameters
    ----------
    state
        The directory.
    arrival
        The newest arrival among the new records.
    """
    made = states_of(view)
    folding = _Folding(made, Directory.read(made, state), get, sizes)
    yield from folding.add(as_stored(new), arrival)


def put(
    made: States, state: Any, get: Get, new: Fresh, rows: Sequence[int], arrival: int, sizes: Sizes
) -> list[Part] | None:
    """Return what changes in a state with some of the new records where it takes them as they are, None where it does not."""
    if state is not None and is_divided(state):
        folding = _Folding(made, Directory.read(made, state), get, sizes)
        return folding.put(new, rows[0], arrival) if len(rows) == 1 else None
    found = spliced(made, state, new, rows, arrival, most=sizes.most)
    return None if found is None else [(HEAD, found)]


class _Folding:
    def __init__(self, made: States, held: Directory, get: Get, sizes: Sizes) -> None:
        self._made, self._held, self._get, self._sizes = made, held, get, sizes
        self._index = Index(made, get, sizes)
        self._dirty = np.zeros(len(held.ids), dtype=np.bool_)
        self._oldest: int | None = None

    def put(self, new: Fresh, row: int, arrival: int) -> list[Part] | None:
        """Return what changes with one more record, None when that is more than the chunk it falls into."""
        held, event, name = self._held, new.event[row], new.ids[row : row + 1]
        events, code = np.array([event]), hashed(name)
        newest = max(held.arrival, arrival)
        oldest = NEVER if self._made.reach is None else horizon(self._made.reach, newest)
        if new.start[row] <= oldest or (held.cells[chunks.START] <= oldest).any():
            return None
        if begins(events, name, self._sizes.mean)[0] or len(self._index.find(code)[0]):
            return None
        place = int(held.locate(events, name)[0])
        first, start = held.cells[[chunks.FIRST, chunks.START], place].tolist()
        if (event, name[0]) < (first, held.ids[place]):
            return None
        part = held.names([place])[0]
        chunk = Piece(self._made, self._get(part), new.kinds[row]).put(new, row, 0)
        if chunk is None:
            return None
        cells = held.cells.copy()
        cells[:, place] = sums_of(self._made, chunk)
        cells[[chunks.FIRST, chunks.START], place] = first, min(start, new.start[row])
        entry = np.array([[int(code.view(np.int64)[0]), event, new.start[row] - 1]])
        head = Directory(cells, held.ids, newest, held.past).state()
        return [(part, chunk), *self._index.changed(entry, None), (HEAD, head)]

    def add(self, new: Rows, arrival: int) -> Iterator[Part]:
        """Yield what changes with more records."""
        held = self._held
        newest = np.maximum(np.array([held.arrival]), arrival)
        past = np.array([held.past])
        found = held.locate(new.event, new.ids)
        hashes = hashed(new.ids)
        events, which = self._index.find(hashes)
        self._dirty[found] = True
        self._dirty[held.locate(events, new.ids[which])] = True
        whole = self._expire(int(newest[0]))
        past = np.maximum(past, held.cells[chunks.NEWEST, whole].max(initial=held.past))
        places = np.flatnonzero(self._dirty & ~whole)
        before, old, _ = gather(self._made, self._chunks(places))
        rows = join(old, new)
        chunk = np.concatenate([places[before], found])
        rows, keep = survivors(
            self._made, np.zeros(len(rows.event), dtype=np.int64), rows, len(new.event), newest, past
        )
        entries = rows_of(rows, hashes)[keep[len(before) :]]
        if not keep.all():
            chunk, rows = chunk[keep], rows.take(keep)
        # Records of neighbouring chunks are sorted and divided together.
        starts = self._dirty & ~np.concatenate([[False], self._dirty[:-1]])
        run = np.cumsum(starts)[chunk] if len(starts) else chunk
        yield from self.parts(*in_groups(run, rows), entries, int(newest[0]), int(past[0]))

    def _expire(self, arrival: int) -> np.ndarray:
        """Mark chunks with records that are too old, and those before them, which they may become one with.

        Return which of them need not be read: no record of them stays, none was replaced, and no new one falls into them.
        """
        asked, reach, cells = self._dirty.copy(), self._made.reach, self._held.cells
        if reach is None:
            return np.zeros_like(asked)
        oldest = horizon(reach, arrival)
        gone = cells[chunks.START] <= oldest
        if gone.any():
            self._oldest = oldest
            self._dirty |= gone
            self._dirty[:-1] |= gone[1:]
        return gone & (cells[chunks.SETTLED] <= oldest) & (cells[chunks.GONE] == 0) & ~asked

    def _chunks(self, places: np.ndarray) -> list[bytes]:
        return [bytes(self._get(name)) for name in self._held.names(places)]

    def parts(
        self, run: np.ndarray, rows: Rows, entries: np.ndarray, arrival: int, past: int
    ) -> Iterator[Part]:
        """Yield what changes when the marked chunks hold these sorted records instead; `run` says which marked ones."""
        kept = np.flatnonzero(~self._dirty)
        stay = Directory(self._held.cells[:, kept], self._held.ids[kept], arrival, past)
        total = stay.total + len(rows.event)
        if total < self._sizes.most:
            yield from self._in_one_piece(kept, rows, arrival, past)
            return
        changed: dict[bytes, bytes | None] = dict.fromkeys(self._held.names(self._dirty))
        fresh, made, first = self._divided(run, rows)
        changed |= dict(zip(fresh.names(), made, strict=True))
        base = np.flatnonzero(self._dirty & ~np.concatenate([[False], self._dirty[:-1]]))
        place = base[run[first] - 1] if len(base) else first
        yield from changed.items()
        yield from self._index.changed(entries, self._oldest)
        yield HEAD, joined([(kept, stay), (place, fresh)], arrival, past).state()

    def _divided(self, run: np.ndarray, rows: Rows) -> tuple[Directory, list[bytes], np.ndarray]:
        """Return the chunks of sorted records: their directory, their bytes, and the first record of each."""
        begin = begins(rows.event, rows.ids, self._sizes.mean)
        begin[:1] = True
        begin[1:] |= run[1:] != run[:-1]
        first = np.flatnonzero(begin)
        none = np.zeros(len(first), dtype=np.int64)
        made = Build(self._made, np.cumsum(begin) - 1, rows, none, none).states() if len(first) else []
        cells = np.array([sums_of(self._made, chunk) for chunk in made], dtype=np.int64)
        cells = cells.reshape(len(first), len(self._held.cells)).T.copy()
        if len(first):
            cells[chunks.FIRST] = rows.event[first]
            cells[chunks.START] = np.minimum.reduceat(np.maximum(rows.event, rows.known), first) + 1
        return Directory(cells, rows.ids[first], 0, 0), made, first

    def _in_one_piece(self, kept: np.ndarray, rows: Rows, arrival: int, past: int) -> Iterator[Part]:
        """Yield the state of few records as one piece, and that all others go."""
        _, old, _ = gather(self._made, self._chunks(kept))
        rows = join(old, rows)
        group, rows = in_groups(np.zeros(len(rows.event), dtype=np.int64), rows)
        for name in self._held.names():
            yield name, None
        yield from self._index.removed()
        yield HEAD, Build(self._made, group, rows, np.array([arrival]), np.array([past])).states()[0]
