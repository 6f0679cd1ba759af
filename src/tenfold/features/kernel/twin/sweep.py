"""Aggregates as of queries in the order of time, swept through records in the order of their events."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.core.windows import Window
from tenfold.features.kernel import sums
from tenfold.features.kernel.decimals import exact_type, most_coarse, most_squared
from tenfold.features.kernel.inputs import Aggregate
from tenfold.features.kernel.limbs import MAX_ROWS
from tenfold.features.kernel.memory import keep
from tenfold.features.kernel.moments import MAX_ROWS as MOST_SQUARES
from tenfold.features.kernel.twin.stream import PICKS, Laid, restored
from tenfold.processing.frame import Column

_SMALLEST = -(2**63)
_EVERY, _NONE = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
Way = tuple[int, Window, int]
"""What one pass through the records is of: an input, a window, and a group of the input's parts."""


def sweepable(wanted: Sequence[Aggregate]) -> bool:
    """Return whether all aggregates can be swept."""
    return all(
        item.fn in _FUNCTIONS and item.window.kind in ("time", "all") and not item.window.include_self
        for item in wanted
    )


@dataclass(frozen=True)
class Stream:
    """Records in the order of their events, each with the number of its key below `keys`; arrays of shape (n,).

    Attributes
    ----------
    start
        The last moment at which each record is not known yet; `event` itself when all are known at once.
    """

    key: np.ndarray
    event: np.ndarray
    start: np.ndarray
    keys: int
    inputs: Mapping[int, Laid]


def picking(wanted: Sequence[Aggregate]) -> bool:
    """Return whether an extreme is asked for."""
    return any(item.fn in PICKS for item in wanted)


def unsafe(inputs: Mapping[int, Laid], wanted: Sequence[Aggregate], counts: np.ndarray) -> np.ndarray:
    """Return which keys hold so much that a sum may not be exact: these are for who looks closer."""
    found = np.zeros(len(counts), dtype=np.bool_)
    for item in wanted:
        laid = inputs[item.input]
        most, coarse = laid.largest
        if item.fn in ("sum", "mean", "var", "std"):
            found |= (counts >= MAX_ROWS) | ~(counts * coarse < most_coarse(laid.type))
        if item.fn in ("var", "std"):
            found |= counts >= (MOST_SQUARES if most < most_squared(laid.type) else 0)
    return found


class Channel:
    """Windows with one offset: when the records come into their sight, in which order."""

    def __init__(self, stream: Stream, offset: int) -> None:
        self.back, self.order, self.visible = offset + 1, _EVERY, stream.event
        if stream.start is not stream.event:
            self.visible = np.maximum(stream.event + offset, stream.start) + 1
            self.back = 0
            if (self.visible[1:] < self.visible[:-1]).any():
                self.order = np.argsort(self.visible, kind="stable").astype(np.int32)
        self.times = self.visible[self.order] if len(self.order) else self.visible


class Plan:
    """What is computed of a stream for some aggregates: made once, read by all that sweep."""

    def __init__(self, loops: Any, stream: Stream, wanted: Sequence[Aggregate]) -> None:
        self.loops, self.stream, self.wanted = loops, stream, wanted
        self.channels = {
            offset: Channel(stream, offset) for offset in {item.window.offset for item in wanted}
        }
        self.counts: dict[tuple[int, Window], int] = {}
        self.ways = list(dict.fromkeys(self._ways()))
        picked = {(place, group) for place, _, group in self.ways if group in stream.inputs[place].values}
        self.places = self._places() if picked else np.zeros(stream.keys, dtype=np.int64)
        self.laid = {one: self._lay(stream.inputs[one[0]].values[one[1]]) for one in picked}

    def _ways(self) -> Iterator[Way]:
        """Yield what is swept; inputs of which records are only counted share the way of another input."""
        inputs, both = (
            self.stream.inputs,
            list(dict.fromkeys((item.input, item.window) for item in self.wanted)),
        )
        full = {window: place for place, window in both if inputs[place].summed}
        for place, window in both:
            self.counts[place, window] = place if inputs[place].summed else full.setdefault(window, place)
            place = self.counts[place, window]
            yield from ((place, window, group) for group in range(len(inputs[place].parts)))

    def before(self, moment: int) -> int:
        """Return how many records happened before a moment."""
        return int(self.stream.event.searchsorted(moment))

    def left(self, window: Window, moment: int) -> int:
        """Return how many records are too old for a window at a moment."""
        if window.kind != "time":
            return 0
        return int(self.stream.event.searchsorted(moment - window.offset - window.size, side="right"))

    def held(self, moment: int) -> int:
        """Return how many records the windows hold at a moment, on average over all that is swept."""
        return self.before(moment) - sum(self.left(one[1], moment) for one in self.ways) // len(self.ways)

    def _places(self) -> np.ndarray:
        """Return where the records of each key begin when they lie by key."""
        counts = np.zeros(self.stream.keys, dtype=np.int64)
        self.loops.count(self.stream.key, counts)
        return np.cumsum(counts) - counts

    def _lay(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values by key, and the greatest of blocks of them."""
        laid = np.empty_like(values)
        self.loops.lay(self.stream.key, values, self.places.copy(), laid)
        return laid, np.maximum.reduceat(laid, np.arange(0, len(laid), self.loops.BLOCK)) if len(
            laid
        ) else laid


class Sweep:
    """One way through the records, from the moment of a first query on."""

    def __init__(self, plan: Plan, begin: int) -> None:
        keep()
        self._plan = plan
        self._come = {
            offset: np.array([channel.times.searchsorted(begin - channel.back, side="right")])
            for offset, channel in plan.channels.items()
        }
        self._place = {one: self._begin(one[1], begin) for one in plan.ways}
        self._state = {}
        places, before = plan.places.copy(), 0
        for one in sorted(plan.ways, key=lambda one: int(self._place[one][0])):
            first = int(self._place[one][0])
            if plan.laid and first > before:
                plan.loops.count(plan.stream.key[before:first], places)
                before = first
            self._state[one] = self._nothing(one, places)

    def _begin(self, window: Window, begin: int) -> np.ndarray:
        """Return which records have entered and left, and the last moment; what had left at once never enters."""
        left = self._plan.left(window, begin)
        late = len(self._plan.channels[window.offset].order) > 0
        return np.array([0 if late else left, left, _SMALLEST])

    def _nothing(self, one: Way, places: np.ndarray) -> np.ndarray:
        """Return the rows of keys without records, so that none lies in two lines of the cache."""
        width = 4 if self._plan.stream.inputs[one[0]].parts[one[2]].shape[1] < 2 else 8
        raw = np.empty(len(places) * width + 8, dtype=np.int64)
        begin = -(raw.ctypes.data // 8) % 8
        state = raw[begin : begin + len(places) * width].reshape(len(places), width)
        state[:, 0] = places << 32 | places
        state[:, 1:] = 0
        state[:, 1], state[:, 2] = -1, _SMALLEST
        return state

    def ask(self, code: np.ndarray, at: np.ndarray) -> list[Column]:
        """Return a column per aggregate for queries that are no earlier than those before them."""
        code, at = np.array(code, dtype=np.int64), np.array(at, dtype=np.int64)
        ends = {offset: self._ends(offset, at) for offset in self._plan.channels}
        found = {one: self._sweep(one, code, at, ends[one[1].offset]) for one in self._plan.ways}
        swept = Swept(self._plan, found)
        return [_FUNCTIONS[item.fn](swept, item) for item in self._plan.wanted]

    def _ends(self, offset: int, at: np.ndarray) -> np.ndarray:
        channel, found = self._plan.channels[offset], np.empty(len(at), dtype=np.int64)
        self._plan.loops.reached(channel.times, channel.back, at, self._come[offset], found)
        return found

    def _sweep(self, one: Way, code: np.ndarray, at: np.ndarray, ends: np.ndarray) -> np.ndarray:
        (place, window, group), plan, stream = one, self._plan, self._plan.stream
        laid, channel = stream.inputs[place], plan.channels[window.offset]
        values = laid.values.get(group, _NONE)
        reach = window.offset + window.size if window.kind == "time" else FOREVER
        what = (
            stream.key,
            stream.event,
            reach,
            laid.parts[group],
            values,
            *plan.laid.get((place, group), (_NONE, _NONE)),
        )
        out = np.empty((2 + laid.parts[group].shape[1], len(code)), dtype=np.int64)
        asked = self._place[one], code, at, ends, self._state[one], out
        if len(channel.order):
            plan.loops.sweep_late(channel.order, channel.visible, *what, *asked)
        else:
            plan.loops.sweep(*what, *asked)
        return out


class Swept:
    """The sums of some queries: what `Windowed` has of them, for the same formulas."""

    def __init__(self, plan: Plan, found: Mapping[Way, np.ndarray]) -> None:
        self._plan, self._found = plan, found
        self.floats: dict[tuple[int, Window], np.ndarray] = {}
        self._some: dict[tuple[int, Window], tuple[np.ndarray, bool]] = {}
        self.parts = Safe(plan.stream.inputs)

    def total(self, item: Aggregate, part: str) -> np.ndarray:
        """Return per query the exact integer sum of a part of an input over a window."""
        group, row = self._plan.stream.inputs[item.input].rows[part]
        return self._found[self._plan.counts[item.input, item.window], item.window, group][row]

    def extreme(self, item: Aggregate) -> np.ndarray:
        """Return per query the least or greatest value, any where there is none."""
        laid = self._plan.stream.inputs[item.input]
        found = self._found[item.input, item.window, laid.picks.index(item.fn)][1]
        return restored(found, item.fn, laid.type)

    def some(self, item: Aggregate) -> tuple[np.ndarray, bool]:
        """Return which windows hold a value, and whether all of them do."""
        key = (item.input, item.window)
        if key not in self._some:
            valid = self.total(item, "count") > 0
            self._some[key] = valid, bool(valid.all())
        return self._some[key]


class Safe:
    """Inputs whose sums are exact whatever a window holds: keys of which that is not known are not swept."""

    def __init__(self, inputs: Mapping[int, Laid]) -> None:
        self._inputs = inputs

    def type(self, place: int) -> str:
        return self._inputs[place].type

    def check_sum(self, place: int, count: np.ndarray, total: Callable[[], np.ndarray]) -> None: ...

    def check_digits(self, place: int, sums: np.ndarray) -> None: ...

    def check_square(self, place: int, count: np.ndarray) -> None: ...


def _extreme(swept: Swept, item: Aggregate) -> Column:
    """Return the least or greatest value, null when there is none."""
    found = swept.extreme(item)
    valid, all_ = swept.some(item)
    return Column(
        exact_type(swept.parts.type(item.input)), found if all_ else np.where(valid, found, 0), valid
    )


_FUNCTIONS: Mapping[str, Callable[[Any, Aggregate], Column]] = {
    "count": sums.count,
    "sum": sums.sum_,
    "mean": sums.mean,
    "var": sums.var,
    "std": sums.std,
    "min": _extreme,
    "max": _extreme,
}
