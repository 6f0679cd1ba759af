"""New records as cells for every column that a state may have; inputs of which the same is kept are computed together."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tenfold.features.records import Rows
from tenfold.features.state import layout
from tenfold.features.state.building import added, comparable
from tenfold.features.state.layout import WORD, Needs, Places
from tenfold.features.state.shapes import States
from tenfold.features.state.stored import held, id_words, whole


class Alike(NamedTuple):
    """Inputs of which a state keeps the same, so that one computation is for all of them."""

    need: Needs
    inputs: list[int]
    units: dict[str, np.ndarray]
    """Where the columns of each begin, by name, -1 for none."""


def alike(needs: Sequence[Needs], every: Sequence[Places]) -> list[Alike]:
    """Return inputs by what a state keeps of them."""
    found = []
    for need in dict.fromkeys(needs):
        inputs = [place for place, other in enumerate(needs) if other == need]
        named = [
            {"values": every[place].values, "used": every[place].used, **every[place].totals}
            for place in inputs
        ]
        units = {name: np.array([one[name] for one in named]) for name in named[0]}
        found.append(Alike(need, inputs, units))
    return found


class _Every:
    """The columns that a state of a view may have."""

    def __init__(self, made: States) -> None:
        every = made.shape(0)
        self.words, self.alike = every.words, alike(made.needs, every.inputs)
        self.members = np.array([places.member for places in every.inputs])
        self.marks = np.array(
            [layout.mark(place) for place in range(len(every.inputs))][: layout.MOST_INPUTS]
        )


@lru_cache(maxsize=1_000)
def _every(made: States) -> _Every:
    return _Every(made)


class Fresh:
    """New records, with a cell for every column that a state may have.

    Attributes
    ----------
    cells : (n, words) int64
        The columns but the ids: of totals what a record adds.
    kinds
        The words of each id, and the marks of inputs as the kind of a state has them.
    start
        From when on each is visible.
    """

    def __init__(self, made: States, rows: Rows) -> None:
        of, inputs = _every(made), rows.inputs
        self.ids = whole(rows.ids)
        self.words = id_words(self.ids)
        self.start: list[int] = (np.maximum(rows.event, rows.known) + 1).tolist()
        self.event: list[int] = rows.event.tolist()
        self.cells = np.zeros((len(rows.event), of.words), dtype=np.int64)
        self.cells[:, layout.EVENT], self.cells[:, layout.KNOWN] = rows.event, rows.known
        self.cells[:, layout.OFFSET] = rows.offset
        member = np.array([item.member for item in inputs])
        used = member & np.array([item.column.valid for item in inputs])
        self.cells[:, of.members] = member.T
        widths = [max(1, -(-len(name) // WORD)) for name in self.ids.tolist()]
        marks = (member + 2 * (used == member))[: len(of.marks)] << of.marks[:, None]
        self.kinds: list[int] = (marks.sum(axis=0) + widths).tolist()
        self._texts: dict[int, list[bytes]] = {}
        for some in of.alike:
            if some.need.values:
                self._put(some, [inputs[place].column.values for place in some.inputs], used[some.inputs])
        self.texts = [self._texts[place] for place in sorted(self._texts)]

    def _put(self, some: Alike, columns: Sequence[np.ndarray], used: np.ndarray) -> None:
        need, units = some.need, some.units
        if need.type == "str":
            texts = [held("str", *one).tolist() for one in zip(columns, used, strict=True)]
            self._texts |= zip(some.inputs, texts, strict=True)
            values = np.array([list(map(len, each)) for each in texts])
        else:
            values = held(need.type, np.array(columns), used)
            values = values.astype(np.int64) if need.type == "bool" else values
        self.cells[:, units["used"]], self.cells[:, units["values"]] = used.T, values.view(np.int64).T
        for name, part in added(need, values):
            self.cells[:, units[name]] = part.T
        for name in need.extremes:
            self.cells[:, units[name]] = comparable(values, used, name).view(np.int64).T
