"""What is summed, compared and counted of an input: whole numbers, one array per use, made once per call."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from tenfold.core.decimals import LIMIT, PLACES
from tenfold.core.errors import Inexact
from tenfold.features.kernel.decimals import WRAPS, most_coarse, most_squared, to_square
from tenfold.features.kernel.inputs import Input
from tenfold.features.kernel.limbs import MAX_COARSE, MAX_ROWS, coarse, split
from tenfold.features.kernel.moments import MAX_ROWS as MOST_SQUARES
from tenfold.features.kernel.moments import square_limbs
from tenfold.processing.frame import Column

_INSTEAD = {
    False: "divide the column by a constant in a Derived source",
    True: 'aggregate the nearest floats, .cast("float")',
}
"""What to do about values that are too large, of decimals and not."""


class Parts:
    """The rows of a call, records first and then the rows asked for, as the arrays that aggregates are made from."""

    def __init__(self, inputs: Sequence[Input], event: np.ndarray) -> None:
        self._inputs, self.event = inputs, event
        self.integers = cache(self._integers)
        self.all_ones = cache(self._all_ones)
        self.codes = cache(self._codes)
        self.used = cache(self._used)
        self._squares = cache(self._square_limbs)
        self.largest = cache(self._find_largest)

    def column(self, place: int) -> Column:
        """Return the values of an input."""
        return self._inputs[place].column

    def type(self, place: int) -> str:
        """Return the type of an input's values."""
        return self._inputs[place].column.type

    def member(self, place: int) -> np.ndarray:
        """Return which rows take part."""
        return self._inputs[place].member

    def _used(self, place: int) -> np.ndarray:
        """Return which rows take part with a value."""
        return self.member(place) & self.column(place).valid

    def _integers(self, place: int, part: str) -> np.ndarray:
        """Return the int64 values that are summed for one input: 0 where a row does not take part."""
        if part == "member":
            return self.member(place).astype(np.int64)
        if part == "count":
            return self.used(place).astype(np.int64)
        values = self._values(place)
        if part == "coarse":
            return coarse(values)
        if part == "large":
            return self._large(place).astype(np.int64)
        if part == "whole":
            return values.astype(np.int64)
        if part in ("high", "low"):
            both = split(values.astype(np.float64))
            return both[part == "low"]
        return self._squares(place)[int(part[-1])]

    def _large(self, place: int) -> np.ndarray:
        """Return which values are too large to be squared: no window that holds one has a variance."""
        return np.abs(self._values(place).astype(np.float64)) >= most_squared(self.type(place))

    def _square_limbs(self, place: int) -> list[np.ndarray]:
        values, type_ = self._values(place), self.type(place)
        if self.largest(place)[0] >= most_squared(type_):
            values = np.where(self._large(place), 0, values)
        return square_limbs(to_square(values, type_))

    def _values(self, place: int) -> np.ndarray:
        column, used = self.column(place), self.used(place)
        return column.values if used.all() else np.where(used, column.values, 0)

    def _all_ones(self, place: int, part: str) -> bool:
        """Return whether a part is 1 in all rows, so that counting is a difference of positions."""
        return bool((self.member(place) if part == "member" else self.used(place)).all())

    def comparable(self, place: int, fn: str) -> tuple[np.ndarray, float]:
        """Return values to compare, those that do not take part being `blank`; -0.0 is 0.0."""
        column = self.column(place)
        values = column.values.astype(np.float64 if column.type == "float" else np.int64)
        limits = (
            (-np.inf, np.inf) if column.type == "float" else (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
        )
        blank = limits[fn == "min"]
        return np.where(self.used(place), values, blank) + values.dtype.type(0), blank

    def _codes(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return per row a code, equal for equal values, and the rank of its value; any for rows without one."""
        column = self.column(place)
        if column.type != "str":
            _, codes = np.unique(column.values + column.values.dtype.type(0), return_inverse=True)
            return codes, codes
        codes, distinct = column.coded
        texts = ["" if text is None else text for text in distinct.to_pylist()]
        ranks = np.empty(len(texts), dtype=np.int64)
        ranks[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
        return codes.astype(np.int64), ranks[codes]

    def _find_largest(self, place: int) -> tuple[float, float]:
        """Return the largest magnitude of an input, and of its coarse values."""
        values = self._values(place)
        if not len(values):
            return 0.0, 0.0
        ends = np.array([values.min(), values.max()])
        return float(np.abs(ends.astype(np.float64)).max()), float(np.abs(coarse(ends)).max()) + 1.0

    def check_sum(self, place: int, count: np.ndarray, total: Callable[[], np.ndarray]) -> None:
        """Refuse windows whose exact sum does not fit; the cheap bound decides nearly always."""
        type_ = self.type(place)
        most = int(count.max(initial=0))
        if most < MAX_ROWS and most * self.largest(place)[1] < most_coarse(type_):
            return
        limit = WRAPS if type_ in PLACES else MAX_COARSE
        self._refuse(
            place,
            (count >= MAX_ROWS) | (np.abs(total()) + count >= limit),
            "the values of a window cannot be summed exactly (up to 2^20 values, sum below "
            f"{'10^18 units' if type_ in PLACES else '2^43' if type_ == 'float' else '2^53'})",
        )

    def check_digits(self, place: int, sums: np.ndarray) -> None:
        """Refuse sums of decimals that are none: they have more than 18 digits."""
        type_ = self.type(place)
        if type_ in PLACES and int(np.abs(sums).max(initial=0)) >= LIMIT:
            told = f"the sum of a window has more than 18 digits, {PLACES[type_]} of them places"
            self._refuse(place, np.abs(sums) >= LIMIT, told)

    def check_square(self, place: int, count: np.ndarray, large: Callable[[], np.ndarray]) -> None:
        """Refuse variances of values whose squares cannot be summed exactly; `large` says how many a window holds."""
        type_ = self.type(place)
        if int(count.max(initial=0)) < MOST_SQUARES and self.largest(place)[0] < most_squared(type_):
            return
        below = "2^53 units" if type_ in PLACES else "2^35"
        told = f"the squares of the values of a window cannot be summed exactly (up to 2^19 values below {below})"
        self._refuse(place, (count >= MOST_SQUARES) | (large() > 0), told)

    def _refuse(self, place: int, refused: np.ndarray, told: str) -> None:
        if refused.any():
            raise Inexact(
                f"{self._inputs[place].name}: {told}. Shorten the window, leave such values out "
                f"(where=, or valid= of the source), or {_INSTEAD[self.type(place) in PLACES]}.",
                np.flatnonzero(refused),
            )
