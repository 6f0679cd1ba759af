"""How good a version is on the test period, beside what is simple and beside the version in Production."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.training.calibrate import Calibration, corrected
from tenfold.training.material import Material, count
from tenfold.training.metrics import evaluate
from tenfold.training.model import Model
from tenfold.training.package import Package

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in Production when a training began."""

    number: int
    package: Package


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
    test = material.test()
    y, prediction = material.y[test], corrected(calibration, raw)
    found = evaluate(model.metrics, y, prediction)
    return {
        "kind": model.kind,
        "rows": {"train": count(material.fit()), "test": len(y)},
        "metrics": {
            name: {"value": finite(value), "low": None, "high": None} for name, value in found.items()
        },
    }


def finite(value: float) -> float | None:
    """Return a number, None for what cannot be computed, as when the test rows have one outcome only."""
    return float(value) if math.isfinite(value) else None


def finites(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return numbers by name with None for what cannot be computed."""
    return {name: finite(value) for name, value in values.items()}
