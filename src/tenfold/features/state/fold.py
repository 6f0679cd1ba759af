"""State of one key of one view: its records as far back as any window reaches, as bytes.

State, not values: a window is evaluated at the moment of the request. The bytes are a function of the set of records
alone; how they were batched, or in which order they arrived, leaves no trace. States of many keys advance together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel.compute import Input
from tenfold.features.records import Rows, in_order, sort_ties
from tenfold.features.state.building import Build
from tenfold.features.state.layout import WORD
from tenfold.features.state.shapes import States, states_of
from tenfold.features.state.stored import as_stored, gather, join
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column

TILES = 16
"""A state drops records in steps of a sixteenth of what it reaches back, so that it is seldom cut."""


def fold(
    view: FeatureView,
    states: Sequence[bytes | None],
    group: np.ndarray,
    new: Rows,
    arrival: np.ndarray,
) -> list[bytes]:
    """Return the states of several keys after more records of each; adding the same records again changes nothing.

    Parameters
    ----------
    states
        The state of each key, None where there is none yet.
    group : (n,) int64
        The place in `states` of each record's key.
    arrival : (len(states),) int64
        The newest arrival among the new records of each key.
    """
    made = states_of(view)
    before, old, stored = gather(made, states)
    arrival, past = np.maximum(arrival, stored[0]), stored[1]
    rows = join(old, as_stored(new))
    group = np.concatenate([before, group])
    rows, keep = survivors(made, group, rows, len(new.event), arrival, past)
    if not keep.all():
        group, rows = group[keep], rows.take(keep)
    return Build(made, *in_groups(group, rows), arrival, past).states()


def survivors(
    made: States, group: np.ndarray, rows: Rows, new: int, arrival: np.ndarray, past: np.ndarray
) -> tuple[Rows, np.ndarray]:
    """Return records with until when each counts, and which of them a state holds; `past` is brought up to date.

    Parameters
    ----------
    new
        How many of the last rows are new.
    arrival, past : (groups,) int64
        The newest arrival of each key, and when the newest of the records happened that it no longer holds.
    """
    until, keep = _versions(group, rows, new)
    if made.reach is not None:
        # By known time too: a version that came lately still ends older ones that arrive again.
        oldest = horizon(made.reach, arrival)
        gone = np.flatnonzero(np.maximum(rows.event, rows.known) < oldest[group])
        keep[gone] = False
        np.maximum.at(past, group[gone], rows.event[gone])
    return Rows(rows.event, rows.known, until, rows.offset, rows.ids, rows.inputs), keep


def horizon(reach: int, arrival: Any) -> Any:
    """Return before when a record must have happened and been known to be dropped, from the newest arrival."""
    step = step_of(reach)
    return (arrival - reach) // step * step


def step_of(reach: int) -> int:
    """Return the steps in which records are dropped, in microseconds."""
    return max(reach // TILES, 1)


def _versions(group: np.ndarray, rows: Rows, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return until when each record counts, and which are not delivered again: as `records.versions`, per group.

    All but the last `new` rows were compared with each other before.
    """
    until, keep = rows.until, np.ones(len(group), dtype=np.bool_)
    code = _hash(group, rows.ids)
    # Few rows share the low bits of a new one's hash; only those are looked at.
    size = 1 << min(2 + len(code).bit_length(), BITS)
    low = (code & np.uint64(size - 1)).astype(np.int64)
    asked = np.zeros(size, dtype=np.bool_)
    asked[low[len(low) - new :]] = True
    near = np.flatnonzero(asked[low])
    ranked = np.sort(code[near])
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return until, keep
    some = near[np.isin(code[near], ranked[1:][same])]
    order = some[np.lexsort((rows.offset[some], rows.known[some], rows.ids[some], group[some]))]

    def follow(order: np.ndarray) -> np.ndarray:
        return (rows.ids[order][1:] == rows.ids[order][:-1]) & (group[order][1:] == group[order][:-1])

    again = follow(order) & (rows.offset[order][1:] == rows.offset[order][:-1])
    keep[order[1:][again]] = False
    order = order[np.concatenate([[True], ~again])]
    ended = follow(order)
    until = until.copy()
    until[order[:-1][ended]] = np.minimum(until[order[:-1][ended]], rows.known[order[1:][ended]])
    return until, keep


BITS = 20
"""Binary digits of a hash that are looked at, at most."""


def _hash(group: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return a number per row, equal for equal ids of a group and almost never otherwise."""
    code = group.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words = np.ascontiguousarray(ids).view(np.uint64).reshape(len(ids), ids.dtype.itemsize // WORD)
    for place in range(words.shape[1]):
        code = (code ^ words[:, place]) * np.uint64(0xFF51AFD7ED558CCD)
        code ^= code >> np.uint64(32)
    return code


def in_groups(group: np.ndarray, rows: Rows) -> tuple[np.ndarray, Rows]:
    """Return rows by (group, event, id, known)."""
    if len(group) < 2:
        return group, rows
    base = int(rows.event.min())
    span = int(rows.event.max()) - base + 1
    if (int(group.max()) + 1) * span < FOREVER:
        code = group * span + (rows.event - base)
        # The old rows and the new ones are in order, or nearly: this sort merges runs.
        order = np.argsort(code, kind="stable")
        code = code[order]
        tied = code[1:] == code[:-1]
        if tied.any():
            sort_ties(order, tied, lambda some: (rows.ids[some], rows.known[some], rows.offset[some]))
    else:
        order = in_order(rows, group)
    return group[order], rows.take(order)


def unpack(view: FeatureView, state: bytes) -> tuple[Rows, int]:
    """Return the records of a state, sorted, and the newest arrival."""
    rows, before = unpack_all(view, [state])
    return rows, int(before[0, 0])


def unpack_all(view: FeatureView, states: Sequence[bytes]) -> tuple[Rows, np.ndarray]:
    """Return the records of several pieces of a key's state, sorted together, and what `gather` says of each piece."""
    group, rows, before = gather(states_of(view), states)
    _, rows = in_groups(np.zeros_like(group), rows)
    inputs = []
    for item in rows.inputs:
        column = item.column
        if column.type == "str":
            texts = np.empty(len(column), dtype=object)
            texts[:] = [
                text.decode() if ok else None
                for text, ok in zip(column.values.tolist(), column.valid.tolist(), strict=True)
            ]
            column = Column("str", texts, column.valid)
        inputs.append(Input(item.name, column, item.member))
    return Rows(rows.event, rows.known, rows.until, rows.offset, rows.ids, tuple(inputs)), before
