"""Two computations of the same features, compared to the bit."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from tenfold.processing.frame import column


@dataclass(frozen=True)
class Difference:
    """A cell that two ways of computing it do not agree about."""

    feature: str
    query: int
    one: object
    two: object


def differences(one, two):
    """Return the cells in which two sets of columns differ, and how many cells were compared."""
    found, cells = [], 0
    for name, wanted in one.items():
        got = two[name]
        cells += len(wanted)
        places = np.flatnonzero(~same(wanted, got))
        pairs = zip(wanted.take(places).plain(), got.take(places).plain(), strict=True)
        found += [Difference(name, place, *pair) for place, pair in zip(places.tolist(), pairs, strict=True)]
    return found, cells


def same(one, two):
    """Return per row whether two columns hold the same bits; null is null."""
    if one.type != two.type or len(one) != len(two):
        return np.zeros(len(one), dtype=np.bool_)
    left, right = one.values, two.values
    if one.type == "float":
        left, right = left.view(np.int64), right.view(np.int64)
    return (one.valid == two.valid) & (~one.valid | (left == right))


def columns(view, values):
    """Return lists of Python values as columns of the types a view declares."""
    return {
        name: column(view.plan.types[name], [plain(value, view.plan.types[name]) for value in items])
        for name, items in values.items()
    }


def plain(value, type_):
    """Return a value as columns hold it: a decimal as units of the declared places, which units may be already."""
    return int(value.scaleb(int(type_[8:-1]))) if isinstance(value, Decimal) else value
