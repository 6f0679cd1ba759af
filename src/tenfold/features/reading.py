"""Features of one key read from its state without arrays: a few look-ups in its bytes per aggregate.

This is the fast way to the same bits. It serves states in which the records visible at t are a range, and aggregates that
are look-ups in such a range; everything else is unpacked and given to the kernel, which says what the values are.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import neg
from typing import Any, NamedTuple

import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.core.windows import Window
from tenfold.features import layout
from tenfold.features.kernel import Aggregate, Own, aggregate
from tenfold.features.layout import HEADER, WORD, Needs, Places, Shape
from tenfold.features.limbs import HIGH, LOW, LOW_BITS
from tenfold.features.lookups import compiled
from tenfold.features.moments import NOISE, UNITS, plus, times, two_sum
from tenfold.features.records import Rows
from tenfold.features.state import empty, states_of, unpack
from tenfold.features.view import FeatureView, aggregate_type, slot
from tenfold.processing.compiled import compile_row

FAST = ("count", "sum", "mean", "var", "std", "min", "max", "first", "last", "lag")
KINDS = ("all", "time", "rows")
_MASK = (1 << LOW_BITS) - 1
_LOW = HIGH * LOW
FEW = 64
"""Up to this many values are compared one by one."""

Read = Callable[["Words", int, int], Any]
"""A look-up in the records [lo, hi) of a state."""


class Words(NamedTuple):
    """A state as words, as floats and as bytes."""

    words: memoryview
    floats: "memoryview[float]"
    raw: memoryview
    rows: int


@dataclass(frozen=True, slots=True)
class Found:
    """The features of a key in their order, and when its newest visible record happened, None if there is none."""

    values: list[Any]
    newest: int | None

    def age(self, at: int) -> int | None:
        """Return how old the newest record is at a moment."""
        return None if self.newest is None else at - self.newest


class Reader:
    """Reads the features of one view from states of its keys."""

    def __init__(self, view: FeatureView) -> None:
        self.view, self._made = view, states_of(view)
        plan = view.plan
        self._fast = [place for place, item in enumerate(plan.aggregates) if is_fast(item)]
        self._all = range(len(plan.aggregates))
        self._slow = [place for place, item in enumerate(plan.aggregates) if not is_fast(item)]
        self._windows = list(dict.fromkeys(_bounds_key(plan.aggregates[place]) for place in self._fast))
        self._shapes: dict[int, _Compiled] = {}
        self._direct = {
            name: int(expr.args[0][1:])
            for name, expr in plan.outputs.items()
            if expr.fn == "col" and expr.args[0] != AS_OF
        }
        self._types = _types(view)
        kinds = {slot(place): kind for place, kind in enumerate(self._types)}
        self._row = compile_row(plan.outputs, kinds | {AS_OF: "time"})
        self._simple = len(self._direct) == len(plan.outputs)
        self._order = [self._direct[name] for name in plan.outputs] if self._simple else []

    def __call__(self, state: Any, at: int, own: Rows | None = None) -> Found:
        """Return the features as of `at`.

        Parameters
        ----------
        state
            The bytes of the state, or a view of them; None where nothing is known of the key.
        own
            The row that is asked for, when the view counts it too.
        """
        results, newest = self._aggregates(state, at, own)
        if self._simple:
            return Found([results[place] for place in self._order], newest)
        return Found(self._outputs(results, at), newest)

    def _aggregates(self, state: Any, at: int, own: Rows | None) -> tuple[list[Any], int | None]:
        """Return the value of each aggregate, and the event time of the newest visible record."""
        if state is None:
            return self._listed(None, at, self._all, own)
        raw = memoryview(state)
        words = raw.cast("q")
        count, flags = words[layout.COUNT], words[layout.FLAGS]
        visible = count
        if at < words[layout.SETTLED]:
            visible = _visible(words, count, at) if flags & layout.ORDERED else -1
        if visible < 0 or not flags & layout.SAFE:
            return self._listed(state, at, self._all, own)
        kind = words[layout.KIND]
        plan = self._shapes.get(kind) or self._compile(kind)
        floats = raw.cast("d")
        if visible == count:
            found = plan.all_visible(words, floats, raw, count, at)
        else:
            found = plan.some_visible(Words(words, floats, raw, count), visible, at, len(self._types))
        if self._slow:
            for place, value in zip(self._slow, self._listed(state, at, self._slow, own)[0], strict=True):
                found[place] = value
        newest = words[HEADER + visible - 1] if visible else words[layout.PAST]
        return found, newest or None

    def _listed(
        self, state: Any, at: int, places: Sequence[int], own: Rows | None
    ) -> tuple[list[Any], int | None]:
        """Return aggregates as the kernel gives them for the unpacked records."""
        rows = empty(self.view) if state is None else unpack(self.view, bytes(state))[0]
        records = rows.records(np.zeros(len(rows.event), dtype=np.int64))
        wanted = [self.view.plan.aggregates[place] for place in places]
        visible = np.flatnonzero((rows.known < at) & (rows.event < at) & (rows.until >= at))
        asked = None
        if own is not None:
            mine = visible[rows.ids[visible] == own.ids[0]]
            asked = Own(own.inputs, np.array([mine[-1] if len(mine) else -1], dtype=np.int64))
        one, moment = np.zeros(1, dtype=np.int64), np.array([at], dtype=np.int64)
        results = aggregate(records, one, moment, wanted, asked)
        newest = 0 if state is None else memoryview(state).cast("q")[layout.PAST]
        newest = int(rows.event[visible[-1]]) if len(visible) else newest
        return [item.plain()[0] for item in results], newest or None

    def _outputs(self, results: Sequence[Any], at: int) -> list[Any]:
        row = {slot(place): value for place, value in enumerate(results)}
        row[AS_OF] = at
        return list(self._row(row))

    def _compile(self, kind: int) -> "_Compiled":
        shape, plan, needs = self._made.shape(kind), self.view.plan, self._made.needs
        bounds = [
            _bounds(window, shape.inputs[place] if place >= 0 else None) for window, place in self._windows
        ]
        reads, sources = [], []
        for place in self._fast:
            item = plan.aggregates[place]
            which, read = self._windows.index(_bounds_key(item)), _reader(item, needs, shape)
            reads.append((place, which, read))

            def called(given: tuple[Any, ...], lo: int, hi: int, read: Read = read) -> Any:
                return read(Words(*given), lo, hi)

            sources.append((which, (item, place, shape.inputs[item.input], needs[item.input], called)))
        all_visible = compiled([window for window, _ in self._windows], bounds, sources, len(plan.aggregates))
        self._shapes[kind] = _Compiled(bounds, reads, all_visible)
        return self._shapes[kind]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What to look up in states of one kind: windows, and per aggregate its place, its window and how it is read."""

    bounds: list[Callable[[memoryview, int, int, int], tuple[int, int]]]
    reads: list[tuple[int, int, Read]]
    all_visible: Callable[[Any, Any, Any, int, int], list[Any]]

    def some_visible(self, given: Words, visible: int, at: int, size: int) -> list[Any]:
        """Return the results where the first so many records are visible."""
        bounds = [find(given.words, given.rows, visible, at) for find in self.bounds]
        found: list[Any] = [None] * size
        for place, which, read in self.reads:
            found[place] = read(given, *bounds[which])
        return found


@lru_cache(maxsize=1_000)
def reader_of(view: FeatureView) -> Reader:
    """Return what reads the states of a view."""
    return Reader(view)


def is_fast(item: Aggregate) -> bool:
    """Return whether an aggregate is a look-up in a range of records."""
    return item.fn in FAST and item.window.kind in KINDS and not item.window.include_self


def _types(view: FeatureView) -> list[str]:
    inputs = view.plan.inputs
    return [aggregate_type(item.fn, inputs[item.input].type) for item in view.plan.aggregates]


def _bounds_key(item: Aggregate) -> tuple[Window, int]:
    """Return what decides the range of an aggregate: for the last n rows also which records take part."""
    return item.window, item.input if item.window.kind == "rows" else -1


def _visible(words: memoryview, count: int, at: int) -> int:
    """Return how many records of a state in order are visible at `at`."""
    known = HEADER + count

    def start(place: int) -> int:
        event, seen = words[HEADER + place], words[known + place]
        return 1 + (max(seen, event))

    return bisect_right(range(count), at, key=start)


def _bounds(window: Window, places: Places | None) -> Callable[[memoryview, int, int, int], tuple[int, int]]:
    """Return what finds the records [lo, hi) of a window among the visible ones."""
    size, offset = window.size, window.offset

    def end(words: memoryview, visible: int, at: int) -> int:
        if not offset:
            return visible
        return bisect_left(words, at - offset, HEADER, HEADER + visible) - HEADER

    if window.kind == "time":
        older = offset + size

        def within(words: memoryview, _count: int, visible: int, at: int) -> tuple[int, int]:
            hi = end(words, visible, at) if offset else visible
            return bisect_right(words, at - older, HEADER, HEADER + hi) - HEADER, hi

        return within
    if window.kind == "all":
        return lambda words, _count, visible, at: (0, end(words, visible, at))
    member = -1 if places is None else places.member

    def last(words: memoryview, count: int, visible: int, at: int) -> tuple[int, int]:
        hi = end(words, visible, at)
        if member < 0:
            return max(0, hi - size), hi
        first = HEADER + member * count
        behind = words[first + hi] if hi < count else 0
        return bisect_left(words, -(behind + size), first, first + hi, key=neg) - first, hi

    return last


# Aggregates: each takes what it needs to know of the columns, and returns the look-up ----------------


def _reader(item: Aggregate, needs: Sequence[Needs], shape: Shape) -> Read:
    places, need = shape.inputs[item.input], needs[item.input]
    if item.fn == "count":
        return _total(places.member)
    if item.fn in ("first", "last", "lag"):
        value = _value(places, need, _text_before(item.input, needs, shape))
        return _first(places.member, value) if item.fn == "first" else _nth(places.member, item.n or 0, value)
    count = _total(places.used)
    if item.fn in ("min", "max"):
        return _extreme(places, need, item.fn, count)
    if item.fn in layout.SPREADS:
        return _spread(places, need, item.fn, count)
    total = _float_sum(places) if need.type == "float" else _total(places.totals["whole"])
    if item.fn == "mean":
        return _mean(total, count)
    return _sum(total, count)


def _total(unit: int) -> Read:
    """Return the look-up of a suffix total; without a column every record counts one."""
    if unit < 0:
        return lambda _given, lo, hi: hi - lo if hi > lo else 0

    def total(given: Words, lo: int, hi: int) -> int:
        if lo >= hi:
            return 0
        words, count = given.words, given.rows
        first = HEADER + unit * count
        found: int = words[first + lo]
        return found if hi == count else found - words[first + hi]

    return total


def _float_sum(places: Places) -> Read:
    high, low = _total(places.totals["high"]), _total(places.totals["low"])

    def total(given: Words, lo: int, hi: int) -> float:
        rest = low(given, lo, hi)
        return float(high(given, lo, hi) + (rest >> LOW_BITS)) / HIGH + float(rest & _MASK) / _LOW

    return total


def _sum(total: Read, count: Read) -> Read:
    return lambda given, lo, hi: total(given, lo, hi) if count(given, lo, hi) else None


def _mean(total: Read, count: Read) -> Read:
    def mean(given: Words, lo: int, hi: int) -> float | None:
        values = count(given, lo, hi)
        return float(total(given, lo, hi)) / values if values else None

    return mean


def _spread(places: Places, need: Needs, fn: str, count: Read) -> Read:
    units = (("high", 2.0**-20), ("low", 2.0**-63)) if need.type == "float" else (("whole", 1.0),)
    sums = [(_total(places.totals[name]), unit) for name, unit in units]
    squares = [_total(places.totals[name]) for name in layout.SQUARES]

    def spread(given: Words, lo: int, hi: int) -> float | None:
        values = count(given, lo, hi)
        if values < 2:
            return None
        found = _variance(
            values,
            [(total(given, lo, hi), unit) for total, unit in sums],
            [total(given, lo, hi) for total in squares],
        )
        return math.sqrt(found) if fn == "std" else found

    return spread


def _variance(count: int, sums: Sequence[tuple[int, float]], squares: Sequence[int]) -> float:
    """Return what `moments.variance` does, step by step, for one window."""
    carried: list[int] = []
    carry = 0
    for limb in reversed(squares[1:]):
        carried.insert(0, (limb + carry) & _MASK)
        carry = (limb + carry) >> LOW_BITS
    carried.insert(0, squares[0] + carry)
    n, total = float(count), _double(sums)
    over = times(_double(zip(carried, UNITS, strict=True)), (n, 0.0))
    square = times(total, total)
    high_part, low_part = plus(over, (-square[0], -square[1]))
    numerator = high_part + low_part
    return float(numerator / (n * (n - 1.0))) if numerator > over[0] * NOISE + n * n * UNITS[-1] else 0.0


def _double(limbs: Iterable[tuple[int, float]]) -> Any:
    total: Any = (0.0, 0.0)
    for limb, unit in limbs:
        above, below = float(limb >> 32) * 2.0**32, float(limb & 0xFFFFFFFF)
        total = plus(total, two_sum(above * unit, below * unit))
    return total


def _extreme(places: Places, need: Needs, fn: str, count: Read) -> Read:
    """Return the look-up of an extreme from a record to the last one; one that ends before is compared."""
    unit, values, real = places.totals[fn], places.values, need.type == "float"
    used = _is_counted(places.used)
    pick: Callable[..., Any] = min if fn == "min" else max

    def extreme(given: Words, lo: int, hi: int) -> Any:
        if not count(given, lo, hi):
            return None
        cells: Any = given.floats if real else given.words
        rows = given.rows
        if hi == rows:
            return cells[HEADER + unit * rows + lo]
        first = HEADER + values * rows
        if hi - lo > FEW:
            return _compared(given, fn, cells[first + lo : first + hi], places.used, lo, hi)
        found = pick(cells[first + place] for place in range(lo, hi) if used(given, place))
        return found + 0.0 if real else found

    return extreme


def _compared(given: Words, fn: str, cells: Any, used: int, lo: int, hi: int) -> Any:
    values = np.asarray(cells)
    if used >= 0:
        first = HEADER + used * given.rows
        totals = np.asarray(given.words[first + lo : first + hi + 1])
        values = values[totals[:-1] != totals[1:]]
    found: Any = (values.min() if fn == "min" else values.max()) + values.dtype.type(0)
    return found.item()


def _is_counted(unit: int) -> Callable[[Words, int], bool]:
    """Return the look-up of whether a record is counted in a suffix total."""
    if unit < 0:
        return lambda _given, _place: True

    def counted(given: Words, place: int) -> bool:
        first, words = HEADER + unit * given.rows + place, given.words
        after = words[first + 1] if place + 1 < given.rows else 0
        return bool(words[first] != after)

    return counted


def _first(member: int, value: Callable[[Words, int], Any]) -> Read:
    """Return the look-up of the first record that takes part."""
    if member < 0:
        return lambda given, lo, hi: value(given, lo) if lo < hi else None
    total = _total(member)

    def first(given: Words, lo: int, hi: int) -> Any:
        if not total(given, lo, hi):
            return None
        begin, words = HEADER + member * given.rows, given.words
        # The total falls right behind the first record that takes part.
        place = bisect_right(words, -words[begin + lo], begin + lo, begin + hi, key=neg) - begin - 1
        return value(given, place)

    return first


def _nth(member: int, back: int, value: Callable[[Words, int], Any]) -> Read:
    """Return the look-up of the record so many before the last one that takes part."""
    if member < 0:
        return lambda given, lo, hi: value(given, hi - 1 - back) if hi - lo > back else None
    total = _total(member)

    def nth(given: Words, lo: int, hi: int) -> Any:
        if total(given, lo, hi) <= back:
            return None
        begin, words, count = HEADER + member * given.rows, given.words, given.rows
        wanted = (words[begin + hi] if hi < count else 0) + back + 1
        return value(given, bisect_right(words, -wanted, begin + lo, begin + hi, key=neg) - begin - 1)

    return nth


def _value(places: Places, need: Needs, before: Callable[[Words], int]) -> Callable[[Words, int], Any]:
    """Return the look-up of a value, None for null."""
    unit, valid, kind = places.values, _is_counted(places.used), need.type
    always = places.used < 0

    def value(given: Words, place: int) -> Any:
        if not (always or valid(given, place)):
            return None
        at = HEADER + unit * given.rows + place
        if kind == "float":
            return given.floats[at]
        found = given.words[at]
        if kind != "str":
            return bool(found) if kind == "bool" else found
        begin, text = given.words[at - 1] if place else 0, before(given)
        return str(given.raw[text + begin : text + found], "utf-8")

    return value


def _text_before(place: int, needs: Sequence[Needs], shape: Shape) -> Callable[[Words], int]:
    """Return what finds the first byte of the texts of an input."""
    units = [
        one.values
        for one, need in zip(shape.inputs[:place], needs[:place], strict=True)
        if need.type == "str" and need.values
    ]

    def before(given: Words) -> int:
        words, count = given.words, given.rows
        at = (HEADER + shape.words * count + shape.gone * words[layout.GONE]) * WORD
        for unit in units if count else ():
            at += words[HEADER + (unit + 1) * count - 1]
        return at

    return before
