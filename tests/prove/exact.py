"""Values made of exact sums, in whole numbers, as SQL gives them to the second oracle."""

from decimal import Decimal
from fractions import Fraction
from math import sqrt

from tests.property import reference

DECIMALS = {f"decimal({places})": places for places in range(19)}


def same(value):
    return value


def total(high, low, _count):
    """Return the sum: a whole number, or a float of two exact sums of whole numbers."""
    if high is None:
        return None
    if low is None:
        return int(high)
    whole, rest = int(high) + (int(low) >> 43), int(low) & (2**43 - 1)
    return float(whole) / 2.0**20 + float(rest) / 2.0**63


def mean(high, low, count):
    return None if high is None else float(total(high, low, count)) / count


def var(high, low, count, above, below):
    """Return the sample variance from exact sums, the squares in whole 2^-101; what floats may leave is none."""
    if count < 2:
        return None
    whole = int(high) if low is None else Fraction(int(high), 2**20) + Fraction(int(low), 2**63)
    squares = count * Fraction((int(above) << 80) + int(below), 2**101)
    rest = float(squares - whole * whole)
    noise = float(squares) * 2.0**-100 + count * count * 2.0**-101
    return rest / (count * (count - 1.0)) if rest > noise else 0.0


def mean_of_units(places, units, _, count):
    return None if units is None else float(Fraction(int(units), count * 10**places))


def var_of_units(places, units, _, count, above, below):
    """Return the same of decimals, whose units are taken times 2^-18."""
    found = var(Decimal(int(units)) * 2**2, 0, count, above, below) if count > 1 else None
    return None if found is None else found / (10.0 ** (2 * places) * 2.0**-36)


def std_of_units(*parts):
    found = var_of_units(*parts)
    return None if found is None else sqrt(found)


OF_UNITS = {"mean": mean_of_units, "var": var_of_units, "std": std_of_units}


def square(value, kind):
    """Return the square of a value in whole 2^-101, of a decimal that of its units times 2^-18."""
    if kind not in DECIMALS:
        return reference.square(float(value))
    return int(value * 10 ** DECIMALS[kind]) ** 2 << 65


def std(*parts):
    found = var(*parts)
    return None if found is None else sqrt(found)


FINISH = {
    "var": var,
    "std": std,
    "count": same,
    "sum": total,
    "mean": mean,
    "min": same,
    "max": same,
    "first": same,
    "last": same,
    "lag": same,
    "n_unique": same,
    "mode": same,
}
