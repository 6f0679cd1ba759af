"""How good predictions are: metrics, calibration, and the difference between two models on the same rows.

Labels and predictions are one-dimensional arrays of equal length. Each metric has one definition, on weighted rows;
the plain metric gives every row the weight 1 and the bootstrap gives it the number of times it was drawn.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.core.errors import NotFound
from tenfold.training.metric import (
    Floats,
    Losses,
    Metric,
    Weighted,
    area,
    dot,
    mean_of,
    of_mean,
    paired,
    plain,
    ratio,
    scored,
    tied,
)
from tenfold.training.metrics_classes import CLASSES, OF_CLASSES
from tenfold.training.metrics_ranking import RANKING


class CalibrationBin(TypedDict):
    """Rows of similar score: the mean score, the share of positives and how many rows."""

    predicted: float
    happened: float
    count: int


def roc_auc(y: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve; ties count one half, NaN when there is only one class.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    return plain(area, *scored(y, score))


def average_precision(y: ArrayLike, score: ArrayLike) -> float:
    """Return the mean precision over the positives, tied rows taken together; NaN when there is no positive.

    Examples
    --------
    >>> average_precision([0, 1, 1], [0.2, 0.1, 0.9])
    0.833
    """
    return plain(_average_precision, *scored(y, score))


def log_loss(y: ArrayLike, score: ArrayLike) -> float:
    """Return the mean negative log likelihood in nats; probabilities are clipped to [1e-15, 1 - 1e-15].

    Examples
    --------
    >>> log_loss([1, 0], [0.5, 0.5])
    0.693
    """
    return plain(_log_loss, *scored(y, score))


def brier(y: ArrayLike, score: ArrayLike) -> float:
    """Return the mean squared difference between probability and outcome.

    Examples
    --------
    >>> brier([1, 0], [0.8, 0.4])
    0.1
    """
    return plain(_squared, *scored(y, score))


def calibration_gap(y: ArrayLike, score: ArrayLike) -> float:
    """Return mean(score) - mean(y): positive when the model promises more than happens.

    Examples
    --------
    >>> calibration_gap([1, 0], [0.8, 0.4])
    0.1
    """
    return plain(_gap, *scored(y, score))


def expected_calibration_error(y: ArrayLike, score: ArrayLike, bins: int = 10) -> float:
    """Return the mean distance between score and outcome over quantile bins, weighted by rows.

    Examples
    --------
    >>> expected_calibration_error([0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2)
    0.25
    """
    y, score = scored(y, score)
    return _binned(y, score, bins)(np.ones(len(y)))


def mean_absolute_error(y: ArrayLike, value: ArrayLike) -> float:
    """Return the mean distance, in the unit of y.

    Examples
    --------
    >>> mean_absolute_error([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    return plain(_absolute, *paired(y, value))


def root_mean_squared_error(y: ArrayLike, value: ArrayLike) -> float:
    """Return the square root of the mean squared distance, in the unit of y.

    Examples
    --------
    >>> root_mean_squared_error([0.0, 0.0], [3.0, 4.0])
    3.536
    """
    return plain(_root_squared, *paired(y, value))


def median_absolute_error(y: ArrayLike, value: ArrayLike) -> float:
    """Return the median distance, in the unit of y: what a few wild rows cannot move.

    Examples
    --------
    >>> median_absolute_error([0.0, 0.0, 0.0], [1.0, 2.0, 90.0])
    2.0
    """
    return plain(_middle, *paired(y, value))


def pinball(y: ArrayLike, value: ArrayLike, level: float = 0.5) -> float:
    """Return the mean pinball loss of a quantile: too low costs `level` per unit, too high 1 - `level`.

    Examples
    --------
    >>> pinball([10.0, 10.0], [8.0, 12.0], level=0.9)
    1.0
    """
    return plain(of_mean(_tilted(level)), *paired(y, value))


def calibration_curve(y: ArrayLike, score: ArrayLike, bins: int = 10) -> list[CalibrationBin]:
    """Return up to `bins` quantile bins in the order of the score; equal scores share a bin.

    Examples
    --------
    >>> calibration_curve([0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2)
    [{'predicted': 0.1, 'happened': 0.5, 'count': 2}, {'predicted': 0.9, 'happened': 1.0, 'count': 2}]
    """
    y, score = scored(y, score)
    place = _quantile_bins(score, bins)
    count = np.bincount(place)
    used = np.flatnonzero(count)
    predicted = np.bincount(place, score)[used] / count[used]
    happened = np.bincount(place, y)[used] / count[used]
    return [
        CalibrationBin(predicted=float(p), happened=float(h), count=int(n))
        for p, h, n in zip(predicted, happened, count[used], strict=True)
    ]


def evaluate(
    names: Iterable[str], y: ArrayLike, score: ArrayLike, groups: ArrayLike | None = None
) -> dict[str, float]:
    """Return each named metric, in the order asked for.

    Parameters
    ----------
    score
        Predictions (n_rows,), or probabilities of classes (n_rows, n_classes).
    groups
        The group of each row, for metrics of ranking.

    Raises
    ------
    NotFound
        When there is no such metric.

    Examples
    --------
    >>> evaluate(["roc_auc", "brier"], [0, 1], [0.5, 0.5])
    {'roc_auc': 0.5, 'brier': 0.25}
    """
    found = {}
    for name in names:
        metric = metric_of(name, np.ndim(score))
        more = [one_group(y, groups)] if metric.per_group is not None else []
        found[name] = metric.function(y, score, *more)
    return found


def paired_difference(
    name: str,
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    rng: np.random.Generator,
    rounds: int = 200,
    groups: ArrayLike | None = None,
) -> tuple[float, float, float]:
    """Return metric(b) - metric(a) on the same rows, and the ends of its 95 % interval.

    The interval is a percentile bootstrap: each round draws rows with replacement, the same ones for both models.
    Equal generators give equal results. Rounds in which the metric is undefined (one class drawn) are left out;
    all three are NaN when the difference itself is undefined. `expected_calibration_error` keeps the bins of the
    full data in every round. Rows must be independent: rows that share an outcome make the interval too narrow.
    Metrics of ranking are of `groups`, which are drawn instead of rows.

    Raises
    ------
    NotFound
        When there is no such metric.

    Examples
    --------
    >>> y, rng = [0, 1, 0, 1], np.random.default_rng(7)
    >>> paired_difference("brier", y, [0.5, 0.5, 0.5, 0.5], [0.1, 0.9, 0.1, 0.9], rng=rng)
    (-0.24, -0.24, -0.24)
    """
    metric = metric_of(name, np.ndim(a))
    if metric.per_group is not None:
        both = [metric.per_group(y, scores, one_group(y, groups)) for scores in (a, b)]
        kept = ~np.isnan(both[0])
        of_a, of_b = (mean_of(values[kept]) for values in both)
        n = int(kept.sum())
    else:
        check = scored if metric.needs == "score" else paired
        of_a, of_b = metric.weighted(*check(y, a)), metric.weighted(*check(y, b))
        n = np.size(y)
    difference = of_b(np.ones(n)) - of_a(np.ones(n))
    if np.isnan(difference):
        return float("nan"), float("nan"), float("nan")
    draws = np.empty(rounds)
    for i in range(rounds):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        draws[i] = of_b(weights) - of_a(weights)
    defined = draws[~np.isnan(draws)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
    return float(difference), float(low), float(high)


def one_group(y: ArrayLike, groups: ArrayLike | None) -> ArrayLike:
    """Return the groups that were given; without, all rows are one."""
    return np.zeros(np.size(y)) if groups is None else groups


def metric_of(name: str, dimensions: int = 1) -> Metric:
    """Return a metric by name, for predictions of one or two dimensions; NotFound names the nearest."""
    if name not in METRICS:
        raise NotFound("metric", name, METRICS)
    return OF_CLASSES.get(name, METRICS[name]) if dimensions == 2 else METRICS[name]


def _log_losses(y: Floats, score: Floats) -> Floats:
    p = np.clip(score, 1e-15, 1 - 1e-15)
    return -np.log(np.where(y == 1, p, 1 - p))


def _squares(y: Floats, prediction: Floats) -> Floats:
    return (prediction - y) ** 2


def _distances(y: Floats, prediction: Floats) -> Floats:
    return np.abs(prediction - y)


def _gaps(y: Floats, score: Floats) -> Floats:
    return score - y


def _tilted(level: float) -> Losses:
    return lambda y, value: np.maximum(level * (y - value), (level - 1) * (y - value))


_log_loss, _squared, _absolute, _gap = map(of_mean, (_log_losses, _squares, _distances, _gaps))


def _root_squared(y: Floats, prediction: Floats) -> Weighted:
    mean = _squared(y, prediction)
    return lambda weights: float(np.sqrt(mean(weights)))


def _middle(y: Floats, prediction: Floats) -> Weighted:
    distances = np.abs(prediction - y)
    order = np.argsort(distances, kind="stable")

    def median(weights: Floats) -> float:
        upto = np.cumsum(weights[order])
        if not len(upto) or not upto[-1]:
            return float("nan")
        places = [int(np.searchsorted(upto, upto[-1] / 2, side=side)) for side in ("left", "right")]
        return float(np.mean([distances[order[min(place, len(order) - 1)]] for place in places]))

    return median


def _average_precision(y: Floats, score: Floats) -> Weighted:
    sums = tied(y, score)

    def precision(weights: Floats) -> float:
        positives, negatives = (part[::-1] for part in sums(weights))
        found = np.cumsum(positives)
        taken = found + np.cumsum(negatives)
        at = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
        return ratio(dot(positives, at), float(positives.sum()))

    return precision


def _quantile_bins(score: Floats, bins: int) -> NDArray[np.intp]:
    if not len(score):
        return np.zeros(0, np.intp)
    cuts = np.quantile(score, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.searchsorted(np.unique(cuts), score, side="left")


def _binned(y: Floats, score: Floats, bins: int = 10) -> Weighted:
    place, gap = _quantile_bins(score, bins), score - y

    def error(weights: Floats) -> float:
        return ratio(float(np.abs(np.bincount(place, weights * gap)).sum()), float(weights.sum()))

    return error


LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def _pinball(level: float) -> Metric:
    losses = _tilted(level)
    return Metric(
        f"pinball@{level}", partial(pinball, level=level), False, "value", of_mean(losses), losses=losses
    )


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("roc_auc", roc_auc, True, "score", area),
            Metric("average_precision", average_precision, True, "score", _average_precision),
            Metric("log_loss", log_loss, False, "score", _log_loss, losses=_log_losses),
            Metric("brier", brier, False, "score", _squared, losses=_squares),
            Metric("calibration_gap", calibration_gap, False, "score", _gap, target=0.0, losses=_gaps),
            Metric("expected_calibration_error", expected_calibration_error, False, "score", _binned),
            Metric("mean_absolute_error", mean_absolute_error, False, "value", _absolute, losses=_distances),
            Metric("root_mean_squared_error", root_mean_squared_error, False, "value", _root_squared),
            Metric("median_absolute_error", median_absolute_error, False, "value", _middle),
            *map(_pinball, LEVELS),
            *CLASSES,
            *RANKING,
        )
    }
)
"""Every metric by name."""
