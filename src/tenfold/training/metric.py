"""What a metric is: one definition, on weighted rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.core.errors import SchemaError

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], float]
"""A metric of fixed rows as a function of their weights, (n_rows,) float64."""
Losses = Callable[[Floats, Floats], Floats]
"""What each row adds to a metric that is a mean: (n_rows,) float64."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A named metric.

    `needs` is "score" when labels are 0 or 1 and predictions are scores, "value" when both are numbers, "classes" when
    labels are numbers of classes and predictions their probabilities, "ranking" when rows are ordered within groups.
    `target` is the best value where that is neither the largest nor the smallest one (a signed gap: 0).
    `losses` is what each row adds, when the metric is their mean; `per_group` gives a value per distinct group, NaN for a
    group that does not count, when the metric is the mean of those.
    """

    name: str
    function: Callable[..., float]
    greater_is_better: bool
    needs: Literal["score", "value", "classes", "ranking"]
    weighted: Callable[[Floats, Floats], Weighted]
    target: float | None = None
    losses: Losses | None = None
    per_group: Callable[[ArrayLike, ArrayLike, ArrayLike], Floats] | None = None

    def gain(self, before: float, after: float) -> float:
        """Return by how much `after` is better than `before`; negative when it is worse.

        Examples
        --------
        >>> from tenfold.training.metrics import METRICS
        >>> METRICS["log_loss"].gain(0.5, 0.4)
        0.1
        >>> METRICS["calibration_gap"].gain(-0.05, 0.02)
        0.03
        """
        if self.target is not None:
            return abs(before - self.target) - abs(after - self.target)
        return after - before if self.greater_is_better else before - after


def of_mean(losses: Losses) -> Callable[[Floats, Floats], Weighted]:
    """Return a metric that is the mean of what each row adds."""

    def weighted(y: Floats, prediction: Floats) -> Weighted:
        return mean_of(losses(y, prediction))

    return weighted


def mean_of(rows: Floats) -> Weighted:
    """Return the mean of fixed values as a function of their weights."""
    return lambda weights: ratio(dot(weights, rows), float(weights.sum()))


def plain(weighted: Callable[[Floats, Floats], Weighted], y: Floats, prediction: Floats) -> float:
    """Return a metric with every row counted once."""
    return weighted(y, prediction)(np.ones(len(y)))


def dot(a: Floats, b: Floats) -> float:
    """Return the sum of products, the same bits on any number of threads."""
    # not `@`: a threaded BLAS is slower on arrays of this size and its last bits depend on the number of threads
    return float(np.sum(a * b))


def ratio(part: float, whole: float) -> float:
    """Return a share, NaN of nothing."""
    return part / whole if whole else float("nan")


def paired(y: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    """Return labels and predictions as arrays of equal length without nulls; SchemaError says what does not fit."""
    y, prediction = np.asarray(y, np.float64), np.asarray(prediction, np.float64)
    if y.ndim != 1 or y.shape != prediction.shape[:1] or prediction.ndim > 2:
        raise SchemaError(
            f"labels have shape {y.shape} and predictions {prediction.shape}. Give two one-dimensional arrays of equal length."
        )
    for what, values in (("labels", y), ("predictions", prediction)):
        if missing := int(np.isnan(values).sum()):
            raise SchemaError(
                f"{missing} of {len(values)} {what} are missing. Leave these rows out of both arrays."
            )
    return y, prediction


def scored(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Return the same for labels that are 0 or 1."""
    y, score = paired(y, score)
    if not np.all((y == 0) | (y == 1)):
        raise SchemaError(
            "labels of a score metric must be 0 or 1. Use mean_absolute_error or root_mean_squared_error for numbers."
        )
    return y, score


def columns_of(prediction: Floats) -> Floats:
    """Return one probability per class; a score is that of the second of two classes."""
    return np.stack([1 - prediction, prediction], axis=1) if prediction.ndim == 1 else prediction


def tied(y: Floats, score: Floats) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Return a function from weights to the weight of positives and negatives of each distinct score, ascending."""
    order = np.argsort(score, kind="stable")
    positive, sorted_score = y[order] == 1, score[order]
    starts = np.flatnonzero(np.r_[True, sorted_score[1:] != sorted_score[:-1]][: len(y)])

    def sums(weights: Floats) -> tuple[Floats, Floats]:
        weights = weights[order]
        positives = np.add.reduceat(np.where(positive, weights, 0.0), starts)
        return positives, np.add.reduceat(weights, starts) - positives

    return sums


def area(y: Floats, score: Floats) -> Weighted:
    """Return the area under the ROC curve as a function of weights; NaN when one class has no weight."""
    sums = tied(y, score)

    def auc(weights: Floats) -> float:
        positives, negatives = sums(weights)
        below = np.cumsum(negatives) - negatives / 2
        return ratio(dot(positives, below), float(positives.sum() * negatives.sum()))

    return auc
