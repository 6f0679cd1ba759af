"""Counts, sums, means and variances: one fixed formula each of exact whole numbers; of no values it is 0, which is null."""

import numpy as np

from tenfold.core.decimals import PLACES
from tenfold.features.kernel.decimals import SHRUNK, exact_type, quotients, unit_squared
from tenfold.features.kernel.inputs import Aggregate
from tenfold.features.kernel.limbs import join
from tenfold.features.kernel.moments import UNITS, variance
from tenfold.features.kernel.windowed import Windowed
from tenfold.processing.frame import Column


def count(windowed: Windowed, item: Aggregate) -> Column:
    """Return how many records take part."""
    found = windowed.total(item, "member")
    return Column("int", found, np.ones(len(found), dtype=np.bool_))


def sum_(windowed: Windowed, item: Aggregate) -> Column:
    """Return the sum of the values, null when there is none."""
    found, type_ = _total(windowed, item), windowed.parts.type(item.input)
    return Column(exact_type(type_), found, windowed.some(item)[0])


def mean(windowed: Windowed, item: Aggregate) -> Column:
    """Return the float of the sum divided by the number of values."""
    valid, all_ = windowed.some(item)
    count = windowed.total(item, "count")
    count = count if all_ else np.maximum(count, 1)
    total, places = _total(windowed, item), PLACES.get(windowed.parts.type(item.input))
    return Column("float", total / count if places is None else quotients(total, count, places), valid)


def var(windowed: Windowed, item: Aggregate) -> Column:
    """Return the sample variance, null for fewer than two values."""
    count = windowed.total(item, "count")
    windowed.parts.check_square(item.input, count, lambda: windowed.total(item, "large"))
    type_ = windowed.parts.type(item.input)
    if type_ == "float":
        sums = [(windowed.total(item, "high"), 2.0**-20), (windowed.total(item, "low"), 2.0**-63)]
    else:
        sums = [(windowed.total(item, "whole"), SHRUNK if type_ in PLACES else 1.0)]
    squares = [windowed.total(item, f"square{place}") for place in range(len(UNITS))]
    return Column("float", variance(count, sums, squares) / unit_squared(type_), count > 1)


def std(windowed: Windowed, item: Aggregate) -> Column:
    """Return the square root of the variance."""
    found = var(windowed, item)
    return Column("float", np.sqrt(found.values), found.valid)


def _total(windowed: Windowed, item: Aggregate) -> np.ndarray:
    windowed.parts.check_sum(
        item.input, windowed.total(item, "count"), lambda: windowed.total(item, "coarse")
    )
    if windowed.parts.type(item.input) != "float":
        found = windowed.total(item, "whole")
        windowed.parts.check_digits(item.input, found)
        return found
    key = (item.input, item.window)
    if key not in windowed.floats:
        windowed.floats[key] = join(windowed.total(item, "high"), windowed.total(item, "low"))
    return windowed.floats[key]
