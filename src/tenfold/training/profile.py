"""The profile of a training set: fixed-edge histograms of every feature, and how far live counts are from them.

The edges are fixed once, from the training set of a version. Counts over fixed edges are tiny and exactly mergeable:
the counts of two parts, added, are the counts of the whole.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.core.errors import NotFound, SchemaError

BINS = 20
"""Most bins of a numeric feature, nulls apart."""
CATEGORIES = 50
"""Most categories counted one by one; the rest is counted together."""
FLOOR = 0.1
"""Least threshold: a smaller index is too small an effect to look at."""

Floats = NDArray[np.float64]
Counts = dict[str, NDArray[np.int64]]
"""Rows per bin of each feature; the last bin holds the nulls."""


@dataclass(frozen=True, slots=True)
class Bins:
    """The fixed bins of one feature and the reference's rows in each.

    `values` are the upper edges of a numeric feature's bins, ascending, each edge part of the bin below it; or the
    known codes of a categorical one, ascending. Either way there are len(values) + 2 counts: one bin more (above the
    last edge; every other code) and the nulls.
    """

    name: str
    categorical: bool
    values: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """The reference of a model version: the bins of each feature, in column order."""

    features: tuple[Bins, ...]

    @property
    def names(self) -> list[str]:
        """The features, in column order."""
        return [bins.name for bins in self.features]

    @property
    def reference(self) -> Counts:
        """The reference's own counts."""
        return {bins.name: np.array(bins.counts, np.int64) for bins in self.features}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values that `from_dict` turns back into an equal profile."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Profile":
        """Return the profile that `to_dict` wrote."""
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise SchemaError(
                f"this is not a stored drift profile: {error}. Make it again from the training set."
            ) from error


def profile(X: ArrayLike, names: Sequence[str], *, categorical: Collection[str] = ()) -> Profile:
    """Return the bins of a reference.

    Numeric edges are quantiles. A value that fills more than one quantile (the zero of a count) gets a bin for itself.

    Parameters
    ----------
    X : (n_rows, n_features) float64
        The reference; NaN is null, categories are codes.
    names : sequence of str
        One name per column.
    categorical : collection of str
        The columns that hold codes.

    Examples
    --------
    >>> fixed = profile([[0.0], [0.0], [0.0], [5.0], [float("nan")]], ["late"])
    >>> counts(fixed, [[0.0], [9.0], [float("nan")]])["late"]
    array([0, 1, 0, 0, 1, 1])
    """
    matrix = _matrix(X, names)
    if unknown := sorted(set(categorical) - set(names)):
        raise NotFound("feature", unknown[0], names, within="the reference")
    return Profile(
        tuple(_bins(name, name in categorical, column) for name, column in zip(names, matrix.T, strict=True))
    )


def counts(fixed: Profile, X: ArrayLike) -> Counts:
    """Return how many rows of `X` (n_rows, n_features) float64 fall into each bin of a profile.

    Examples
    --------
    >>> fixed = profile([[1.0], [1.0], [2.0]], ["origin"], categorical={"origin"})
    >>> counts(fixed, [[2.0], [3.0]])["origin"]
    array([0, 1, 1, 0])
    """
    matrix = _matrix(X, fixed.names)
    return {
        bins.name: _count(bins.categorical, bins.values, column)
        for bins, column in zip(fixed.features, matrix.T, strict=True)
    }


def merge(parts: Iterable[Counts]) -> Counts:
    """Return the counts of several parts together; the order does not matter.

    Examples
    --------
    >>> merge([{"a": np.array([1, 0])}, {"a": np.array([2, 5])}])
    {'a': array([3, 5])}
    """
    total: Counts = {}
    for part in parts:
        for name, rows in part.items():
            total[name] = total[name] + rows if name in total else rows
    return total


def psi(reference: ArrayLike, live: ArrayLike) -> float:
    """Return the population stability index of two counts over the same bins, with half a row added to each bin.

    It is 0 for equal shares and has no upper limit; NaN when either side has no rows.

    Examples
    --------
    >>> psi([50, 50], [50, 50])
    0.0
    >>> psi([50, 50], [90, 10])
    0.853
    """
    a, b = np.asarray(reference, np.float64), np.asarray(live, np.float64)
    if not a.sum() or not b.sum():
        return math.nan
    p, q = ((rows + 0.5) / (rows + 0.5).sum() for rows in (a, b))
    return float(np.sum((q - p) * np.log(q / p)))


def thresholds(fixed: Profile, chunks: Iterable[Counts]) -> dict[str, float]:
    """Return each feature's threshold: 1.5 times the largest index of the reference's own chunks, at least 0.1.

    Chunks should have the length and the calendar shape (whole days, whole weeks) of the live windows that will be
    judged; chunks without rows are left out.
    """
    reference = fixed.reference
    result = dict.fromkeys(fixed.names, FLOOR)
    for chunk in chunks:
        for name, rows in chunk.items():
            # max keeps its first argument when the second is NaN
            result[name] = max(result[name], 1.5 * psi(reference[name], rows))
    return result


def _matrix(X: ArrayLike, names: Sequence[str]) -> Floats:
    matrix = np.asarray(X, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise SchemaError(
            f"the matrix has shape {matrix.shape}, but there are {len(names)} features. Give one row per prediction and one column per feature, in this order: {', '.join(names)}."
        )
    return matrix


def _bins(name: str, categorical: bool, column: Floats) -> Bins:
    ordered = np.sort(column)  # NaN last
    values = _codes(ordered) if categorical else _edges(ordered)
    return Bins(name, categorical, values, tuple(_count(categorical, values, ordered).tolist()))


def _codes(ordered: Floats) -> tuple[float, ...]:
    codes, rows = np.unique(_finite(ordered), return_counts=True)
    often = np.argsort(-rows, kind="stable")[:CATEGORIES]
    return tuple(np.sort(codes[often]).tolist())


def _edges(ordered: Floats) -> tuple[float, ...]:
    finite = _finite(ordered)
    n = len(finite)
    if not n:
        return ()
    levels = finite[[(part * n + BINS - 1) // BINS - 1 for part in range(1, BINS)]]
    edges, times = np.unique(levels, return_counts=True)
    below = np.nextafter(edges[times > 1], -np.inf)
    return tuple(np.unique(np.r_[edges, below]).tolist())


def _finite(ordered: Floats) -> Floats:
    first = np.searchsorted(ordered, -np.inf, side="right")
    return ordered[first : np.searchsorted(ordered, np.inf, side="left")]


def _count(categorical: bool, values: tuple[float, ...], column: Floats) -> NDArray[np.int64]:
    """Return the rows per bin, by the places of the edges among the sorted values: faster than placing every value."""
    ordered = np.sort(column)
    known = int(np.searchsorted(ordered, np.nan, side="left"))
    found = np.zeros(len(values) + 2, dtype=np.int64)
    found[-1] = len(ordered) - known
    edges = np.array(values)
    upto = np.searchsorted(ordered[:known], edges, side="right")
    if categorical:
        found[: len(values)] = upto - np.searchsorted(ordered[:known], edges, side="left")
        found[-2] = known - found[: len(values)].sum()
    else:
        found[:-1] = np.r_[upto, known]
        found[1:-1] -= upto
    return found
