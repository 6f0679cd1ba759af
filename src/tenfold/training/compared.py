"""Versions on the same rows: labels and predictions in one form, though each version knows classes of its own."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.training.estimators import classes_of, spread, targets, together
from tenfold.training.package import Package
from tenfold.training.rows import TrainingSet

logger = logging.getLogger(__name__)

MOST = 200
"""Rows that a version may raise for alone; then it has no number for those that it was not asked about yet."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Labels, groups where rows are ranked, and what each version predicts, as metrics take them."""

    y: np.ndarray
    groups: np.ndarray | None
    predictions: list[np.ndarray]

    def take(self, rows: np.ndarray) -> "Compared":
        """Return the rows at positions."""
        groups = None if self.groups is None else self.groups[rows]
        return Compared(self.y[rows], groups, [said[rows] for said in self.predictions])


def numbered(said: np.ndarray) -> np.ndarray:
    """Return the positions of the rows that a version gives a number for, and for several classes only numbers.

    Examples
    --------
    >>> numbered(np.array([0.5, np.nan, 0.25])), numbered(np.array([[0.5, 0.5], [np.nan, 1.0]]))
    (array([0, 2]), array([0]))
    """
    fine = np.isfinite(said)
    return np.flatnonzero(fine if fine.ndim == 1 else fine.all(axis=1))


def answers(package: Package, X: np.ndarray) -> np.ndarray:
    """Return what a version predicts, NaN for rows that it raises for: where it does for several, they are asked about in halves."""
    try:
        return package.predictor.predict(X)
    except Exception:
        logger.exception("a version raised model=%s", package.manifest.model)
    classes = len(package.manifest.classes)
    found = np.full((len(X), classes) if classes else len(X), np.nan)
    waiting, left = [(0, len(X))], MOST
    while waiting and left:
        first, last = waiting.pop()
        try:
            found[first:last] = package.predictor.predict(X[first:last])
        except Exception:  # noqa: BLE001 - it was logged; a version in production may raise whatever it likes
            middle = (first + last) // 2
            left -= last - first == 1
            waiting += [(middle, last), (first, middle)] if last - first > 1 else []
    return found


def compared(rows: TrainingSet, packages: Sequence[Package]) -> Compared:
    """Return what versions predict for rows: for several classes, all that one of them knows or that occur."""
    manifests = [package.manifest for package in packages]
    classes = together(
        *(classes_of(manifest.kind, rows) for manifest in manifests),
        *(manifest.classes for manifest in manifests),
    )
    predictions = [
        spread(
            answers(package, package.matrix(rows.columns)),
            package.manifest.classes,
            classes,
        )
        for package in packages
    ]
    return Compared(targets(rows, classes), rows.groups, predictions)
