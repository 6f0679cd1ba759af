"""Exact sums of floats: a float as two whole numbers, so that addition is associative and can be undone.

x = high * 2^-20 + low * 2^-63, with 0 <= low < 2^43. Exact for every float64 with 2^-10 <= |x| < 2^43; smaller ones are
rounded once, to a multiple of 2^-63, the same way everywhere. Up to 2^20 values whose magnitudes sum to less than 2^43
fit in a window.
"""

import numpy as np

HIGH = 2.0**20
LOW = 2.0**43
LOW_BITS = 43
MAX_ROWS = 2**20
TOO_MUCH = 2.0**40
MAX_COARSE = 2**33
"""A window whose coarse sum and count together stay below this has a sum below 2^43 (floats) or 2^53 (integers)."""


def split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two int64 limbs of float64 values, shape (n,) each.

    Examples
    --------
    >>> high, low = split(np.array([1.5, -0.25]))
    >>> join(np.cumsum(high), np.cumsum(low)).tolist()
    [1.5, 1.25]
    """
    scaled = values * HIGH
    high = np.floor(scaled)
    low = np.rint((scaled - high) * LOW)
    # a value of 2^43 or more has no limbs, and no window that holds it a sum
    with np.errstate(invalid="ignore"):
        return high.astype(np.int64), low.astype(np.int64)


def coarse(values: np.ndarray) -> np.ndarray:
    """Return int64 values so coarse that their sums never overflow: floats in units of 2^10, integers of 2^20."""
    if values.dtype == np.float64:
        return np.clip(np.floor(values / 2.0**10), -TOO_MUCH, TOO_MUCH).astype(np.int64)
    return values.astype(np.int64) >> 20


def join(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return the float64 values of summed limbs: one fixed formula of two integers."""
    whole = high + (low >> LOW_BITS)
    rest = low & ((1 << LOW_BITS) - 1)
    return whole.astype(np.float64) / HIGH + rest.astype(np.float64) / (HIGH * LOW)
