"""Records that move to another key: a version of a record ends the older ones wherever they are.

Unless a source says `moves=False`, the online store holds, beside the states, where each version of a record is. A state then
holds the versions that lie at other keys too, as records that take no part: they end those that lie here.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel.compute import Input
from tenfold.features.records import Rows
from tenfold.features.state.shapes import states_of
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column
from tenfold.store.base import Get, OnlineStore
from tenfold.store.online import prefix

INDEX = b"#"
"""What stands between a view's prefix and the id of a record; no state's key begins so."""
FAR = 1 << 46
"""The slice of versions from times that lie far ahead of their arrival; it is never old."""
Version = tuple[bytes, int, int, int]
"""The key it belongs to, without the view's prefix, b"" for none; event, known and offset."""
ENTRY = struct.Struct("<4q")


@dataclass(frozen=True, slots=True)
class Keyed:
    """Records with the place of each one's key in `names`, -1 for none, and when each arrived."""

    names: list[bytes]
    group: np.ndarray
    rows: Rows
    arrival: np.ndarray


def may_move(view: FeatureView) -> bool:
    """Return whether a later version of a record may lie at another key of a view."""
    root = view.source.root
    return root.moves and not set(view.keys) <= set(root.ids)


def with_moved(view: FeatureView, store: OnlineStore, new: Keyed) -> tuple[Keyed, dict[bytes, bytes | None]]:
    """Return records with, at each key, the versions of its records that lie at others; and what to store of where they are."""
    if not len(new.rows.event):
        return new, {}
    index = _Index(view, store, new)
    return (_joined(new, index.ghosts) if index.ghosts else new), index.found


class _Index:
    """Where versions lie, by slices of time as long as the view reaches back, so that old ones are dropped slice by slice.

    A version belongs to the slice in which it had happened and was known. Of two versions the later one finds the earlier one
    if that is in one of the last slices as of its own arrival, however the log is read: an older one counts nowhere by then.
    """

    def __init__(self, view: FeatureView, store: OnlineStore, new: Keyed) -> None:
        rows, self._prefix = new.rows, prefix(view)
        self._head, reach = self._prefix + INDEX, states_of(view).reach
        last = np.maximum(rows.event, rows.known)
        none = np.zeros_like(last)
        self._slices = none if reach is None else np.where(last > new.arrival + reach, FAR, last // reach)
        self._floors = none if reach is None else new.arrival // reach - 1
        oldest = int(self._floors.max())
        self.ghosts: list[tuple[bytes, bytes, Version]] = []
        self.found: dict[bytes, bytes | None] = dict.fromkeys(self._before(store, oldest))
        self._add(store, new, oldest)

    def _before(self, store: OnlineStore, oldest: int) -> Iterator[bytes]:
        """Yield the keys of all slices before one."""
        end = self._head + _packed(oldest)
        for key, _ in store.items(self._head):
            if key >= end:
                return
            yield key

    def _heads(self, store: OnlineStore) -> dict[int, bytes]:
        """Return what the keys of the slices begin with that new versions may find others in."""
        reached = np.unique(np.unique(self._floors)[:, None] + np.arange(3)).tolist()
        heads = {place: self._head + _packed(place) for place in (*reached, FAR)}
        return {place: head for place, head in heads.items() if next(iter(store.items(head)), None)}

    def _add(self, store: OnlineStore, new: Keyed, oldest: int) -> None:
        names = new.rows.ids.tolist()
        keys = [name[len(self._prefix) :] for name in new.names]
        places = [b"" if place < 0 else keys[place] for place in new.group.tolist()]
        entries, slices = _entries(new.rows, places), self._slices.tolist()
        held = {place: _held(store, head, names) for place, head in self._heads(store).items()}
        several = {names[row] for states in held.values() for row in states}
        if len(set(names)) < len(names):
            several.update(name for name, times in Counter(names).items() if times > 1)
        heads = {place: self._head + _packed(place) for place in set(slices)}
        if not several and min(heads) >= oldest:
            self.found.update(
                zip(
                    [heads[place] + name for place, name in zip(slices, names, strict=True)],
                    entries,
                    strict=True,
                )
            )
            return
        for name, entry, place in zip(names, entries, slices, strict=True):
            if place >= oldest and name not in several:
                self.found[heads[place] + name] = entry
        known: dict[bytes, dict[bytes, int]] = {name: {} for name in several}
        for place, states in held.items():
            for row, state in states.items():
                known[names[row]] |= dict.fromkeys(_apart(state), place)
        self._follow(known, names, entries, oldest)

    def _follow(
        self,
        known: dict[bytes, dict[bytes, int]],
        names: Sequence[bytes],
        entries: Sequence[bytes],
        oldest: int,
    ) -> None:
        """Let the versions of records that have several find each other; `known` has those of each, with their slices."""
        floors, slices = self._floors.tolist(), self._slices.tolist()
        rows = [row for row, name in enumerate(names) if name in known]
        for row in sorted(rows, key=lambda row: _version(entries[row])[3]):
            name, entry, every = names[row], entries[row], known[names[row]]
            version = _version(entry)
            for other, place in every.items():
                earlier = _version(other)
                if earlier[3] < version[3] and place >= floors[row] and earlier[0] != version[0]:
                    self._ghost(earlier[0], name, version)
                    self._ghost(version[0], name, earlier)
            every[entry] = slices[row]
        for name, every in known.items():
            for place in set(every.values()):
                if place >= oldest:
                    mine = sorted(
                        (entry for entry in every if every[entry] == place), key=lambda one: _version(one)[3]
                    )
                    self.found[self._head + _packed(place) + name] = b"".join(mine)

    def _ghost(self, key: bytes, name: bytes, version: Version) -> None:
        if key:
            self.ghosts.append((self._prefix + key, name, version))


def _held(store: OnlineStore, head: bytes, names: Sequence[bytes]) -> dict[int, bytes]:
    """Return what is stored of ids in a slice, by their place; of nearly all nothing is."""

    def work(states: list[Any], _: Get) -> dict[int, bytes]:
        return {row: bytes(state) for row, state in enumerate(states) if state is not None}

    return store.use([head + name for name in names], work)


def _entries(rows: Rows, places: Sequence[bytes]) -> list[bytes]:
    """Return versions as bytes: how long the key is, the numbers, and the key."""
    cells = np.zeros(len(places), dtype=[("size", "<i8"), ("numbers", "<i8", 3)])
    cells["size"] = list(map(len, places))
    cells["numbers"] = np.stack([rows.event, rows.known, rows.offset], axis=1)
    data, size = cells.tobytes(), ENTRY.size
    return [data[at : at + size] + place for at, place in zip(range(0, len(data), size), places, strict=True)]


def _version(entry: bytes) -> Version:
    _, event, known, offset = ENTRY.unpack_from(entry)
    return entry[ENTRY.size :], event, known, offset


def _apart(state: bytes) -> Iterator[bytes]:
    """Yield the versions of a record one by one."""
    at = 0
    while at < len(state):
        end = at + ENTRY.size + ENTRY.unpack_from(state, at)[0]
        yield state[at:end]
        at = end


def _packed(place: int) -> bytes:
    return (place + (1 << 47)).to_bytes(6, "big")


def _joined(new: Keyed, ghosts: Sequence[tuple[bytes, bytes, Version]]) -> Keyed:
    names = list(dict.fromkeys([*new.names, *(at for at, _, _ in ghosts)]))
    place = {name: number for number, name in enumerate(names)}
    numbers = np.array([version[1:] for _, _, version in ghosts], dtype=np.int64)
    rows, none = new.rows, np.zeros(len(ghosts), dtype=np.bool_)
    inputs = []
    for item in rows.inputs:
        blank = np.full(len(ghosts), None if item.column.type == "str" else 0, dtype=item.column.values.dtype)
        column = Column(
            item.column.type,
            np.concatenate([item.column.values, blank]),
            np.concatenate([item.column.valid, none]),
        )
        inputs.append(Input(item.name, column, np.concatenate([item.member, none])))
    joined = Rows(
        np.concatenate([rows.event, numbers[:, 0]]),
        np.concatenate([rows.known, numbers[:, 1]]),
        np.concatenate([rows.until, np.full(len(ghosts), FOREVER, dtype=np.int64)]),
        np.concatenate([rows.offset, numbers[:, 2]]),
        np.concatenate([rows.ids, np.array([name for _, name, _ in ghosts], dtype=np.bytes_)]),
        tuple(inputs),
    )
    group = np.array([place[at] for at, _, _ in ghosts], dtype=np.int64)
    return Keyed(
        names,
        np.concatenate([new.group, group]),
        joined,
        np.concatenate([new.arrival, np.zeros(len(ghosts), dtype=np.int64)]),
    )
