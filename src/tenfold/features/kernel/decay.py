"""Sums in which a value counts half after each half-life, exact whatever the order.

Time is cut into blocks of 16 half-lives. A value is weighted once, relative to the end of its block, and the weighted
values of a block are summed as whole numbers; as of t only the blocks are weighted, at most five of them. So nothing depends
on when which record arrived. Values older than 64 half-lives would count less than 2^-64 and count nothing.
"""

import math

import numpy as np

from tenfold.features.kernel.inputs import Aggregate
from tenfold.features.kernel.limbs import join, split
from tenfold.features.kernel.windowed import Windowed
from tenfold.processing.frame import Column

BLOCK = 16
LIFE = 64
BLOCKS = LIFE // BLOCK + 1


def decayed_sum(windowed: Windowed, item: Aggregate) -> Column:
    """Return the decayed sum of each query; `item.n` is the half-life in microseconds."""
    half, moment = item.n, windowed.ranges.at - item.window.offset
    weighted = _Weighted(windowed, item)
    windowed.parts.check_sum(
        item.input, windowed.total(item, "count"), lambda: windowed.total(item, "coarse")
    )
    sums, count = _of_ranges(windowed, item, weighted, moment)
    _of_lists(windowed, item, weighted, moment, sums, count)
    total = np.zeros(len(moment))
    end = (moment // (BLOCK * half) + 1) * (BLOCK * half)
    for back in reversed(range(BLOCKS)):
        weight = exp2((end - back * (BLOCK * half) - moment) / half)
        total = total + join(sums[back, 0], sums[back, 1]) * weight
    own = windowed.joins(item.input, item.window)
    if own is not None:
        used = windowed.parts.used(item.input)[windowed.size :]
        mine = np.where(used, windowed.parts.column(item.input).values[windowed.size :], 0).astype(np.float64)
        total, count = total + mine, count + used
    return Column("float", np.where(count > 0, total, 0.0), count > 0)


class _Weighted:
    """The values of an input, each weighted relative to the end of its block, as two limbs; own rows are left out."""

    def __init__(self, windowed: Windowed, item: Aggregate) -> None:
        event, size = windowed.parts.event, BLOCK * item.n
        self.block = event // size
        self.used = windowed.parts.used(item.input) & (np.arange(len(event)) < windowed.size)
        values = np.where(self.used, windowed.parts.column(item.input).values, 0).astype(np.float64)
        self.limbs = split(values * exp2((event - (self.block + 1) * size) / item.n))


def exp2(exponents: np.ndarray) -> np.ndarray:
    """Return powers of two as the C library has them, so that arrays of any length agree."""
    return np.fromiter(map(math.exp2, exponents.tolist()), dtype=np.float64, count=len(exponents))


def _of_ranges(
    windowed: Windowed, item: Aggregate, weighted: _Weighted, moment: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limbs of each of the last blocks and the number of values, from prefix sums."""
    ranges, size = windowed.ranges, BLOCK * item.n
    lo, hi = windowed.bounds(item.input, item.window)
    lo = np.minimum(np.maximum(lo, ranges.before(moment - LIFE * item.n + 1)), hi)
    first = moment // size * size
    edges = [np.clip(ranges.before(first - back * size), lo, hi) for back in range(-1, BLOCKS)]
    sums = np.empty((BLOCKS, 2, len(moment)), dtype=np.int64)
    for part in (0, 1):
        prefix = _prefix(ranges.in_order(weighted.limbs[part][: windowed.size]))
        for back in range(BLOCKS):
            sums[back, part] = prefix[edges[back]] - prefix[edges[back + 1]]
    counts = _prefix(ranges.in_order(weighted.used[: windowed.size]))
    return sums, counts[hi] - counts[lo]


def _of_lists(
    windowed: Windowed,
    item: Aggregate,
    weighted: _Weighted,
    moment: np.ndarray,
    sums: np.ndarray,
    count: np.ndarray,
) -> None:
    """Put in place the sums of queries whose records have to be listed."""
    for piece in windowed.lists(item, windowed.slow(item)):
        asked = moment[piece.query]
        young = windowed.parts.event[piece.rows] > (asked - LIFE * item.n)[piece.owner]
        rows = piece.keep(young & weighted.used[piece.rows])
        count[piece.query] = np.diff(rows.edges)
        age = (asked // (BLOCK * item.n))[rows.owner] - weighted.block[rows.rows]
        for back in range(BLOCKS):
            mine = rows.keep(age == back)
            for part in (0, 1):
                sums[back, part, piece.query] = mine.total(weighted.limbs[part])


def _prefix(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
