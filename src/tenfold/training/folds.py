"""Splits by time: what is learned from, what is held out, and the gap in which labels become known."""

from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, iso
from tenfold.training.dataset import Dataset
from tenfold.training.model import Model

Period = tuple[int, int]
"""Predictions in [start, end), microseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class Split:
    """Two periods of predictions, [start, end) each, in microseconds; labels as known at `now`."""

    train: Period
    test: Period
    now: int

    @property
    def text(self) -> str:
        """The periods as text."""
        return " ".join(
            f"{name} {iso(a)[:10]} to {iso(b)[:10]}"
            for name, (a, b) in (("train", self.train), ("test", self.test))
        )


@dataclass(frozen=True, slots=True)
class Fold:
    """What is learned from and what is tested on; between them lies the time a label takes."""

    train: Period
    test: Period


@dataclass(frozen=True, slots=True)
class Plan:
    """All periods of one training, none of which learns from a row whose label was not known when the next begins.

    Attributes
    ----------
    fit
        What the version learns from.
    calibrate
        Held out for calibration, after `fit` and before the test period; None when nothing is calibrated.
    test
        What the version is evaluated on.
    folds
        Inside `fit`, oldest first.
    """

    fit: Period
    calibrate: Period | None
    test: Period
    folds: tuple[Fold, ...]

    @property
    def start(self) -> int:
        """When the oldest row of any period is predicted."""
        return min(self.fit[0], *(fold.train[0] for fold in self.folds), self.test[0])


def newest_split(model: Model, now: int, first: int) -> Split:
    """Return the split a retraining at `now` uses: the newest mature rows to test on, all before them to learn from.

    Between the two lies the time a label takes, so nothing is learned from that was not known when the test begins.
    """
    takes = model.label.takes_us
    test_end = now - takes
    test_start = test_end - model.test_us
    train_start = first if model.train_us is None else max(first, test_end - model.train_us)
    return Split((train_start, test_start - takes), (test_start, test_end), now)


def first_row(dataset: Dataset) -> int:
    """Return when the first row of a model's spine is predicted; DefinitionError when there is none yet."""
    if not len(dataset.at):
        name = dataset.model.spine.root.name
        raise DefinitionError(
            f'model "{dataset.model.name}": source "{name}" has no rows in the lake yet. Ingest some: tenfold ingest.'
        )
    return int(dataset.at[0])


def plan(model: Model, split: Split, first: int) -> Plan:
    """Return every period of a training.

    Folds count back from the end of the fitted period: each tests on a `test_window` and learns from what lies before
    it and the gap, from the start of the fitted period (expanding) or, with a `train_window`, over that (sliding).

    Raises
    ------
    DefinitionError
        When there is not enough history for the calibration or for the folds.
    """
    takes, held = model.label.takes_us, None
    if split.test[1] <= first:
        raise DefinitionError(
            f'model "{model.name}": no row is mature yet: a label is known {takes / UNITS["d"]:.3g} days after its row '
            f'(horizon="{model.label.horizon}"), and the first row is of {iso(first)[:10]}. Train later, or shorten the horizon.'
        )
    start, end = split.train
    if model.calibrate is not None:
        held = (end - model.test_us, end)
        end = held[0] - takes
    ends = [end - (model.folds - 1 - place) * model.test_us for place in range(model.folds)]
    folds = tuple(_fold(model, (start, first), moment) for moment in ends)
    _need(model, folds[0].train if folds else (start, end), first)
    return Plan((start, end), held, split.test, folds)


def _fold(model: Model, starts: Period, end: int) -> Fold:
    begins = end - model.test_us
    start = starts[0] if model.train_us is None else max(starts[1], end - model.train_us)
    return Fold((start, begins - model.label.takes_us), (begins, end))


def _need(model: Model, oldest: Period, first: int) -> None:
    """Refuse periods that begin before there is anything to learn from."""
    if oldest[0] < oldest[1]:
        return
    parts = [f"folds={model.folds}"] * (model.folds > 0)
    parts += [f'calibrate="{model.calibrate}"'] * (model.calibrate is not None)
    short = (oldest[0] - oldest[1]) / UNITS["d"]
    asked = " and ".join([*parts, f'test_window="{model.test_window}"'])
    raise DefinitionError(
        f'model "{model.name}": {asked} {"leave" if parts else "leaves"} nothing to learn from: the first row is of {iso(first)[:10]}, '
        f"more than {short:.1f} days of history are missing. Use a shorter test_window"
        f"{' or fewer folds' if model.folds else ''}, or ingest older rows."
    )


def between(at: np.ndarray, period: Period) -> slice:
    """Return where the rows predicted in a period lie; `at` is ascending."""
    first, behind = np.searchsorted(at, period, side="left")
    return slice(int(first), int(behind))
