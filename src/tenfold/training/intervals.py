"""How sure a metric is: 95 % intervals by a seeded bootstrap of whole blocks of rows.

Rows of one day share their weather, their traffic and their faults: they are not independent, and an interval that
draws rows one by one is too narrow. So whole days are drawn, or hours when there are few days; rows only when there is
neither. A metric is a function of sums over rows, so one product of matrices gives all rounds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tenfold.core.times import UNITS
from tenfold.training.metric import Floats, Metric, columns_of
from tenfold.training.metrics import metric_of
from tenfold.training.metrics_classes import f1_of, most_probable

ROUNDS = 400
LEVEL = 0.95
FEWEST = 8
"""Fewer blocks say too little about how much they differ."""
CELLS = 200
"""Scores are counted in this many bins of equal size when the area under a curve is drawn again."""

Totals = Callable[[Floats], Floats]
"""From sums over rows, (rounds, width), to the metric, (rounds,)."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which block each row belongs to, from 0; what a block is, in words."""

    place: np.ndarray
    count: int
    unit: str

    @property
    def text(self) -> str:
        """How many blocks of what are drawn."""
        return f"{self.count:,} {self.unit}"

    def take(self, rows: np.ndarray) -> "Blocks":
        """Return the blocks of some rows; blocks without a row are gone."""
        known, place = np.unique(self.place[rows], return_inverse=True)
        return Blocks(place, len(known), self.unit)


def blocks_of(at: np.ndarray) -> Blocks:
    """Return the blocks that rows are drawn in: days, or hours or rows when there are too few of the longer ones.

    Parameters
    ----------
    at : (n_rows,) int64 microseconds UTC
    """
    for unit, size in (("days", UNITS["d"]), ("hours", UNITS["h"])):
        known, place = np.unique(at // size, return_inverse=True)
        if len(known) >= FEWEST:
            return Blocks(place, len(known), unit)
    return Blocks(np.arange(len(at)), len(at), "rows")


def drawn(count: int, seed: int = 0) -> Floats:
    """Return how often each block is drawn in each round: (rounds, count)."""
    rng = np.random.default_rng([seed, count])
    return rng.multinomial(count, np.full(count, 1 / count), size=ROUNDS).astype(np.float64)


def interval(
    name: str, y: Floats, prediction: Floats, blocks: Blocks, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the ends of a metric's 95 % interval; NaN when there is one block only, or the metric is undefined.

    The percentiles are those of Hesterberg (2015): a little wider than 2.5 and 97.5, because few blocks vary less
    among themselves than all there might be.
    """
    if blocks.count < 2:
        return float("nan"), float("nan")
    metric = metric_of(name, prediction.ndim)
    sums, finish = _sums(metric, y, prediction, blocks, groups)
    whole = finish(sums.sum(axis=0, keepdims=True))[0]
    # the counted curve is off by what its bins hide: what is drawn is the difference to it
    exact = _exact(metric, y, prediction, groups)
    found = finish(_product(drawn(blocks.count), sums)) - whole + exact
    known = found[~np.isnan(found)]
    if len(known) < ROUNDS / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [_tail(blocks.count), 1 - _tail(blocks.count)])
    return float(low), float(high)


def _product(times: Floats, sums: Floats) -> Floats:
    """Return the sums of each round; not by a threaded BLAS, whose last bits depend on the number of threads."""
    return np.einsum("rb,bw->rw", times, sums)


def _exact(metric: Metric, y: Floats, prediction: Floats, groups: np.ndarray | None) -> float:
    if metric.per_group is not None:
        return metric.function(y, prediction, np.zeros(len(y)) if groups is None else groups)
    return metric.function(y, prediction)


def _tail(count: int) -> float:
    """Return the share beyond each end, after Hesterberg's correction for few blocks."""
    normal, free = NormalDist(), count - 1
    z = normal.inv_cdf((1 + LEVEL) / 2)
    # the quantile of Student's t by Cornish and Fisher
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return normal.cdf(-((count / free) ** 0.5) * t)


def _sums(
    metric: Metric, y: Floats, prediction: Floats, blocks: Blocks, groups: np.ndarray | None
) -> tuple[Floats, Totals]:
    """Return what each block adds, (blocks, width), and the metric as a function of the sums."""
    if metric.losses is not None:
        return _added(metric.losses(y, prediction), blocks), _mean
    if metric.name == "root_mean_squared_error":
        return _added((y - prediction) ** 2, blocks), lambda sums: np.sqrt(_mean(sums))
    if metric.per_group is not None:
        return _of_groups(metric, y, prediction, blocks, np.zeros(len(y)) if groups is None else groups)
    if metric.name in ("roc_auc", "average_precision"):
        curve = _area if metric.name == "roc_auc" else _precision
        return _counted(y, prediction, blocks), lambda sums: curve(*np.split(sums, 2, axis=1))
    if metric.name == "macro_f1":
        return _confused(y, columns_of(prediction), blocks)
    if metric.name == "macro_roc_auc":
        return _each_class(y, columns_of(prediction), blocks)
    return _whole(metric, y, prediction, blocks)


def _added(losses: Floats, blocks: Blocks) -> Floats:
    sums = np.bincount(blocks.place, losses, minlength=blocks.count)
    return np.stack([sums, np.bincount(blocks.place, minlength=blocks.count)], axis=1)


def _mean(sums: Floats) -> Floats:
    return _over(sums[:, 0], sums[:, 1])


def _over(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _of_groups(
    metric: Metric, y: Floats, prediction: Floats, blocks: Blocks, groups: np.ndarray
) -> tuple[Floats, Totals]:
    """A group counts in the block of its first row."""
    assert metric.per_group is not None  # noqa: S101 - for the type checker
    values = metric.per_group(y, prediction, groups)
    _, first = np.unique(groups, return_index=True)
    kept = ~np.isnan(values)
    return _added(values[kept], Blocks(blocks.place[first[kept]], blocks.count, blocks.unit)), _mean


def _counted(y: Floats, score: Floats, blocks: Blocks) -> Floats:
    """Return per block the positives and then the negatives in each bin of the score, the lowest first."""
    known = np.unique(score)
    if len(known) > CELLS:
        known = np.unique(np.quantile(score, np.arange(1, CELLS + 1) / CELLS, method="inverted_cdf"))
    place, width = np.searchsorted(known, score), len(known)
    at = blocks.place * (2 * width) + place + np.where(y == 1, 0, width)
    return np.bincount(at, minlength=blocks.count * 2 * width).reshape(blocks.count, -1).astype(np.float64)


def _area(positives: Floats, negatives: Floats) -> Floats:
    below = np.cumsum(negatives, axis=1) - negatives / 2
    return _over((positives * below).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))


def _precision(positives: Floats, negatives: Floats) -> Floats:
    hits = np.cumsum(positives[:, ::-1], axis=1)
    taken = hits + np.cumsum(negatives[:, ::-1], axis=1)
    at = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    return _over((positives[:, ::-1] * at).sum(axis=1), positives.sum(axis=1))


def _confused(y: Floats, prediction: Floats, blocks: Blocks) -> tuple[Floats, Totals]:
    k = prediction.shape[1]
    at = (blocks.place * k + y.astype(np.int64)) * k + most_probable(prediction).astype(np.int64)
    table = np.bincount(at, minlength=blocks.count * k * k).reshape(blocks.count, k * k).astype(np.float64)
    return table, lambda sums: f1_of(sums.reshape(-1, k, k))


def _each_class(y: Floats, prediction: Floats, blocks: Blocks) -> tuple[Floats, Totals]:
    parts = [_counted((y == at).astype(np.float64), one, blocks) for at, one in enumerate(prediction.T)]
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]

    def mean(sums: Floats) -> Floats:
        each = [_area(*np.split(part, 2, axis=1)) for part in np.split(sums, ends, axis=1)]
        found = np.stack(each)
        known = ~np.isnan(found)
        return _over(np.where(known, found, 0.0).sum(axis=0), known.sum(axis=0))

    return np.concatenate(parts, axis=1), mean


def _whole(metric: Metric, y: Floats, prediction: Floats, blocks: Blocks) -> tuple[Floats, Totals]:
    """Any other metric is asked once per round, with the weight of each row's block."""
    weighted = metric.weighted(y, prediction)
    return np.eye(blocks.count), lambda sums: np.array([weighted(one[blocks.place]) for one in sums])
