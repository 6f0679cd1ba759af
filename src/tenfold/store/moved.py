"""Records that move to another key: a version of a record ends the older ones wherever they are.

Unless a source says `moves=False`, the online store holds, beside the states, where each version of a record is. A state then
holds the versions that lie at other keys too, as records that take no part: they end those that lie here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel.compute import Input
from tenfold.features.records import Rows
from tenfold.features.state.buckets import Buckets
from tenfold.features.state.shapes import states_of
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column
from tenfold.store.base import Get, OnlineStore
from tenfold.store.located import HASH, MEAN, OFFSET, OWN, Version, located, versions
from tenfold.store.online import prefix

INDEX = b"#"
"""What stands between a view's prefix and the id of a record; no state's key begins so."""
FAR = 1 << 46
"""The slice of versions from times that lie far ahead of their arrival; it is never old."""


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
        if reach is None:
            self._slices = self._floors = np.zeros_like(last)
        else:
            self._slices = np.where(last > new.arrival + reach, FAR, last // reach)
            self._floors = new.arrival // reach - 1
        keys = [name[len(self._prefix) :] for name in new.names]
        self._rows = located(rows, keys, new.group)
        self.ghosts: list[tuple[bytes, bytes, Version]] = []
        self.found: dict[bytes, bytes | None] = store.use([], lambda _, get: self._add(get))

    def _add(self, get: Get) -> dict[bytes, bytes | None]:
        """Let new versions and those that are stored find each other, and return what to store with the new ones."""
        buckets = Buckets(lambda name: get(self._head + name), mean=MEAN, words=OWN + 1)
        hashes = np.sort(self._rows[:, HASH].view(np.uint64))
        held = buckets.find(hashes, least=int(self._floors.min()))
        self._follow(*held, hashes[1:][hashes[1:] == hashes[:-1]])
        changed = buckets.changed(self._slices, self._rows, least=int(self._floors.max()))
        return {self._head + name: part for name, part in changed}

    def _follow(self, held: np.ndarray, where: np.ndarray, again: np.ndarray) -> None:
        """Let the versions of records that have several find each other: of stored ones, and of those with some hashes."""
        if not len(held) and not len(again):
            return
        several = np.concatenate([again, held[:, HASH].view(np.uint64)])
        mine = np.flatnonzero(np.isin(self._rows[:, HASH].view(np.uint64), several))
        known: dict[bytes, dict[Version, int]] = {}
        for (name, version), place in zip(versions(held), where.tolist(), strict=True):
            known.setdefault(name, {})[version] = place
        mine = mine[np.argsort(self._rows[mine, OFFSET], kind="stable")]
        each = zip(
            versions(self._rows[mine]), self._floors[mine].tolist(), self._slices[mine].tolist(), strict=True
        )
        for (name, version), floor, place in each:
            every = known.setdefault(name, {})
            for earlier, at in every.items():
                if earlier[3] < version[3] and at >= floor and earlier[0] != version[0]:
                    self._ghost(earlier[0], name, version)
                    self._ghost(version[0], name, earlier)
            every[version] = place

    def _ghost(self, key: bytes, name: bytes, version: Version) -> None:
        if key:
            self.ghosts.append((self._prefix + key, name, version))


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
