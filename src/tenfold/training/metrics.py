"""How good predictions are: metrics, calibration, and the difference between two models on the same rows.

Labels and predictions are one-dimensional arrays of equal length. Each metric has one definition, on weighted rows;
the plain metric gives every row the weight 1 and the bootstrap gives it the number of times it was drawn.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.core.errors import NotFound, SchemaError

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], float]
"""A metric of fixed rows as a function of their weights, (n_rows,) float64."""


class CalibrationBin(TypedDict):
    """Rows of similar score: the mean score, the share of positives and how many rows."""

    predicted: float
    happened: float
    count: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A named metric.

    `needs` is "score" when labels are 0 or 1 and predictions are scores, "value" when both are numbers.
    `target` is the best value where that is neither the largest nor the smallest one (a signed gap: 0).
    """

    name: str
    function: Callable[[ArrayLike, ArrayLike], float]
    greater_is_better: bool
    needs: Literal["score", "value"]
    weighted: Callable[[Floats, Floats], Weighted]
    target: float | None = None

    def gain(self, before: float, after: float) -> float:
        """Return by how much `after` is better than `before`; negative when it is worse.

        Examples
        --------
        >>> METRICS["log_loss"].gain(0.5, 0.4)
        0.1
        >>> METRICS["calibration_gap"].gain(-0.05, 0.02)
        0.03
        """
        if self.target is not None:
            return abs(before - self.target) - abs(after - self.target)
        return after - before if self.greater_is_better else before - after


def roc_auc(y: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve; ties count one half, NaN when there is only one class.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    return _plain(_roc_auc, *_scored(y, score))


def average_precision(y: ArrayLike, score: ArrayLike) -> float:
    """Return the mean precision over the positives, tied rows taken together; NaN when there is no positive.

    Examples
    --------
    >>> average_precision([0, 1, 1], [0.2, 0.1, 0.9])
    0.833
    """
    return _plain(_average_precision, *_scored(y, score))


def log_loss(y: ArrayLike, score: ArrayLike) -> float:
    """Return the mean negative log likelihood in nats; probabilities are clipped to [1e-15, 1 - 1e-15].

    Examples
    --------
    >>> log_loss([1, 0], [0.5, 0.5])
    0.693
    """
    return _plain(_log_loss, *_scored(y, score))


def brier(y: ArrayLike, score: ArrayLike) -> float:
    """Return the mean squared difference between probability and outcome.

    Examples
    --------
    >>> brier([1, 0], [0.8, 0.4])
    0.1
    """
    return _plain(_squared, *_scored(y, score))


def calibration_gap(y: ArrayLike, score: ArrayLike) -> float:
    """Return mean(score) - mean(y): positive when the model promises more than happens.

    Examples
    --------
    >>> calibration_gap([1, 0], [0.8, 0.4])
    0.1
    """
    return _plain(_gap, *_scored(y, score))


def expected_calibration_error(y: ArrayLike, score: ArrayLike, bins: int = 10) -> float:
    """Return the mean distance between score and outcome over quantile bins, weighted by rows.

    Examples
    --------
    >>> expected_calibration_error([0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2)
    0.25
    """
    y, score = _scored(y, score)
    return _binned(y, score, bins)(np.ones(len(y)))


def mean_absolute_error(y: ArrayLike, value: ArrayLike) -> float:
    """Return the mean distance, in the unit of y.

    Examples
    --------
    >>> mean_absolute_error([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    return _plain(_absolute, *_paired(y, value))


def root_mean_squared_error(y: ArrayLike, value: ArrayLike) -> float:
    """Return the square root of the mean squared distance, in the unit of y.

    Examples
    --------
    >>> root_mean_squared_error([0.0, 0.0], [3.0, 4.0])
    3.536
    """
    return _plain(_root_squared, *_paired(y, value))


def calibration_curve(y: ArrayLike, score: ArrayLike, bins: int = 10) -> list[CalibrationBin]:
    """Return up to `bins` quantile bins in the order of the score; equal scores share a bin.

    Examples
    --------
    >>> calibration_curve([0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2)
    [{'predicted': 0.1, 'happened': 0.5, 'count': 2}, {'predicted': 0.9, 'happened': 1.0, 'count': 2}]
    """
    y, score = _scored(y, score)
    place = _quantile_bins(score, bins)
    count = np.bincount(place)
    used = np.flatnonzero(count)
    predicted = np.bincount(place, score)[used] / count[used]
    happened = np.bincount(place, y)[used] / count[used]
    return [
        CalibrationBin(predicted=float(p), happened=float(h), count=int(n))
        for p, h, n in zip(predicted, happened, count[used], strict=True)
    ]


def evaluate(names: Iterable[str], y: ArrayLike, score: ArrayLike) -> dict[str, float]:
    """Return each named metric, in the order asked for.

    Raises
    ------
    NotFound
        When there is no such metric.

    Examples
    --------
    >>> evaluate(["roc_auc", "brier"], [0, 1], [0.5, 0.5])
    {'roc_auc': 0.5, 'brier': 0.25}
    """
    return {name: _metric(name).function(y, score) for name in names}


def paired_difference(
    name: str, y: ArrayLike, a: ArrayLike, b: ArrayLike, *, rng: np.random.Generator, rounds: int = 200
) -> tuple[float, float, float]:
    """Return metric(b) - metric(a) on the same rows, and the ends of its 95 % interval.

    The interval is a percentile bootstrap: each round draws rows with replacement, the same ones for both models.
    Equal generators give equal results. Rounds in which the metric is undefined (one class drawn) are left out;
    all three are NaN when the difference itself is undefined. `expected_calibration_error` keeps the bins of the
    full data in every round. Rows must be independent: rows that share an outcome make the interval too narrow.

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
    metric = _metric(name)
    check = _scored if metric.needs == "score" else _paired
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


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise NotFound("metric", name, METRICS)
    return METRICS[name]


def _plain(weighted: Callable[[Floats, Floats], Weighted], y: Floats, prediction: Floats) -> float:
    return weighted(y, prediction)(np.ones(len(y)))


def _paired(y: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    y, prediction = np.asarray(y, np.float64), np.asarray(prediction, np.float64)
    if y.ndim != 1 or y.shape != prediction.shape:
        raise SchemaError(
            f"labels have shape {y.shape} and predictions {prediction.shape}. Give two one-dimensional arrays of equal length."
        )
    for what, values in (("labels", y), ("predictions", prediction)):
        if missing := int(np.isnan(values).sum()):
            raise SchemaError(
                f"{missing} of {len(values)} {what} are missing. Leave these rows out of both arrays."
            )
    return y, prediction


def _scored(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    y, score = _paired(y, score)
    if not np.all((y == 0) | (y == 1)):
        raise SchemaError(
            "labels of a score metric must be 0 or 1. Use mean_absolute_error or root_mean_squared_error for numbers."
        )
    return y, score


def _mean(rows: Floats) -> Weighted:
    return lambda weights: _ratio(_dot(weights, rows), float(weights.sum()))


def _dot(a: Floats, b: Floats) -> float:
    # not `@`: a threaded BLAS is slower on arrays of this size and its last bits depend on the number of threads
    return float(np.sum(a * b))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _log_loss(y: Floats, score: Floats) -> Weighted:
    p = np.clip(score, 1e-15, 1 - 1e-15)
    return _mean(-np.log(np.where(y == 1, p, 1 - p)))


def _squared(y: Floats, prediction: Floats) -> Weighted:
    return _mean((prediction - y) ** 2)


def _root_squared(y: Floats, prediction: Floats) -> Weighted:
    mean = _squared(y, prediction)
    return lambda weights: float(np.sqrt(mean(weights)))


def _absolute(y: Floats, prediction: Floats) -> Weighted:
    return _mean(np.abs(prediction - y))


def _gap(y: Floats, score: Floats) -> Weighted:
    return _mean(score - y)


def _tied(y: Floats, score: Floats) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Return a function from weights to the weight of positives and negatives of each distinct score, ascending."""
    order = np.argsort(score, kind="stable")
    positive, sorted_score = y[order] == 1, score[order]
    starts = np.flatnonzero(np.r_[True, sorted_score[1:] != sorted_score[:-1]][: len(y)])

    def sums(weights: Floats) -> tuple[Floats, Floats]:
        weights = weights[order]
        positives = np.add.reduceat(np.where(positive, weights, 0.0), starts)
        return positives, np.add.reduceat(weights, starts) - positives

    return sums


def _roc_auc(y: Floats, score: Floats) -> Weighted:
    sums = _tied(y, score)

    def auc(weights: Floats) -> float:
        positives, negatives = sums(weights)
        below = np.cumsum(negatives) - negatives / 2
        return _ratio(_dot(positives, below), float(positives.sum() * negatives.sum()))

    return auc


def _average_precision(y: Floats, score: Floats) -> Weighted:
    sums = _tied(y, score)

    def precision(weights: Floats) -> float:
        positives, negatives = (part[::-1] for part in sums(weights))
        found = np.cumsum(positives)
        taken = found + np.cumsum(negatives)
        at = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
        return _ratio(_dot(positives, at), float(positives.sum()))

    return precision


def _quantile_bins(score: Floats, bins: int) -> NDArray[np.intp]:
    if not len(score):
        return np.zeros(0, np.intp)
    cuts = np.quantile(score, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.searchsorted(np.unique(cuts), score, side="left")


def _binned(y: Floats, score: Floats, bins: int = 10) -> Weighted:
    place, gap = _quantile_bins(score, bins), score - y

    def error(weights: Floats) -> float:
        return _ratio(float(np.abs(np.bincount(place, weights * gap)).sum()), float(weights.sum()))

    return error


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("roc_auc", roc_auc, True, "score", _roc_auc),
            Metric("average_precision", average_precision, True, "score", _average_precision),
            Metric("log_loss", log_loss, False, "score", _log_loss),
            Metric("brier", brier, False, "score", _squared),
            Metric("calibration_gap", calibration_gap, False, "score", _gap, target=0.0),
            Metric("expected_calibration_error", expected_calibration_error, False, "score", _binned),
            Metric("mean_absolute_error", mean_absolute_error, False, "value", _absolute),
            Metric("root_mean_squared_error", root_mean_squared_error, False, "value", _root_squared),
        )
    }
)
"""Every metric by name."""
