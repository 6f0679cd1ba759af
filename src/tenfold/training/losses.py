"""How wrong a prediction is, row by row: what two versions are compared by on the same rows."""

import numpy as np

from tenfold.training.kinds import Kind
from tenfold.training.metrics import METRICS
from tenfold.training.metrics_ranking import per_group

TOP = 10
"""Places at the top of a group that its NDCG looks at."""
LARGEST = {"binary": 1.0, "multiclass": 2.0, "ranking": 1.0}
"""The largest loss of a row, or of a group that is ranked; there is none for numbers."""


def losses(kind: Kind, metric: str, y: np.ndarray, said: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return the loss of each row, shape (n,); where rows are ranked, of each group in the order of their names.

    Squared error of the probability, its sum over several classes, one minus the NDCG. A probability outside of 0 and 1 is
    taken for the nearer of them. Of a number what `metric` means it to be: the pinball loss of its level, the squared error
    of `root_mean_squared_error`, or else the absolute error; by another one, the version that is better by the metric could
    be worse.

    Parameters
    ----------
    metric
        The first metric of the model.
    y : (n,) float64
        For several classes the place of the outcome among them.
    said : (n,) or (n, n_classes) float64

    Examples
    --------
    >>> losses("binary", "roc_auc", np.array([1.0, 0.0]), np.array([0.5, 0.1]), None)
    array([0.25, 0.01])
    >>> losses("regression", "pinball@0.9", np.array([1.0, 0.0]), np.array([0.5, 0.1]), None)
    array([0.45, 0.01])
    >>> losses("binary", "roc_auc", np.array([1.0, 0.0]), np.array([1.1, -0.2]), None)
    array([0., 0.])
    """
    if kind == "binary":
        return np.square(np.clip(said, 0, 1) - y)
    if kind == "multiclass":
        happened = np.arange(said.shape[1]) == y[:, None]
        return np.minimum(np.square(np.clip(said, 0, 1) - happened).sum(axis=1), LARGEST[kind])
    if kind == "ranking" and groups is not None:
        found = per_group("ndcg", y, said, groups, TOP)[1]
        return 1 - np.nan_to_num(found, nan=1.0)  # where nothing is relevant no order is wrong
    return _of_number(metric, y, said)


def _of_number(metric: str, y: np.ndarray, said: np.ndarray) -> np.ndarray:
    if metric == "root_mean_squared_error":
        return np.square(said - y)
    found = METRICS[metric]
    if found.needs == "value" and found.losses is not None:
        return found.losses(y, said)
    return np.abs(said - y)
