"""What a training reads, prepared once: rows in the order of time, their matrix, and where each period lies in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.core.times import DAY, iso
from tenfold.training.dataset import Dataset
from tenfold.training.estimators import classes_of, targets, together
from tenfold.training.folds import Period, Plan, Split, between, first_row, plan
from tenfold.training.model import Model
from tenfold.training.rows import TrainingSet
from tenfold.training.vector import encode, vocabulary

Rows = slice | np.ndarray
"""Which rows: a slice where all of a period are taken, so that nothing is copied; else positions."""


class Material:
    """The mature rows of all periods of a training, with features as known then and labels as known at its `now`.

    `known` are the values of text features that a version from elsewhere knows; without it, those it could learn from.
    `classes` are those that other versions know, whether they occur or not.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        split: Split,
        known: Mapping[str, Sequence[str]] | None = None,
        classes: Sequence[str | int] = (),
    ) -> None:
        self.model, self.dataset, self.split, self._known = model, dataset, split, known
        self._more = classes
        self.plan: Plan = plan(model, split, first_row(dataset))

    @cached_property
    def rows(self) -> TrainingSet:
        """All rows, ordered by time."""
        found = self.dataset.training_set(self.split.now, start=self.plan.start, end=self.split.test[1])
        for what, period in (("learn from", self.plan.fit), ("test on", self.split.test)):
            if not len(found.at[between(found.at, period)]):
                raise DefinitionError(_nothing(self.model, what, period, self.dataset, self.split))
        return found

    @cached_property
    def learned(self) -> TrainingSet:
        """The rows of the training period, those held out for calibration among them."""
        return self.rows.between(*self.split.train)

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """The values of text features that the version knows."""
        if self._known is not None:
            return {name: list(values) for name, values in self._known.items()}
        return vocabulary(self.learned.columns)

    @cached_property
    def X(self) -> np.ndarray:  # noqa: N802 - as in scikit-learn
        """All rows as the estimator takes them: (n_rows, n_columns) float64."""
        return encode(self.rows.columns, self.categories)

    @cached_property
    def classes(self) -> list[str | int]:
        """All classes that occur or that another version knows, for a model of several."""
        return together(classes_of(self.model.kind, self.rows), self._more)

    @cached_property
    def y(self) -> np.ndarray:
        """All labels, as places in `classes` where there are any."""
        return targets(self.rows, self.classes)

    def fit(self) -> Rows:
        """Return the rows the version learns from."""
        later = [self.plan.test] if self.plan.calibrate is None else [self.plan.calibrate, self.plan.test]
        return self.within(self.plan.fit, later)

    def test(self) -> slice:
        """Return the rows the version is evaluated on."""
        return between(self.rows.at, self.plan.test)

    def within(self, period: Period, later: Sequence[Period] = ()) -> Rows:
        """Return the rows of a period, without those whose group occurs in a later one."""
        mine, groups = between(self.rows.at, period), self.rows.groups
        if groups is None or not later:
            return mine
        taken = np.concatenate([groups[between(self.rows.at, item)] for item in later])
        own = groups[mine]
        kept = np.flatnonzero(~np.isin(own, taken) | (own < 0)) + mine.start
        if not len(kept) and mine.stop > mine.start:
            raise DefinitionError(
                f'model "{self.model.name}": every row to learn from is of a "{self.model.groups}" that is also tested on, so '
                f'groups="{self.model.groups}" leaves none. Remove groups, or group by something that does not last.'
            )
        return kept


def take(rows: TrainingSet, picked: Rows) -> TrainingSet:
    """Return some rows as a training set."""
    return rows.take(np.arange(len(rows))[picked])


def labels_of(rows: TrainingSet, picked: Rows) -> TrainingSet:
    """Return some rows without their columns, for whoever has the matrix of them."""
    return take(replace(rows, columns={}), picked)


def spaced(material: Material, rows: Rows, most: int) -> np.ndarray:
    """Return up to `most` positions, evenly spaced among some rows."""
    places = np.arange(len(material.rows))[rows]
    return places[np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).astype(np.int64))]


def count(picked: Rows) -> int:
    """Return how many rows are picked."""
    return picked.stop - picked.start if isinstance(picked, slice) else len(picked)


@dataclass(frozen=True, slots=True)
class Newest:
    """When the newest row with a known label is predicted, and from when on a training finds it."""

    row: int
    as_of: int


def newest_mature(dataset: Dataset, now: int) -> Newest | None:
    """Return the newest row whose label is mature and known at `now`; None when there is none."""
    takes = dataset.model.label.takes_us
    known = (dataset.at + takes < now) & ~np.isnan(dataset.outcomes(now).values)
    if not known.any():
        return None
    row = int(dataset.at[known].max())
    as_of = row + takes + 1
    return Newest(row, as_of + (-as_of) % DAY)


def _nothing(model: Model, what: str, period: Period, dataset: Dataset, split: Split) -> str:
    """Return what to say when a period holds no row with a mature label."""
    start, end = (iso(moment)[:16].replace("T", " ") for moment in period)
    said = f'model "{model.name}": there is no row to {what} between {start} and {end}'
    newest = newest_mature(dataset, split.now)
    if newest is None:
        return (
            f"{said}, because no label is mature by {iso(split.now)[:16]}: a label is known {_days(model.label.takes_us)} after "
            f'its row, and source "{model.label.source.name}" must have an event for it. Train later, or ingest '
            f'"{model.label.source.root.name}": tenfold ingest.'
        )
    if newest.row >= split.test[0]:
        return f"{said}: there is too little history before the test period. Use a shorter test_window, or ingest older rows."
    moment = iso(newest.as_of)[:10]
    return (
        f"{said}. The newest row with a known label is of {iso(newest.row)[:16].replace('T', ' ')}. To train as of then: "
        f'tenfold train PROJECT.py {model.name} --as-of {moment}, or app.train("{model.name}", as_of="{moment}").'
    )


def _days(us: int) -> str:
    return f"{us / DAY:.3g} days"
