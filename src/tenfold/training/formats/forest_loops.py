"""The loops of a forest, compiled by numba when this module is imported; `forest.py` decides whether it is."""

import math
from typing import Any

import numpy as np
from numba import float64, types, uint32

from tenfold.features.kernel.twin.compiling import compiled, inner

BLOCK = 32
"""Rows that go through all trees together, a multiple of 8: few enough that they stay in the nearest cache."""
_TINY = np.float64(np.float32(1e-35))
"""What is no larger LightGBM takes for 0."""
_LARGEST = np.finfo(np.float64).max
_U = np.uint64  # an index that cannot be negative needs no look at its sign
_ONE, _TWO = (types.Array(float64, size, "C", readonly=True) for size in (1, 2))
_INDEX, _OUT = types.Array(uint32, 1, "C", readonly=True), float64[::1]


@inner
def _lay(rows: np.ndarray, first: int, count: int, laid: np.ndarray) -> None:
    """Lay rows twice, side by side: NaN is no larger than anything in the first copy, and larger than infinity in the second."""
    width = _U(rows.shape[1])
    for row in range(count):
        for place in range(width):
            value = rows[first + row, place]
            low = high = value
            if value != value:
                low, high = -np.inf, np.inf
            elif abs(value) <= _TINY:
                low = high = 0.0
            elif value == np.inf:
                high = _LARGEST
            at = row * _U(2) * width + place
            laid[at], laid[at + width] = low, high


@inner
def _next(
    node: int, row: int, laid: np.ndarray, feature: np.ndarray, limit: np.ndarray, child: np.ndarray
) -> Any:
    """Return the child that a row goes to; a leaf is its own."""
    return _U(child[node]) + _U(laid[row + _U(feature[node])] > limit[node])


@compiled(_TWO, _INDEX, _ONE, _INDEX, _ONE, _INDEX, _INDEX, _OUT)
def walk(
    rows: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    leaf: np.ndarray,
    root: np.ndarray,
    depth: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add the leaf of each tree, in their order, for each row; x, y and z are feature, bound and child of the nodes."""
    step = _U(2 * rows.shape[1])
    v = np.zeros(_U(BLOCK) * step)
    sums = np.zeros(BLOCK)
    for first in range(_U(0), _U(len(rows)), _U(BLOCK)):
        count = min(_U(BLOCK), _U(len(rows)) - first)
        _lay(rows, first, count, v)
        sums[:] = 0.0
        for tree in range(_U(len(root))):
            for row in range(_U(0), count, _U(8)):
                i = row * step
                j, k, m = i + step, i + _U(2) * step, i + _U(3) * step
                n, o, p, q = i + _U(4) * step, j + _U(4) * step, k + _U(4) * step, m + _U(4) * step
                a = b = c = d = e = f = g = h = _U(root[tree])
                for _ in range(depth[tree]):
                    a_, b_ = _next(a, i, v, x, y, z), _next(b, j, v, x, y, z)
                    c_, d_ = _next(c, k, v, x, y, z), _next(d, m, v, x, y, z)
                    e_, f_ = _next(e, n, v, x, y, z), _next(f, o, v, x, y, z)
                    g_, h_ = _next(g, p, v, x, y, z), _next(h, q, v, x, y, z)
                    left = (a_ ^ a) | (b_ ^ b) | (c_ ^ c) | (d_ ^ d)
                    if left | (e_ ^ e) | (f_ ^ f) | (g_ ^ g) | (h_ ^ h) == 0:
                        break  # all are at a leaf
                    a, b, c, d, e, f, g, h = a_, b_, c_, d_, e_, f_, g_, h_
                for lane, node in enumerate((a, b, c, d, e, f, g, h)):
                    sums[row + _U(lane)] += leaf[node]
        for row in range(count):
            out[first + row] = sums[row]


@compiled(float64, _OUT)
def link(sigmoid: float, out: np.ndarray) -> None:
    """Make probabilities of sums, as LightGBM does."""
    for row in range(len(out)):
        out[row] = 1.0 / (1.0 + math.exp(-sigmoid * out[row]))
