"""Exact sums of squares, and the variance from them by one fixed formula.

The square of a float64 is itself the sum of two, the rounded square and what the rounding lost (Dekker, "A floating-point
technique for extending the available precision", 1971). Both are summed exactly, as four whole numbers of 43 bits:
x * x = a * 2^28 + b * 2^-15 + c * 2^-58 + d * 2^-101. So |x| may be up to 2^35, and what is below 2^-101 is rounded once.

The variance is (n * S2 - S1 * S1) / (n * (n - 1)). Its numerator is computed with twice the digits of a float64, so a large
mean does not eat a small variance, and is 0 where it is at most n * S2 * 2^-100 + n * n * 2^-101: that is what those digits
and the last limb may leave, for example of equal values. Every step is an IEEE addition or multiplication in a fixed order: the same bits everywhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.features.kernel.limbs import LOW_BITS, join, split

LARGEST = 2.0**35
UNITS = (2.0**28, 2.0**-15, 2.0**-58, 2.0**-101)
NOISE = 2.0**-100
MAX_ROWS = 2**19
_MASK = (1 << LOW_BITS) - 1
_SPLITTER = 2.0**27 + 1.0

Floats = Any
"""An array of float64, or one float."""
Double = tuple[Floats, Floats]
"""A number as the unevaluated sum of two floats."""


def square_limbs(values: np.ndarray) -> list[np.ndarray]:
    """Return the squares of float64 values as four int64 limbs, shape (n,) each."""
    values = join(*split(values))  # as exact as they are summed, so that equal values have no variance
    square, lost = _product(values, values)
    return [one + two for one, two in zip(_limbs(square), _limbs(lost), strict=True)]


def _limbs(rest: np.ndarray) -> list[np.ndarray]:
    """Return float64 values as whole numbers of the units; only the last is rounded."""
    found = []
    for unit in UNITS[:-1]:
        limb = np.trunc(rest / unit)  # towards 0: what is left keeps all its digits
        rest = rest - limb * unit
        found.append(limb.astype(np.int64))
    return [*found, np.rint(rest / UNITS[-1]).astype(np.int64)]


def variance(
    count: np.ndarray, sums: Sequence[tuple[np.ndarray, float]], squares: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the sample variance from exact sums; 0 where there are fewer than two values.

    Parameters
    ----------
    count
        int64, shape (n,).
    sums
        The sum of the values as int64 limbs with their units.
    squares
        The summed limbs of `square_limbs`.

    Examples
    --------
    >>> limbs = [part.sum(keepdims=True) for part in square_limbs(np.array([1.0, 2.0, 4.0]))]
    >>> variance(np.array([3]), [(np.array([7]), 1.0)], limbs)
    array([2.33333333])
    """
    carried: list[np.ndarray] = []
    carry = np.zeros_like(count)
    for limb in reversed(squares[1:]):
        limb = limb + carry
        carry = limb >> LOW_BITS
        carried.insert(0, limb & _MASK)
    carried.insert(0, squares[0] + carry)
    n = np.maximum(count, 2).astype(np.float64)
    total = _double(sums)
    over = times(_double(list(zip(carried, UNITS, strict=True))), (n, np.zeros_like(n)))
    square = times(total, total)
    high_part, low_part = plus(over, (-square[0], -square[1]))
    numerator = high_part + low_part
    return np.where(
        (count > 1) & (numerator > over[0] * NOISE + n * n * UNITS[-1]), numerator / (n * (n - 1.0)), 0.0
    )


def _double(limbs: Sequence[tuple[np.ndarray, float]]) -> Double:
    """Return limbs in given units as one number; each limb is two floats without loss."""
    total: Double = (np.zeros(len(limbs[0][0])), np.zeros(len(limbs[0][0])))
    for limb, unit in limbs:
        above = (limb >> 32).astype(np.float64) * 2.0**32
        below = (limb & 0xFFFFFFFF).astype(np.float64)
        total = plus(total, two_sum(above * unit, below * unit))
    return total


def two_sum(a: Floats, b: Floats) -> Double:
    """Return a + b and what its rounding lost."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def plus(a: Double, b: Double) -> Double:
    """Return a + b."""
    total, lost = two_sum(a[0], b[0])
    return two_sum(total, lost + (a[1] + b[1]))


def _product(a: Floats, b: Floats) -> Double:
    """Return a * b and what its rounding lost."""
    total = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    return total, ((a_high * b_high - total) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Floats) -> Double:
    scaled = a * _SPLITTER
    high = scaled - (scaled - a)
    return high, a - high


def times(a: Double, b: Double) -> Double:
    """Return a * b."""
    total, lost = _product(a[0], b[0])
    return two_sum(total, lost + (a[0] * b[1] + a[1] * b[0]))
