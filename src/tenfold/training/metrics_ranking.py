"""Metrics of ranking: how good the order of the rows of each group is. A group in which nothing is relevant is left out."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tenfold.core.errors import SchemaError
from tenfold.training.metric import Floats, Metric, Weighted, paired

KS = (1, 3, 5, 10, 20, 50, 100)
LARGE = 512.0
"""Outcomes up to here have gains that are numbers, and so has the sum of many."""


def ndcg(y: ArrayLike, score: ArrayLike, groups: ArrayLike, k: int = 10) -> float:
    """Return the mean over groups of the discounted gain of the first k rows, over that of the best order.

    The gain of relevance y is 2 ** y - 1, the discount of place p (from 1) is log2(p + 1); rows of equal score share
    what they would get.

    Examples
    --------
    >>> ndcg([1, 0, 0, 1], [0.9, 0.1, 0.8, 0.7], [1, 1, 2, 2], k=2)
    0.815
    """
    return _mean(per_group("ndcg", y, score, groups, k)[1])


def mean_average_precision(y: ArrayLike, score: ArrayLike, groups: ArrayLike, k: int = 10) -> float:
    """Return the mean over groups of the average precision of the first k rows; rows above 0 are relevant.

    Rows of equal score are put in the worst order, so that a score that says nothing earns nothing.

    Examples
    --------
    >>> mean_average_precision([1, 0, 0, 1], [0.9, 0.1, 0.8, 0.7], [1, 1, 2, 2], k=2)
    0.75
    """
    return _mean(per_group("map", y, score, groups, k)[1])


def per_group(
    name: str, y: ArrayLike, score: ArrayLike, groups: ArrayLike, k: int
) -> tuple[np.ndarray, Floats]:
    """Return the distinct groups in ascending order and the metric of each, NaN where nothing is relevant."""
    y, score = paired(y, score)
    if not len(y):
        return np.zeros(0), np.zeros(0)
    known, place = np.unique(np.asarray(groups), return_inverse=True)
    if place.shape != y.shape:
        raise SchemaError(f"groups have shape {place.shape} and labels {y.shape}. Give one group per row.")
    found = (_ndcg if name == "ndcg" else _map)(y, score, place, len(known), k)
    return known, found


def _ranked(place: np.ndarray, *keys: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Return rows ordered by group and then by keys, the first the most important, and each one's rank from 0."""
    order = np.lexsort((*reversed(keys), place))
    mine = place[order]
    starts = np.flatnonzero(np.r_[True, mine[1:] != mine[:-1]][: len(mine)])
    return order, np.arange(len(mine)) - np.repeat(starts, np.diff(np.r_[starts, len(mine)]))


def _ndcg(y: Floats, score: Floats, place: np.ndarray, groups: int, k: int) -> Floats:
    gain = _gains(y, place, groups)

    def total(by: Floats, gains: Floats) -> Floats:
        order, rank = _ranked(place, -by)
        discount = np.where(rank < k, 1 / np.log2(rank + 2), 0.0)
        sums = np.bincount(place[order], gains[order] * discount, minlength=groups)
        return sums.astype(np.float64)

    shared = _shared(gain, place, score)
    best = total(y, gain)
    found: Floats = np.divide(total(score, shared), best, out=np.full(groups, np.nan), where=best > 0)
    return found


def _gains(y: Floats, place: np.ndarray, groups: int) -> Floats:
    """Return 2^y - 1, as a share of 2 to the largest of the group where that is too large for a number."""
    most = np.zeros(groups)
    np.maximum.at(most, place, y)
    down = np.where(most > LARGE, most, 0.0)[place]
    gains: Floats = np.exp2(y - down) - np.exp2(-down)
    return gains


def _shared(gain: Floats, place: np.ndarray, score: Floats) -> Floats:
    """Return the mean gain of the rows of each group that have a row's score."""
    order, _ = _ranked(place, score)
    same = (place[order][1:] == place[order][:-1]) & (score[order][1:] == score[order][:-1])
    tied = np.cumsum(np.r_[True, ~same][: len(order)]) - 1
    shared = np.empty_like(gain)
    shared[order] = (np.bincount(tied, gain[order]) / np.bincount(tied))[tied]
    return shared


def _map(y: Floats, score: Floats, place: np.ndarray, groups: int, k: int) -> Floats:
    relevant = (y > 0).astype(np.float64)
    order, rank = _ranked(place, -score, relevant)
    hit, mine = relevant[order], place[order]
    all_hits = np.cumsum(hit)
    first = np.flatnonzero(rank == 0)
    hits = all_hits - (all_hits[first] - hit[first])[mine]
    precision: Floats = np.where(rank < k, hit * hits / (rank + 1), 0.0)
    possible = np.minimum(np.bincount(place, relevant, minlength=groups), k)
    found = np.bincount(mine, precision, minlength=groups).astype(np.float64)
    return np.divide(found, possible, out=np.full(groups, np.nan), where=possible > 0)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.sum() / len(known)) if len(known) else float("nan")


def _no_weights(*_: Floats) -> Weighted:
    raise SchemaError("metrics of ranking are of groups, not of rows; there is no difference by row.")


def _metrics(name: str, function: Callable[..., float]) -> list[Metric]:
    def each(k: int) -> Metric:
        def by_group(y: ArrayLike, score: ArrayLike, groups: ArrayLike) -> Floats:
            return per_group(name, y, score, groups, k)[1]

        return Metric(f"{name}@{k}", partial(function, k=k), True, "ranking", _no_weights, per_group=by_group)

    return [each(k) for k in KS]


RANKING = (*_metrics("ndcg", ndcg), *_metrics("map", mean_average_precision))
