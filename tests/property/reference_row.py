"""What an expression means for one row, in plain Python; `reference` gives a meaning to the aggregates in it."""

import operator
from decimal import Decimal
from math import isfinite

import numpy as np

from tenfold.core.expr import Expr
from tenfold.core.windows import AGGREGATES


def meaning(expr, row, at=None, aggregate=None):
    """Return the value of an expression, None for null; `aggregate` is asked for the aggregates in it."""
    if expr.fn in AGGREGATES:
        return aggregate(expr)
    if expr.fn == "col":
        return row[expr.args[0]]
    if expr.fn == "feature":
        return row[expr.args[0], expr.args[1]]
    if expr.fn == "lit":
        return expr.args[0]
    values = [meaning(arg, row, at, aggregate) if isinstance(arg, Expr) else arg for arg in expr.args]
    if expr.fn in WITH_NULLS:
        return WITH_NULLS[expr.fn](*values)
    if None in values:
        return None
    if expr.fn == "age":
        return float(at - values[0]) / values[1]
    return representable(STRICT[expr.fn](*alike(values)))


def alike(values):
    """Return values with decimals as floats when there is a float among them."""
    if not any(isinstance(value, float) for value in values):
        return values
    return [float(value) if isinstance(value, Decimal) else value for value in values]


def product(one, two):
    """Two decimals have as many places as both, so they multiply as floats; a decimal and a whole number do exactly."""
    both = isinstance(one, Decimal) and isinstance(two, Decimal)
    return float(one) * float(two) if both else one * two


def applied(*given):
    """Return what a function gives for arrays of one row: vectors as arrays of two dimensions."""
    arrays, rest, spec = [], list(given[:-1]), given[-1]
    for width in spec.widths:
        mine, rest = rest[: max(width, 1)], rest[max(width, 1) :]
        numbers = [float("nan") if value is None else value for value in mine]
        arrays.append(np.array([numbers]) if width else np.array(mine, dtype=object))
    return spec.function(*arrays)[0]


def both(one, two):
    if one is False or two is False:
        return False
    return None if None in (one, two) else True


def either(one, two):
    if one is True or two is True:
        return True
    return None if None in (one, two) else False


def divided(one, two):
    return None if two == 0 else float(one) / float(two)


def representable(value):
    """Null is what would be infinite, inexact as a float, or a decimal of more than 18 digits."""
    if isinstance(value, Decimal):
        return value if abs(value) < 10 ** (18 + value.as_tuple().exponent) else None
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, bool) or abs(value) < 2**53 else None


WITH_NULLS = {
    "apply": applied,
    "item": lambda numbers, place: representable(float(numbers[place])),
    "is_null": lambda value: value is None,
    "fill_null": lambda value, other: other if value is None else value,
    "and": both,
    "or": either,
}
STRICT = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": product,
    "div": divided,
    "neg": operator.neg,
    "abs": abs,
    "not": operator.not_,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
