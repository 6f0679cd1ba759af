"""Scores many rows of the lake at once, as of their own prediction time, and logs them."""

import numpy as np

from tenfold.serving.answers import said
from tenfold.serving.predictions import BATCH, PredictionLog, Predictions, nothing
from tenfold.serving.service import Loaded
from tenfold.training.dataset import Dataset
from tenfold.training.vector import encode


def score(dataset: Dataset, version: Loaded, start: int, end: int, predictions: PredictionLog) -> Predictions:
    """Return and log the predictions for all spine rows predicted in [start, end).

    Once per period: the same period again returns what was answered first, whatever version is given then.
    """
    model = dataset.model
    rows = dataset.select(start, end)
    if not len(rows):
        return nothing(model.name, BATCH)
    manifest = version.package.manifest
    X = encode({name: item.take(rows) for name, item in dataset.columns.items()}, manifest.categories)
    found = said(manifest, version.package.predictor.predict(X))
    ids = [row.decode() for row in dataset.ids[rows].tolist()]
    at = dataset.at[rows]
    answers = Predictions(
        model.name,
        BATCH,
        [f"{model.name}/{row}/{moment}/batch" for row, moment in zip(ids, at.tolist(), strict=True)],
        ids,
        [str(value) for value in dataset.spine[model.label.on].values[rows].tolist()],
        np.full(len(rows), version.number, dtype=np.int64),
        at,
        found.score,
        found.decision,
        X,
        dataset.ages(rows),
        [""] * len(rows),
        found.probabilities,
        found.classes,
    )
    return predictions.write(answers, key=f"{model.name}/batch/{start}/{end}")
