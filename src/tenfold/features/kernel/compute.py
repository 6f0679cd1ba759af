"""The kernel: exact aggregates over windows as of any moment, the same bits in every driver.

A record counts at t when it was known before t and its event lies in (t - window, t). `ranges` finds which records that
are: for nearly every query a range [lo, hi) of the records in order, shared by all aggregates of a window. Counts and sums
are differences of exact integer prefix sums, min and max come from a sparse table, first, last and lag from an index,
the number of different values from when each first appears. Records out of order are laid over the result. Where no such
shortcut holds, the records of a query are listed one by one (`listed`). Integers make every sum independent of order and
batching, so one call over all history and one call per request agree to the bit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tenfold.core.errors import DefinitionError, Inexact
from tenfold.core.times import FOREVER
from tenfold.features.kernel import picks, sums
from tenfold.features.kernel.decay import decayed_sum
from tenfold.features.kernel.inputs import Aggregate, Input, Own, Records
from tenfold.features.kernel.memory import keep
from tenfold.features.kernel.sketches import sketch
from tenfold.features.kernel.windowed import Windowed
from tenfold.processing.frame import Column, concat

__all__ = ["Aggregate", "Input", "Own", "Records", "aggregate"]


def aggregate(
    records: Records, group: np.ndarray, at: np.ndarray, wanted: Sequence[Aggregate], own: Own | None = None
) -> list[Column]:
    """Return one column per aggregate with a value for each query (group, at).

    Parameters
    ----------
    group, at
        Queries sorted by (group, at): int64 arrays of shape (m,); `at` in microseconds UTC.
    own
        The rows asked for; needed when a window includes them.

    Raises
    ------
    Inexact
        When windows hold more than can be summed exactly; names the column, and says of which queries.
    DefinitionError
        When a row asked for is to count and none is given.
    """
    if own is None and any(item.window.include_self for item in wanted):
        raise DefinitionError(
            "a feature with include_self counts the row that is asked for, and none was given. Such a feature is for a model "
            "whose spine is the view's source."
        )
    keep()
    parts, done = [], 0
    for part in _fitting(records, group, at, own):
        try:
            parts.append(_computed(*part, wanted))
        except Inexact as error:
            error.rows = error.rows + done
            raise
        done += len(part[2])
    return [concat([part[place] for part in parts]) for place in range(len(wanted))]


def _computed(
    records: Records, group: np.ndarray, at: np.ndarray, own: Own | None, wanted: Sequence[Aggregate]
) -> list[Column]:
    windowed = Windowed(records, group, at, wanted, own)
    return [_FUNCTIONS[item.fn](windowed, item) for item in wanted]


_Part = tuple[Records, np.ndarray, np.ndarray, Own | None]


def _fitting(records: Records, group: np.ndarray, at: np.ndarray, own: Own | None) -> Iterator[_Part]:
    """Yield pieces of whole groups so small that a group and a moment fit one int64 together."""
    moments = [array for array in (records.event, records.known, at) if len(array)]
    span = (
        max(int(array.max()) for array in moments) - min(int(array.min()) for array in moments)
        if moments
        else 0
    )
    most = max(1, (FOREVER - 1) // (span + 8))
    groups = max(int(records.group.max(initial=0)), int(group.max(initial=0))) + 1
    if groups <= most:
        yield records, group, at, own
        return
    for first in range(0, groups, most):
        edges = [first, first + most]
        mine, asked = (slice(*np.searchsorted(array, edges).tolist()) for array in (records.group, group))
        part = records.take(mine)
        part = replace(part, group=part.group - first)
        yield part, group[asked] - first, at[asked], None if own is None else own.cut(asked, mine)


_FUNCTIONS: Mapping[str, Callable[[Windowed, Aggregate], Column]] = {
    "count": sums.count,
    "sum": sums.sum_,
    "mean": sums.mean,
    "var": sums.var,
    "std": sums.std,
    "decayed_sum": decayed_sum,
    "min": picks.extreme,
    "max": picks.extreme,
    "first": picks.first,
    "last": picks.last,
    "lag": picks.lag,
    "mode": picks.mode,
    "n_unique": picks.n_unique,
    "approx_n_unique": sketch,
    "approx_quantile": sketch,
}
