"""Features of many keys read from their states at once: what `reading` does for one key, as columns.

The states are laid behind each other. Windows are then binary searches in all of them at once, and aggregates are
differences and picks of whole matrices, a row per aggregate and a column per query. It serves the aggregates and the states
that are look-ups in `reading`; the rest is read key by key.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.features.records import Rows
from tenfold.features.state import layout
from tenfold.features.state.blocks import Block, Columns, of_frame
from tenfold.features.state.joined import Joined
from tenfold.features.state.layout import HEADER
from tenfold.features.state.planned import Planned
from tenfold.features.state.reading import is_fast, reader_of
from tenfold.features.view import FeatureView, slot
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, column

LARGE = 1 << 16
"""Bytes from which on a state is read where it lies: to copy it costs more than what is saved."""
TYPES = ("int", "float", "bool", "time", "str")
"""Types of inputs whose columns are read here."""
_IN_ORDER = layout.SAFE | layout.ORDERED
_BLANK = np.zeros(HEADER, dtype=np.int64)
_BLANK[0], _BLANK[layout.FLAGS] = layout.VERSION, _IN_ORDER
_NOTHING = _BLANK.tobytes()
"""The state of a key that nothing is known of."""


class FoundMany(NamedTuple):
    """The features of keys as columns, and when the newest visible record of each happened, 0 if there is none."""

    features: Columns
    newest: np.ndarray


class ManyReader:
    """Reads the features of one view from states of many of its keys."""

    def __init__(self, view: FeatureView) -> None:
        plan = view.plan
        self.view, self._read = view, reader_of(view)
        self.together = all(map(is_fast, plan.aggregates)) and all(item.type in TYPES for item in plan.inputs)
        direct = {
            name: int(expr.args[0][1:])
            for name, expr in plan.outputs.items()
            if expr.fn == "col" and expr.args[0] != AS_OF
        }
        self._computed = {name: expr for name, expr in plan.outputs.items() if name not in direct}
        rows = {
            place: (which, row)
            for which, (places, _) in enumerate(self._planned.families if self.together else ())
            for row, place in enumerate(places)
        }
        self._slots = {slot(place): at for place, at in rows.items()}
        self._places = {name: rows[place] for name, place in direct.items()} if self.together else {}

    @cached_property
    def _planned(self) -> Planned:
        return Planned(self.view)

    def __call__(
        self, states: Sequence[Any], of: np.ndarray, at: np.ndarray, own: Rows | None = None
    ) -> FoundMany:
        """Return the features of each query.

        Parameters
        ----------
        states
            The bytes of states, or views of them; None where nothing is known of a key.
        of : (n,) int64
            The place of each query's state among them.
        at : (n,) int64
            The moment of each query.
        own
            The rows that are asked for, one per query, when the view counts them too.
        """
        if not self.together:
            return self._one_by_one(states, of, at, own)
        held = [_NOTHING if state is None else state for state in states]
        size = np.fromiter(map(len, held), np.int64, len(held))
        large = np.flatnonzero(size > LARGE)
        for place in large.tolist():
            held[place] = _NOTHING
        size[large] = len(_NOTHING)
        joined = Joined(held, size, of)
        alone = _alone(joined, of, at, large)
        if not len(alone):
            return self._together(joined, at)
        joined.header[:, alone] = _BLANK[:, None]
        found = self._together(joined, at)
        mine = self._one_by_one(states, of[alone], at[alone], own)
        found.newest[alone] = mine.newest
        return FoundMany(found.features.put(alone, mine.features.frame()), found.newest)

    def _one_by_one(
        self, states: Sequence[Any], of: np.ndarray, at: np.ndarray, own: Rows | None
    ) -> FoundMany:
        """Return the features of queries as the reader of one key gives them."""
        mine: Iterable[Rows | None] = (
            [None] * len(of) if own is None else (own.take(np.array([row])) for row in range(len(of)))
        )
        found = [
            self._read(states[place], moment, row)
            for place, moment, row in zip(of.tolist(), at.tolist(), mine, strict=True)
        ]
        frame = {
            name: column(self.view.plan.types[name], [one.values[place] for one in found])
            for place, name in enumerate(self.view.features)
        }
        return FoundMany(of_frame(frame), np.array([one.newest or 0 for one in found], dtype=np.int64))

    def _together(self, joined: Joined, at: np.ndarray) -> FoundMany:
        planned, visible = self._planned, joined.visible(at)
        ranges = planned.ranges(joined, visible, at)
        blocks = [family(ranges) for _, family in planned.families]
        last = joined.words[joined.first + visible - 1]
        newest = np.where(visible > 0, last, joined.header[layout.PAST])
        return FoundMany(self._outputs(blocks, at), newest)

    def _outputs(self, blocks: Sequence[Block], at: np.ndarray) -> Columns:
        """Return the features from the aggregates."""
        if not self._computed:
            return Columns(self._places, blocks)
        frame = Columns(self._slots, blocks).frame()
        frame[AS_OF] = Column("time", at, np.ones(len(at), dtype=np.bool_))
        more = of_frame({name: evaluate(expr, frame, len(at)) for name, expr in self._computed.items()})
        places = {name: (len(blocks) + which, row) for name, (which, row) in more.places.items()}
        return Columns({**self._places, **places}, [*blocks, *more.blocks])


def _alone(joined: Joined, of: np.ndarray, at: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Return the queries whose state is large, or one in which what is visible is no range."""
    flags, version = joined.header[layout.FLAGS], joined.header[0]
    fits = (flags == _IN_ORDER) | ((flags == layout.SAFE) & (at >= joined.header[layout.SETTLED]))
    fits &= version == layout.VERSION
    if len(large):
        fits &= ~np.isin(of, large)
    return np.flatnonzero(~fits)


@lru_cache(maxsize=1_000)
def many_reader_of(view: FeatureView) -> ManyReader:
    """Return what reads the states of many keys of a view."""
    return ManyReader(view)
