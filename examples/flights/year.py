"""The year month by month: what happened, what a frozen model would have scored, what the loop scored and decided."""

import itertools
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from examples.flights.project import ZONE
from tenfold import App, Model
from tenfold.core.times import to_datetime, to_us
from tenfold.monitoring.performance import Matured, Week, weekly
from tenfold.training.fit import scores
from tenfold.training.metrics import CalibrationBin, calibration_curve, roc_auc


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
class Year:
    """All months, the weeks of the loop and of the frozen version, and how well both kept their word."""

    months: list[Month]
    weeks: list[Week]
    weeks_frozen: list[Week]
    calibration: dict[str, list[CalibrationBin]]
    predictions: int


def year_of(app: App, model: Model, start: int, end: int) -> Year:
    """Return the year from what was served and logged, beside the first version on the same rows."""
    served = app.matured(model, start, end)
    frozen = _frozen(app, model, served)
    edges = _months(start, end)
    months = []
    for first, last in itertools.pairwise(edges):
        mine, other = served.between(first, last), frozen.between(first, last)
        auc_frozen, auc_loop = (roc_auc(part.y, part.predictions.score) for part in (other, mine))
        name = to_datetime(first).astimezone(ZoneInfo(ZONE)).strftime("%Y-%m")
        months.append(
            Month(name, float(mine.y.mean()), auc_frozen, auc_loop, len(mine.y), _decisions(app, first, last))
        )
    kept = {
        name: calibration_curve(part.y, part.predictions.score)
        for name, part in (("loop", served), ("frozen", frozen))
    }
    return Year(
        months, weekly(model, served, start), weekly(model, frozen, start), kept, len(served.predictions)
    )


def _frozen(app: App, model: Model, served: Matured) -> Matured:
    """Return the same rows with the scores of version 1."""
    from dataclasses import replace

    dataset = app.dataset(model)
    place = {row: number for number, row in enumerate(dataset.ids.tolist())}
    rows = np.array([place[row.encode()] for row in served.predictions.row], dtype=np.int64)
    columns = {name: item.take(rows) for name, item in dataset.columns.items()}
    first = app.versions.get(model, 1).package
    return Matured(replace(served.predictions, score=scores(first, columns)), served.y)


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
    return [
        f"v{item.subject.split('/')[-1]} {item.decision} ({item.why.split(' (test rows')[0]})"
        for item in found
    ]
