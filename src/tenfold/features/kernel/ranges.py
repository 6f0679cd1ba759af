"""Which records a query sees: a range of the records in order, and the few that came out of order laid over it.

A record is visible as of t when it was known before t, its event lies before t, and no later version of it was known.
As instants are whole microseconds, that is `start <= t < vanish` with start = max(event, known) + 1.

Records are sorted by (group, event, id). The longest run from the front of a group in which every record has started is
visible as a range [0, hi). What has started behind a record that has not is *loose* until that one starts; so is a version
that was replaced later. A loose record is visible to a contiguous range of the queries, which are sorted too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.core.windows import Window
from tenfold.features.kernel.days import day_of, midnight
from tenfold.features.kernel.inputs import Records

INTERVALS = ("all", "time", "days")
"""Windows whose limits follow from t alone; the others depend on which records take part."""


@dataclass(frozen=True, slots=True)
class Loose:
    """Rows out of order, each visible to the queries at positions [first, behind)."""

    rows: np.ndarray
    first: np.ndarray
    behind: np.ndarray

    def only(self, mask: np.ndarray) -> "Loose":
        """Return the rows of a mask of all records."""
        seen = mask[self.rows]
        return self if seen.all() else Loose(self.rows[seen], self.first[seen], self.behind[seen])


class Ranges:
    """The visible records of queries sorted by (group, at): int64 arrays of shape (m,)."""

    def __init__(self, records: Records, group: np.ndarray, at: np.ndarray) -> None:
        self._records, self.group, self.at = records, group, at
        late = (records.known > records.event).any()
        self._start = (np.maximum(records.event, records.known) if late else records.event) + 1
        edges = [array for array in (records.event, self._start, at) if len(array)]
        self._base = min(int(array.min()) for array in edges) - 1 if edges else 0
        self._top = max(int(array.max()) for array in edges) + 1 if edges else 0
        self._span = self._top - self._base + 1
        self._front = group * self._span
        self.queries = self._front + (at - self._base)
        self._order()
        self.hi = self._reached.searchsorted(self.queries, side="right")
        self._ranges: dict[Window, tuple[np.ndarray, np.ndarray]] = {}
        self._loose: dict[Window, Loose] = {}

    def _code(self, group: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Return one sortable integer per (group, moment)."""
        return group * self._span + (np.minimum(np.maximum(moment, self._base), self._top) - self._base)

    def _order(self) -> None:
        """Tell records in order, and from when all before each have started, from loose ones."""
        records = self._records
        replaced = records.until < FOREVER
        starts = self._code(records.group, self._start)
        self.rows: np.ndarray | None = None
        rows = np.zeros(0, dtype=np.int64)
        vanish = rows
        if replaced.any():
            self.rows, rows = np.flatnonzero(~replaced), np.flatnonzero(replaced)
            vanish = records.until[rows] + 1
            starts = starts[self.rows]
        self._reached = starts
        if len(starts) and (starts[1:] < starts[:-1]).any():
            self._reached = np.maximum.accumulate(starts)
            behind = np.flatnonzero(starts < self._reached)
            mine = self.place(behind)
            rows = np.concatenate([rows, mine])
            until = self._reached[behind] - records.group[mine] * self._span + self._base
            vanish = np.concatenate([vanish, until])
        self.loose_rows, self._vanish = rows, vanish

    def place(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows among all records of positions among those in order."""
        return positions if self.rows is None else self.rows[positions]

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the records in order."""
        return values if self.rows is None else values[self.rows]

    @cached_property
    def count(self) -> int:
        """How many records are in order."""
        return len(self._reached)

    @cached_property
    def events(self) -> np.ndarray:
        """The event times of the records in order."""
        return self.in_order(self._records.event)

    @cached_property
    def _events(self) -> np.ndarray:
        return self._code(self.in_order(self._records.group), self.events)

    @cached_property
    def front(self) -> np.ndarray:
        """Per query the first record in order of its group."""
        return self._events.searchsorted(self._front, side="left")

    def interval(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return per query the records in order that a window reaches, [lo, hi), if only its instants count."""
        if window not in self._ranges:
            hi = self.hi
            moment = self.at - window.offset
            if window.offset:
                hi = np.minimum(hi, self.before(moment))
            self._ranges[window] = np.minimum(self._low(window, moment), hi), hi
        return self._ranges[window]

    def _low(self, window: Window, moment: np.ndarray) -> np.ndarray:
        if window.kind == "time":
            oldest = np.maximum(self.queries - (window.offset + window.size), self._front)
            return self._events.searchsorted(oldest, side="right")
        if window.kind == "days":
            return self.before(midnight(window.zone, day_of(window.zone, moment) - (window.size - 1)))
        return self.front

    def before(self, moment: np.ndarray) -> np.ndarray:
        """Return per query how many records in order lie before a moment, counted from the very first record."""
        return self._events.searchsorted(self._code(self.group, moment), side="left")

    def loose(self, window: Window) -> Loose:
        """Return the loose records with the queries each is visible to through a window's instants."""
        if window not in self._loose:
            rows = self.loose_rows
            if not len(rows):
                return Loose(rows, rows, rows)
            event, group = self._records.event[rows], self._records.group[rows]
            appear = np.maximum(self._start[rows], event + window.offset + 1)
            vanish = np.minimum(self._vanish, self._leave(window, event))
            first = self.queries.searchsorted(self._code(group, appear), side="left")
            behind = self.queries.searchsorted(self._code(group, vanish), side="left")
            seen = behind > first
            self._loose[window] = Loose(rows[seen], first[seen], behind[seen])
        return self._loose[window]

    def _leave(self, window: Window, event: np.ndarray) -> np.ndarray:
        """Return from when events are too old for a window."""
        if window.kind == "time":
            return event + (window.size + window.offset)
        if window.kind == "days":
            return midnight(window.zone, day_of(window.zone, event) + window.size) + window.offset
        return np.full(len(event), FOREVER, dtype=np.int64)


def covered(loose: Loose, queries: int) -> np.ndarray:
    """Return which queries see a loose record: bool, shape (queries,)."""
    change = np.zeros(queries + 1, dtype=np.int64)
    np.add.at(change, loose.first, 1)
    np.subtract.at(change, loose.behind, 1)
    return np.cumsum(change)[:-1] > 0


def add_over(loose: Loose, values: np.ndarray, result: np.ndarray) -> None:
    """Add the values of loose records to each query that sees them."""
    if len(loose.rows):
        change = np.zeros(len(result) + 1, dtype=np.int64)
        np.add.at(change, loose.first, values[loose.rows])
        np.subtract.at(change, loose.behind, values[loose.rows])
        result += np.cumsum(change)[:-1]


def pick_over(loose: Loose, values: np.ndarray, result: np.ndarray, pick: np.ufunc) -> None:
    """Lay the least or greatest of loose values over each query that sees them.

    A range of queries is two overlapping ranges of a power of two; those of one length are handed down to two of half
    the length, until each is one query.
    """
    if not len(loose.rows):
        return
    length = loose.behind - loose.first
    level = bit_lengths(length) - 1
    given = values[loose.rows]
    top = int(level.max())
    blank = _worst(result.dtype, pick)
    carried = np.full(len(result), blank, dtype=result.dtype)
    for depth in range(top, -1, -1):
        width = 1 << depth
        mine = level == depth
        pick.at(carried, loose.first[mine], given[mine])
        pick.at(carried, loose.behind[mine] - width, given[mine])
        if depth:
            half = width >> 1
            handed = carried.copy()
            pick(handed[half:], carried[: len(carried) - half], out=handed[half:])
            carried = handed
    pick(result, carried, out=result)


def range_extremes(
    values: np.ndarray, bounds: Sequence[tuple[np.ndarray, np.ndarray]], pick: np.ufunc, blank: float
) -> list[np.ndarray]:
    """Return pick over values[lo:hi] per query for each pair of bounds, from a sparse table built one level at a time."""
    results = [np.full(len(lo), blank, dtype=values.dtype) for lo, _ in bounds]
    levels = [bit_lengths(hi - lo) for lo, hi in bounds]
    orders = [np.argsort(level, kind="stable") for level in levels]
    edges = [np.cumsum(np.bincount(level, minlength=64)) for level in levels]
    top = max((int(level.max(initial=0)) for level in levels), default=0)
    table, width = values, 1
    for level in range(1, top + 1):
        for result, order, edge, (lo, hi) in zip(results, orders, edges, bounds, strict=True):
            rows = order[edge[level - 1] : edge[level]]
            result[rows] = pick(table.take(lo.take(rows)), table.take(hi.take(rows) - width))
        table, width = pick(table[:-width], table[width:]), width * 2
    return results


def bit_lengths(numbers: np.ndarray) -> np.ndarray:
    """Return the number of binary digits of whole numbers from 0 to 2^53, as int8.

    Examples
    --------
    >>> bit_lengths(np.array([0, 1, 2, 3, 4])).tolist()
    [0, 1, 2, 2, 3]
    """
    if int(numbers.max(initial=0)) < len(_BITS):
        return _BITS.take(numbers)
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int8)


_BITS = np.frexp(np.arange(1 << 17, dtype=np.float64))[1].astype(np.int8)


def _worst(dtype: np.dtype, pick: np.ufunc) -> float:
    if dtype == np.float64:
        return np.inf if pick is np.minimum else -np.inf
    limits = np.iinfo(dtype)
    return limits.max if pick is np.minimum else limits.min
