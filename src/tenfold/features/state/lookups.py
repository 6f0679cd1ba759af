"""The look-ups of aggregates in a range of a state's records: each function takes where the columns lie and returns one."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from operator import neg
from typing import Any, NamedTuple

import numpy as np

from tenfold.core.decimals import PLACES
from tenfold.features.kernel.compute import Aggregate
from tenfold.features.kernel.decimals import SHRUNK, unit_squared
from tenfold.features.kernel.limbs import HIGH, LOW, LOW_BITS
from tenfold.features.kernel.moments import NOISE, UNITS, plus, times, two_sum
from tenfold.features.state import layout
from tenfold.features.state.layout import HEADER, WORD, Needs, Places, Shape

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


def look_up(item: Aggregate, needs: Sequence[Needs], shape: Shape) -> Read:
    """Return the look-up of an aggregate in states of a shape."""
    places, need = shape.inputs[item.input], needs[item.input]
    if item.fn in ("first", "last", "lag"):
        value = value_of(item.input, needs, shape)
        return _first(places.member, value) if item.fn == "first" else _nth(places.member, item.n or 0, value)
    if item.fn in ("min", "max"):
        return _extreme(places, need, item.fn, _total(places.used))
    units = {"member": places.member, "used": places.used} | places.totals
    return from_totals(item.fn, need, lambda name: _total(units[name]))


def from_totals(fn: str, need: Needs, total_of: Callable[[str], Any]) -> Any:
    """Return the look-up of what is made of totals: "member" and "used" count, the others are those of a state."""
    if fn == "count":
        return total_of("member")
    count = total_of("used")
    if fn in layout.SPREADS:
        return _spread(need, fn, count, total_of)
    total = _float_sum(total_of) if need.type == "float" else total_of("whole")
    if fn == "mean":
        return _mean(total, count, PLACES.get(need.type))
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


def _float_sum(total_of: Callable[[str], Any]) -> Read:
    high, low = total_of("high"), total_of("low")

    def total(given: Words, lo: int, hi: int) -> float:
        rest = low(given, lo, hi)
        return float(high(given, lo, hi) + (rest >> LOW_BITS)) / HIGH + float(rest & _MASK) / _LOW

    return total


def _sum(total: Read, count: Read) -> Read:
    return lambda given, lo, hi: total(given, lo, hi) if count(given, lo, hi) else None


def _mean(total: Read, count: Read, places: int | None) -> Read:
    scale = None if places is None else 10**places

    def mean(given: Words, lo: int, hi: int) -> float | None:
        values = count(given, lo, hi)
        if not values:
            return None
        found = total(given, lo, hi)
        return float(found) / values if scale is None else found / (values * scale)

    return mean


def _spread(need: Needs, fn: str, count: Read, total_of: Callable[[str], Any]) -> Read:
    whole, scale = SHRUNK if need.type in PLACES else 1.0, unit_squared(need.type)
    units = (("high", 2.0**-20), ("low", 2.0**-63)) if need.type == "float" else (("whole", whole),)
    sums = [(total_of(name), unit) for name, unit in units]
    squares = [total_of(name) for name in layout.SQUARES]

    def spread(given: Words, lo: int, hi: int) -> float | None:
        values = count(given, lo, hi)
        if values < 2:
            return None
        found = _variance(
            values,
            [(total(given, lo, hi), unit) for total, unit in sums],
            [total(given, lo, hi) for total in squares],
        )
        found /= scale
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


def value_of(place: int, needs: Sequence[Needs], shape: Shape) -> Callable[[Words, int], Any]:
    """Return the look-up of the value of an input in one record, None for null."""
    places, before = shape.inputs[place], text_before(place, needs, shape)
    unit, valid, kind = places.values, _is_counted(places.used), needs[place].type
    always = places.used < 0

    def value(given: Words, row: int) -> Any:
        if not (always or valid(given, row)):
            return None
        at = HEADER + unit * given.rows + row
        if kind == "float":
            return given.floats[at]
        found = given.words[at]
        if kind != "str":
            return bool(found) if kind == "bool" else found
        begin, text = given.words[at - 1] if row else 0, before(given)
        return str(given.raw[text + begin : text + found], "utf-8")

    return value


def text_before(place: int, needs: Sequence[Needs], shape: Shape) -> Callable[[Words], int]:
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
