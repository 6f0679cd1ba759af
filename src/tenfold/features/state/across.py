"""Features of a key whose state is divided: look-ups in the chunks where a window begins and ends, and sums over those between.

Chunks with records that are not visible yet at the moment asked are made again from those that are, so that all the rest
reads chunks of visible records only.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import neg
from typing import Any

import numpy as np

from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate
from tenfold.features.kernel.decimals import most_coarse, most_squared
from tenfold.features.kernel.limbs import MAX_ROWS
from tenfold.features.kernel.moments import MAX_ROWS as MAX_SQUARES
from tenfold.features.records import Rows
from tenfold.features.state import chunks, layout
from tenfold.features.state.building import Build
from tenfold.features.state.chunks import Get, chunk_name, sheet_of, sums_of
from tenfold.features.state.fold import in_groups, unpack_all
from tenfold.features.state.layout import HEADER, SPREADS, SUMS, WORD
from tenfold.features.state.lookups import Words, from_totals, value_of
from tenfold.features.state.shapes import States
from tenfold.features.state.stored import gather

Point = tuple[int, int]
"""A place among the records: a chunk and a row of it, which may be the one behind its last."""
Look = Callable[["Chunks", Point, Point], Any]
"""A look-up in the records from one point to another."""


class Chunks:
    """The records of a divided state that are visible at a moment."""

    def __init__(self, made: States, state: Any, at: int, get: Get) -> None:
        self.made, self.at, self._get = made, at, get
        self._sheet, self._words = sheet_of(made.needs), memoryview(state).cast("q")
        rows = self._sheet.rows + self._words[layout.KIND]
        self.size = (len(self._words) - HEADER) // rows
        self._first = HEADER + chunks.FIRST * self.size
        self._cells = np.frombuffer(state, np.int64)[HEADER:].reshape(rows, self.size)
        self._held: dict[int, tuple[Words, int]] = {}
        self._behind: dict[tuple[int, int], int] = {}
        self._suffix: dict[int, np.ndarray] = {}
        self.tallies: dict[tuple[int, Point, Point], tuple[Sequence[Any], np.ndarray]] = {}
        if at < self._words[layout.SETTLED]:
            self._hide()

    def _hide(self) -> None:
        """Put chunks of what is visible in place of those with records that are not, or replaced ones that are."""
        self._cells = self._cells.copy()
        for place in np.flatnonzero(self._cells[chunks.SETTLED] > self.at).tolist():
            seen = self._visible(place)
            self._cells[: self._sheet.rows, place] = [
                self._cells[chunks.FIRST, place],
                *sums_of(self.made, seen)[1:],
            ]
            self._held[place] = self._opened(seen)

    def _visible(self, place: int) -> bytes:
        pieces = [] if self._cells[chunks.START, place] > self.at else [self._stored(place)]
        _, rows, _ = gather(self.made, pieces)
        seen = (rows.known < self.at) & (rows.event < self.at) & (rows.until >= self.at)
        # What is visible now has not been replaced now.
        rows = rows.take(seen).lasting()
        group, rows = in_groups(np.zeros(len(rows.event), dtype=np.int64), rows)
        none = np.zeros(1, dtype=np.int64)
        return Build(self.made, group, rows, none, none).states()[0]

    def _stored(self, place: int) -> bytes:
        words, size = self._words, self.size
        ids = range(HEADER + self._sheet.rows * size + place, len(words), size)
        name = b"".join(words[at].to_bytes(WORD, "little", signed=True) for at in ids).rstrip(b"\0")
        return self._get(chunk_name(words[self._first + place], name))

    def _opened(self, chunk: Any) -> tuple[Words, int]:
        raw = memoryview(chunk)
        words = raw.cast("q")
        return Words(words, raw.cast("d"), raw, words[layout.COUNT]), words[layout.KIND]

    def chunk(self, place: int) -> tuple[Words, int]:
        """Return a chunk and its kind."""
        if place not in self._held:
            self._held[place] = self._opened(self._stored(place))
        return self._held[place]

    @property
    def newest(self) -> int | None:
        """When the newest record happened, None when the key never had one."""
        some = np.flatnonzero(self._cells[chunks.COUNT])
        return int(self._cells[chunks.NEWEST, some[-1]]) if len(some) else self._words[layout.PAST] or None

    def rows(self, reach: int | None) -> Rows:
        """Return the records, replaced ones too, that may lie as far back as a reach; all when it has no limit."""
        first = 0 if reach is None else self._place(bisect_right, self.at - reach)
        return unpack_all(
            self.made.view, [bytes(self._stored(place)) for place in range(max(first, 0), self.size)]
        )[0]

    # Points

    def _place(self, bisect: Callable[..., int], moment: int) -> int:
        return bisect(self._words, moment, self._first, self._first + self.size) - self._first - 1

    def point(self, bisect: Callable[..., int], moment: int) -> Point:
        """Return where records at a moment begin (`bisect_left`), or end (`bisect_right`)."""
        place = self._place(bisect, moment)
        if place < 0:
            return 0, 0
        given, _ = self.chunk(place)
        return place, bisect(given.words, moment, HEADER, HEADER + given.rows) - HEADER

    @property
    def end(self) -> Point:
        """The point behind the last record."""
        return self.size, 0

    def bounds(self, window: Window, place: int) -> tuple[Point, Point]:
        """Return where a window of an input begins and ends."""
        hi = self.point(bisect_left, self.at - window.offset) if window.offset else self.end
        if window.kind == "time":
            return self.point(bisect_right, self.at - window.offset - window.size), hi
        if window.kind == "all":
            return (0, 0), hi
        behind = self.behind(place, "member", hi)
        if self.behind(place, "member", (0, 0)) - behind <= window.size:
            return (0, 0), hi
        return self.counted(place, behind + window.size), hi

    def counted(self, place: int, number: int) -> Point:
        """Return where a record of an input is that takes part, counted from the last one, which is number 1."""
        row = self._sheet.place[place, "member"]
        if row not in self._suffix:
            self._suffix[row] = np.cumsum(self._cells[row, ::-1])
        chunk = self.size - 1 - int(self._suffix[row].searchsorted(number, side="left"))
        given, kind = self.chunk(chunk)
        local, unit = number - self._after(row, chunk), self.made.shape(kind).inputs[place].member
        if unit < 0:
            return chunk, given.rows - local
        first = HEADER + unit * given.rows
        return chunk, bisect_right(given.words, -local, first, first + given.rows, key=neg) - 1 - first

    # Totals

    def behind(self, place: int, name: str, point: Point) -> int:
        """Return a total from a point to the last record."""
        chunk, row = point
        if chunk == self.size:
            return 0
        given, kind = self.chunk(chunk)
        count, shape = given.rows, self.made.shape(kind).inputs[place]
        unit = shape.member if name == "member" else shape.used if name == "used" else shape.totals[name]
        after = self._after(self._sheet.place[place, name], chunk)
        if row == count:
            return after
        return after + (count - row if unit < 0 else given.words[HEADER + unit * count + row])

    def _after(self, row: int, chunk: int) -> int:
        if (row, chunk) not in self._behind:
            self._behind[row, chunk] = int(self._cells[row, chunk + 1 :].sum())
        return self._behind[row, chunk]

    def fits(self, item: Aggregate, lo: Point, hi: Point) -> bool:
        """Return whether the sums of a window are small enough to be exact."""
        if item.fn not in SUMS:
            return True
        spread, type_ = item.fn in SPREADS, self.made.needs[item.input].type
        count = self.behind(item.input, "used", lo) - self.behind(item.input, "used", hi)
        coarse = self._cells[self._sheet.place[item.input, "coarse"], lo[0] : hi[0] + 1].sum()
        if count >= (MAX_SQUARES if spread else MAX_ROWS) or coarse >= most_coarse(type_):
            return False
        return not spread or self._peak(item.input) < most_squared(type_)

    def _peak(self, place: int) -> float:
        return float(self._cells[self._sheet.place[place, "peak"]].view(np.float64).max())

    def extreme(self, item: Aggregate, lo: Point, hi: Point) -> Any:
        """Return the least or greatest value from one point to another, of which there is one."""
        real = self.made.needs[item.input].type == "float"
        pick: Callable[..., Any] = np.minimum.reduce if item.fn == "min" else np.maximum.reduce
        found = [self._compared(item, lo[0], lo[1], hi[1] if lo[0] == hi[0] else None)]
        if lo[0] < hi[0]:
            row = np.ascontiguousarray(self._cells[self._sheet.place[item.input, item.fn], lo[0] + 1 : hi[0]])
            found.append(row.view(np.float64) if real else row)
        if lo[0] < hi[0] < self.size:
            found.append(self._compared(item, hi[0], 0, hi[1]))
        value = pick(np.concatenate(found))
        return float(value) + 0.0 if real else int(value)

    def _compared(self, item: Aggregate, chunk: int, begin: int, end: int | None) -> np.ndarray:
        """Return the values in some rows of a chunk, or their extreme alone; to the last row without an end."""
        given, kind = self.chunk(chunk)
        places, count = self.made.shape(kind).inputs[item.input], given.rows
        cells = np.asarray(given.floats if self.made.needs[item.input].type == "float" else given.words)
        if end is None:
            at = HEADER + places.totals[item.fn] * count + begin
            return cells[at : at + (begin < count)]
        return self.values(item.input, chunk, begin, end)

    def values(self, place: int, chunk: int, begin: int, end: int) -> np.ndarray:
        """Return the values of an input in some rows of a chunk, of those that have one."""
        given, kind = self.chunk(chunk)
        cells = np.asarray(given.floats if self.made.needs[place].type == "float" else given.words)
        found = cells[HEADER + self.made.shape(kind).inputs[place].values * given.rows :][begin:end]
        used = self.used(place, chunk, begin, end)
        return found if used is None else found[used]

    def used(self, place: int, chunk: int, begin: int, end: int) -> np.ndarray | None:
        """Return which of some rows of a chunk have a value of an input, None where all have."""
        given, kind = self.chunk(chunk)
        unit = self.made.shape(kind).inputs[place].used
        if unit < 0:
            return None
        first = HEADER + unit * given.rows
        totals = np.append(np.asarray(given.words[first : first + given.rows]), 0)
        return totals[begin:end] != totals[begin + 1 : end + 1]

    def ranges(self, lo: Point, hi: Point) -> Iterator[tuple[int, int, int]]:
        """Yield the chunks from one point to another, and which of their rows."""
        for chunk in range(lo[0], min(hi[0] + 1, self.size)):
            begin = lo[1] if chunk == lo[0] else 0
            end = hi[1] if chunk == hi[0] else self.chunk(chunk)[0].rows
            if begin < end:
                yield chunk, begin, end

    def value(self, place: int, point: Point) -> Any:
        """Return the value of an input in the record at a point."""
        given, kind = self.chunk(point[0])
        return value_of(place, self.made.needs, self.made.shape(kind))(given, point[1])


def look_of(item: Aggregate, made: States) -> Look:
    """Return the look-up of an aggregate."""
    place = item.input
    if item.fn in ("first", "last", "lag"):
        return _picked(place, item.fn == "first", item.n or 0 if item.fn == "lag" else 0)
    if item.fn in ("min", "max"):
        counted = _total(place, "used")
        return lambda given, lo, hi: given.extreme(item, lo, hi) if counted(given, lo, hi) else None
    return from_totals(item.fn, made.needs[place], lambda name: _total(place, name))


def _total(place: int, name: str) -> Look:
    def total(given: Chunks, lo: Point, hi: Point) -> int:
        found = given.behind(place, name, lo) - given.behind(place, name, hi)
        # All records together may add up to more than a word holds; those of the window do not, and differences stay right.
        return (found + (1 << 63)) % (1 << 64) - (1 << 63)

    return total


def _picked(place: int, first: bool, back: int) -> Look:
    def picked(given: Chunks, lo: Point, hi: Point) -> Any:
        begin, end = given.behind(place, "member", lo), given.behind(place, "member", hi)
        if begin - end <= back:
            return None
        return given.value(place, given.counted(place, begin if first else end + back + 1))

    return picked


def reach_of(wanted: Sequence[Aggregate]) -> int | None:
    """Return how far back some aggregates look, None when there is no limit."""
    reaches = [item.window.reach for item in wanted]
    return None if None in reaches else max(reach for reach in reaches if reach is not None)
