"""The shared work of one call of the kernel: which records each window holds, and exact sums over them."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from tenfold.core.windows import Window
from tenfold.features.kernel.inputs import Aggregate, Input, Own, Records
from tenfold.features.kernel.listed import Listed, OwnRows, listed
from tenfold.features.kernel.parts import Parts
from tenfold.features.kernel.ranges import INTERVALS, Ranges, add_over, covered
from tenfold.processing.frame import concat

OVERLAID = ("count", "sum", "mean", "var", "std", "min", "max", "first", "last")
"""What loose records can be laid over; the others depend on how records lie beside each other."""


class Windowed:
    """Records and queries of one call; rows are numbered through the records and then the rows asked for."""

    def __init__(
        self,
        records: Records,
        group: np.ndarray,
        at: np.ndarray,
        wanted: Sequence[Aggregate],
        own: Own | None,
    ) -> None:
        self.ranges = Ranges(records, group, at)
        self.size, self.wanted = len(records.event), wanted
        self.own = own if any(item.window.include_self for item in wanted) else None
        self.parts = Parts(self.inputs(records), self.events(records, at))
        earlier = None if self.own is None else self.own.earlier
        self._own_rows = OwnRows(self.size, self.parts.event, earlier)
        self._no_rows = OwnRows(self.size, self.parts.event, None)
        self._totals: dict[tuple[int, str, Window], np.ndarray] = {}
        self.extremes: dict[tuple[int, str], dict[Window, np.ndarray]] = {}
        self.floats: dict[tuple[int, Window], np.ndarray] = {}
        self._some: dict[tuple[int, Window], tuple[np.ndarray, bool]] = {}
        self.edges: dict[tuple[str, Window], np.ndarray] = {}
        self._ends: dict[tuple[int, str, int], np.ndarray] = {}
        self._prefixes: dict[tuple[int, str], np.ndarray] = {}
        self._bounds: dict[tuple[int, Window], tuple[np.ndarray, np.ndarray]] = {}
        self._slow: dict[tuple[Window, bool], np.ndarray] = {}

    def inputs(self, records: Records) -> list[Input]:
        """Return the inputs of the records and, behind them, of the rows asked for."""
        if self.own is None:
            return list(records.inputs)
        return [
            Input(one.name, concat([one.column, two.column]), np.concatenate([one.member, two.member]))
            for one, two in zip(records.inputs, self.own.inputs, strict=True)
        ]

    def events(self, records: Records, at: np.ndarray) -> np.ndarray:
        return records.event if self.own is None else np.concatenate([records.event, at])

    @cached_property
    def here(self) -> np.ndarray:
        """The numbers of the rows asked for."""
        return np.arange(self.size, self.size + len(self.ranges.at))

    def joins(self, place: int, window: Window) -> np.ndarray | None:
        """Return which of the rows asked for take part; None when the window does not include them."""
        if not window.include_self or self.own is None:
            return None
        return self.parts.member(place)[self.size :]

    def bounds(self, place: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return per query the records in order that a window of an input reaches, [lo, hi)."""
        if window.kind in INTERVALS:
            return self.ranges.interval(window)
        if (place, window) not in self._bounds:
            lo, hi = self.ranges.interval(Window("all", offset=window.offset))
            member = self.ranges.in_order(self.parts.member(place)[: self.size])
            own = self.joins(place, window)
            find = self._last_rows if window.kind == "rows" else self._session
            self._bounds[place, window] = find(np.flatnonzero(member), lo, hi, window, own), hi
        return self._bounds[place, window]

    def _last_rows(
        self, members: np.ndarray, lo: np.ndarray, hi: np.ndarray, window: Window, own: np.ndarray | None
    ) -> np.ndarray:
        size = window.size if own is None else window.size - own
        first, behind = members.searchsorted(lo), members.searchsorted(hi)
        return _at(members, np.maximum(first, behind - size), behind, hi)

    def _session(
        self, members: np.ndarray, lo: np.ndarray, hi: np.ndarray, window: Window, own: np.ndarray | None
    ) -> np.ndarray:
        events, moment = self.ranges.events, self.ranges.at - window.offset
        if own is not None:
            moment = np.where(own, self.ranges.at, moment)
        begins = np.ones(len(members), dtype=np.bool_)
        begins[1:] = np.diff(events[members]) > window.size
        begin = np.maximum.accumulate(np.where(begins, np.arange(len(members)), 0))
        first, behind = members.searchsorted(lo), members.searchsorted(hi)
        last = np.maximum(behind - 1, 0)
        goes_on = behind > first
        if len(members):
            goes_on &= moment - events[members[last]] <= window.size
            first = np.maximum(first, begin[last])
        return _at(members, np.where(goes_on, first, behind), behind, hi)

    def slow(self, item: Aggregate) -> np.ndarray:
        """Return the positions of the queries whose records have to be listed."""
        window = item.window
        shortcut = item.fn in OVERLAID and window.kind in INTERVALS
        if (window, shortcut) not in self._slow:
            mask = np.zeros(len(self.ranges.at), dtype=np.bool_)
            if not shortcut and len(self.ranges.loose_rows):
                mask = covered(self.ranges.loose(window), len(mask))
            if window.include_self and self.own is not None:
                mask |= self.own.earlier >= 0
            self._slow[window, shortcut] = np.flatnonzero(mask)
        return self._slow[window, shortcut]

    def by_list(
        self, item: Aggregate, result: np.ndarray, work: Callable[[Listed], np.ndarray], query: np.ndarray
    ) -> np.ndarray:
        """Put in place of a result what comes of listing the records of queries."""
        for piece in self.lists(item, query):
            result[piece.query] = work(piece)
        return result

    def lists(self, item: Aggregate, query: np.ndarray) -> Iterator[Listed]:
        """Yield the rows that take part for queries at positions, in pieces of bounded size."""
        own = self._own_rows if item.window.include_self else self._no_rows
        return listed(self.ranges, item.window, self.parts.member(item.input), query, own)

    def total(self, item: Aggregate, part: str) -> np.ndarray:
        """Return per query the exact integer sum of a part of an input over a window."""
        key = (item.input, part, item.window)
        if key not in self._totals:
            self._totals[key] = self._total(item, part)
        return self._totals[key]

    def _total(self, item: Aggregate, part: str) -> np.ndarray:
        lo, hi = self.bounds(item.input, item.window)
        values = self.parts.integers(item.input, part)
        if part in ("member", "count") and self.parts.all_ones(item.input, part):
            result = hi - lo
        else:
            prefix = self._prefix(item.input, part, values)
            result = self._upto(item, part, prefix, hi) - prefix.take(lo)
        if item.window.kind in INTERVALS:
            add_over(self.ranges.loose(item.window), values, result)
        if item.window.include_self and self.own is not None:
            result = result + values[self.size :]
        return self.by_list(item, result, lambda rows: rows.total(values), self.slow(item))

    def some(self, item: Aggregate) -> tuple[np.ndarray, bool]:
        """Return which windows hold a value, and whether all of them do."""
        key = (item.input, item.window)
        if key not in self._some:
            valid = self.total(item, "count") > 0
            self._some[key] = valid, bool(valid.all())
        return self._some[key]

    def _upto(self, item: Aggregate, part: str, prefix: np.ndarray, hi: np.ndarray) -> np.ndarray:
        """Return the prefix sums at the upper ends, which windows without an offset share."""
        key = (item.input, part, item.window.offset)
        if key not in self._ends:
            self._ends[key] = prefix.take(hi)
        return self._ends[key]

    def _prefix(self, place: int, part: str, values: np.ndarray) -> np.ndarray:
        if (place, part) not in self._prefixes:
            prefix = np.zeros(self.ranges.count + 1, dtype=np.int64)
            np.cumsum(self.ranges.in_order(values[: self.size]), out=prefix[1:])
            self._prefixes[place, part] = prefix
        return self._prefixes[place, part]


def _at(members: np.ndarray, place: np.ndarray, behind: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """Return the positions of members from a place on, `hi` where there are none."""
    if not len(members):
        return hi
    return np.where(place < behind, members[np.minimum(place, len(members) - 1)], hi)
