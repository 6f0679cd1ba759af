"""Aggregates as of queries in the order of time, swept through records in the order of their events."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
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
from tenfold.features.kernel.twin.channel import EVERY, NONE, SMALLEST, Bounds, Channel, Places
from tenfold.features.kernel.twin.stream import Laid, restored
from tenfold.processing.frame import Column

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


class Plan:
    """What is computed of a stream for some aggregates: made once, read by all that sweep."""

    def __init__(self, loops: Any, stream: Stream, wanted: Sequence[Aggregate], pool: Executor) -> None:
        self.loops, self.stream, self.wanted = loops, stream, wanted
        offsets = {item.window.offset for item in wanted}
        made = pool.map(lambda offset: Channel(stream.event, stream.start, offset), offsets)
        self.counts: dict[tuple[int, Window], int] = {}
        self.ways = list(dict.fromkeys(self._ways()))
        self.picks = {
            (window.offset, place, group)
            for place, window, group in self.ways
            if group in stream.inputs[place].values
        }
        self.places = Places(loops, stream.key, stream.keys)
        self.laid = {
            one: self.places.lay(stream.inputs[one[0]].values[one[1]])
            for one in {pick[1:] for pick in self.picks}
        }
        self.channels = dict(zip(offsets, made, strict=True))
        late = [self.channels[offset] for offset in {pick[0] for pick in self.picks}]
        self.turns = {channel.offset: self.places.turned(channel) for channel in late if channel.late}

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


class Sweep:
    """One way through the records, from the moment of a first query on."""

    def __init__(self, plan: Plan, begin: int) -> None:
        keep()
        self._plan = plan
        channels = plan.channels.values()
        self._come = {channel.offset: np.array([channel.come(begin)]) for channel in channels}
        self._place = {one: self._begin(one[1], begin) for one in plan.ways}
        self._bounds = {pick: self._bound(*pick) for pick in plan.picks if pick[0] in plan.turns}
        self._state = {}
        first, before = plan.places.first.copy(), 0
        for one in sorted(plan.ways, key=lambda one: int(self._place[one][1])):
            left = int(self._place[one][1])
            if plan.laid and left > before:
                plan.loops.count(plan.stream.key[before:left], first)
                before = left
            self._state[one] = self._nothing(one, first)

    def _begin(self, window: Window, begin: int) -> np.ndarray:
        """Return which records have entered and left; what had left at once never enters."""
        left = self._plan.left(window, begin)
        return np.array([self._plan.channels[window.offset].passed(left), left])

    def _bound(self, offset: int, place: int, group: int) -> Bounds:
        plan, ways = self._plan, self._place.items()
        come = min(int(entered) for (_, window, _), (entered, _) in ways if window.offset == offset)
        values = plan.stream.inputs[place].values[group]
        return Bounds(plan.loops, plan.channels[offset], plan.places, values, come)

    def _nothing(self, one: Way, first: np.ndarray) -> np.ndarray:
        """Return the rows of keys without records, so that none lies in two lines of the cache."""
        width = 4 if self._plan.stream.inputs[one[0]].parts[one[2]].shape[1] < 2 else 8
        raw = np.empty(len(first) * width + 8, dtype=np.int64)
        begin = -(raw.ctypes.data // 8) % 8
        state = raw[begin : begin + len(first) * width].reshape(len(first), width)
        state[:, 0], state[:, 1], state[:, 2], state[:, 3:] = first, -1, SMALLEST, 0
        return state

    def ask(self, code: np.ndarray, at: np.ndarray) -> list[Column]:
        """Return a column per aggregate for queries that are no earlier than those before them."""
        code, at = np.array(code, dtype=np.int64), np.array(at, dtype=np.int64)
        ends = {offset: self._ends(offset, at) for offset in self._plan.channels}
        for (offset, *_), bounds in self._bounds.items():
            bounds.grow(ends[offset][-1])
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
        values = laid.values.get(group, NONE)
        reach = window.offset + window.size if window.kind == "time" else FOREVER
        by_key, tops = plan.laid.get((place, group), (NONE, NONE))
        bounds, whose = self._bounds.get((window.offset, place, group)), (EVERY, EVERY, NONE)
        if bounds is not None:
            tops, whose = bounds.tops, (plan.places.spots, plan.turns[window.offset], bounds.behind)
        out = np.empty((2 + laid.parts[group].shape[1], len(code)), dtype=np.int64)
        what = stream.key, stream.event, reach, laid.parts[group], values, by_key, tops
        asked = self._place[one], code, at, ends, self._state[one], out
        if channel.late:
            plan.loops.sweep_late(channel.order, channel.turn, *whose, *what, *asked)
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

    def check_square(self, place: int, count: np.ndarray, large: Callable[[], np.ndarray]) -> None: ...


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
