"""Slices: the rows of a test period by the values of a feature, to see where a model is weak."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tenfold.processing.frame import Column

MOST = 20
"""Values a feature may have before it is cut into quarters, or its rarest texts are put together."""
SMALL = 100
"""A slice of fewer rows, or with fewer than `FEW` of either outcome, is too small to judge."""
FEW = 10
NULL = "null"
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows that share a value, or lie in the same quarter, of a feature."""

    feature: str
    value: str
    rows: np.ndarray

    def is_small(self, y: np.ndarray, *, outcomes: bool) -> bool:
        """Return whether a metric of these rows says little; with `outcomes`, labels are 0 or 1."""
        positives = int(y[self.rows].sum()) if outcomes else FEW
        few = outcomes and min(positives, len(self.rows) - positives) < FEW
        return len(self.rows) < SMALL or few


def slices_of(feature: str, item: Column) -> Iterator[Slice]:
    """Yield the slices of a feature: by value, or by quarter when it is a number of many values; null is one of them."""
    known = np.flatnonzero(item.valid)
    if item.type in ("str", "bool") or len(np.unique(item.values[known])) <= MOST:
        yield from _by_value(feature, item, known)
    else:
        yield from _by_quarter(feature, item, known)
    missing = np.flatnonzero(~item.valid)
    if len(missing):
        yield Slice(feature, NULL, missing)


def _by_value(feature: str, item: Column, known: np.ndarray) -> Iterator[Slice]:
    values = item.values[known]
    names = values.astype(str) if item.type == "str" else values
    distinct, place, rows = np.unique(names, return_inverse=True, return_counts=True)
    often = np.sort(np.argsort(-rows, kind="stable")[:MOST])
    for at in often.tolist():
        yield Slice(feature, _text(distinct[at]), known[place == at])
    rest = known[~np.isin(place, often)]
    if len(rest):
        yield Slice(feature, OTHER, rest)


def _by_quarter(feature: str, item: Column, known: np.ndarray) -> Iterator[Slice]:
    values = item.values[known].astype(np.float64)
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf"))
    place = np.searchsorted(edges, values, side="left")
    ends = [values.min(), *edges.tolist(), values.max()]
    for at in np.unique(place).tolist():
        sign = "" if at == 0 else "above "
        yield Slice(feature, f"{sign}{_text(ends[at])} to {_text(ends[at + 1])}", known[place == at])


def _text(value: object) -> str:
    """Return a value to be read.

    Examples
    --------
    >>> _text(np.float64(0.25)), _text(np.int64(3)), _text(np.bool_(True)), _text("UA")
    ('0.25', '3', 'true', 'UA')
    """
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    return str(value)
