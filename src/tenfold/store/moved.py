"""Records that move to another key: a version of a record ends the older ones wherever they are.

For a source with `moves=True` the online store holds, beside the states, where each version of a record is. A state then
holds the versions that lie at other keys too, as records that take no part: they end those that lie here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel.compute import Input
from tenfold.features.records import Rows
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column
from tenfold.store.base import OnlineStore, read
from tenfold.store.online import prefix

INDEX = b"#"
"""What stands between a view's prefix and the id of a record; no state's key begins so."""
Version = tuple[bytes, int, int, int]
"""The key it belongs to, without the view's prefix, b"" for none; event, known and offset."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[bytes, int, int, int]]).decode


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


def with_moved(view: FeatureView, store: OnlineStore, new: Keyed) -> tuple[Keyed, dict[bytes, bytes]]:
    """Return records with, at each key, the versions of its records that lie at others; and what to store of where they are."""
    rows, head = new.rows, prefix(view) + INDEX
    keys = [name[len(head) - len(INDEX) :] for name in new.names]
    places = [b"" if place < 0 else keys[place] for place in new.group.tolist()]
    names = rows.ids.tolist()
    versions = zip(places, rows.event.tolist(), rows.known.tolist(), rows.offset.tolist(), strict=True)
    held = read(store, [head + name for name in names])
    found: dict[bytes, bytes] = {}
    often: dict[bytes, set[Version]] = {}
    for name, version, before in zip(names, versions, held, strict=True):
        key = head + name
        if before is None and key not in found:
            found[key] = _encode([version])
        else:
            often.setdefault(name, set(() if before is None else _decode(before))).add(version)
    return _followed(new, head, found, often), found


def _followed(
    new: Keyed, head: bytes, found: dict[bytes, bytes], often: dict[bytes, set[Version]]
) -> Keyed:
    """Return records with the versions, at other keys, of those that have several; complete what is stored of these."""
    ghosts: list[tuple[bytes, bytes, Version]] = []
    for name, some in often.items():
        first = found.get(head + name)
        every = some if first is None else some | set(_decode(first))
        found[head + name] = _encode(sorted(every, key=lambda version: version[3]))
        for at in {version[0] for version in every} - {b""}:
            ghosts += [(head[: -len(INDEX)] + at, name, version) for version in every if version[0] != at]
    return _joined(new, ghosts) if ghosts else new


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
