"""Offline features: every query answered from the history in the lake, as it was known then."""

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel import Records, aggregate
from tenfold.features.records import (
    OFFSET,
    Rows,
    identities,
    in_order,
    key_codes,
    outputs,
    rows_of,
    versions,
)
from tenfold.features.view import FeatureView
from tenfold.processing.batches import to_frame
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Column, Frame, column, concat, types_of
from tenfold.sources.base import Lake
from tenfold.sources.declare import Events

ROWS_PER_CHUNK = 200_000
WORKERS = 2


class History:
    """What a set of sources held at fixed table versions; reads each source once.

    Parameters
    ----------
    versions
        The table version to read per source; the newest where none is given. `versions` afterwards holds them all.
    """

    def __init__(self, lake: Lake, versions: Mapping[str, int] | None = None) -> None:
        self._lake = lake
        self.versions: dict[str, int] = dict(versions or {})
        self._frames: dict[str, Frame] = {}
        self._ids: dict[str, np.ndarray] = {}
        self._until: dict[str, np.ndarray] = {}
        self._prepared: dict[str, tuple[list[Column], Rows]] = {}

    def at(self, versions: Mapping[str, int]) -> "History":
        """Return the same lake at other table versions."""
        return History(self._lake, versions)

    def frame(self, source: Events) -> Frame:
        """Return all records of a source in the total order (event time, id, known, offset)."""
        if source.name not in self._frames:
            frame = self._read(source)
            ids = identities([frame[name] for name in source.ids])
            known, offset = frame[KNOWN].values, frame[OFFSET].values
            until = replaced(ids, known, offset)
            order = in_order(Rows(frame[source.time].values, known, until, offset, ids, ()))
            self._frames[source.name] = {name: item.take(order) for name, item in frame.items()}
            self._ids[source.name], self._until[source.name] = ids[order], until[order]
        return self._frames[source.name]

    def ids(self, source: Events) -> np.ndarray:
        """Return the identity of each record of `frame` as bytes."""
        self.frame(source)
        return self._ids[source.name]

    def until(self, source: Events) -> np.ndarray:
        """Return from when a later version of each record of `frame` was known, FOREVER for the newest."""
        self.frame(source)
        return self._until[source.name]

    def _read(self, source: Events) -> Frame:
        version = self.versions.setdefault(source.name, self._lake.version(source.name))
        if version < 0:
            types = types_of(source.fields) | {KNOWN: "int", OFFSET: "int"}
            return {name: column(type_, []) for name, type_ in types.items()}
        return to_frame(source, self._lake.read(source.name, version=version), KNOWN, OFFSET)

    def features(self, view: FeatureView, keys: Sequence[Column], at: np.ndarray) -> dict[str, Column]:
        """Return the features of a view for queries (key, moment), in the order given.

        Parameters
        ----------
        keys
            One column per key field of the view's entity, each of shape (n,).
        at
            int64 microseconds UTC, shape (n,).
        """
        return _features(view, *self.records(view), keys, at)

    def records(self, view: FeatureView) -> tuple[list[Column], Rows]:
        """Return the key columns and the records of a view in the total order, each with when it was replaced."""
        if view.fingerprint not in self._prepared:
            root = view.source.root
            keys, rows = rows_of(view, self.frame(root), len(self.ids(root)), self.ids(root))
            if (self.until(root) < FOREVER).any():
                keys, rows = _versions(keys, rows)
            self._prepared[view.fingerprint] = keys, rows
        return self._prepared[view.fingerprint]


def replaced(ids: np.ndarray, known: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return from when the next version of each record was known, FOREVER for the newest; shape (n,) int64.

    Examples
    --------
    >>> replaced(np.array([b"a", b"b", b"a"]), np.array([1, 2, 3]), np.arange(3)).tolist()[:2] == [3, FOREVER]
    True
    """
    order = np.lexsort((offset, known, ids))
    until = np.full(len(ids), FOREVER, dtype=np.int64)
    again = ids[order][1:] == ids[order][:-1]
    until[order[:-1][again]] = known[order[1:][again]]
    return until


def features(view: FeatureView, frame: Frame, keys: Sequence[Column], at: np.ndarray) -> dict[str, Column]:
    """Return the features of a view for queries, computed from a frame of its source's records in any order."""
    own, rows = _versions(*rows_of(view, frame, len(frame[KNOWN])))
    order = in_order(rows)
    return _features(view, [item.take(order) for item in own], rows.take(order), keys, at)


def by_group(group: np.ndarray) -> np.ndarray:
    """Return the positions of the rows that have a group, sorted by it and otherwise in the order given.

    Examples
    --------
    >>> by_group(np.array([1, 0, -1, 1])).tolist()
    [1, 0, 3]
    """
    small = (group + 1).astype(
        np.min_scalar_type(int(group.max(initial=0)) + 1)
    )  # small integers sort faster
    return np.argsort(small, kind="stable")[np.count_nonzero(group < 0) :]


def _versions(keys: list[Column], rows: Rows) -> tuple[list[Column], Rows]:
    """Return keys and rows with each version ended when the next one was known, repetitions left out."""
    kept = versions(rows)
    mine = np.isin(rows.offset, kept.offset)
    return [item.take(mine) for item in keys], kept


def _features(
    view: FeatureView, own: list[Column], rows: Rows, keys: Sequence[Column], at: np.ndarray
) -> dict[str, Column]:
    (group, query), size = key_codes([own, keys])
    query = np.where(query < 0, size, query)  # a missing key is a key nothing is known of
    asked = np.argsort(at, kind="stable")
    asked = asked[by_group(query[asked])]
    records = rows.records(group).take(by_group(group))
    results = _in_chunks(view, records, query[asked], at[asked], size + 1)
    back = np.empty(len(asked), dtype=np.int64)
    back[asked] = np.arange(len(asked))
    return {name: item.take(back) for name, item in outputs(view, results, at[asked]).items()}


def _in_chunks(
    view: FeatureView, records: Records, group: np.ndarray, at: np.ndarray, size: int
) -> list[Column]:
    """Run the kernel over pieces of whole keys: they fit the cache, bound memory and run side by side."""
    cuts = _cuts(records, group, at, size)
    pieces = list(itertools.pairwise(cuts))

    def run(piece: tuple[int, int]) -> list[Column]:
        first, behind = piece
        mine = slice(*np.searchsorted(records.group, [first, behind]))
        asked = slice(*np.searchsorted(group, [first, behind]))
        part = records.take(mine)
        part = Records(part.group - first, part.event, part.known, part.until, part.inputs)
        return aggregate(part, group[asked] - first, at[asked], view.plan.aggregates)

    with ThreadPoolExecutor(WORKERS) as pool:
        parts = list(pool.map(run, pieces))
    return [concat([part[place] for part in parts]) for place in range(len(view.plan.aggregates))]


def _cuts(records: Records, group: np.ndarray, at: np.ndarray, size: int) -> list[int]:
    load = np.bincount(records.group, minlength=size) + np.bincount(group, minlength=size)
    moments = [array for array in (records.event, records.known, at) if len(array)]
    span = (
        max(int(array.max()) for array in moments) - min(int(array.min()) for array in moments) + 8
        if moments
        else 8
    )
    most = max(1, (FOREVER - 1) // span)  # so that (key, moment) fits one int64
    cuts, total = [0], 0
    for code in range(size):
        if code > cuts[-1] and (total + load[code] > ROWS_PER_CHUNK or code - cuts[-1] >= most):
            cuts.append(code)
            total = 0
        total += int(load[code])
    return [*cuts, size]
