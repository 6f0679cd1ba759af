"""Metrics of several classes: labels are numbers from 0, predictions one probability per class, (n_rows, n_classes)."""

import numpy as np
from numpy.typing import ArrayLike

from tenfold.core.errors import SchemaError
from tenfold.training.metric import (
    Floats,
    Metric,
    Weighted,
    area,
    columns_of,
    dot,
    of_mean,
    paired,
    plain,
    ratio,
)


def accuracy(y: ArrayLike, prediction: ArrayLike) -> float:
    """Return the share of rows whose most probable class is theirs; of scores, whether 0.5 separates them.

    Examples
    --------
    >>> accuracy([0, 1, 2], [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
    0.667
    """
    return plain(_accuracy, *_classed(y, prediction))


def macro_f1(y: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean over the classes that occur or are predicted of 2 hits / (predicted + occurred).

    Examples
    --------
    >>> macro_f1([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    0.667
    """
    return plain(_macro_f1, *_classed(y, prediction))


def class_log_loss(y: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean negative log probability of each row's class; rows are scaled to add up to 1.

    Examples
    --------
    >>> class_log_loss([0, 1], [[0.5, 0.5], [0.5, 0.5]])
    0.693
    """
    return plain(of_mean(_log_losses), *_classed(y, prediction))


def macro_roc_auc(y: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean over classes of the AUC of one class against the rest; classes that do not occur are left out.

    Examples
    --------
    >>> macro_roc_auc([0, 1, 2], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    1.0
    """
    return plain(_macro_auc, *_classed(y, prediction))


def _classed(y: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    y, prediction = paired(y, prediction)
    prediction = columns_of(prediction)
    if not np.all((y == np.floor(y)) & (y >= 0) & (y < prediction.shape[1])):
        raise SchemaError(
            f"labels of a metric of classes must be whole numbers from 0 to {prediction.shape[1] - 1}, one per column of "
            "the predictions."
        )
    return y, prediction


def most_probable(prediction: Floats) -> Floats:
    """Return the class of each row; of two that are equal the later one, so that a score of 0.5 is true."""
    prediction = columns_of(prediction)
    last = prediction.shape[1] - 1
    return (last - np.argmax(prediction[:, ::-1], axis=1)).astype(np.float64)


def _hits(y: Floats, prediction: Floats) -> Floats:
    return (most_probable(prediction) == y).astype(np.float64)


def _log_losses(y: Floats, prediction: Floats) -> Floats:
    prediction = columns_of(prediction)
    p = np.clip(prediction, 1e-15, 1 - 1e-15)
    return -np.log(p[np.arange(len(y)), y.astype(np.int64)] / p.sum(axis=1))


_accuracy = of_mean(_hits)


def _macro_f1(y: Floats, prediction: Floats) -> Weighted:
    found, k = most_probable(prediction).astype(np.int64), columns_of(prediction).shape[1]
    place = y.astype(np.int64) * k + found

    def f1(weights: Floats) -> float:
        table = np.bincount(place, weights, minlength=k * k).astype(np.float64)
        return float(f1_of(table.reshape(k, k)))

    return f1


def f1_of(table: Floats) -> Floats:
    """Return the macro F1 of confusion tables (..., class, predicted class); NaN where nothing occurs."""
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    every = table.sum(axis=-1) + table.sum(axis=-2)
    share = np.divide(2 * hits, every, out=np.zeros_like(hits), where=every > 0)
    classes = (every > 0).sum(axis=-1)
    return np.divide(share.sum(axis=-1), classes, out=np.full(np.shape(classes), np.nan), where=classes > 0)


def _macro_auc(y: Floats, prediction: Floats) -> Weighted:
    columns = columns_of(prediction)
    each = [area((y == place).astype(np.float64), columns[:, place]) for place in range(columns.shape[1])]

    def auc(weights: Floats) -> float:
        found = np.array([one(weights) for one in each])
        known = found[~np.isnan(found)]
        return ratio(dot(known, np.ones(len(known))), len(known))

    return auc


CLASSES = (
    Metric("accuracy", accuracy, True, "classes", _accuracy, losses=_hits),
    Metric("macro_f1", macro_f1, True, "classes", _macro_f1),
    Metric("macro_roc_auc", macro_roc_auc, True, "classes", _macro_auc),
)
OF_CLASSES = {
    "log_loss": Metric("log_loss", class_log_loss, False, "classes", of_mean(_log_losses), losses=_log_losses)
}
"""Metrics that go by the name of one of scores, when predictions have several columns."""
