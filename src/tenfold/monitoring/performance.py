"""How well served predictions did, once their outcomes are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.times import UNITS
from tenfold.processing.frame import Column, column
from tenfold.serving.predictions import Predictions
from tenfold.store.offline import History
from tenfold.training.dataset import outcomes
from tenfold.training.metrics import evaluate
from tenfold.training.model import Model

WEEK = UNITS["w"]


@dataclass(frozen=True, slots=True)
class Matured:
    """Predictions whose horizon has passed and whose outcome is known, with the outcome."""

    predictions: Predictions
    y: np.ndarray

    def between(self, start: int, end: int) -> "Matured":
        """Return those predicted in [start, end)."""
        rows = np.flatnonzero((self.predictions.at >= start) & (self.predictions.at < end))
        return Matured(self.predictions.take(rows), self.y[rows])

    def join(self, other: "Matured") -> "Matured":
        """Return both, ordered by prediction time; ages are left out, as the two kinds know different ones."""
        one, two = self.predictions, other.predictions
        texts: dict[str, Any] = {
            name: [*getattr(one, name), *getattr(two, name)] for name in ("id", "row", "on", "request")
        }
        names = ("version", "at", "score", "decision", "features")
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in names
        }
        rows = len(arrays["at"])
        both = Predictions(one.model, "all", **texts, **arrays, ages=np.full((rows, 0), np.nan))
        order = np.argsort(both.at, kind="stable")
        return Matured(both.take(order), np.concatenate([self.y, other.y])[order])

    def metrics(self, names: Sequence[str]) -> dict[str, float]:
        """Return metrics of the scores that were served."""
        return evaluate(names, self.y, self.predictions.score)


@dataclass(frozen=True, slots=True)
class Week:
    """A week of matured predictions: its first instant, rows, mean score, share of true outcomes, metrics."""

    start: int
    rows: int
    predicted: float
    happened: float
    metrics: dict[str, float]


def mature(model: Model, history: History, predictions: Predictions, now: int) -> Matured:
    """Join predictions with their outcomes as known before `now`; what is not mature yet is left out."""
    kind = model.spine.fields[model.label.on].type
    values = predictions.on if kind == "str" else [int(value) for value in predictions.on]
    on: Column = column(kind, values)
    found = outcomes(model.label, history, on, predictions.at, now)
    rows = np.flatnonzero(~np.isnan(found.values) & (predictions.at + model.label.takes_us < now))
    return Matured(predictions.take(rows), found.values[rows])


def first_answers(online: Matured, batch: Matured) -> Matured:
    """Return each row's first answer: the first online one, or the batch answer when there is none."""
    _, first = np.unique(np.array(online.predictions.row, dtype=object), return_index=True)
    first = np.sort(first)
    online = Matured(online.predictions.take(first), online.y[first])
    answered = set(online.predictions.row)
    rows = np.array(
        [place for place, row in enumerate(batch.predictions.row) if row not in answered], dtype=np.int64
    )
    batch = Matured(batch.predictions.take(rows), batch.y[rows])
    if not len(online.y) or not len(batch.y):
        return online if len(online.y) else batch
    return online.join(batch)


def weekly(model: Model, matured: Matured, origin: int) -> list[Week]:
    """Return one row per week counted from `origin`, in order."""
    numbers = (matured.predictions.at - origin) // WEEK
    weeks = []
    for number in np.unique(numbers).tolist():
        start = origin + number * WEEK
        part = matured.between(start, start + WEEK)
        predicted, happened = float(part.predictions.score.mean()), float(part.y.mean())
        weeks.append(Week(start, len(part.y), predicted, happened, part.metrics(model.metrics)))
    return weeks
