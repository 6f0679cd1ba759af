"""Offline features: every query answered from the history in the lake, as it was known then."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.core.windows import Window
from tenfold.features.kernel import Aggregate, Input, Own, Records, aggregate
from tenfold.features.records import OFFSET, by_time, ended, identities, inputs_of, outputs, total_order
from tenfold.features.view import FeatureView
from tenfold.processing.batches import to_frame
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import Derived, Source, apply
from tenfold.processing.frame import Column, Frame, column, types_of
from tenfold.sources.base import Lake
from tenfold.sources.declare import Events
from tenfold.store.groups import Groups, Keys, groups, repeated

ROWS_PER_CHUNK = 100_000
WORKERS = 2
EVENT = Aggregate("last", 0, Window())
"""The newest of all visible records."""


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
        self._pasts: dict[str, Past] = {}
        self._grouped: dict[tuple[str, ...], ByKey] = {}

    def at(self, versions: Mapping[str, int]) -> "History":
        """Return the same lake at other table versions."""
        return History(self._lake, versions)

    def frame(self, source: Events) -> Frame:
        """Return all records of a source in the total order (event time, id, known, offset)."""
        return self._past(source).frame

    def ids(self, source: Events) -> np.ndarray:
        """Return the identity of each record of `frame` as bytes."""
        return self._past(source).ids

    def until(self, source: Events) -> np.ndarray:
        """Return from when a later version of each record of `frame` was known, FOREVER for the newest."""
        return self._past(source).until

    def _past(self, source: Events) -> "Past":
        if source.name not in self._pasts:
            self._pasts[source.name] = past(source, self._read(source)).sorted()
        return self._pasts[source.name]

    def _read(self, source: Events) -> Frame:
        version = self.versions.setdefault(source.name, self._lake.version(source.name))
        if version < 0:
            types = types_of(source.fields) | {KNOWN: "int", OFFSET: "int"}
            return {name: column(type_, []) for name, type_ in types.items()}
        return to_frame(source, self._lake.read(source.name, version=version), KNOWN, OFFSET)

    def features(
        self, view: FeatureView, keys: Sequence[Column], at: np.ndarray, own: Frame | None = None
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
        """
        return _features(view, self._by_key(view), keys, at, own)

    def newest(self, view: FeatureView, keys: Sequence[Column], at: np.ndarray) -> Column:
        """Return when the newest visible record of a key happened, however old; null where nothing is known of it."""
        return _newest(self._by_key(view), keys, at)

    def records(self, view: FeatureView) -> tuple[list[Column], Records]:
        """Return the key columns and the records of a view in the total order, all in one group."""
        root = view.source.root
        frame, until = self.frame(root), self.until(root)
        columns, inputs = inputs_of(view, frame, len(until))
        found = Records(
            np.zeros(len(until), dtype=np.int64), frame[root.time].values, frame[KNOWN].values, until, inputs
        )
        return [columns[name] for name in view.keys], found

    def _by_key(self, view: FeatureView) -> "ByKey":
        root = view.source.root
        direct = set(view.keys) <= root.fields.keys()
        name = (root.name if direct else view.source.fingerprint, *view.keys)
        if name not in self._grouped:
            known = replace(self._past(root), frame=self.frame(root))
            self._grouped[name] = by_key(view, known)
        return self._grouped[name]


@dataclass(frozen=True)
class Past:
    """The records of a source, each delivery once; `ended` is None when none was ever replaced."""

    source: Events
    frame: Frame
    ended: np.ndarray | None

    @property
    def event(self) -> np.ndarray:
        """When each record happened."""
        return self.frame[self.source.time].values

    @property
    def until(self) -> np.ndarray:
        """From when the next version of each record was known, FOREVER for the newest."""
        return np.full(len(self.event), FOREVER, dtype=np.int64) if self.ended is None else self.ended

    @cached_property
    def ids(self) -> np.ndarray:
        """The identity of each record as bytes."""
        return identities([self.frame[name] for name in self.source.ids])

    def named(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids, known times and offsets of records."""
        ids = identities([gather(self.frame[name], rows) for name in self.source.ids])
        return ids, self.frame[KNOWN].values[rows], self.frame[OFFSET].values[rows]

    def sorted(self) -> "Past":
        """Return the records in the total order."""
        order = total_order(self.event, None, self.named)
        if (order[1:] > order[:-1]).all():
            return self
        frame = {name: gather(item, order) for name, item in self.frame.items()}
        return Past(self.source, frame, None if self.ended is None else self.ended[order])


def past(source: Events, frame: Frame) -> Past:
    """Return the records of a frame in any order, with when each was replaced."""
    twice = repeated([frame[name] for name in source.ids])
    if not len(twice):
        return Past(source, frame, None)
    until = np.full(len(frame[KNOWN]), FOREVER, dtype=np.int64)
    until[twice], keep = ended(*Past(source, frame, None).named(twice))
    if keep.all():
        return Past(source, frame, until)
    kept = np.ones(len(until), dtype=np.bool_)
    kept[twice] = keep
    return Past(source, {name: item.take(kept) for name, item in frame.items()}, until[kept])


@dataclass(frozen=True, slots=True)
class ByKey:
    """Records by key; a key that no record has comes behind the others."""

    past: Past
    keys: Keys
    groups: Groups


def by_key(view: FeatureView, known: Past) -> ByKey:
    """Return records by the key of a view."""
    columns = known.frame
    if not set(view.keys) <= columns.keys():
        columns, _ = apply(view.source, columns, len(known.event))
    keys = Keys([columns[name] for name in view.keys])
    return ByKey(known, keys, groups(keys.codes, keys.size + 1))


def features(
    view: FeatureView, frame: Frame, keys: Sequence[Column], at: np.ndarray, own: Frame | None = None
) -> dict[str, Column]:
    """Return the features of a view for queries, computed from a frame of its source's records in any order."""
    return _features(view, by_key(view, past(view.source.root, frame)), keys, at, own)


def _features(
    view: FeatureView, have: ByKey, keys: Sequence[Column], at: np.ndarray, own: Frame | None
) -> dict[str, Column]:
    names = reads(view)

    def compute(part: "Part") -> dict[str, Column]:
        _, inputs = inputs_of(view, taken(have.past.frame, names, part.rows), len(part.rows))
        records, moments = part.records(have.past, inputs), at[part.asked]
        mine = None
        if own is not None and view.plan.includes_self:
            _, asked = inputs_of(view, taken(own, names, part.asked), len(part.asked))
            mine = Own(asked, _earlier(have.past, records, part, own, moments))
        return outputs(
            view, aggregate(records, part.asked_group, moments, view.plan.aggregates, mine), moments
        )

    return answers(have, keys, at, compute)


def _earlier(known: Past, records: Records, part: "Part", own: Frame, at: np.ndarray) -> np.ndarray:
    """Return per row asked for which record is its visible earlier version, -1 where there is none."""
    ids = known.source.ids
    keys = Keys([gather(known.frame[name], part.rows) for name in ids])
    code = keys.of([gather(own[name], part.asked) for name in ids])
    asked = np.flatnonzero(code >= 0)
    rows, place = _members(groups(keys.codes, keys.size), code[asked])
    asked = asked[place]
    visible = (records.known[rows] < at[asked]) & (records.event[rows] < at[asked])
    visible &= (records.until[rows] >= at[asked]) & (records.group[rows] == part.asked_group[asked])
    earlier = np.full(len(code), -1, dtype=np.int64)
    earlier[asked[visible]] = rows[visible]
    return earlier


def _newest(have: ByKey, keys: Sequence[Column], at: np.ndarray) -> Column:
    def compute(part: "Part") -> dict[str, Column]:
        event = have.past.event[part.rows]
        every = np.ones(len(event), dtype=np.bool_)
        inputs = (Input("event", Column("int", event, every), every),)
        records = part.records(have.past, inputs)
        return {"event": aggregate(records, part.asked_group, at[part.asked], [EVENT])[0]}

    return answers(have, keys, at, compute)["event"]


def reads(view: FeatureView) -> set[str]:
    """Return the fields of its root that a view's inputs are made of."""
    names: set[str] = set()
    for spec in view.plan.inputs:
        names |= spec.value.columns() | (set() if spec.where is None else spec.where.columns())
    source: Source = view.source
    while isinstance(source, Derived):
        for expr in (*source.added.values(), *([] if source.where is None else [source.where])):
            names |= expr.columns()
        source = source.source
    deleted = set() if source.root.deleted is None else {source.root.deleted}
    return (names & source.fields.keys()) | deleted


def taken(frame: Frame, names: Iterable[str], rows: np.ndarray) -> Frame:
    """Return the rows at positions of some columns."""
    return {name: gather(frame[name], rows) for name in names}


def gather(item: Column, rows: np.ndarray) -> Column:
    """Return the values at positions."""
    return Column(item.type, item.values.take(rows), item.valid.take(rows))


# Pieces of whole keys: they fit the cache, bound memory and run side by side --------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """Some keys: the records of each, sorted by (event, id), and who asks, sorted by moment, as positions."""

    rows: np.ndarray
    group: np.ndarray
    asked: np.ndarray
    asked_group: np.ndarray

    def records(self, known: Past, inputs: tuple[Input, ...]) -> Records:
        """Return the kernel's form."""
        until = np.full(len(self.rows), FOREVER) if known.ended is None else known.ended[self.rows]
        event, since = known.event[self.rows], known.frame[KNOWN].values[self.rows]
        return Records(self.group, event, since, until, inputs)


def answers(
    have: ByKey, keys: Sequence[Column], at: np.ndarray, compute: Callable[[Part], dict[str, Column]]
) -> dict[str, Column]:
    """Return what `compute` says about the queries of each part, in the order of the queries."""
    code = have.keys.of(keys)
    asked = groups(np.where(code < 0, have.keys.size, code), have.keys.size + 1)
    active = np.flatnonzero(np.diff(asked.first))
    load = np.cumsum((np.diff(asked.first) + np.diff(have.groups.first))[active])
    out = _Out(len(at))

    def run(piece: tuple[int, int]) -> None:
        part = _part(have, asked, active[slice(*piece)], at)
        out.put(part.asked, compute(part))

    first, *others = _pieces(load)
    run(first)  # says which columns there are
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run, others))
    return out.columns


def _pieces(load: np.ndarray) -> list[tuple[int, int]]:
    """Return ranges of keys with about ROWS_PER_CHUNK rows each; one at least, a key is never divided."""
    cuts = [0]
    while cuts[-1] < len(load):
        before = int(load[cuts[-1] - 1]) if cuts[-1] else 0
        cuts.append(max(int(np.searchsorted(load, before + ROWS_PER_CHUNK, side="right")), cuts[-1] + 1))
    return list(pairwise(cuts)) or [(0, 0)]


def _part(have: ByKey, asked: Groups, keys: np.ndarray, at: np.ndarray) -> Part:
    rows, group = _members(have.groups, keys)
    event = have.past.event
    order = total_order(event[rows], group, lambda chosen: have.past.named(rows[chosen]))
    who, of = _members(asked, keys)
    sooner = by_time(at[who], of)
    return Part(rows[order], group[order], who[sooner], of[sooner])


def _members(among: Groups, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows of some keys, ascending, and which of the keys each has."""
    begin, length = among.first[keys], among.first[keys + 1] - among.first[keys]
    group = np.repeat(np.arange(len(keys)), length)
    if len(keys) and (keys[1:] - keys[:-1] == 1).all():
        return among.order[begin[0] : begin[0] + len(group)], group
    skipped = begin - (np.cumsum(length) - length)
    return among.order[skipped[group] + np.arange(len(group))], group


class _Out:
    """Columns filled by several threads, each at rows of its own."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.columns: dict[str, Column] = {}

    def put(self, rows: np.ndarray, found: Mapping[str, Column]) -> None:
        """Write values to their rows."""
        if not self.columns:
            self.columns = {name: self._blank(item) for name, item in found.items()}
        for name, item in found.items():
            self.columns[name].values[rows] = item.values
            if not item.valid.all():
                self.columns[name].valid[rows] = item.valid

    def _blank(self, like: Column) -> Column:
        values = np.empty(self._rows, dtype=like.values.dtype)
        return Column(like.type, values, np.ones(self._rows, dtype=np.bool_))
