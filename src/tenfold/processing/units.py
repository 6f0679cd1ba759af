"""Decimals as arrays: int64 units to floats and to Arrow, and back."""

from typing import TYPE_CHECKING

import numpy as np

from tenfold.core.decimals import DIGITS, LIMIT

if TYPE_CHECKING:
    import pyarrow as pa

EXACT = 2**53
"""Up to here a whole number is exact as a float, so that one division rounds once."""


def floats(units: np.ndarray, places: int) -> np.ndarray:
    """Return the float64 nearest to each decimal.

    Examples
    --------
    >>> floats(np.array([1230, -(10**18) + 1]), 2).tolist()
    [12.3, -1e+16]
    """
    found = units.astype(np.float64) / 10.0**places
    large = np.flatnonzero((units > EXACT) | (units < -EXACT))
    found[large] = [value / 10**places for value in units[large].tolist()]  # Python rounds it once, too
    return found


def scaled(units: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return units times a power of ten, 0 where that has more than 18 digits, and where it has not."""
    most = (LIMIT - 1) // factor
    fits = (units <= most) & (units >= -most)
    return np.where(fits, units, 0) * min(factor, LIMIT), fits


def to_arrow(units: np.ndarray, valid: np.ndarray, places: int) -> "pa.Array":
    """Return units as Arrow's decimal128(18, places), null where they are not valid."""
    import pyarrow as pa

    words = np.empty((len(units), 2), dtype=np.int64)
    words[:, 0], words[:, 1] = units, units >> 63
    marks = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.decimal128(DIGITS, places), len(units), [marks, pa.py_buffer(words)])


def from_arrow(array: "pa.Array", places: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Arrow decimals in units of so many places, and which have no more places and at most 18 digits.

    Where an array is null it may be any value.
    """
    import pyarrow as pa

    kind = array.type
    if not pa.types.is_decimal128(kind):
        try:
            array = array.cast(pa.decimal128(38, kind.scale))
        except pa.ArrowInvalid:  # a value of more than 38 digits among those of 76
            return np.zeros(len(array), dtype=np.int64), np.zeros(len(array), dtype=np.bool_)
    held = array.buffers()[1]
    data = (
        np.zeros(0, dtype=np.int64) if held is None else np.frombuffer(held, dtype=np.int64)
    )  # None: no rows
    words = data[2 * array.offset : 2 * (array.offset + len(array))].reshape(-1, 2)
    low, small = words[:, 0], words[:, 1] == words[:, 0] >> 63
    shift = places - kind.scale
    if shift >= 0:
        units, fits = scaled(np.where(small, low, 0), 10**shift)
        return units, fits & small
    step = 10 ** min(-shift, DIGITS)
    small &= (low % step == 0) & ((low == 0) | (-shift <= DIGITS))
    units, fits = scaled(np.where(small, low // step, 0), 1)
    return units, fits & small
