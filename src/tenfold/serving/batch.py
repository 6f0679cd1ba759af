"""Scores many rows of the lake at once, as of their own prediction time, and logs them."""

import numpy as np

from tenfold.processing.derive import apply
from tenfold.processing.frame import Frame
from tenfold.serving.asking import joined, numbers, sticky_fields
from tenfold.serving.outputs import Deciding
from tenfold.serving.predictions import BATCH, PredictionLog, Predictions, nothing
from tenfold.serving.traffic import Traffic
from tenfold.training.dataset import Dataset
from tenfold.training.vector import Categories, encode


def score(
    dataset: Dataset, start: int, end: int, predictions: PredictionLog, traffic: Traffic
) -> Predictions:
    """Return and log the predictions for all spine rows predicted in [start, end).

    While a rollout is under way, its route says which version answers a row, and the other one is asked about it too.

    Once per period: the same period again returns what was answered first, whatever version is given then.
    """
    model = dataset.model
    rows = dataset.select(start, end)
    if not len(rows):
        return nothing(model.name, BATCH)
    columns = {name: item.take(rows) for name, item in dataset.columns.items()}

    def matrix(categories: Categories) -> np.ndarray:
        return encode(columns, categories)

    def entities() -> list[str]:
        values = [dataset.spine[name].take(rows).plain() for name in sticky_fields(model)]
        return ["/".join(map(str, each)) for each in zip(*values, strict=True)]

    def asked() -> Frame:
        root = {name: item.take(rows) for name, item in dataset.spine.items()}
        return apply(model.spine, root, len(rows))[0]

    route = traffic.routes.look(model.name)
    parts = traffic.asking(model).many(route, entities, matrix, len(rows))
    found = joined(parts)
    ids = [row.decode() for row in dataset.ids[rows].tolist()]
    at = dataset.at[rows]
    answers = Predictions(
        model.name,
        BATCH,
        [f"{model.name}/{row}/{moment}/batch" for row, moment in zip(ids, at.tolist(), strict=True)],
        ids,
        [str(value) for value in dataset.spine[model.label.on].values[rows].tolist()],
        numbers(parts),
        at,
        found.said.score,
        found.said.decision,
        found.X,
        dataset.ages(rows),
        [""] * len(rows),
        found.said.probabilities,
        found.said.classes,
        Deciding(model).many(asked, at, lambda: columns, found.said, numbers(parts)),
        [model.rules.by] * len(rows),
    )
    stored = predictions.write(answers, key=f"{model.name}/batch/{start}/{end}")
    if stored is answers:
        traffic.shadow_batch(route, model, answers, parts, matrix)
    return stored
