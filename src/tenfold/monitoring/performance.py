"""How well served predictions did, once their outcomes are known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from tenfold.core.times import UNITS
from tenfold.processing.conform import convert
from tenfold.processing.derive import apply
from tenfold.processing.frame import Column, column, from_arrow
from tenfold.serving.answer.predictions import BATCH, TEXTS, Predictions
from tenfold.store.offline import History
from tenfold.training.dataset import outcomes
from tenfold.training.estimators import places, spread, together
from tenfold.training.metrics import evaluate
from tenfold.training.model import Model

WEEK = UNITS["w"]


@dataclass(frozen=True, slots=True)
class Matured:
    """Predictions whose horizon has passed and whose outcome is known, with the outcome.

    Attributes
    ----------
    y : (n,) float64
        For a model of several classes the place of the outcome among `predictions.classes`.
    groups : (n,) texts
        Which rows are ranked among each other; None where none are.
    """

    predictions: Predictions
    y: np.ndarray
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Matured":
        """Return the rows at positions."""
        groups = None if self.groups is None else self.groups[rows]
        return Matured(self.predictions.take(rows), self.y[rows], groups)

    def numbered(self) -> "Matured":
        """Return the rows that were answered with a number; there is nothing to measure of the others."""
        fine = np.isfinite(self.predictions.score)
        return self if fine.all() else self.take(np.flatnonzero(fine))

    def without_features(self) -> "Matured":
        """Return the same without features and ages, which take most of the memory."""
        none = np.zeros((len(self.y), 0))
        return replace(self, predictions=replace(self.predictions, features=none, ages=none))

    def between(self, start: int, end: int) -> "Matured":
        """Return those predicted in [start, end)."""
        return self.take(np.flatnonzero((self.predictions.at >= start) & (self.predictions.at < end)))

    def join(self, other: "Matured") -> "Matured":
        """Return both, ordered by prediction time; ages are left out, as the two kinds know different ones."""
        classes = together(self.predictions.classes, other.predictions.classes)
        mine, their = self.among(classes), other.among(classes)
        one, two = mine.predictions, their.predictions
        texts: dict[str, Any] = {name: [*getattr(one, name), *getattr(two, name)] for name in TEXTS}
        names = ("version", "at", "score", "decision", "features", "probabilities")
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in names
        }
        rows = len(arrays["at"])
        ages = np.full((rows, 0), np.nan)
        both = Predictions(one.model, "all", **texts, **arrays, ages=ages, classes=one.classes)
        groups = (
            None
            if mine.groups is None or their.groups is None
            else np.concatenate([mine.groups, their.groups])
        )
        order = np.argsort(both.at, kind="stable")
        return Matured(both, np.concatenate([mine.y, their.y]), groups).take(order)

    def among(self, classes: Sequence[str | int]) -> "Matured":
        """Return the same with more classes."""
        own = self.predictions.classes
        if list(own) == list(classes):
            return self
        wide = spread(self.predictions.probabilities, own, classes)
        predictions = replace(self.predictions, probabilities=wide, classes=tuple(map(str, classes)))
        return Matured(predictions, places(self.y, [str(name) for name in own], classes), self.groups)

    def metrics(self, names: Sequence[str]) -> dict[str, float]:
        """Return metrics of what was served, of the rows that were answered with a number; NaN when none were."""
        told = self.numbered()
        said = told.predictions.probabilities if told.predictions.classes else told.predictions.score
        codes = None if told.groups is None else np.unique(told.groups, return_inverse=True)[1]
        return evaluate(names, told.y, said, codes)

    def right(self) -> float:
        """Return the share of true outcomes, the mean one, or for several classes the share that was predicted."""
        if not self.predictions.classes:
            return float(self.y.mean())
        return float((self.predictions.probabilities.argmax(axis=1) == self.y).mean())


@dataclass(frozen=True, slots=True)
class Week:
    """A week of matured predictions: its first instant, rows, mean score, share of true outcomes, metrics.

    For numbers `happened` is their mean, for several classes the share of rows whose outcome was the one predicted.
    `no_number` of the rows were answered without a number; all but `rows` is of the others, and NaN where there are none.
    """

    start: int
    rows: int
    predicted: float
    happened: float
    metrics: dict[str, float]
    no_number: int = 0


def mature(model: Model, history: History, predictions: Predictions, now: int) -> Matured:
    """Join predictions with their outcomes as known before `now`; what is not mature yet is left out."""
    rows, y, classes = known_by(model, history, predictions, now)
    return with_outcomes(model, history, predictions.take(rows), y, classes)


def known_by(
    model: Model, history: History, predictions: Predictions, now: int
) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    """Return the positions of the predictions that are mature at `now`, their outcomes as known before it, and the classes of these."""
    found = outcomes(model.label, history, _on(model, predictions), predictions.at, now)
    rows = np.flatnonzero(~np.isnan(found.values) & (predictions.at + model.label.takes_us < now))
    return rows, found.values[rows], found.classes


def _on(model: Model, predictions: Predictions) -> Column:
    """Return the values by which predictions meet their labels."""
    import pyarrow as pa

    kind, given = model.spine.fields[model.label.on].type, pa.array(predictions.on, pa.string())
    if kind == "str":
        return from_arrow(pa.table({"on": given}), {"on": kind})["on"]
    return column(kind, given.cast(pa.int64()).to_numpy())


def with_outcomes(
    model: Model, history: History, predictions: Predictions, y: np.ndarray, classes: Sequence[str]
) -> Matured:
    """Return predictions with their outcomes; of several classes both as places among all of them."""
    groups = None
    if model.kind == "ranking":
        values = values_of(model, history, predictions, str(model.groups))
        groups = np.array([str(value) for value in values], dtype=object)
    if model.kind != "multiclass" or not len(y):
        return Matured(predictions, y, groups)
    own = classes or [str(int(value)) for value in np.unique(y)]
    codes = y if classes else np.unique(y, return_inverse=True)[1].astype(np.float64)
    wide = together(own, predictions.classes)
    shares = spread(predictions.probabilities, predictions.classes, wide)
    return Matured(
        replace(predictions, probabilities=shares, classes=tuple(map(str, wide))), places(codes, own, wide)
    )


def values_of(model: Model, history: History, predictions: Predictions, name: str) -> list[Any]:
    """Return a field of the spine of each row, None where it is null: as it was asked for, or as the lake has it."""
    root = model.spine.root
    if predictions.mode != BATCH:
        asked = [convert(root.fields, msgspec.json.decode(request)) for request in predictions.request]
        frame = {name: column(item.type, [row[name] for row in asked]) for name, item in root.fields.items()}
    else:
        known = history.past(root)
        newest = {row: place for place, row in enumerate(known.ids.tolist())}
        rows = np.array([newest[row.encode()] for row in predictions.row], dtype=np.int64)
        frame = {name: known.frame[name].take(rows) for name in root.fields}
    derived, _ = apply(model.spine, frame, len(predictions))
    return derived[name].plain()


def first_answers(*parts: Matured) -> Matured:
    """Return each row's first answer: the first one of the first part that has one, such as online before batch."""
    found = _once(parts[0], set())
    for part in parts[1:]:
        more = _once(part, set(found.predictions.row))
        both = len(found.y) and len(more.y)
        found = found.join(more) if both else found if len(found.y) else more
    return found


def _once(part: Matured, answered: set[str]) -> Matured:
    """Return the first answer for each row that is not answered yet."""
    _, first = np.unique(np.array(part.predictions.row, dtype=object), return_index=True)
    rows = [place for place in np.sort(first).tolist() if part.predictions.row[place] not in answered]
    return part.take(np.array(rows, dtype=np.int64))


def weekly(model: Model, matured: Matured, origin: int) -> list[Week]:
    """Return one row per week counted from `origin`, in order."""
    numbers = (matured.predictions.at - origin) // WEEK
    weeks = []
    for number in np.unique(numbers).tolist():
        start = origin + number * WEEK
        part = matured.between(start, start + WEEK)
        told, predicted, happened = part.numbered(), math.nan, math.nan
        if len(told.y):
            predicted, happened = float(told.predictions.score.mean()), told.right()
        metrics, no_number = told.metrics(model.metrics), len(part.y) - len(told.y)
        weeks.append(Week(start, len(part.y), predicted, happened, metrics, no_number))
    return weeks
