"""Training sets: the rows of a spine with their features as of the prediction, and labels as known by now."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.core.times import FOREVER, iso
from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate, Input, Records, aggregate
from tenfold.features.records import OFFSET, outputs
from tenfold.processing.conform import KNOWN, conform
from tenfold.processing.derive import apply
from tenfold.processing.frame import Column, Frame
from tenfold.sources.declare import Events
from tenfold.store.offline import History
from tenfold.store.pieces import Past, Piece
from tenfold.store.refused import Refused
from tenfold.training.label import Label
from tenfold.training.model import Model
from tenfold.training.rows import TrainingSet
from tenfold.training.vector import assemble, encode, keys_of, vocabulary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Labels as known at a moment: values with NaN where there is none, and from when each was known.

    `refused` are those that have none because it cannot be summed exactly.

    Where labels are texts, the values are places in `classes`, which are sorted.
    """

    values: np.ndarray
    known: np.ndarray
    refused: Refused
    classes: tuple[str, ...] = ()


class Dataset:
    """All rows of a model's spine with their features, computed once over fixed table versions.

    A feature as of t depends on nothing known later, so the same rows serve every "now": a training set for a moment
    is a selection of rows and the labels known by then. A row is the version of a record that is the newest one known
    before its own prediction time; a record that was moved after it had been predicted is predicted again. Without a
    lead the record is the question itself, asked as it happens: its first version.

    Parameters
    ----------
    rows
        Rows to ask about instead of those in the lake; see `of`.
    spine
        Where the rows of the spine are read, when that is not where the features are.
    """

    def __init__(
        self, model: Model, history: History, rows: Any = None, *, spine: History | None = None
    ) -> None:
        self.model, self.history = model, history
        self._spine = spine or history
        self._given = None if rows is None else _asked(model.spine.root, rows)
        self._outcomes: tuple[int, Outcomes] | None = None
        history.version(model.spine.root)  # fixed from here on, whenever it is read

    @cached_property
    def _rows(self) -> "_Rows":
        if self._given is not None:
            return _picked(self.model, self._given, np.ones(len(self._given.event), dtype=np.bool_))
        known = self._spine.past(self.model.spine.root)
        if self.model.lead is None:
            return _picked(self.model, known, _first_versions(known))
        at = known.event - self.model.lead_us
        in_time = known.frame[KNOWN].values < at
        return _picked(self.model, known, in_time & (known.until >= at), ~in_time)

    @property
    def spine(self) -> Frame:
        """The fields of the spine's root, a row for each prediction."""
        return self._rows.spine

    @property
    def at(self) -> np.ndarray:
        """When each row is predicted: int64 microseconds UTC."""
        return self._rows.at

    @property
    def ids(self) -> np.ndarray:
        """The identity of each row as bytes."""
        return self._rows.ids

    def of(self, rows: Any) -> "Dataset":
        """Return the features and labels of other rows than those in the lake: a table of the spine's fields.

        Each is a question of its own, asked at its own prediction time. None stands for the rows in the lake.

        Raises
        ------
        SchemaError
            When a row does not fit the spine's source; says which field and why.
        """
        return self if rows is None else Dataset(self.model, self.history, rows)

    def select(self, start: int, end: int) -> np.ndarray:
        """Return the positions of the rows predicted in [start, end)."""
        return np.flatnonzero((self.at >= start) & (self.at < end))

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The model's features for every row, as of its prediction.

        Raises
        ------
        Inexact
            When a row has no features, as a window holds more than can be summed exactly; names its key.
        """
        columns, refused = self.computed
        if refused.error is not None:
            raise refused.error
        return columns

    @cached_property
    def computed(self) -> tuple[dict[str, Column], Refused]:
        """The features, and which rows have none."""
        refused = Refused(len(self.at))
        return features_of(self.model, self.history, self.spine, self.at, refused), refused

    def ages(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return how many microseconds old the newest known record behind each stored view is, per row and view.

        Shape (n_rows, n_views) float64, NaN where nothing was known of the key: what a request at that moment is told.
        """
        return self._ages[rows]

    @cached_property
    def _ages(self) -> np.ndarray:
        """The ages of every row: like the features they depend on nothing known later."""
        keys = keys_of(self.model, self.spine)
        ages = np.empty((len(self.at), len(self.model.stored)))
        for place, view in enumerate(self.model.stored):
            newest = self.history.newest(view, [keys[name] for name in view.keys], self.at)
            ages[:, place] = np.where(newest.valid, self.at - newest.values, np.nan)
        return ages

    def _newest(self) -> str:
        """Return what to say of the newest row where none is left to learn from."""
        if not len(self.at):
            return f'Source "{self.model.spine.name}" has no rows: ingest them first.'
        return (
            f"The newest row is of {iso(int(self.at[-1]))[:16]}: where that is long ago, say as of when "
            "(as_of=, --as-of)."
        )

    def outcomes(self, now: int) -> Outcomes:
        """Return the labels of all rows as known before `now`; those of the last moment asked for are kept."""
        if self._outcomes is None or self._outcomes[0] != now:
            on = self.spine[self.model.label.on]
            self._outcomes = now, outcomes(self.model.label, self.history, on, self.at, now)
        return self._outcomes[1]

    def codes(self, names: Sequence[str]) -> np.ndarray:
        """Return a number for each combination of values of fields of the spine: (n_rows,) int64, -1 where one is null.

        Equal numbers are equal values; without names, all rows have one number.
        """
        found, known = np.zeros(len(self.at), dtype=np.int64), np.ones(len(self.at), dtype=np.bool_)
        frame, _ = apply(self.model.spine, self.spine, len(self.at))
        for name in names:
            own, values = frame[name].coded
            _, found = np.unique(found * len(values) + own, return_inverse=True)
            known &= frame[name].valid
        return np.where(known, found, -1)

    def training_set(self, now: int, *, start: int | None = None, end: int | None = None) -> TrainingSet:
        """Return the rows that are mature at `now` with their labels, within [start, end) when given.

        Raises
        ------
        DefinitionError
            When no row is left, with the counts of what was dropped and why.
        """
        first, behind = -FOREVER if start is None else start, now if end is None else end
        period, late = (self.at >= first) & (self.at < behind), self._rows.too_late
        mature = self.at + self.model.label.takes_us < now
        found = self.outcomes(now)
        labelled = ~np.isnan(found.values)
        computed, refused = self.computed
        fits = ~(refused.rows | found.refused.rows)
        rows = period & mature & labelled & fits
        dropped = {
            "not known at prediction time": int(((late >= first) & (late < behind)).sum()),
            "label not mature": int((period & ~mature).sum()),
            "no label event": int((period & mature & ~labelled & ~found.refused.rows).sum()),
        }
        if error := refused.error or found.refused.error:
            dropped["too large to sum exactly"] = int((period & mature & ~fits).sum())
            logger.warning("rows without features model=%s why=%s", self.model.name, error)
        if not rows.any():
            raise DefinitionError(
                f'model "{self.model.name}": no row with a known label at {iso(now)[:16]}{_within(start, end)}. Left out: '
                f"{', '.join(f'{count:,} {why}' for why, count in dropped.items())}. {self._newest()}"
            )
        columns = {name: item.take(rows) for name, item in computed.items()}
        views = [view.name for view in self.model.stored]
        return TrainingSet(
            columns,
            found.values[rows],
            self.at[rows],
            self.ids[rows],
            dropped,
            dict(self.history.versions),
            views,
            lambda: self.ages(np.flatnonzero(rows)),
            np.flatnonzero(rows),
            None if self.model.groups is None else self.codes([self.model.groups])[rows],
            found.classes,
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a spine that are predicted, and when those would have been that were known too late."""

    spine: Frame
    at: np.ndarray
    ids: np.ndarray
    too_late: np.ndarray


def _picked(model: Model, known: Past, asked: np.ndarray, late: np.ndarray | None = None) -> _Rows:
    """Return the rows that are asked for, of those that are records of the spine."""
    at = known.event - model.lead_us
    _, keep = apply(model.spine, known.frame, len(at))
    member = np.ones(len(at), dtype=np.bool_) if keep is None else keep.values
    picked = np.flatnonzero(member & asked)
    chosen = slice(None) if len(picked) == len(at) else picked  # of all rows nothing is copied
    missed = np.zeros(0, dtype=np.int64) if late is None else np.flatnonzero(member & late)
    if len(missed):
        missed = missed[~np.isin(known.ids[missed], known.ids[picked])]
    return _Rows(
        {name: item.take(chosen) for name, item in known.frame.items()},
        at[chosen],
        known.ids[chosen],
        at[missed],
    )


def _asked(source: Events, data: Any) -> Past:
    """Return rows that somebody asks about as if they were records; SchemaError when one does not fit."""
    found = conform(source, data)
    if found.rejects:
        first = found.rejects[0]
        raise SchemaError(
            f'{len(found.rejects):,} of {found.rows + len(found.rejects):,} rows do not fit source "{source.name}". '
            f"Row {first.place}: {first.reason}."
        )
    offset = Column("int", np.arange(found.rows), np.ones(found.rows, dtype=np.bool_))
    return Past(source, {**found.frame, OFFSET: offset}, None).sorted()


def features_of(
    model: Model, history: History, spine: Frame, at: np.ndarray, refused: Refused | None = None
) -> dict[str, Column]:
    """Return the model's features for rows of its spine as of `at`, from the lake; `refused` takes note of rows without."""
    keys = keys_of(model, spine)
    stored = {
        view.name: history.features(view, [keys[name] for name in view.keys], at, spine, refused)
        for view in model.stored
    }
    return assemble(model, spine, stored, at)


def _first_versions(known: Past) -> np.ndarray:
    """Return which rows are the version of their record that came first in the log."""
    first = np.ones(len(known.event), dtype=np.bool_)
    if known.ended is not None:  # otherwise no id occurs twice
        order = np.lexsort((known.frame[OFFSET].values, known.ids))
        first[order[1:]] = known.ids[order][1:] != known.ids[order][:-1]
    return first


def outcomes(label: Label, history: History, on: Column, at: np.ndarray, now: int) -> Outcomes:
    """Return for predictions (key, moment) the outcome within the horizon, as known before `now`.

    `known` is from when the newest of the events that took part was known.
    """
    window = Window("time", label.horizon_us + 2)
    wanted = [replace(item, window=window) for item in label.view.plan.aggregates]
    wanted.append(Aggregate("last", len(label.view.plan.inputs), window))

    def compute(piece: Piece) -> dict[str, Column]:
        rows, moments = piece.records, piece.at + label.horizon_us + 1
        rows = rows.take((rows.known < now) & (now <= rows.until))
        known = Input(
            "known", Column("int", rows.known, np.ones(len(rows.known), np.bool_)), rows.inputs[0].member
        )
        # By now all of these events are known, so only the window says which count: those in [t, t + horizon].
        events = Records(
            rows.group, rows.event, rows.event, np.full(len(rows.until), FOREVER), (*rows.inputs, known)
        )
        *results, since = aggregate(events, piece.group, moments, wanted)
        return {**outputs(label.view, results, moments), "known": since}

    refused = Refused(len(at))
    found = history.ask(label.view, [on], at, compute, refused=refused)
    value, since = found["value"], found["known"]
    known = np.where(value.valid & since.valid, since.values, FOREVER)
    if value.type != "str":
        return Outcomes(value.numbers(), known, refused)
    classes = vocabulary({"value": value})
    return Outcomes(encode({"value": value}, classes)[:, 0], known, refused, tuple(classes["value"]))


def _within(start: int | None, end: int | None) -> str:
    """Return a period in words, nothing for all of time."""
    first = "" if start is None else f" from {iso(start)[:16]}"
    return first + ("" if end is None else f" to {iso(end)[:16]}")
