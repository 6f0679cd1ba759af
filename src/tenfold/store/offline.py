"""Offline features: every query answered from the history in the lake, as it was known then."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np

from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate, Input, Own, aggregate
from tenfold.features.records import OFFSET, inputs_of, outputs
from tenfold.features.view import FeatureView
from tenfold.processing.batches import ARRIVAL, to_frame
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import Source
from tenfold.processing.frame import Column, Frame, column, from_arrow, types_of
from tenfold.sources.base import Lake
from tenfold.sources.declare import Events
from tenfold.store.base import SINK
from tenfold.store.groups import Keys, groups
from tenfold.store.pieces import (
    Answers,
    ByKey,
    Compute,
    Past,
    Piece,
    answer,
    asked_at,
    by_key,
    gather,
    members,
    past,
    reads,
    taken,
)
from tenfold.store.refused import Refused
from tenfold.store.spill import Asks, Divided, divided, parts_for
from tenfold.store.swept import Queries, sweep

NEWEST = Aggregate("last", 0, Window())
SHARE = 4
"""A source may take this part of the memory; what is larger is divided by keys, on disk."""
BYTES = {"str": 100, "bool": 2}
"""About what a value takes in memory, 9 where nothing else is said."""


class History:
    """What a set of sources held at fixed table versions; reads each source once.

    Parameters
    ----------
    versions
        The table version to read per source; the newest where none is given. `versions` afterwards holds them all.
    memory
        Bytes of memory to work in; all there is when not given. A source that would take more than a quarter of it is
        divided by keys in a temporary folder, for each view, and read key range by key range. The results are the same.
    """

    def __init__(
        self, lake: Lake, versions: Mapping[str, int] | None = None, *, memory: int | None = None
    ) -> None:
        self.lake = lake
        self.memory = memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.versions: dict[str, int] = dict(versions or {})
        self._pasts: dict[str, Past] = {}
        self._grouped: dict[tuple[str, ...], ByKey] = {}

    def at(self, versions: Mapping[str, int]) -> "History":
        """Return the same lake at other table versions."""
        return History(self.lake, versions, memory=self.memory)

    def past(self, source: Events) -> Past:
        """Return all records of a source in the total order (event time, id, known, offset)."""
        if source.name not in self._pasts:
            self._pasts[source.name] = past(source, self._read(source)).sorted()
        return self._pasts[source.name]

    def frame(self, source: Events) -> Frame:
        """Return the columns of `past`."""
        return self.past(source).frame

    def version(self, source: Events) -> int:
        """Return the version of a source's table that is read, -1 when there is none."""
        return self.versions.setdefault(source.name, self.lake.version(source.name))

    def _read(self, source: Events) -> Frame:
        version = self.version(source)
        if version < 0:
            types = types_of(source.fields) | {KNOWN: "int", OFFSET: "int"}
            return {name: column(type_, []) for name, type_ in types.items()}
        return to_frame(source, self.lake.read(source.name, version=version), KNOWN, OFFSET)

    def features(
        self,
        view: FeatureView,
        keys: Sequence[Column],
        at: np.ndarray,
        own: Frame | None = None,
        refused: Refused | None = None,
    ) -> dict[str, Column]:
        """Return the features of a view for queries (key, moment), in the order given.

        Parameters
        ----------
        keys
            One column per key field of the view's entity, each of shape (n,).
        at
            int64 microseconds UTC, shape (n,).
        own
            The rows that are asked for, records of the view's source; needed by a view that includes them.
        refused
            Takes note of the queries that have no answer, whose features are null then.

        Raises
        ------
        Inexact
            When a window holds more than can be summed exactly, and there is nothing to take note of it.
        """
        return self.ask(
            view, keys, at, lambda piece: _features(view, piece, own), sweeps=True, refused=refused
        )

    def newest(self, view: FeatureView, keys: Sequence[Column], at: np.ndarray) -> Column:
        """Return when the newest visible record of a key happened, however old; null where nothing is known of it."""
        return self.ask(view, keys, at, _newest)["event"]

    def ask(
        self,
        view: FeatureView,
        keys: Sequence[Column],
        at: np.ndarray,
        compute: Compute,
        *,
        sweeps: bool = False,
        refused: Refused | None = None,
    ) -> dict[str, Column]:
        """Return what `compute` says of pieces of the view's records and of those who ask, in the order of the queries.

        With `sweeps` that is the view's features, which may come another way; `refused` as for `features`.
        """
        out, every = Answers(len(at)), np.arange(len(at))
        if not self.divides(view.source.root):
            _answer(view, self._by_key(view), (keys, at, every), compute, out, sweeps)
            return out.settled(refused)
        with self._divided(view, self._parts(view)) as table:
            asked = groups(table.part_of(keys), table.count)
            for part in range(table.count):
                mine = asked.order[asked.first[part] : asked.first[part + 1]]
                if len(mine) or not out.columns:  # one part at least says which columns there are
                    queries = [gather(item, mine) for item in keys], at[mine], mine
                    _answer(view, by_key(view, table.past(part)), queries, compute, out, sweeps)
        return out.settled(refused)

    def _divided(self, view: FeatureView, count: int) -> AbstractContextManager[Divided]:
        root = view.source.root
        rows = self.lake.position(root.name, SINK)
        return divided(self.lake, self.version(root), view, rows=rows, count=count, asking=self._asking)

    def _parts(self, view: FeatureView) -> int:
        """Return into how many parts a view's records are divided, and those of the views that its source reads."""
        own = parts_for(self.lake.position(view.source.root.name, SINK))
        return max(own, *map(self._parts, view.source.upstream), 1)

    @contextmanager
    def _asking(self, view: FeatureView, count: int) -> Iterator[Asks]:
        """Give what gives the features of a view for keys that are all in one of so many parts."""
        if not self.divides(view.source.root):
            yield lambda _, keys, at: self.features(view, keys, at, refused=Refused(len(at)))
            return
        with self._divided(view, count) as table:
            yield lambda part, keys, at: _found(view, table.past(part), keys, at, refused=Refused(len(at)))

    def divides(self, source: Events) -> bool:
        """Return whether a source is too large for memory, by its number of rows and the types of its fields."""
        if source.name in self._pasts or self.version(source) < 0:
            return False
        width = sum(BYTES.get(type_, 9) for type_ in types_of(source.fields).values()) + 40
        return self.rows(source) * width * SHARE > self.memory

    def rows(self, source: Events) -> int:
        """Return about how many rows of a source there are."""
        return self.lake.position(source.name, SINK)

    def _by_key(self, view: FeatureView) -> ByKey:
        root = view.source.root
        direct = set(view.keys) <= root.fields.keys() and not view.source.upstream
        name = (root.name if direct else view.source.fingerprint, *view.keys)
        if name not in self._grouped:
            self._grouped[name] = by_key(view, self.with_features(view.source))
        return self._grouped[name]

    def _arrivals(self, root: Events, known: Past) -> Column:
        """Return when each record of a source arrived."""
        offset = known.frame[OFFSET].values
        if not len(offset):
            return column("int", [])
        table = self.lake.read(root.name, version=self.version(root), columns=[OFFSET, ARRIVAL])
        held = from_arrow(table, {OFFSET: "int", ARRIVAL: "int"})
        return gather(held[ARRIVAL], np.searchsorted(held[OFFSET].values, offset))

    def with_features(self, source: Source) -> Past:
        """Return the records of a source with the features it reads, as of when each record happened or became known.

        Where a view's sums are too large to be exact its features are null.
        """
        known = self.past(source.root)
        if not source.upstream:
            return known
        frame = {**known.frame, ARRIVAL: self._arrivals(source.root, known)}
        moments = asked_at(source.root, frame)
        for view in source.upstream:
            keys = [frame[name] for name in view.keys]
            found = self.features(view, keys, moments, refused=Refused(len(moments)))
            frame |= {f"{view.name}.{name}": item for name, item in found.items()}
        return replace(known, frame=frame)


def features(
    view: FeatureView,
    frame: Frame,
    keys: Sequence[Column],
    at: np.ndarray,
    own: Frame | None = None,
    refused: Refused | None = None,
) -> dict[str, Column]:
    """Return the features of a view for queries, computed from a frame of its source's records in any order."""
    return _found(view, past(view.source.root, frame), keys, at, own, refused)


def _found(
    view: FeatureView,
    known: Past,
    keys: Sequence[Column],
    at: np.ndarray,
    own: Frame | None = None,
    refused: Refused | None = None,
) -> dict[str, Column]:
    out, queries = Answers(len(at)), (keys, at, np.arange(len(at)))
    _answer(view, by_key(view, known), queries, lambda piece: _features(view, piece, own), out, sweeps=True)
    return out.settled(refused)


def _answer(
    view: FeatureView, have: ByKey, queries: Queries, compute: Compute, out: Answers, sweeps: bool
) -> None:
    rest = sweep(view, have, queries, out) if sweeps else queries
    if rest is not None:
        answer(view, have, rest, compute, out)


def _features(view: FeatureView, piece: Piece, own: Frame | None) -> dict[str, Column]:
    mine = None
    if own is not None and view.plan.includes_self:
        _, inputs = inputs_of(view, taken(own, reads(view), piece.asked), len(piece.asked))
        mine = Own(inputs, _earlier(piece, own))
    return outputs(
        view, aggregate(piece.records, piece.group, piece.at, view.plan.aggregates, mine), piece.at
    )


def _earlier(piece: Piece, own: Frame) -> np.ndarray:
    """Return per row asked for which record is its visible earlier version, -1 where there is none."""
    ids, records, at = piece.past.source.ids, piece.records, piece.at
    keys = Keys([gather(piece.past.frame[name], piece.rows) for name in ids])
    code = keys.of([gather(own[name], piece.asked) for name in ids])
    asked = np.flatnonzero(code >= 0)
    rows, place = members(groups(keys.codes, keys.size), code[asked])
    asked = asked[place]
    visible = (records.known[rows] < at[asked]) & (records.event[rows] < at[asked])
    visible &= (records.until[rows] >= at[asked]) & (records.group[rows] == piece.group[asked])
    earlier = np.full(len(code), -1, dtype=np.int64)
    earlier[asked[visible]] = rows[visible]
    return earlier


def _newest(piece: Piece) -> dict[str, Column]:
    event = piece.records.event
    every = np.ones(len(event), dtype=np.bool_)
    inputs = (Input("event", Column("int", event, every), every),)
    return {"event": aggregate(replace(piece.records, inputs=inputs), piece.group, piece.at, [NEWEST])[0]}
