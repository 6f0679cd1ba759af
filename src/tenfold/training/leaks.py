"""What to look at in a training set before anything is learned from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.times import UNITS, iso
from tenfold.core.vector import by_vector
from tenfold.processing.frame import Column
from tenfold.training.metrics import roc_auc

SUSPICIOUS = 0.99
"""A feature that ranks the label alone this well is probably the label."""
FEW_VALUES = 20
"""Text is ranked by the mean label of its values, when each stands for this many rows."""
AGE = "age of the newest record"
BY_CONSTRUCTION = "none: features are read from what was known before each row's own prediction time"


@dataclass(frozen=True, slots=True)
class Checked:
    """A feature: its share of nulls, and how well it, or its being null, ranks the label alone (0.5 to 1).

    `auc` is NaN when the label is no yes or no, or the feature is text of which nearly every row has another.
    """

    type: str
    nulls: float
    auc: float


@dataclass(frozen=True, slots=True)
class Age:
    """How old the newest known record behind a view was, in seconds, and the share of rows with nothing known."""

    nothing: float
    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """A training set in figures; `str()` of it is made to be read.

    Attributes
    ----------
    rows
        How many rows there are to learn from: their labels are mature and known.
    start, end
        The first and the last prediction time, microseconds UTC.
    mean_label
        The share of true outcomes, or the mean of numbers.
    dropped
        How many rows were left out, by reason.
    tables
        The lake version read per source.
    features
        What was found per feature.
    ages
        What was found per stored view.
    leaks
        What looks like a leak, in words; empty when nothing does.
    """

    rows: int
    start: int
    end: int
    mean_label: float
    dropped: Mapping[str, int]
    tables: Mapping[str, int]
    features: Mapping[str, Checked]
    ages: Mapping[str, Age]
    leaks: Sequence[str]

    def __str__(self) -> str:
        left_out = "; ".join(f"{reason} {count:,}" for reason, count in self.dropped.items())
        lines = [
            f"{self.rows:,} rows from {iso(self.start)[:16]} to {iso(self.end)[:16]}, mean label {self.mean_label:.4g}",
            f"left out: {left_out}",
            f"tables: {', '.join(f'{name} version {version}' for name, version in self.tables.items())}",
            f"known only after the prediction: {BY_CONSTRUCTION}",
            f"look like the label: {'; '.join(self.leaks) or 'none'}",
        ]
        shown = {
            name: _together([self.features[one] for one in names]) for name, names in _lines(self.features)
        }
        width = max((len(name) for name in (AGE, *shown, *self.ages)), default=0)
        lines.append(f"{'feature':{width}}  type    null  ranks the label")
        lines += [
            f"{name:{width}}  {item.type:5} {item.nulls:6.1%}  {'' if np.isnan(item.auc) else f'{item.auc:.3f}'}".rstrip()
            for name, item in shown.items()
        ]
        if self.ages:
            lines.append(f"{AGE:{width}}  {'nothing known':13}  {'p50':6}  p99")
        lines += [
            f"{name:{width}}  {item.nothing:<13.1%}  {_span(item.p50_s):6}  {_span(item.p99_s)}"
            for name, item in self.ages.items()
        ]
        return "\n".join(lines)


def _lines(features: Mapping[str, Checked]) -> list[tuple[str, list[str]]]:
    """Return what stands on a line: a feature, or a vector with all of its numbers."""
    found = by_vector(features)
    return [
        (names[0] if len(names) == 1 else f"{name} ({len(names)})", names) for name, names in found.items()
    ]


def _together(items: Sequence[Checked]) -> Checked:
    """Return a vector in figures: its mean share of nulls, and the number of it that ranks the label best."""
    aucs = [item.auc for item in items if not np.isnan(item.auc)]
    nulls = sum(item.nulls for item in items) / len(items)
    return Checked(items[0].type, nulls, max(aucs, default=np.nan))


def report(
    columns: Mapping[str, Column],
    y: np.ndarray,
    at: np.ndarray,
    dropped: Mapping[str, int],
    tables: Mapping[str, int],
    ages: Mapping[str, np.ndarray],
) -> Report:
    """Return a training set in figures.

    Parameters
    ----------
    columns
        Features of n rows.
    y : (n,) float64
    at : (n,) int64 microseconds UTC
    ages
        Per view, how old the newest known record was, in microseconds, NaN where nothing was known: (n,).
    """
    features = {
        name: Checked(item.type, _share(~item.valid), alone(item, y)) for name, item in columns.items()
    }
    equal = [name for name, item in columns.items() if _equals(item, y)]
    leaks = [f"{name} equals it" for name in equal]
    leaks += [
        f"{name} ranks it with an AUC of {item.auc:.4g}"
        for name, item in features.items()
        if item.auc >= SUSPICIOUS and name not in equal
    ]
    return Report(
        len(y),
        int(at.min(initial=at[0])) if len(at) else 0,
        int(at.max(initial=at[0])) if len(at) else 0,
        float(y.mean()) if len(y) else np.nan,
        dict(dropped),
        dict(tables),
        features,
        {view: _age(found) for view, found in ages.items()},
        leaks,
    )


def _share(mask: np.ndarray) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _equals(item: Column, y: np.ndarray) -> bool:
    return item.type != "str" and len(y) > 0 and bool((item.numbers() == y).all())


def follows(item: Column, y: np.ndarray) -> float:
    """Return how closely a number goes up, or down, with the label: the size of the correlation of their ranks, NaN of text."""
    if item.type == "str" or item.valid.sum() < FEW_VALUES:
        return np.nan
    a, b = (_placed(values[item.valid]) for values in (item.numbers(), y))
    spread = a.std() * b.std()
    return float(abs(((a - a.mean()) * (b - b.mean())).mean() / spread)) if spread else np.nan


def _placed(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, of equal ones their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def alone(item: Column, y: np.ndarray) -> float:
    """Return how well a feature alone ranks the label, in whichever direction; being null may say it too."""
    if not np.isin(y, (0, 1)).all() or not 0 < y.sum() < len(y):
        return np.nan
    found = []
    if 0 < item.valid.sum() < len(y):
        found.append(roc_auc(y, item.valid.astype(np.float64)))
    known = y[item.valid]
    if 0 < known.sum() < len(known):
        found.append(roc_auc(known, _ranks(item, y)))
    best = [max(value, 1 - value) for value in found if not np.isnan(value)]
    return max(best, default=0.5) if item.type != "str" or best else np.nan


def _ranks(item: Column, y: np.ndarray) -> np.ndarray:
    """Return numbers that rank the values that are not null: text by the mean label of all rows with it."""
    if item.type != "str":
        return item.numbers()[item.valid]
    places, _ = item.coded
    places = places[item.valid]
    size = int(places.max()) + 1
    if len(np.unique(places)) * FEW_VALUES > len(places):
        return np.zeros(len(places))
    rows = np.maximum(np.bincount(places, minlength=size), 1)
    return (np.bincount(places, weights=y[item.valid], minlength=size) / rows)[places]


def _age(found: np.ndarray) -> Age:
    known = found[~np.isnan(found)]
    if not len(known):
        return Age(1.0, np.nan, np.nan)
    p50, p99 = (float(value) / UNITS["s"] for value in np.quantile(known, (0.5, 0.99), method="lower"))
    return Age(1 - len(known) / len(found), p50, p99)


def _span(seconds: float) -> str:
    """Return a duration in the largest unit that keeps it above one.

    Examples
    --------
    >>> _span(90), _span(7200.0), _span(0.25)
    ('1.5 m', '2 h', '0.25 s')
    """
    if np.isnan(seconds):
        return "-"
    unit, size = next(
        ((name, UNITS[name]) for name in ("d", "h", "m") if seconds * UNITS["s"] >= UNITS[name]),
        ("s", UNITS["s"]),
    )
    return f"{seconds * UNITS['s'] / size:.3g} {unit}"
