"""Pieces of whole keys: they fit the cache, bound memory, and are computed side by side."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from threading import Lock

import numpy as np

from tenfold.core.errors import Inexact
from tenfold.core.times import FOREVER
from tenfold.features.kernel.compute import Records
from tenfold.features.records import OFFSET, by_time, ended, identities, inputs_of, total_order
from tenfold.features.view import FeatureView
from tenfold.processing.batches import ARRIVAL
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import Derived, Source, apply
from tenfold.processing.frame import DTYPES, Column, Frame
from tenfold.sources.declare import Events
from tenfold.store.groups import Groups, Keys, groups, repeated
from tenfold.store.refused import Refused, named

ROWS_PER_CHUNK = 100_000
WORKERS = min(os.cpu_count() or 1, 8)
PAGE = 4096
"""Bytes of memory that come together when one of them is touched, at least."""


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
        if order is None:
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


@dataclass(frozen=True)
class ByKey:
    """Records by key; a key that no record has comes behind the others."""

    past: Past
    keys: Keys

    @cached_property
    def groups(self) -> Groups:
        """Which records each key has."""
        return groups(self.keys.codes, self.keys.size + 1)


def by_key(view: FeatureView, known: Past) -> ByKey:
    """Return records by the key of a view."""
    columns = known.frame
    if not set(view.keys) <= columns.keys():
        columns, _ = apply(view.source, columns, len(known.event))
    return ByKey(known, Keys([columns[name] for name in view.keys]))


def asked_at(root: Events, frame: Frame) -> np.ndarray:
    """Return as of when the features of other views are read for records: int64 microseconds, shape (n,)."""
    return np.minimum(np.minimum(frame[root.time].values, frame[KNOWN].values), frame[ARRIVAL].values)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some keys: their records, sorted by (key, event, id), and who asks, sorted by (key, moment).

    Attributes
    ----------
    past, rows
        Where the records come from: all records, and the positions among them.
    records
        The kernel's form.
    asked
        The queries, as positions among all queries.
    group, at
        Of each query the key, as numbered in `records`, and the moment.
    """

    past: Past
    rows: np.ndarray
    records: Records
    asked: np.ndarray
    group: np.ndarray
    at: np.ndarray

    def asking(self, rows: np.ndarray) -> "Piece":
        """Return the same with some of the queries."""
        return replace(self, asked=self.asked[rows], group=self.group[rows], at=self.at[rows])


Compute = Callable[[Piece], dict[str, Column]]


def reads(view: FeatureView) -> set[str]:
    """Return the fields of its root, and the features, that a view's inputs are made of."""
    names: set[str] = set()
    for spec in view.plan.inputs:
        names |= spec.value.columns() | (set() if spec.where is None else spec.where.columns())
    source: Source = view.source
    while isinstance(source, Derived):
        for expr in (*source.computed.values(), *([] if source.condition is None else [source.condition])):
            names |= expr.columns()
        source = source.source
    deleted = set() if source.root.deleted is None else {source.root.deleted}
    features = {f"{one.name}.{name}" for one in view.source.upstream for name in one.features}
    return (names & (source.fields.keys() | features)) | deleted


def taken(frame: Frame, names: Iterable[str], rows: np.ndarray) -> Frame:
    """Return the rows at positions of some columns."""
    return {name: gather(frame[name], rows) for name in names}


def gather(item: Column, rows: np.ndarray) -> Column:
    """Return the values at positions."""
    return Column(item.type, item.values.take(rows), item.valid.take(rows))


class Answers:
    """Columns filled by several threads, each at rows of its own."""

    def __init__(self, rows: int) -> None:
        self.rows, self._first = rows, Lock()
        self.columns: dict[str, Column] = {}
        self.refused = Refused(rows)

    def put(self, rows: np.ndarray | slice, found: Mapping[str, Column]) -> None:
        """Write values to their rows."""
        with self._first:
            if not self.columns:
                self.columns = {name: self.blank(item.type) for name, item in found.items()}
        for name, item in found.items():
            self.columns[name].values[rows] = item.values
            if not item.valid.all():
                valid = self.columns[name].valid
                if isinstance(rows, slice):
                    valid[rows] = item.valid
                else:
                    valid[rows[~item.valid]] = False

    def again(self, rows: np.ndarray) -> None:
        """Let rows be written a second time."""
        for item in self.columns.values():
            item.valid[rows] = True

    def settled(self, refused: Refused | None) -> dict[str, Column]:
        """Return the columns; those that are refused are null and noted, or an error where nobody notes them."""
        error, rows = self.refused.error, self.refused.rows
        if error is None:
            return self.columns
        if refused is None:
            raise error
        refused.add(rows, error)
        for item in self.columns.values():
            item.valid[rows] = False
            item.values[rows] = None if item.type == "str" else 0
        return self.columns

    def blank(self, type_: str) -> Column:
        """Return a column in memory that was touched, which takes longer than writing to it then."""
        values = np.empty(self.rows, dtype=DTYPES[type_])
        if type_ != "str":
            values[:: PAGE // values.itemsize] = 0
        return Column(type_, values, np.ones(self.rows, dtype=np.bool_))


def answer(
    view: FeatureView,
    have: ByKey,
    queries: tuple[Sequence[Column], np.ndarray, np.ndarray],
    compute: Compute,
    out: Answers,
) -> None:
    """Put what `compute` says of each piece where its queries are.

    Parameters
    ----------
    queries
        Keys, moments, and the place of each query among all.
    """
    keys, at, place = queries
    code = have.keys.of(keys)
    asked = groups(np.where(code < 0, have.keys.size, code), have.keys.size + 1)
    active = np.flatnonzero(np.diff(asked.first))
    load = np.cumsum((np.diff(asked.first) + np.diff(have.groups.first))[active])
    names = reads(view)

    def run(edges: tuple[int, int]) -> None:
        mine = active[slice(*edges)]
        who, of = members(asked, mine)
        sooner = by_time(at[who], of)
        if sooner is not None:
            who, of = who[sooner], of[sooner]
        rows, records = _records(view, have, names, mine)
        piece = Piece(have.past, rows, records, place[who], of, at[who])
        found = None
        while found is None:
            try:
                found = compute(piece)
            except Inexact as error:
                one = who[error.rows[:1]]
                whose = named(view, [gather(item, one).plain()[0] for item in keys], int(at[one[0]]))
                out.refused.add(piece.asked[error.rows], error.of(whose))
                kept = np.delete(np.arange(len(who)), error.rows)
                who, piece = who[kept], piece.asking(kept)
        out.put(piece.asked, found)

    first, *others = _edges(load)
    run(first)  # says which columns there are
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run, others))


def _records(
    view: FeatureView, have: ByKey, names: Iterable[str], keys: np.ndarray
) -> tuple[np.ndarray, Records]:
    """Return the records of some keys of a view, as positions and in the kernel's form."""
    known = have.past
    rows, group = members(have.groups, keys)
    event = known.event[rows]
    order = total_order(event, group, lambda chosen: known.named(rows[chosen]))
    if order is not None:
        rows, group, event = rows[order], group[order], event[order]
    until = np.full(len(rows), FOREVER) if known.ended is None else known.ended[rows]
    _, inputs = inputs_of(view, taken(known.frame, names, rows), len(rows))
    return rows, Records(group, event, known.frame[KNOWN].values[rows], until, inputs)


def _edges(load: np.ndarray) -> list[tuple[int, int]]:
    """Return ranges of keys with about ROWS_PER_CHUNK rows each; one at least, a key is never divided."""
    cuts = [0]
    while cuts[-1] < len(load):
        before = int(load[cuts[-1] - 1]) if cuts[-1] else 0
        cuts.append(max(int(np.searchsorted(load, before + ROWS_PER_CHUNK, side="right")), cuts[-1] + 1))
    return list(pairwise(cuts)) or [(0, 0)]


def members(among: Groups, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows of some keys, and which of the keys each has."""
    begin, length = among.first[keys], among.first[keys + 1] - among.first[keys]
    group = np.repeat(np.arange(len(keys)), length)
    if len(keys) and (keys[1:] - keys[:-1] == 1).all():
        return among.order[begin[0] : begin[0] + len(group)], group
    skipped = begin - (np.cumsum(length) - length)
    return among.order[skipped[group] + np.arange(len(group))], group
