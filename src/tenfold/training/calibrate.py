"""Calibration: a correction of scores, fitted on held-out rows, kept as plain numbers and applied alike to one row and many."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from tenfold.training.predictor import Predictor

Calibration = Mapping[str, Any]
"""`{"method": "isotonic", "score": [...], "value": [...]}` or `{"method": "sigmoid", "slope": a, "offset": b}`."""

_EDGE, _FAR = 1e-12, 700.0
_STEPS = 100


class Calibrated:
    """A predictor whose scores are corrected."""

    def __init__(self, predictor: Predictor, calibration: Calibration) -> None:
        self.inner = predictor
        self._calibration = {
            name: np.array(value) if isinstance(value, list) else value for name, value in calibration.items()
        }

    def predict(self, X: Any) -> np.ndarray:
        return corrected(self._calibration, self.inner.predict(X))

    def __getattr__(self, name: str) -> Any:
        """What is said of the model, such as its importances, is that of the predictor inside."""
        return getattr(self.inner, name)


def calibrated(predictor: Predictor, calibration: Calibration | None) -> Predictor:
    """Return a predictor with its scores corrected; the predictor itself when there is no calibration."""
    return predictor if calibration is None else Calibrated(predictor, calibration)


def corrected(calibration: Calibration | None, scores: np.ndarray) -> np.ndarray:
    """Return scores as a calibration corrects them."""
    if calibration is None:
        return scores
    if calibration["method"] == "isotonic":
        return np.interp(scores, calibration["score"], calibration["value"])
    return _sigmoid(calibration["slope"], calibration["offset"], scores)


def fit_calibration(method: Literal["isotonic", "sigmoid"], scores: np.ndarray, y: np.ndarray) -> Calibration:
    """Return the correction that makes scores fit what happened.

    Parameters
    ----------
    scores : (n_rows,) float64
        Of rows that the model did not learn from.
    y : (n_rows,) float64, 0 or 1

    Examples
    --------
    >>> found = fit_calibration("isotonic", np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
    >>> found["score"], found["value"]
    ([0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 1.0])
    """
    return _isotonic(scores, y) if method == "isotonic" else _platt(scores, y)


def _isotonic(scores: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Pool neighbours until no larger score has a smaller mean; keep both ends of each pool."""
    points, place = np.unique(scores, return_inverse=True)
    rows = np.bincount(place).astype(np.float64)
    pools: list[list[float]] = []  # sum of labels, rows, first and last distinct score
    for at, (total, weight) in enumerate(zip(np.bincount(place, y).tolist(), rows.tolist(), strict=True)):
        pools.append([total, weight, at, at])
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] >= pools[-1][0] * pools[-2][1]:
            total, weight, _, last = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + weight, pools[-1][2], last]
    ends = [(int(end), total / weight) for total, weight, a, b in pools for end in sorted({a, b})]
    return {
        "method": "isotonic",
        "score": [float(points[end]) for end, _ in ends],
        "value": [value for _, value in ends],
    }


def _platt(scores: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Fit a logistic curve over the log odds by Newton steps; targets are pulled off 0 and 1 as Platt does."""
    positives, rows = float(y.sum()), len(y)
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (rows - positives + 2))
    x = np.stack([_log_odds(scores), np.ones(rows)])
    weights, loss = np.array([1.0, 0.0]), np.inf
    step = np.zeros(2)
    for _ in range(_STEPS):
        found = _deviance(weights + step, x, target)
        if found > loss:
            step = step / 2  # too far
            continue
        done = loss - found < 1e-12 * rows
        weights, loss = weights + step, found
        if done:
            break
        step = _newton(weights, x, target)
    return {"method": "sigmoid", "slope": float(weights[0]), "offset": float(weights[1])}


def _deviance(weights: np.ndarray, x: np.ndarray, target: np.ndarray) -> float:
    odds = weights[0] * x[0] + weights[1]
    return float((np.logaddexp(0, odds) - target * odds).sum())


def _newton(weights: np.ndarray, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    p = _logistic(weights[0] * x[0] + weights[1])
    slope = (x * (target - p)).sum(axis=1)
    curve = p * (1 - p)
    a, b, c = (float((x[i] * x[j] * curve).sum()) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, c = a + 1e-9, c + 1e-9  # one score only: no slope to find
    return np.array([c * slope[0] - b * slope[1], a * slope[1] - b * slope[0]]) / (a * c - b * b)


def _log_odds(scores: np.ndarray) -> np.ndarray:
    p = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)


def _sigmoid(slope: float, offset: float, scores: np.ndarray) -> np.ndarray:
    return _logistic(slope * _log_odds(scores) + offset)


def _logistic(odds: np.ndarray) -> np.ndarray:
    # contiguous, so that numpy takes the same path for one row as for many
    return 1 / (1 + np.exp(-np.clip(np.ascontiguousarray(odds), -_FAR, _FAR)))
