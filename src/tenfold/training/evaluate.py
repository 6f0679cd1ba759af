"""How good a version is on the test period: metrics with intervals, slices, and what it must beat on the same rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.training.baselines import simple_answers
from tenfold.training.calibrate import Calibration, corrected
from tenfold.training.classes import by_class
from tenfold.training.compared import answers, numbered
from tenfold.training.estimators import spread
from tenfold.training.intervals import LEVEL, Blocks, blocks_of, interval
from tenfold.training.material import Material, count
from tenfold.training.metrics import calibration_curve, evaluate
from tenfold.training.model import Model
from tenfold.training.package import Package
from tenfold.training.slices import slices_of

Document = dict[str, Any]

WHY = {
    "days": "rows of one day are not independent of each other, so whole days are drawn",
    "hours": "rows of one hour are not independent of each other, so whole hours are drawn; the test period has too few days",
    "rows": "the test period is too short to draw days or hours, so rows are drawn as if they were independent",
}


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in Production when a training began."""

    number: int
    package: Package


@dataclass(frozen=True, slots=True)
class Tested:
    """The rows of a test period with predictions for them."""

    y: np.ndarray
    prediction: np.ndarray
    groups: np.ndarray | None
    blocks: Blocks

    def metrics(self, names: Sequence[str]) -> dict[str, float | None]:
        """Return the metrics; None for what cannot be computed."""
        return finites(evaluate(names, self.y, self.prediction, self.groups))

    def sure(self, names: Sequence[str]) -> Document:
        """Return the metrics with the ends of their 95 % intervals."""
        found = self.metrics(names)
        ends = {
            name: interval(name, self.y, self.prediction, self.blocks, self.groups)
            if value is not None
            else ()
            for name, value in found.items()
        }
        return {
            name: {
                "value": value,
                **dict(zip(("low", "high"), map(finite, ends[name] or (math.nan,) * 2), strict=True)),
            }
            for name, value in found.items()
        }

    def take(self, rows: np.ndarray) -> "Tested":
        """Return some of the rows."""
        groups = None if self.groups is None else self.groups[rows]
        return Tested(self.y[rows], self.prediction[rows], groups, self.blocks.take(rows))

    def of(self, prediction: np.ndarray) -> "Tested":
        """Return the same rows with other predictions."""
        return Tested(self.y, prediction, self.groups, self.blocks)


def evaluation(
    model: Model,
    material: Material,
    raw: np.ndarray,
    calibration: Calibration | None,
    champion: Champion | None,
) -> Document:
    """Return the evaluation of predictions for the test period, as JSON values.

    Parameters
    ----------
    raw
        The predictions before calibration.
    """
    test, fitted = material.test(), material.fit()
    y, at, groups = material.y[test], material.rows.at[test], material.rows.groups
    tested = Tested(y, corrected(calibration, raw), None if groups is None else groups[test], blocks_of(at))
    positives = (
        {"train": int(material.y[fitted].sum()), "test": int(y.sum())} if model.kind == "binary" else None
    )
    return {
        "kind": model.kind,
        "rows": {"train": count(fitted), "test": len(y)},
        "positives": positives,
        "interval": {
            "level": LEVEL,
            "of": tested.blocks.text,
            "why": WHY[tested.blocks.unit],
        },
        "metrics": tested.sure(model.metrics),
        "baselines": _baselines(model, material, tested, champion),
        "slices": _slices(model, material, tested),
        "classes": by_class(material.classes, material.y[fitted], y, tested.prediction)
        if model.kind == "multiclass"
        else None,
        "calibration": _calibration(model, y, raw, tested.prediction, calibration),
    }


def _baselines(model: Model, material: Material, tested: Tested, champion: Champion | None) -> Document:
    columns = tested.prediction.shape[1] if tested.prediction.ndim == 2 else 1
    answers = simple_answers(model, material, columns)
    found = {name: tested.of(answer).metrics(model.metrics) for name, answer in answers.items()}
    if champion is not None and not has_seen(champion, material):
        said = _scores(champion.package, material)
        fine = numbered(said)
        some = f", on the {len(fine):,} of {len(said):,} rows it has a number for"
        name = f"champion (version {champion.number}){some if len(fine) < len(said) else ''}"
        found[name] = tested.of(said).take(fine).metrics(model.metrics)
    return found


def has_seen(champion: Champion, material: Material) -> bool:
    """Return whether a version learned from rows that are tested on: its figures would flatter it."""
    known = champion.package.manifest.period[1] + material.model.label.takes_us
    return known > material.plan.test[0]


def _scores(package: Package, material: Material) -> np.ndarray:
    """Return the scores of another version for the test rows, whose texts it has codes of its own for."""
    manifest = package.manifest
    if manifest.categories == material.categories and list(manifest.columns) == list(material.model.columns):
        return _wide(package, answers(package, material.X[material.test()]), material)
    rows = np.arange(len(material.rows))[material.test()]
    columns = {name: item.take(rows) for name, item in material.rows.columns.items()}
    return _wide(package, answers(package, package.matrix(columns)), material)


def _wide(package: Package, found: np.ndarray, material: Material) -> np.ndarray:
    """Return probabilities of all classes that occur, of those that a version knows."""
    return spread(found, package.manifest.classes, material.classes)


def _slices(model: Model, material: Material, tested: Tested) -> list[Document]:
    rows = np.arange(len(material.rows))[material.test()]
    found = []
    for feature in model.slices:
        for part in slices_of(feature, material.rows.columns[feature].take(rows)):
            small = part.is_small(tested.y, outcomes=model.kind == "binary")
            mine = tested.take(part.rows)
            metrics = _unsure(mine.metrics(model.metrics)) if small else mine.sure(model.metrics)
            found.append(
                {
                    "feature": feature,
                    "value": part.value,
                    "rows": len(part.rows),
                    "metrics": metrics,
                    "small": small,
                }
            )
    return found


def _unsure(metrics: Mapping[str, float | None]) -> Document:
    return {name: {"value": value, "low": None, "high": None} for name, value in metrics.items()}


def _calibration(
    model: Model, y: np.ndarray, raw: np.ndarray, after: np.ndarray, calibration: Calibration | None
) -> Document | None:
    if model.kind != "binary":
        return None
    curves = {"before": calibration_curve(y, raw), "after": calibration_curve(y, after)}
    return {"method": None if calibration is None else calibration["method"], **curves}


def finite(value: float) -> float | None:
    """Return a number, None for what cannot be computed, as when the test rows have one outcome only."""
    return float(value) if math.isfinite(value) else None


def finites(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return numbers by name with None for what cannot be computed."""
    return {name: finite(value) for name, value in values.items()}
