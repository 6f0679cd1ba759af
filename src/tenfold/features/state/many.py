"""Features of many keys read from their states at once: what `reading` does for one key, as columns.

The states are laid behind each other. Windows are then binary searches in all of them at once, and aggregates are
differences and picks of whole matrices, a row per aggregate and a column per query. It serves the aggregates and the states
that are look-ups in `reading`; the rest is read key by key.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from tenfold.core.errors import Inexact
from tenfold.core.expr import AS_OF
from tenfold.features.records import Rows
from tenfold.features.state import layout
from tenfold.features.state.blocks import Block, Columns, of_frame
from tenfold.features.state.chunks import Get
from tenfold.features.state.joined import Joined
from tenfold.features.state.layout import HEADER
from tenfold.features.state.planned import Planned
from tenfold.features.state.reading import is_fast, no_parts, reader_of
from tenfold.features.state.written import Found
from tenfold.features.view import FeatureView, slot
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, column

LARGE = 1 << 17
"""Bytes from which on a state is read where it lies: to copy it costs more than what is saved."""
TYPES = ("int", "float", "bool", "time", "str")
"""Types of inputs whose columns are read here."""
Parts = Callable[[int], Get]
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
    """Reads the features of one view from states of many of its keys.

    Attributes
    ----------
    together
        Whether all aggregates are look-ups, so that states are read together.
    places
        Of each feature its block and its row there.
    """

    def __init__(self, view: FeatureView) -> None:
        plan = view.plan
        self.view, self._read = view, reader_of(view)
        self.together = all(map(is_fast, plan.aggregates)) and all(item.type in TYPES for item in plan.inputs)
        self.places = {name: (which, 0) for which, name in enumerate(view.features)}
        if self.together:
            self._place()

    def _place(self) -> None:
        """Work out in which block and row the aggregates and the features are."""
        families = self._planned.families
        rows = {
            place: (which, row)
            for which, (places, _) in enumerate(families)
            for row, place in enumerate(places)
        }
        outputs = self.view.plan.outputs
        self._slots = {slot(place): at for place, at in rows.items()}
        self._computed = {
            name: expr for name, expr in outputs.items() if expr.fn != "col" or expr.args[0] == AS_OF
        }
        more = {name: (len(families) + place, 0) for place, name in enumerate(self._computed)}
        self.places = {
            name: more[name] if name in more else self._slots[expr.args[0]] for name, expr in outputs.items()
        }

    @cached_property
    def _planned(self) -> Planned:
        return Planned(self.view)

    def __call__(
        self,
        states: Sequence[Any],
        of: np.ndarray,
        at: np.ndarray,
        own: Rows | None = None,
        parts: Parts = lambda _: no_parts,
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
        parts
            Gives what gives the parts of a state that is divided, by the place of the state.

        Raises
        ------
        Inexact
            When a window holds more than can be summed exactly; `rows` is the place of the state, and the moment.
        """
        if not self.together:
            found = self._one_by_one(states, of, at, own, parts)
            frame = {
                name: column(self.view.plan.types[name], [one.values[place] for one in found])
                for place, name in enumerate(self.view.features)
            }
            return FoundMany(of_frame(frame), _newest(found))
        held = [_NOTHING if state is None else state for state in states]
        size = np.fromiter(map(len, held), np.int64, len(held))
        large = size > LARGE
        if large.any():
            held = [_NOTHING if much else state for much, state in zip(large.tolist(), held, strict=True)]
            size[large] = len(_NOTHING)
        joined = Joined(held, size, of)
        alone = _alone(joined, of, at, large)
        if not len(alone):
            return self._together(joined, at)
        joined.header[:, alone] = _BLANK[:, None]
        rest, mine = self._together(joined, at), self._one_by_one(states, of[alone], at[alone], None, parts)
        rest.newest[alone] = _newest(mine)
        values = [dict(zip(self.view.features, one.values, strict=True)) for one in mine]
        return FoundMany(rest.features.put(alone.tolist(), values), rest.newest)

    def _one_by_one(
        self, states: Sequence[Any], of: np.ndarray, at: np.ndarray, own: Rows | None, parts: Parts
    ) -> list[Found]:
        """Return the features of queries as the reader of one key gives them."""
        mine: Iterable[Rows | None] = (
            [None] * len(of) if own is None else (own.take(np.array([row])) for row in range(len(of)))
        )
        found = []
        for place, moment, row in zip(of.tolist(), at.tolist(), mine, strict=True):
            try:
                found.append(self._read(states[place], moment, row, parts(place)))
            except Inexact as error:
                error.rows = place, moment
                raise
        return found

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
            return Columns(self.places, blocks)
        frame = Columns(self._slots, blocks).frame()
        frame[AS_OF] = Column("time", at, np.ones(len(at), dtype=np.bool_))
        more = of_frame({name: evaluate(expr, frame, len(at)) for name, expr in self._computed.items()})
        return Columns(self.places, [*blocks, *more.blocks])


def _newest(found: Sequence[Found]) -> np.ndarray:
    return np.array([one.newest or 0 for one in found], dtype=np.int64)


def _alone(joined: Joined, of: np.ndarray, at: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Return the queries whose state is large, or one in which what is visible is no range."""
    flags, version = joined.header[layout.FLAGS], joined.header[0]
    fits = (flags == _IN_ORDER) | ((flags == layout.SAFE) & (at >= joined.header[layout.SETTLED]))
    fits &= version == layout.VERSION
    fits &= ~large[of]
    return np.flatnonzero(~fits)


@lru_cache(maxsize=1_000)
def many_reader_of(view: FeatureView) -> ManyReader:
    """Return what reads the states of many keys of a view."""
    return ManyReader(view)
