"""The year month by month: what happened, what a frozen model would have scored, what the loop scored and decided."""

import itertools
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from examples.flights.project import ZONE
from tenfold import App, Model
from tenfold.automation.audit import Decision
from tenfold.core.times import iso, to_datetime, to_us
from tenfold.monitoring.drift import DriftRow, drift_report
from tenfold.monitoring.performance import WEEK, Matured, Week, weekly
from tenfold.training.metrics import CalibrationBin, calibration_curve, roc_auc
from tenfold.training.package import Manifest
from tenfold.training.profile import Profile, counts, psi
from tenfold.training.vector import encode


@dataclass(frozen=True)
class Month:
    """A month of predictions: share of late flights, AUC of the first version and of the loop, decisions."""

    month: str
    late_rate: float
    auc_frozen: float
    auc_loop: float
    rows: int
    decisions: list[str]


@dataclass(frozen=True)
class Drifting:
    """How far the features of each week were from those the first version was trained on, most important first."""

    rows: list[DriftRow]
    weeks: list[str]
    psi: list[list[float]]


@dataclass(frozen=True)
class Year:
    """All months, the weeks of the loop and of the frozen version, how well both kept their word, and what drifted."""

    months: list[Month]
    weeks: list[Week]
    weeks_frozen: list[Week]
    calibration: dict[str, list[CalibrationBin]]
    predictions: int
    drift: Drifting


def year_of(app: App, model: Model, start: int, end: int) -> Year:
    """Return the year from what was served and logged, beside the first version on the same rows."""
    served = app.matured(model, start, end)
    X, frozen = _frozen(app, model, served)
    edges = _months(start, end)
    months = []
    for first, last in itertools.pairwise(edges):
        mine, other = served.between(first, last), frozen.between(first, last)
        auc_frozen, auc_loop = (roc_auc(part.y, part.predictions.score) for part in (other, mine))
        name = to_datetime(first).astimezone(ZoneInfo(ZONE)).strftime("%Y-%m")
        decisions = _decisions(app, first, last)
        months.append(Month(name, float(mine.y.mean()), auc_frozen, auc_loop, len(mine.y), decisions))
    kept = {
        name: calibration_curve(part.y, part.predictions.score)
        for name, part in (("loop", served), ("frozen", frozen))
    }
    weeks, weeks_frozen = (weekly(model, part, start) for part in (served, frozen))
    drift = _drift(app.versions.get(model, 1).package.manifest, X, served.predictions.at, start)
    return Year(months, weeks, weeks_frozen, kept, len(served.predictions), drift)


def _frozen(app: App, model: Model, served: Matured) -> tuple[np.ndarray, Matured]:
    """Return the served rows as version 1 sees them, and with its scores."""
    dataset = app.dataset(model)
    place = {row: number for number, row in enumerate(dataset.ids.tolist())}
    rows = np.array([place[row.encode()] for row in served.predictions.row], dtype=np.int64)
    first = app.versions.get(model, 1).package
    X = encode({name: item.take(rows) for name, item in dataset.columns.items()}, first.manifest.categories)
    return X, Matured(replace(served.predictions, score=first.predictor.predict(X)), served.y)


def _drift(manifest: Manifest, X: np.ndarray, at: np.ndarray, start: int) -> Drifting:
    """Return the drift of all rows together and of each week."""
    fixed = Profile.from_dict(manifest.reference)
    report = drift_report(fixed, counts(fixed, X), importance=manifest.importance, limits=manifest.limits)
    week = (at - start) // WEEK
    found = [counts(fixed, X[week == number]) for number in np.unique(week)]
    names = [row["feature"] for row in sorted(report, key=lambda row: -row["importance"])]
    psis = [[psi(fixed.reference[name], live[name]) for live in found] for name in names]
    return Drifting(report, [iso(start + int(number) * WEEK)[5:10] for number in np.unique(week)], psis)


def _months(start: int, end: int) -> list[int]:
    """Return the midnights of New York at which months begin, from start to end."""
    first = to_datetime(start).astimezone(ZoneInfo(ZONE))
    edges = []
    for number in range(first.month, 14):
        year, month = first.year + (number - 1) // 12, (number - 1) % 12 + 1
        edges.append(to_us(datetime(year, month, 1, tzinfo=ZoneInfo(ZONE))))
    return [edge for edge in edges if start <= edge <= end]


def _decisions(app: App, start: int, end: int) -> list[str]:
    found = [
        item for item in app.audit.list(limit=10_000) if start <= item.at < end and item.kind != "monitor"
    ]
    return [f"v{item.subject.split('/')[-1]} {item.decision}: {_short(item)}" for item in found]


def _short(item: Decision) -> str:
    """Return why, in a line: what asked for it, and how the candidate compared with the champion."""
    compared = [str(part["why"]) for part in item.evidence.get("results", []) if "champion" in part["check"]]
    return "; ".join(part for part in (item.evidence.get("trigger", ""), *compared) if part) or item.why
