"""Training sets: the rows of a spine with their features as of the prediction, and labels as known by now."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.core.times import FOREVER, iso
from tenfold.core.windows import Window
from tenfold.features.kernel import Aggregate, Input, Records, aggregate
from tenfold.features.records import OFFSET, outputs
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import apply
from tenfold.processing.frame import Column, Frame
from tenfold.store.groups import Keys, by_group
from tenfold.store.offline import History
from tenfold.training.model import Label, Model
from tenfold.training.vector import assemble, keys_of

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Labels as known at a moment: values with NaN where there is none, and from when each was known."""

    values: np.ndarray
    known: np.ndarray


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Rows a model may learn from, ordered by (prediction time, id).

    Attributes
    ----------
    columns
        The model's features, n rows each.
    y : (n_rows,) float64
    at : (n_rows,) int64 microseconds UTC
    ids : (n_rows,) bytes
    dropped
        How many rows of the period were left out, by reason.
    tables
        The lake version read per source.
    digest
        A hash of all of it: equal digests are equal training sets.
    """

    columns: Mapping[str, Column]
    y: np.ndarray
    at: np.ndarray
    ids: np.ndarray
    dropped: Mapping[str, int]
    tables: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.y)

    def between(self, start: int, end: int) -> "TrainingSet":
        """Return the rows predicted in [start, end)."""
        return self.take((self.at >= start) & (self.at < end))

    def take(self, rows: np.ndarray) -> "TrainingSet":
        """Return the rows where a mask is true, or at positions."""
        columns = {name: item.take(rows) for name, item in self.columns.items()}
        return TrainingSet(columns, self.y[rows], self.at[rows], self.ids[rows], self.dropped, self.tables)

    @property
    def digest(self) -> str:
        """A sha256 over ids, times, labels and every feature's bits."""
        found = hashlib.sha256()
        found.update(_encode(self.ids.tolist()))
        for array in (self.at, self.y):
            found.update(array.tobytes())
        for name, item in self.columns.items():
            found.update(_encode([name, item.type]))
            found.update(_encode(item.values.tolist()) if item.type == "str" else item.values.tobytes())
            found.update(item.valid.tobytes())
        return found.hexdigest()[:16]


class Dataset:
    """All rows of a model's spine with their features, computed once over fixed table versions.

    A feature as of t depends on nothing known later, so the same rows serve every "now": a training set for a moment
    is a selection of rows and the labels known by then. A row is the version of a record that is the newest one known
    before its own prediction time; a record that was moved after it had been predicted is predicted again. Without a
    lead the record is the question itself, asked as it happens: its first version.
    """

    def __init__(self, model: Model, history: History) -> None:
        self.model, self.history = model, history
        root = model.spine.root
        frame, ids = history.frame(root), history.ids(root)  # ordered by (event time, id)
        known, at = frame[KNOWN].values, frame[root.time].values - model.lead_us
        _, keep = apply(model.spine, frame, len(at))
        member = np.ones(len(at), dtype=np.bool_) if keep is None else keep.values
        if model.lead is None:
            asked = _first_versions(ids, frame[OFFSET].values)
            late = np.zeros(0, dtype=np.int64)
        else:
            asked = (known < at) & (history.until(root) >= at)
            late = np.flatnonzero(member & (known >= at))
        picked = np.flatnonzero(member & asked)
        self._too_late = at[late[~np.isin(ids[late], ids[picked])]] if len(late) else at[late]
        self.spine: Frame = {name: item.take(picked) for name, item in frame.items()}
        self.at, self.ids = at[picked], ids[picked]

    def select(self, start: int, end: int) -> np.ndarray:
        """Return the positions of the rows predicted in [start, end)."""
        return np.flatnonzero((self.at >= start) & (self.at < end))

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The model's features for every row, as of its prediction."""
        return features_of(self.model, self.history, self.spine, self.at)

    def ages(self, rows: np.ndarray) -> np.ndarray:
        """Return how many microseconds old the newest known record behind each stored view is, per row and view.

        Shape (n_rows, n_views) float64, NaN where nothing was known of the key: what a request at that moment is told.
        """
        keys = keys_of(self.model, {name: item.take(rows) for name, item in self.spine.items()})
        at = self.at[rows]
        ages = np.empty((len(rows), len(self.model.stored)))
        for place, view in enumerate(self.model.stored):
            newest = self.history.newest(view, [keys[name] for name in view.keys], at)
            ages[:, place] = np.where(newest.valid, at - newest.values, np.nan)
        return ages

    def outcomes(self, now: int) -> Outcomes:
        """Return the labels of all rows as known before `now`."""
        return outcomes(self.model.label, self.history, self.spine[self.model.label.on], self.at, now)

    def training_set(self, now: int, *, start: int | None = None, end: int | None = None) -> TrainingSet:
        """Return the rows that are mature at `now` with their labels, within [start, end) when given.

        Raises
        ------
        DefinitionError
            When no row is left, with the counts of what was dropped and why.
        """
        first, behind = -FOREVER if start is None else start, now if end is None else end
        period = (self.at >= first) & (self.at < behind)
        mature = self.at + self.model.label.takes_us < now
        found = self.outcomes(now)
        labelled = ~np.isnan(found.values)
        rows = period & mature & labelled
        dropped = {
            "not known at prediction time": int(
                ((self._too_late >= first) & (self._too_late < behind)).sum()
            ),
            "label not mature": int((period & ~mature).sum()),
            "no label event": int((period & mature & ~labelled).sum()),
        }
        if not rows.any():
            raise DefinitionError(
                f'model "{self.model.name}": no row to learn from at {iso(now)}. Left out: {dropped}.'
            )
        columns = {name: item.take(rows) for name, item in self.columns.items()}
        tables = dict(self.history.versions)
        return TrainingSet(columns, found.values[rows], self.at[rows], self.ids[rows], dropped, tables)


def features_of(model: Model, history: History, spine: Frame, at: np.ndarray) -> dict[str, Column]:
    """Return the model's features for rows of its spine as of `at`, from the lake."""
    keys = keys_of(model, spine)
    stored = {
        view.name: history.features(view, [keys[name] for name in view.keys], at, spine)
        for view in model.stored
    }
    return assemble(model, spine, stored, at)


def _first_versions(ids: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return which rows are the version of their record that came first in the log."""
    order = np.lexsort((offset, ids))
    first = np.ones(len(ids), dtype=np.bool_)
    first[order[1:]] = ids[order][1:] != ids[order][:-1]
    return first


def outcomes(label: Label, history: History, on: Column, at: np.ndarray, now: int) -> Outcomes:
    """Return for predictions (key, moment) the outcome within the horizon, as known before `now`.

    `known` is from when the newest of the events that took part was known.
    """
    keys, rows = history.records(label.view)
    held = Keys(keys)
    visible = (rows.known < now) & (now <= rows.until)
    order = by_group(np.where(visible, held.codes, -1))
    asked = held.of([on])
    group = np.where(asked < 0, held.size, asked)
    queries = np.lexsort((at, group))
    # By now all of these events are known, so only the window says which count: those in [t, t + horizon].
    past = rows.take(order)
    known = Input(
        "known", Column("int", past.known, np.ones(len(order), dtype=np.bool_)), past.inputs[0].member
    )
    events = Records(
        held.codes[order], past.event, past.event, np.full(len(order), FOREVER), (*past.inputs, known)
    )
    window = Window("time", label.horizon_us + 2)
    wanted = [replace(item, window=window) for item in label.view.plan.aggregates]
    wanted.append(Aggregate("last", len(past.inputs), window))
    moments = at[queries] + label.horizon_us + 1
    *results, since = aggregate(events, group[queries], moments, wanted)
    value = outputs(label.view, results, moments)["value"]
    found = Outcomes(np.full(len(at), np.nan), np.full(len(at), FOREVER, dtype=np.int64))
    found.values[queries] = value.numbers()
    some = value.valid & since.valid
    found.known[queries[some]] = since.values[some]
    return found
