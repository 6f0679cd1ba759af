"""What each feature adds to the score of a row: exact for trees (SHAP) and for what is linear, estimated for all else."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import SchemaError
from tenfold.training.package import Package

Linear = Callable[[np.ndarray], np.ndarray]
"""Gives the raw scores of rows, (n_rows, n_outputs), as sums of functions of one feature each."""
Scores = Callable[[np.ndarray], np.ndarray]
"""Gives the score of each row, (n_rows,)."""
CLOSE = 1e-4
"""By how much of their size contributions may miss the raw score: XGBoost adds up in 32 bits."""
SCORED, FEWEST = 8_192, 4
"""About how many rows are scored for an estimate, and from how many rows it begins at least."""
TOGETHER = 4_096
"""Rows that are scored in one call."""


@dataclass(frozen=True, slots=True)
class Contributed:
    """A score as a base and what each feature adds to it: before the link and the calibration, or the score itself where estimated.

    Attributes
    ----------
    base
        The score of which nothing of the row is known: the mean over rows the version was tested on.
    each : (n_features,) float64
        In the order of the model's columns; with the base they add up to `raw`.
    errors : (n_features,) float64
        The standard error of each, where they are estimated.
    """

    raw: float
    base: float
    each: np.ndarray
    errors: np.ndarray | None = None


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
        When there is no number for the row, or for one that has some of its values.
    """
    return _exact(package, X, place) or _estimated(package, X, place)


def _exact(package: Package, X: np.ndarray, place: int) -> Contributed | None:
    """Return the contributions of a kind for which they are known; None when they are not, or do not add up to the score."""
    known = _known(package, X)
    if known is None:
        return None
    found, raw = known
    if (
        len(raw) == 1 and package.manifest.kind == "multiclass"
    ):  # of two classes, boosters score the second alone
        found, raw, place = (found, raw, 0) if place else (-found, -raw, 0)
    size = np.abs(found[place]).sum()
    if not abs(found[place].sum() - raw[place]) <= CLOSE * max(size, 1.0):
        return None
    return Contributed(float(raw[place]), float(found[place, -1]), found[place, :-1])


def _known(package: Package, X: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return contributions, with the base behind them, and the raw score, per output: (n_outputs, n + 1) and (n_outputs,)."""
    predictor = package.predictor
    exact, linear = getattr(predictor, "contributions", None), getattr(predictor, "linear", None)
    if exact is not None:
        return exact(X)[0], predictor.raw(X)[0]  # type: ignore[attr-defined]
    return None if linear is None else (added(linear, X[0], _golden(package)), linear(X)[0])


def _golden(package: Package) -> np.ndarray:
    manifest = package.manifest
    return np.frombuffer(manifest.golden_rows, dtype=np.float64).reshape(-1, len(manifest.columns))


def _estimated(package: Package, X: np.ndarray, place: int) -> Contributed:
    def scores(rows: np.ndarray) -> np.ndarray:
        found = package.predictor.predict(rows)
        return found if found.ndim == 1 else found[:, place]

    try:
        found = estimated(scores, X[0], _golden(package), np.random.default_rng(0))
    except Exception as error:  # an estimator of anybody's, asked about rows that nobody sent
        raise _unexplained(package, f"its estimator says {type(error).__name__}: {error}") from error
    if not np.isfinite([found.raw, found.base]).all():
        raise _unexplained(package, "it gives no number for it, or for a row with some of its values")
    return found


def estimated(scores: Scores, row: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> Contributed:
    """Estimate Shapley values: what a score changes by when features of `rows` become those of the row, one after the other.

    Each of `rows` is gone from in a random order and in the opposite one; there are fewer of them when there are many features.

    Examples
    --------
    >>> rows = np.array([[0.0, 0.0, 7.0], [2.0, 4.0, 7.0]])
    >>> found = estimated(
    ...     lambda X: X[:, 0] * X[:, 1], np.array([3.0, 5.0, 8.0]), rows, np.random.default_rng(0)
    ... )
    >>> found.raw, found.base, found.each
    (15.0, 4.0, array([6., 5., 0.]))
    """
    width = len(row)
    least = min(max(SCORED // (2 * width + 2), FEWEST), len(rows))
    rows = rows[np.linspace(0, len(rows) - 1, least).astype(np.int64)]
    turns = rng.permuted(np.tile(np.arange(width), (len(rows), 1)), axis=1)  # when a feature has its turn
    changes, ends = [], []
    together = max(TOGETHER // (2 * width + 2), 1)
    for first in range(0, len(rows), together):
        some, when = rows[first : first + together], turns[first : first + together]
        both = np.stack([when, width - 1 - when], axis=1)[:, :, None]
        before = both < np.arange(width + 1)[:, None]
        asked = np.where(before, row, some[:, None, None])
        told = scores(asked.reshape(-1, width)).reshape(asked.shape[:3])
        steps = np.take_along_axis(np.diff(told, axis=2), both[:, :, 0], axis=2)
        changes.append(steps.mean(axis=1))
        ends.append(told[:, 0, [0, -1]])
    found, end = np.concatenate(changes), np.concatenate(ends)
    errors = found.std(axis=0, ddof=min(1, len(found) - 1)) / np.sqrt(len(found))
    return Contributed(float(end[0, 1]), float(end[:, 0].mean()), found.mean(axis=0), errors)


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


def _unexplained(package: Package, why: str) -> SchemaError:
    return SchemaError(
        f'the answer of model "{package.manifest.model}" is not explained: {why}. Ask for the answer alone with /predict.'
    )
