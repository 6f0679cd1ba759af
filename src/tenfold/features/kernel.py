"""The kernel: exact trailing-window aggregates as of any moment, the same bits in every driver.

A record counts at t when it was known before t and its event lies in (t - window, t). As t is a whole number of
microseconds this is `start <= t < end` with start = max(event, known) + 1 and end = min(event + window, until + 1),
where `until` is the moment a later version of the record became known.

Records are sorted by (group, event, id). Those that became known in that order are a contiguous range [lo, hi) for
any t, found by binary search and shared by all aggregates of a window: a count or a sum is a difference of exact
integer prefix sums, min and max come from a sparse table, last from an index. The few that became known out of order,
or were corrected, are laid over the result, each over the queries it is visible to. Integers make every sum
independent of order and batching, so one call over all history and one call per request agree to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.core.times import FOREVER
from tenfold.core.windows import Window
from tenfold.features.limbs import MAX_COARSE, MAX_ROWS, coarse, join, split
from tenfold.processing.frame import Column


@dataclass(frozen=True, slots=True)
class Input:
    """One aggregated column of the records: values with validity, and which records take part (`where`)."""

    name: str
    column: Column
    member: np.ndarray

    def take(self, rows: np.ndarray) -> "Input":
        """Return the rows at positions, or where a mask is true."""
        return Input(self.name, self.column.take(rows), self.member[rows])


@dataclass(frozen=True, slots=True)
class Records:
    """Records sorted by (group, event, id): int64 arrays of shape (n,), instants in microseconds."""

    group: np.ndarray
    event: np.ndarray
    known: np.ndarray
    until: np.ndarray
    inputs: tuple[Input, ...]

    def take(self, rows: np.ndarray | slice) -> "Records":
        """Return the rows at positions, in a slice, or where a mask is true."""
        inputs = tuple(item.take(rows) for item in self.inputs)  # type: ignore[arg-type]
        return Records(self.group[rows], self.event[rows], self.known[rows], self.until[rows], inputs)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What to compute: a function of one input over one window; `n` is its parameter, such as which lag."""

    fn: str
    input: int
    window: Window
    n: Any = 0


def aggregate(
    records: Records, group: np.ndarray, at: np.ndarray, wanted: Sequence[Aggregate]
) -> list[Column]:
    """Return one column per aggregate with a value for each query (group, at).

    Parameters
    ----------
    group, at
        Queries sorted by (group, at): int64 arrays of shape (m,); `at` in microseconds UTC.

    Raises
    ------
    DefinitionError
        When a window holds more than can be summed exactly; names the column.
    """
    windows = _Windows(records, group, at)
    return [windows.column(item) for item in wanted]


class _Windows:
    """The shared work of one call: search axis, ranges per window, prefix sums per input."""

    def __init__(self, records: Records, group: np.ndarray, at: np.ndarray) -> None:
        self.records, self.group, self.at = records, group, at
        self.start = np.maximum(records.event, records.known) + 1
        edges = [array for array in (records.event, self.start, at) if len(array)]
        self.base = min(int(array.min()) for array in edges) - 1 if edges else 0
        self.top = max(int(array.max()) for array in edges) + 1 if edges else 0
        self.span = self.top - self.base + 1
        self.queries = self.code(group, at)
        starts = self.code(records.group, self.start)
        late = _out_of_order(starts, records.until)
        self.late, self.rows = np.flatnonzero(late), np.flatnonzero(~late)
        self.starts = starts[self.rows]
        self.hi = self.starts.searchsorted(self.queries, side="right")
        self._ranges: dict[int | None, np.ndarray] = {}
        self._overlays: dict[int | None, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._prefixes: dict[tuple[int, str], np.ndarray] = {}
        self._parts: dict[tuple[int, str], np.ndarray] = {}

    def code(self, group: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Return one sortable integer per (group, moment)."""
        return group * self.span + (np.minimum(np.maximum(moment, self.base), self.top) - self.base)

    @cached_property
    def events(self) -> np.ndarray:
        return self.code(self.records.group[self.rows], self.records.event[self.rows])

    def lo(self, window: int | None) -> np.ndarray:
        """Return per query the first in-order row of the window, at most `hi`."""
        if window not in self._ranges:
            if window is None:
                first = np.searchsorted(self.events, self.group * self.span, side="left")
            else:
                first = self.events.searchsorted(self.code(self.group, self.at - window), side="right")
            self._ranges[window] = np.minimum(first, self.hi)
        return self._ranges[window]

    def column(self, item: Aggregate) -> Column:
        source = self.records.inputs[item.input]
        if item.fn == "last":
            return self.last(source, item.window.reach)
        if item.fn == "count":
            count = self.total(item.input, "member", item.window.reach)
            return Column("int", count, np.ones(len(count), dtype=np.bool_))
        count = self.total(item.input, "count", item.window.reach)
        if item.fn in ("min", "max"):
            return self.extreme(source, item, count > 0)
        return self.sum(item, source, count)

    def sum(self, item: Aggregate, source: Input, count: np.ndarray) -> Column:
        valid = count > 0
        self.check_range(item, source, count)
        if source.column.type == "float":
            values = join(
                self.total(item.input, "high", item.window.reach),
                self.total(item.input, "low", item.window.reach),
            )
        else:
            values = self.total(item.input, "whole", item.window.reach)
        if item.fn == "mean":
            values = values.astype(np.float64) / np.maximum(count, 1)
        return Column("float" if values.dtype == np.float64 else "int", np.where(valid, values, 0), valid)

    def check_range(self, item: Aggregate, source: Input, count: np.ndarray) -> None:
        """Refuse a window whose exact sum does not fit; the cheap bound decides nearly always."""
        most = int(count.max()) if len(count) else 0
        largest = float(np.abs(self.parts(item.input, "coarse")).max()) + 1.0 if most else 0.0
        if most < MAX_ROWS and most * largest < MAX_COARSE:
            return
        total = np.abs(self.total(item.input, "coarse", item.window.reach)) + count
        if most >= MAX_ROWS or int(total.max()) >= MAX_COARSE:
            limit = "2^43" if source.column.type == "float" else "2^53"
            raise DefinitionError(
                f"{source.name}: a window of {most:,} values cannot be summed exactly (up to 2^20 values, sum below {limit}). "
                "Shorten the window, or divide the column by a constant in a Derived source."
            )

    def parts(self, place: int, part: str) -> np.ndarray:
        """Return the integers that are summed for one input."""
        if (place, part) not in self._parts:
            self._parts[place, part] = self._integers(place, part)
        return self._parts[place, part]

    def _integers(self, place: int, part: str) -> np.ndarray:
        source = self.records.inputs[place]
        if part == "member":
            return source.member.astype(np.int64)
        used = source.member & source.column.valid
        if part == "count":
            return used.astype(np.int64)
        values = np.where(used, source.column.values, 0)
        if part == "coarse":
            return coarse(values)
        if part == "whole":
            return values.astype(np.int64)
        return split(values.astype(np.float64))[part == "low"]

    def total(self, place: int, part: str, window: int | None) -> np.ndarray:
        """Return per query the exact integer sum of a part over a window."""
        values = self.parts(place, part)
        if (place, part) not in self._prefixes:
            prefix = np.zeros(len(self.rows) + 1, dtype=np.int64)
            np.cumsum(values[self.rows], out=prefix[1:])
            self._prefixes[place, part] = prefix
        prefix = self._prefixes[place, part]
        result = prefix[self.hi] - prefix[self.lo(window)]
        rows, first, behind = self._visible(window)
        if len(rows):
            change = np.zeros(len(self.queries) + 1, dtype=np.int64)
            np.add.at(change, first, values[rows])
            np.subtract.at(change, behind, values[rows])
            result = result + np.cumsum(change)[:-1]
        return result

    def overlay(self, window: int | None, member: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the out-of-order rows with the range of queries each is visible to."""
        rows, first, behind = self._visible(window)
        if not len(rows):
            return rows, first, behind
        seen = member[rows]
        return rows[seen], first[seen], behind[seen]

    def _visible(self, window: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if window not in self._overlays:
            self._overlays[window] = (self.late, self.late, self.late)
            if len(self.late):
                rows = self.late
                until = self.records.until[rows] + 1
                end = until if window is None else np.minimum(self.records.event[rows] + window, until)
                group = self.records.group[rows]
                first = np.searchsorted(self.queries, self.code(group, self.start[rows]), side="left")
                behind = np.searchsorted(self.queries, self.code(group, end), side="left")
                seen = behind > first
                self._overlays[window] = (rows[seen], first[seen], behind[seen])
        return self._overlays[window]

    def last(self, source: Input, window: int | None) -> Column:
        lo = self.lo(window)
        member = source.member[self.rows]
        newest = (
            np.maximum.accumulate(np.where(member, np.arange(len(member)), -1)) if len(member) else member
        )
        found = self.hi > lo
        place = np.full(len(self.queries), -1, dtype=np.int64)
        place[found] = newest[self.hi[found] - 1]
        found &= place >= lo
        best = np.full(len(self.queries), -1, dtype=np.int64)
        best[found] = self.rows[place[found]]
        for row, first, behind in zip(*self.overlay(window, source.member), strict=True):
            np.maximum(best[first:behind], row, out=best[first:behind])
        if not len(source.member):
            return _blank(source.column, len(best))
        taken = source.column.take(np.maximum(best, 0))
        return _masked(taken, (best >= 0) & taken.valid)

    def extreme(self, source: Input, item: Aggregate, valid: np.ndarray) -> Column:
        pick = np.minimum if item.fn == "min" else np.maximum
        used = source.member & source.column.valid
        values = source.column.values.astype(np.float64 if source.column.type == "float" else np.int64)
        blank = _identity(values.dtype, item.fn)
        values = np.where(used, values, blank) + values.dtype.type(
            0
        )  # -0.0 and 0.0 are equal, and one of them is chosen
        result = _range_extreme(values[self.rows], self.lo(item.window.reach), self.hi, pick, blank)
        for row, first, behind in zip(*self.overlay(item.window.reach, used), strict=True):
            pick(result[first:behind], values[row], out=result[first:behind])
        return Column("float" if values.dtype == np.float64 else "int", np.where(valid, result, 0), valid)


def _out_of_order(starts: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Return which records became known after a later one of their group, or were replaced."""
    late = until < FOREVER
    rows = np.flatnonzero(~late)
    if len(rows) > 1:
        codes = starts[rows]
        earliest_after = np.minimum.accumulate(codes[::-1])[::-1][1:]
        late[rows[:-1]] = codes[:-1] > earliest_after
    return late


def _range_extreme(
    values: np.ndarray, lo: np.ndarray, hi: np.ndarray, pick: np.ufunc, blank: object
) -> np.ndarray:
    """Return pick over values[lo:hi] per query, from a sparse table built one level at a time."""
    length = hi - lo
    result = np.full(len(lo), blank, dtype=values.dtype)
    level, table = 0, values
    while (1 << level) <= (int(length.max()) if len(length) else 0):
        width = 1 << level
        rows = np.flatnonzero((length >= width) & (length < 2 * width))
        result[rows] = pick(table[lo[rows]], table[hi[rows] - width])
        table = pick(table[:-width], table[width:])
        level += 1
    return result


def _identity(dtype: np.dtype, fn: str) -> float:
    if dtype == np.float64:
        return np.inf if fn == "min" else -np.inf
    return np.iinfo(np.int64).max if fn == "min" else np.iinfo(np.int64).min


def _blank(like: Column, rows: int) -> Column:
    values = np.empty(rows, dtype=like.values.dtype)
    values[:] = None if like.type == "str" else 0
    return Column(like.type, values, np.zeros(rows, dtype=np.bool_))


def _masked(item: Column, valid: np.ndarray) -> Column:
    values = item.values.copy()
    values[~valid] = None if item.type == "str" else 0
    return Column(item.type, values, valid)
