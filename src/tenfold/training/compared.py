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
