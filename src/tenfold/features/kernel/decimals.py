"""Decimals in the kernel are whole numbers of units: how far they go, and what means and variances of them are scaled by."""

import numpy as np

from tenfold.core.decimals import LIMIT, PLACES
from tenfold.features.kernel.limbs import MAX_COARSE
from tenfold.features.kernel.moments import LARGEST as LARGEST_SQUARED

WRAPS = 2**42
"""A window whose coarse sum and count together stay below this has a sum that does not wrap around, below 2^62."""
SHRUNK = 2.0**-18
"""Units are squared times this power of two, without loss: so 2^53 of them go as far as the squares of floats do."""
_EXACT = 2**53


def exact_type(type_: str) -> str:
    """Return the type of a sum or an extreme of values of a type."""
    return "int" if type_ == "bool" else type_


def most_coarse(type_: str) -> int:
    """Return below what the coarse sum of a window, with its count, shows that the sum fits."""
    return LIMIT >> 20 if type_ in PLACES else MAX_COARSE


def quotients(total: np.ndarray, count: np.ndarray, places: int) -> np.ndarray:
    """Return the float nearest to each total in units, divided by how many values it is of.

    Examples
    --------
    >>> quotients(np.array([1000]), np.array([3]), 2).tolist()
    [3.3333333333333335]
    """
    scale = 10**places
    if int(count.max(initial=0)) * scale <= _EXACT and int(np.abs(total).max(initial=0)) <= _EXACT:
        return np.asarray(total / (count * scale))  # two whole floats: rounded once
    pairs = zip(total.tolist(), count.tolist(), strict=True)
    return np.array([value / (values * scale) for value, values in pairs], dtype=np.float64)


def to_square(values: np.ndarray, type_: str) -> np.ndarray:
    """Return values as the floats whose squares are summed."""
    return values.astype(np.float64) * SHRUNK if type_ in PLACES else values.astype(np.float64)


def most_squared(type_: str) -> float:
    """Return below what the squares of values are summed exactly."""
    return LARGEST_SQUARED / SHRUNK if type_ in PLACES else LARGEST_SQUARED


def unit_squared(type_: str) -> float:
    """Return by what a variance is divided: of decimals it comes in shrunk units.

    Examples
    --------
    >>> unit_squared("decimal(2)") == 100.0**2 * SHRUNK**2, unit_squared("float")
    (True, 1.0)
    """
    return 10.0 ** (2 * PLACES[type_]) * SHRUNK**2 if type_ in PLACES else 1.0
