"""What each feature adds to the raw score of a row: exact for trees (SHAP) and for what is linear, and nothing else is guessed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import SchemaError
from tenfold.training.package import Package

Linear = Callable[[np.ndarray], np.ndarray]
"""Gives the raw scores of rows, (n_rows, n_outputs), as sums of functions of one feature each."""
CLOSE = 1e-4
"""By how much of their size contributions may miss the raw score: XGBoost adds up in 32 bits."""


@dataclass(frozen=True, slots=True)
class Contributed:
    """A raw score, before the link and the calibration, as a base and what each feature adds to it.

    Attributes
    ----------
    base
        The raw score of which nothing of the row is known: the mean over rows the version was tested on.
    each : (n_features,) float64
        In the order of the model's columns; with the base they add up to `raw`.
    """

    raw: float
    base: float
    each: np.ndarray


def contributed(package: Package, X: np.ndarray, place: int = 0) -> Contributed:
    """Return the contributions to the score of one row.

    Parameters
    ----------
    X : (1, n_features) float64
        The row as `encode` makes it.
    place
        Which class's score, for a model of several.

    Raises
    ------
    SchemaError
        When the version is of a kind for which there is no exact answer; says what to do.
    """
    found, raw = _found(package, X)
    if (
        len(raw) == 1 and package.manifest.kind == "multiclass"
    ):  # of two classes, boosters score the second alone
        found, raw, place = (found, raw, 0) if place else (-found, -raw, 0)
    told = Contributed(float(raw[place]), float(found[place, -1]), found[place, :-1])
    size = np.abs(found[place]).sum()
    if not abs(found[place].sum() - told.raw) <= CLOSE * max(size, 1.0):
        raise SchemaError(_refused(package, "its contributions do not add up to its score"))
    return told


def _found(package: Package, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return contributions, with the base behind them, and the raw score, per output: (n_outputs, n + 1) and (n_outputs,)."""
    predictor = package.predictor
    exact, linear = getattr(predictor, "contributions", None), getattr(predictor, "linear", None)
    if exact is not None:
        return exact(X)[0], predictor.raw(X)[0]  # type: ignore[attr-defined]
    if linear is not None:
        golden = np.frombuffer(package.manifest.golden_rows, dtype=np.float64)
        return added(linear, X[0], golden.reshape(-1, X.shape[1])), linear(X)[0]
    raise SchemaError(_refused(package, "nobody knows exactly what a feature adds to its score"))


def added(linear: Linear, row: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return what each feature adds to a score that is a sum of functions of one feature each.

    That is the mean change when the feature of each of `rows` becomes that of the row; the base is their mean score.

    Returns
    -------
    (n_outputs, n_features + 1) float64, the base last

    Examples
    --------
    >>> rows = np.array([[0.0, 0.0], [2.0, 4.0]])
    >>> added(lambda X: X @ np.array([[1.0], [10.0]]), np.array([3.0, 5.0]), rows)
    array([[ 2., 30., 21.]])
    """
    count, width = rows.shape
    changed = np.repeat(rows[None], width, axis=0)
    changed[np.arange(width), :, np.arange(width)] = row[:, None]
    base = linear(rows).mean(axis=0)
    moved = linear(changed.reshape(width * count, width)).reshape(width, count, -1).mean(axis=1)
    return np.column_stack([(moved - base).T, base])


def _refused(package: Package, why: str) -> str:
    return (
        f'model "{package.manifest.model}" is kept as {package.manifest.format}, and {why}, so it is not explained. '
        "Use LightGBM, XGBoost or a linear estimator of scikit-learn, or ask for the answer alone with /predict."
    )
