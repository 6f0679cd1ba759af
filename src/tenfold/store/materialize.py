"""Keeps states and lake tables current from the log: each record counts once however a process dies."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tenfold.core.errors import SchemaError
from tenfold.core.times import FOREVER
from tenfold.features.records import ARRIVAL, OFFSET, rows_of
from tenfold.features.state.chunks import SIZES, Sizes, is_divided
from tenfold.features.state.divided import divide, fold_divided, is_large
from tenfold.features.state.fold import fold
from tenfold.features.view import FeatureView
from tenfold.processing.batches import joined, read_frame, to_tables
from tenfold.processing.changed import mixed, spelled
from tenfold.processing.frame import Frame
from tenfold.sources.base import Batch, Ends, Lake, Log
from tenfold.sources.lake_types import OtherType
from tenfold.store.base import SINK, Get, OnlineStore
from tenfold.store.few import FEW, spliced
from tenfold.store.few import keyed as of_few
from tenfold.store.groups import Keys, by_group
from tenfold.store.moved import Keyed, may_move, with_moved
from tenfold.store.online import group_name, parts_of, state_keys
from tenfold.store.upstream import Upstream
from tenfold.store.whole import STATES, check_lake, check_states, other, states_of, tables_of, within

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Changes = dict[bytes, bytes | None]
"""What keys of the store hold from now on, None where nothing."""
BATCHES, ROWS, BYTES = 20_000, 200_000, 32 << 20
"""How many batches and records are folded at a time, at most, and after how many bytes that ends; a batch is not cut."""
LAKE = 100_000, 500_000, 64 << 20
"""The same of a commit to the lake, and about how many bytes, which are in memory until then."""
PIECE, MOST_PIECES = 2_000, 25
"""Records that are brought into the lake's form, or written, at a time; more where that would be too many pieces."""
ENOUGH = 16 << 20
"""The bytes after which such a piece ends."""
LARGE = 500_000
"""Bytes of a state that is folded alone."""
KEYS = 2_000
"""How many keys' states are in memory as columns at a time."""
RETIRED = "-"
"""What the name of a definition begins with while its states are removed; no view is named so."""


class StateSink:
    """Folds the log into the states of all views; states and offsets commit in one transaction.

    Views that are behind, as a new one is, catch up on their own and hold no other view back.

    Parameters
    ----------
    sizes
        From how many records on a key's state is divided, so that an event rewrites a part of it only.
    """

    def __init__(
        self, log: Log, store: OnlineStore, views: Sequence[FeatureView], *, sizes: Sizes = SIZES
    ) -> None:
        self._log, self._store, self._sizes = log, store, sizes
        self._upstream = Upstream(log)
        self._views: dict[str, list[FeatureView]] = {}
        for view in views:
            self._views.setdefault(view.source.root.name, []).append(view)
        self._groups = {group_name(view): view.source.root.name for view in views}

    def advance(self) -> list[Batch]:
        """Process what is new, about ROWS records or BYTES a view at most, and return the batches that all views have by this call."""
        offsets = self._store.offsets()
        for group in self._groups:
            if RETIRED + group in offsets:
                self._remove(group)
        return [batch for topic in self._views for batch in self._advance(topic, offsets)]

    def behind(self) -> bool:
        """Return whether the log holds records that the states do not."""
        offsets, ends = self._checked()
        return any(
            offsets.get(group, 0) < ends.offsets.get(topic, 0) for group, topic in self._groups.items()
        )

    def check(self) -> None:
        """Raise OtherLog when the states are ahead of the log."""
        self._checked()

    def _checked(self) -> tuple[Mapping[str, int], Ends]:
        offsets, ends = self._store.offsets(), self._log.ends()  # in this order: the log goes ahead
        check_states(self._groups, offsets, ends)
        for group, topic in self._groups.items():
            mark = offsets.get(group, 0)
            if 0 < mark < ends.offsets.get(topic, 0):
                self._check_begins(self._log.read(topic, mark, limit=1), topic, mark, group)
        return offsets, ends

    def _check_begins(self, read: Sequence[Batch], topic: str, mark: int, group: str) -> None:
        """Refuse what was read from where the states of a group end, unless it begins there."""
        if not read or read[0].base != mark:
            raise other(states_of(group), within(topic, mark), [STATES])

    def retire(self) -> int:
        """Remove the states of definitions that are no longer declared, in small transactions; return how many.

        First such a definition loses its offset, so one that is declared again later starts from nothing, once what was left of
        it is removed: after a crash at any point the same call goes on. For when no process runs the older declaration any more.
        """
        removed = 0
        for name in self._store.offsets():
            group = name.removeprefix(RETIRED)
            if group not in self._groups:
                self._store.write({}, {group: None, RETIRED + group: 1})
            if group != name or group not in self._groups:
                removed += self._remove(group)
        return removed

    def _remove(self, group: str) -> int:
        """Remove the states of a definition that is marked as retired, and the mark; return how many."""
        removed, marked = 0, {RETIRED + group: 1}
        while some := [key for key, _ in itertools.islice(self._store.items(group.encode()), KEYS)]:
            # Another process may have removed all of them by now, and have begun anew.
            if not self._store.write(dict.fromkeys(some), {}, after=marked):
                return removed
            removed += len(some)
        self._store.write({}, {RETIRED + group: None}, after=marked)
        return removed

    def _advance(self, topic: str, offsets: Mapping[str, int]) -> list[Batch]:
        """Advance the views of a topic by their marks, the foremost first; return what the hindmost were given."""
        groups: dict[int, list[FeatureView]] = {}
        for view in self._views[topic]:
            groups.setdefault(offsets.get(group_name(view), 0), []).append(view)
        done: list[Batch] = []
        front = FOREVER
        for mark in sorted(groups, reverse=True):
            # Not beyond the views in front: who catches up meets them at their mark and goes on with them.
            read = self._log.read(topic, mark, limit=BATCHES, rows=ROWS, size=BYTES)
            if read:
                self._check_begins(read, topic, mark, group_name(groups[mark][0]))
            batches = [item for item in read if item.end <= front]
            done = batches if batches and self._fold(batches, groups[mark], mark) else []
            front = done[-1].end if done else mark
        return done

    def _fold(self, batches: Sequence[Batch], views: Sequence[FeatureView], mark: int) -> bool:
        """Write the states of views at a mark after some batches; return False when another worker was first."""
        frame = read_frame(views[0].source.root, batches)
        states: Changes = {}
        for view in views:
            for some in self._states(view, frame):
                states.update(some)
        groups = [group_name(view) for view in views]
        return self._store.write(
            states, dict.fromkeys(groups, batches[-1].end), after=dict.fromkeys(groups, mark)
        )

    def _states(self, view: FeatureView, frame: Frame) -> Iterator[Changes]:
        """Yield the new states of the keys that a frame has records of."""
        if view.source.upstream:
            frame = self._upstream.added(view.source, frame)
        keyed = _keyed(view, frame)
        if may_move(view):
            keyed, where = with_moved(view, self._store, keyed)
            yield where
        if len(keyed.group) <= FEW:
            done, keyed = spliced(view, self._store, keyed, self._sizes)
            yield done
        if keyed.names:
            yield from self._many(view, keyed)

    def _many(self, view: FeatureView, keyed: Keyed) -> Iterator[Changes]:
        """Yield the new states of the keys of some records, some keys at a time."""
        names, rows, arrival = keyed.names, keyed.rows, keyed.arrival
        order = by_group(keyed.group)
        edges = np.searchsorted(keyed.group[order], np.arange(len(names) + 1))
        for first in range(0, len(names), KEYS):
            some = edges[first : first + KEYS + 1]
            mine = order[some[0] : some[-1]]
            group = np.repeat(np.arange(len(some) - 1), np.diff(some))
            newest = np.maximum.reduceat(arrival[mine], some[:-1] - some[0])
            yield dict(self._folded(view, Keyed(names[first : first + KEYS], group, rows.take(mine), newest)))

    def _folded(self, view: FeatureView, new: Keyed) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the new states of keys from their records, sorted by key, and the newest arrival of each."""
        states, parts = self._store.use(new.names, lambda states, get: self._use(view, new, states, get))
        yield from parts.items()
        for places in _apart(states):
            few = len(places) < len(states)
            part = np.flatnonzero(np.isin(new.group, places)) if few else np.arange(len(new.group))
            made = fold(
                view,
                [states[place] for place in places.tolist()],
                np.searchsorted(places, new.group[part]),
                new.rows.take(part) if few else new.rows,
                new.arrival[places],
            )
            for place, state in zip(places.tolist(), made, strict=True):
                name = new.names[place]
                if is_large(state, self._sizes):
                    yield from ((name + part, value) for part, value in divide(view, state, self._sizes))
                else:
                    yield name, state

    def _use(
        self, view: FeatureView, new: Keyed, states: Sequence[Any], get: Get
    ) -> tuple[list[bytes | None], Changes]:
        """Return the states that are in one piece, and what changes of those that are divided, which are blank in the first."""
        whole: list[bytes | None] = []
        parts: Changes = {}
        for place, state in enumerate(states):
            if state is None or not is_divided(state):
                whole.append(None if state is None else bytes(state))
                continue
            name, rows = new.names[place], new.rows.take(np.flatnonzero(new.group == place))
            whole.append(DIVIDED)
            parts_get = parts_of(get, name)
            found = fold_divided(view, bytes(state), parts_get, rows, int(new.arrival[place]), self._sizes)
            parts |= {name + part: value for part, value in found}
        return whole, parts


DIVIDED = b""
"""Stands for a divided state among those in one piece."""


def _keyed(view: FeatureView, frame: Frame) -> Keyed:
    """Return the records of a view in a frame, with their keys."""
    keys, rows = rows_of(view, frame, len(frame[OFFSET]))
    if len(rows.event) <= FEW:
        return of_few(view, keys, rows, frame[ARRIVAL].values)
    codes = Keys(keys)
    place = np.full(codes.size + 1, -1)  # the last one is that of the rows without a key
    place[codes.codes[::-1]] = np.arange(len(codes.codes))[::-1]
    there = place[:-1] >= 0
    cells = (item.take(place[:-1][there]).plain() for item in keys)
    group = np.append(np.cumsum(there) - 1, -1)[codes.codes]
    return Keyed(state_keys(view, zip(*cells, strict=True)), group, rows, frame[ARRIVAL].values)


def _apart(states: Sequence[bytes | None]) -> Iterator[np.ndarray]:
    """Yield the places of states to fold together: large ones one by one, which spares them from being gathered."""
    large = np.array([state is not None and len(state) > LARGE for state in states], dtype=np.bool_)
    small = np.array([state != DIVIDED for state in states], dtype=np.bool_) & ~large
    if small.any():
        yield np.flatnonzero(small)
    for place in np.flatnonzero(large).tolist():
        yield np.array([place])


class LakeSink:
    """Moves the log into lake tables, in commits of many records; a commit carries its offset, so none is stored twice."""

    def __init__(self, log: Log, lake: Lake, topics: Sequence[str]) -> None:
        self._log, self._lake, self._topics = log, lake, topics

    def flush(self, rest: Callable[[], None] | None = None, over: Callable[[], bool] = bool) -> int:
        """Move everything that is in the log by now, nothing newer, a topic after the other; return how many records that were.

        A topic whose records do not fit its table is told when the others were moved.

        Parameters
        ----------
        rest
            Is called again and again meanwhile, between pieces of a few thousand records; all at once without.
        over
            Is asked before each commit whether to leave the rest.
        """
        ends = self._log.ends().offsets
        moved, wrong = 0, []
        for topic in self._topics:
            try:
                moved += self._flush(topic, ends.get(topic, 0), rest, over)
            except SchemaError as error:
                wrong.append(error)
        if moved:
            _release()
        if wrong:
            raise wrong[0]
        return moved

    def _flush(self, topic: str, end: int, rest: Callable[[], None] | None, over: Callable[[], bool]) -> int:
        moved = 0
        while (position := self._lake.position(topic, SINK)) < end and not over():
            rows, upto = self._next(topic, position, end, rest)
            try:
                stored = self._lake.append(topic, rows, writer=SINK, upto=upto, after=position)
            except OtherType as error:
                types = spelled(error.new), spelled(error.stored)
                raise SchemaError(mixed(topic, error.column, *types)) from error
            moved += upto - position if stored else 0
        if position > end:  # another process may have moved what came meanwhile
            self.check()
        return moved

    def check(self) -> None:
        """Raise OtherLog when the lake is ahead of the log."""
        check_lake(self._log, self._lake, self._topics)

    def _next(
        self, topic: str, first: int, end: int, rest: Callable[[], None] | None
    ) -> "tuple[pa.Table | Iterable[pa.Table], int]":
        """Return what comes next of a topic as tables of the same columns, or as one when they differ, and where it ends."""
        left, most, room = LAKE
        size = max(PIECE, min(end - first, most) // MOST_PIECES)
        tables: list[pa.Table] = []
        upto = first
        while left and room > 0 and upto < min(end, first + most):
            # What came meanwhile stays: a prediction in the lake never lacks a record there that it was made from.
            batches = self._log.read(topic, upto, limit=left, rows=min(size, end - upto), size=ENOUGH)
            if not batches or batches[0].base != upto:
                raise other("the lake was", within(topic, upto), tables_of([topic]))
            tables.append(to_tables(batches))
            upto, left, room = batches[-1].end, left - len(batches), room - tables[-1].nbytes
            if rest:
                rest()
        alike = all(table.schema.equals(tables[0].schema) for table in tables)
        return (_each(tables, rest) if rest and alike and len(tables) > 1 else joined(tables, topic)), upto


def _release() -> None:
    """Give back what Arrow keeps of this thread's tables: between two commits nobody needs it, and it grows for minutes."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _each(pieces: Iterable[T], rest: Callable[[], None]) -> Iterator[T]:
    for piece in pieces:
        yield piece
        rest()
