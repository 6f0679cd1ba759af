"""Aggregates that are computed alike, for many queries at once: each family gives one matrix, a row per aggregate.

The formulas are those of `lookups`, on arrays: the same whole numbers, the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tenfold.features.kernel.limbs import join
from tenfold.features.kernel.moments import variance
from tenfold.features.state import layout
from tenfold.features.state.blocks import Block
from tenfold.features.state.joined import Joined, leading
from tenfold.processing.frame import DTYPES


@dataclass(frozen=True, slots=True)
class Ranges:
    """What queries see of their states: of each window the records [lo, hi), and where the columns lie.

    Attributes
    ----------
    lo, hi : (windows, n) int64
    units : (columns, n) or (columns, 1) int64
        Of each column its place in words per record, -1 where a state has none.
    text : (n,) int64
        Where the texts of each state begin, in bytes.
    totals : (reads, n) int64
        All totals of windows that aggregates are made of.
    """

    joined: Joined
    lo: np.ndarray
    hi: np.ndarray
    units: np.ndarray
    text: np.ndarray
    totals: np.ndarray


class Family(Protocol):
    """Aggregates that are computed alike."""

    def __call__(self, ranges: Ranges) -> Block:
        """Return the values of the aggregates."""
        ...


@dataclass(frozen=True, slots=True)
class Sums:
    """Counts, sums, means and variances.

    Attributes
    ----------
    count, parts, squares
        Which totals say how many values there are, add up to the sum (one of whole numbers, two of floats) and to the sum
        of squares; each with a place per aggregate.
    """

    fn: str
    count: np.ndarray
    parts: Sequence[np.ndarray]
    squares: Sequence[np.ndarray]

    def __call__(self, ranges: Ranges) -> Block:
        totals = ranges.totals
        count = totals[self.count]
        if self.fn == "count":
            return Block("int", count, np.ones(count.shape, dtype=np.bool_))
        parts = [totals[part] for part in self.parts]
        if self.fn in layout.SPREADS:
            return self._spread(count, parts, [totals[square] for square in self.squares])
        found: np.ndarray = parts[0] if len(parts) == 1 else join(*parts)
        valid = count > 0
        if self.fn == "mean":
            found = found / np.maximum(count, 1)
        if not valid.all():
            found = np.where(valid, found, found.dtype.type(0))
        return Block("float" if found.dtype == np.float64 else "int", found, valid)

    def _spread(self, count: np.ndarray, parts: Sequence[np.ndarray], squares: Sequence[np.ndarray]) -> Block:
        units = (1.0,) if len(parts) == 1 else (2.0**-20, 2.0**-63)
        sums = [(part.ravel(), unit) for part, unit in zip(parts, units, strict=True)]
        found = variance(count.ravel(), sums, [square.ravel() for square in squares]).reshape(count.shape)
        return Block("float", np.sqrt(found) if self.fn == "std" else found, count > 1)


@dataclass(frozen=True, slots=True)
class Extremes:
    """The least or the greatest values.

    Attributes
    ----------
    window, columns
        Per aggregate its window, and its columns: suffix extremes, values, and totals of those that have a value.
    count
        Which totals say how many values there are.
    """

    fn: str
    type: str
    window: np.ndarray
    columns: tuple[np.ndarray, np.ndarray, np.ndarray]
    count: np.ndarray

    def __call__(self, ranges: Ranges) -> Block:
        joined = ranges.joined
        valid = ranges.totals[self.count] > 0
        lo, hi = ranges.lo[self.window], ranges.hi[self.window]
        found = joined.words.take(
            joined.column(ranges.units[self.columns[0]]) + np.minimum(lo, joined.count - 1)
        )
        ends = (hi < joined.count) & valid
        for row in np.flatnonzero(ends.any(axis=1)).tolist() if ends.any() else ():
            self._compare(ranges, row, np.flatnonzero(ends[row]), found[row])
        values = found.view(np.float64) if self.type == "float" else found
        if not valid.all():
            values = np.where(valid, values, values.dtype.type(0))
        return Block(self.type, values, valid)

    def _compare(self, ranges: Ranges, row: int, some: np.ndarray, out: np.ndarray) -> None:
        """Compare the values of ranges that end before the last record, and put the words of the results into `out`."""
        joined, which = ranges.joined, self.window[row]
        lo, hi = ranges.lo[which, some], ranges.hi[which, some]
        size = hi - lo
        begins = np.cumsum(size) - size
        record = np.repeat(lo - begins, size) + np.arange(int(size.sum()))
        first, count = joined.first[some], joined.count[some]

        def words(unit: np.ndarray, ahead: int = 0) -> np.ndarray:
            units = np.broadcast_to(unit, joined.count.shape)[some]
            return joined.words[np.repeat(first + np.maximum(units, 0) * count, size) + record + ahead]

        cells = words(ranges.units[self.columns[1][row]])
        cells = cells.view(np.float64) if self.type == "float" else cells
        used = ranges.units[self.columns[2][row]]
        counted = np.repeat(np.broadcast_to(used, joined.count.shape)[some] < 0, size)
        if not counted.all():
            counted |= words(used) != words(used, 1)
            cells = np.where(counted, cells, _blank(cells.dtype, self.fn))
        pick = np.minimum if self.fn == "min" else np.maximum
        out[some] = (pick.reduceat(cells, begins) + cells.dtype.type(0)).view(np.int64)


def _blank(dtype: np.dtype[Any], fn: str) -> Any:
    """Return what loses every comparison."""
    least = fn == "max"
    if dtype == np.float64:
        return -np.inf if least else np.inf
    return np.iinfo(np.int64).min if least else np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Picks:
    """Values of single records: the first, the last, or one so many before it.

    Attributes
    ----------
    picked
        The distinct ways to pick where all records take part: whether it is the first, the window, how many to go back.
    way, columns
        Per aggregate its way, and its columns: totals of those that take part and of those that have a value, values.
    texts
        The columns of values of text inputs whose texts come before those of each aggregate.
    """

    type: str
    picked: Sequence[tuple[bool, int, int]]
    way: np.ndarray
    columns: tuple[np.ndarray, np.ndarray, np.ndarray]
    texts: Sequence[Sequence[int]]

    def __call__(self, ranges: Ranges) -> Block:
        joined, units = ranges.joined, ranges.units
        place, valid = self._places(ranges)
        used, value = units[self.columns[1]], joined.column(units[self.columns[2]])
        if (used >= 0).any():
            column = joined.column(used)
            counted = joined.words[column + place] != joined.behind(column, place + 1)
            valid = valid & (counted | (used < 0))
        found = joined.words.take(value + place)
        if self.type == "str":
            return Block("str", self._texts(ranges, place, valid, value, found), valid)
        values = (
            found.view(np.float64) if self.type == "float" else found.astype(DTYPES[self.type], copy=False)
        )
        if not valid.all():
            values = np.where(valid, values, values.dtype.type(0))
        return Block(self.type, values, valid)

    def _places(self, ranges: Ranges) -> tuple[np.ndarray, np.ndarray]:
        """Return which record each aggregate takes, and whether there is one; where there is none, the last."""
        count = ranges.joined.count
        ways = [self._plain(ranges, *way) for way in self.picked]
        places, theres = np.array([way[0] for way in ways]), np.array([way[1] for way in ways])
        place, there = np.where(theres, places, count - 1)[self.way], theres[self.way]
        member = ranges.units[self.columns[0]]
        for row in np.flatnonzero((member >= 0).any(axis=1)).tolist():
            some = member[row] >= 0
            found, seen = self._member(ranges, member[row], *self.picked[self.way[row]])
            place[row] = np.where(some, np.where(seen, found, count - 1), place[row])
            there[row] = np.where(some, seen, there[row])
        return place, there

    def _plain(self, ranges: Ranges, first: bool, window: int, back: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the record to pick where all take part, and whether there is one."""
        lo, hi = ranges.lo[window], ranges.hi[window]
        return lo if first else hi - 1 - back, hi - lo > back

    def _member(
        self, ranges: Ranges, member: np.ndarray, first: bool, window: int, back: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the same from totals of the records that take part, which fall behind each of them."""
        joined, lo, hi = ranges.joined, ranges.lo[window], ranges.hi[window]
        column = joined.column(member)
        begin, behind = joined.words[column + np.minimum(lo, joined.count - 1)], joined.behind(column, hi)
        wanted = begin if first else behind + back + 1
        place = leading(column, hi, lambda at: joined.words[at] >= wanted) - 1
        return place, (lo < hi) & (begin - behind > back)

    def _texts(
        self, ranges: Ranges, place: np.ndarray, valid: np.ndarray, value: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        joined = ranges.joined
        last = joined.count - 1
        begins = joined.words[value + np.minimum(np.maximum(place - 1, 0), last)] * (place > 0)
        out = np.full(place.shape, None, dtype=object)
        for row, before in enumerate(self.texts):
            origin = ranges.text.copy()
            for column in before:
                origin += joined.words[joined.column(ranges.units[column]) + last] * (joined.count > 0)
            some = np.flatnonzero(valid[row])
            edges = zip(
                (origin + begins[row])[some].tolist(), (origin + ends[row])[some].tolist(), strict=True
            )
            out[row, some] = [str(joined.raw[begin:end], "utf-8") for begin, end in edges]
        return out
