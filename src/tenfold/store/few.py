"""Few records, as a worker that keeps up has them: their keys, and the states that take them one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.features.records import Rows
from tenfold.features.state.chunks import Sizes
from tenfold.features.state.divided import put
from tenfold.features.state.fresh import Fresh
from tenfold.features.state.shapes import states_of
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column
from tenfold.store.base import Get, OnlineStore
from tenfold.store.moved import Keyed
from tenfold.store.online import parts_of, state_keys

FEW = 16
"""Up to so many records are few."""


def keyed(view: FeatureView, keys: Sequence[Column], rows: Rows, arrival: np.ndarray) -> Keyed:
    """Return records with their keys."""
    place: dict[tuple[Any, ...], int] = {}
    cells = zip(*[item.plain() for item in keys], strict=True)
    group = [-1 if None in cell else place.setdefault(cell, len(place)) for cell in cells]
    return Keyed(state_keys(view, place), np.array(group, dtype=np.int64), rows, arrival)


def spliced(
    view: FeatureView, store: OnlineStore, new: Keyed, sizes: Sizes
) -> tuple[dict[bytes, bytes | None], Keyed]:
    """Return what changes at the keys whose states take their records one by one, and the records of the others."""
    made, fresh = states_of(view), Fresh(states_of(view), new.rows)
    mine: list[list[int]] = [[] for _ in new.names]
    for row, place in enumerate(new.group.tolist()):
        if place >= 0:
            mine[place].append(row)
    arrival = new.arrival.tolist()

    def work(states: Sequence[Any], get: Get) -> tuple[dict[bytes, bytes | None], list[int]]:
        changed: dict[bytes, bytes | None] = {}
        left = []
        for place, (name, state, rows) in enumerate(zip(new.names, states, mine, strict=True)):
            newest = max(arrival[row] for row in rows)
            found = put(made, state, parts_of(get, name), fresh, rows, newest, sizes)
            if found is None:
                left.append(place)
            else:
                changed |= {name + part: value for part, value in found}
        return changed, left

    changed, left = store.use(new.names, work)
    if not left:
        return changed, Keyed([], new.group[:0], new.rows, new.arrival)
    number = np.full(len(new.names) + 1, -1)  # the last one is that of the rows without a key
    number[left] = np.arange(len(left))
    return changed, Keyed([new.names[place] for place in left], number[new.group], new.rows, new.arrival)
