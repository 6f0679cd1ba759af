"""Training sets: the rows of a spine with their features as of the prediction, and labels as known by now."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.core.times import FOREVER, iso
from tenfold.features.records import identities, in_order, key_codes
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import apply
from tenfold.processing.frame import Column, Frame
from tenfold.store.offline import History
from tenfold.training.model import Label, Model
from tenfold.training.vector import assemble


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
        for array in (self.ids, self.at, self.y):
            found.update(np.ascontiguousarray(array).tobytes())
        for name, item in self.columns.items():
            found.update(name.encode())
            values = (
                "\0".join(map(str, item.values.tolist())).encode()
                if item.type == "str"
                else item.values.tobytes()
            )
            found.update(values)
            found.update(item.valid.tobytes())
        return found.hexdigest()[:16]


class Dataset:
    """All rows of a model's spine with their features, computed once over fixed table versions.

    A feature as of t depends on nothing known later, so the same rows serve every "now": a training set for a moment
    is a selection of rows and the labels known by then.
    """

    def __init__(self, model: Model, history: History) -> None:
        self.model, self.history = model, history
        root = model.spine.root
        frame = history.frame(root)
        rows = len(frame[KNOWN])
        at = frame[root.time].values - model.lead_us
        ids = identities([frame[name] for name in root.ids])
        _, keep = apply(model.spine, frame, rows)
        chosen = (frame[KNOWN].values < at) if keep is None else (frame[KNOWN].values < at) & keep.values
        self.unknown = int((frame[KNOWN].values >= at).sum())
        order = np.lexsort((frame["_offset"].values, frame[KNOWN].values, ids))
        newest = np.ones(rows, dtype=np.bool_)
        newest[order[:-1]] = (ids[order][1:] != ids[order][:-1]) | ~chosen[order][1:]
        picked = np.flatnonzero(chosen & newest)
        picked = picked[np.lexsort((ids[picked], at[picked]))]
        self.spine: Frame = {name: item.take(picked) for name, item in frame.items()}
        self.at, self.ids = at[picked], ids[picked]

    def select(self, start: int, end: int) -> np.ndarray:
        """Return the positions of the rows predicted in [start, end)."""
        return np.flatnonzero((self.at >= start) & (self.at < end))

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The model's features for every row, as of its prediction."""
        frame, _ = apply(self.model.spine, self.spine, len(self.at))
        stored = {
            view.name: self.history.features(view, [frame[name] for name in view.entity.keys], self.at)
            for view in self.model.stored
            if view.entity is not None
        }
        return assemble(self.model, self.spine, stored, self.at)

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
        period = np.ones(len(self.at), dtype=np.bool_)
        period &= self.at >= (start if start is not None else -FOREVER)
        period &= self.at < (end if end is not None else min(now, FOREVER))
        mature = self.at + self.model.label.horizon_us <= now
        found = self.outcomes(now)
        labelled = ~np.isnan(found.values)
        rows = period & mature & labelled
        dropped = {
            "not known at prediction time": self.unknown,
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


def outcomes(label: Label, history: History, on: Column, at: np.ndarray, now: int) -> Outcomes:
    """Return for predictions (key, moment) the outcome within the horizon, as known before `now`."""
    keys, rows = history.records(label.view)
    first, last = (int(at.min()), int(at.max())) if len(at) else (0, 0)
    visible = (rows.known < now) & (now <= rows.until)
    visible &= (rows.event >= first) & (rows.event <= last + label.horizon_us)
    (code, asked), _ = key_codes([[item.take(visible) for item in keys], [on]])
    known_key = code >= 0
    rows, code = rows.take(visible).take(known_key), code[known_key]
    order = in_order(rows, code)
    rows, code = rows.take(order), code[order]
    moments = np.unique(np.concatenate([rows.event, at, at + label.horizon_us]))
    place = _place(code, rows.event, moments)
    first = np.searchsorted(place, _place(asked, at, moments), side="left")
    behind = np.searchsorted(place, _place(asked, at + label.horizon_us, moments), side="right")
    item = rows.inputs[0]
    hit = np.maximum(behind - 1, 0)
    values, known = np.full(len(at), np.nan), np.full(len(at), FOREVER, dtype=np.int64)
    found = (behind > first) & (asked >= 0)
    if len(place):
        found &= item.member[hit] & item.column.valid[hit]
        values[found] = item.column.values[hit[found]]
        known[found] = rows.known[hit[found]]
    return Outcomes(values, known)


def _place(code: np.ndarray, moment: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return one sortable integer per (key, moment); ranks instead of instants keep it within int64."""
    return code * len(moments) + np.searchsorted(moments, moment)
