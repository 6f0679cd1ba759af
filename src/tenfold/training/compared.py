"""Versions on the same rows: labels and predictions in one form, though each version knows classes of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.training.estimators import classes_of, spread, targets, together
from tenfold.training.package import Package
from tenfold.training.rows import TrainingSet


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


def compared(rows: TrainingSet, packages: Sequence[Package]) -> Compared:
    """Return what versions predict for rows: for several classes, all that one of them knows or that occur."""
    manifests = [package.manifest for package in packages]
    classes = together(
        *(classes_of(manifest.kind, rows) for manifest in manifests),
        *(manifest.classes for manifest in manifests),
    )
    predictions = [
        spread(
            package.predictor.predict(package.matrix(rows.columns)),
            package.manifest.classes,
            classes,
        )
        for package in packages
    ]
    return Compared(targets(rows, classes), rows.groups, predictions)
