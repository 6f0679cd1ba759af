"""Fit and evaluate in memory: from a declaration and fixed tables to a packaged version."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tenfold.training.dataset import Dataset
from tenfold.training.evaluate import Champion
from tenfold.training.folds import Split
from tenfold.training.model import Model
from tenfold.training.package import Package
from tenfold.training.pipeline import Training, execute, pipeline_steps
from tenfold.training.rows import TrainingSet


def fit(
    model: Model,
    dataset: Dataset,
    split: Split,
    *,
    champion: Champion | None = None,
    processes: int | None = None,
) -> Package:
    """Learn from the training period and evaluate on the test period.

    The same declaration, table versions, split, champion and library versions give the same bytes.

    Raises
    ------
    DefinitionError
        When a period holds no row with a mature label; says when the newest such row is.
    """
    training = Training(model, dataset, split, champion=champion, processes=processes)
    try:
        execute(pipeline_steps(model, lambda _: training))
        return training.package()
    finally:
        training.close()


def scores(package: Package, rows: TrainingSet | Mapping[str, Any]) -> np.ndarray:
    """Return the scores of a version for a training set or for columns."""
    columns = rows.columns if isinstance(rows, TrainingSet) else rows
    return package.predictor.predict(package.matrix(columns))
