"""What columns the states of a view have, and where they lie, for one state and for many at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tenfold.features.state.layout import Shape, needs_of, shape_of
from tenfold.features.view import FeatureView


class States:
    """Makes and reads the states of one view."""

    def __init__(self, view: FeatureView) -> None:
        self.view, self.needs = view, needs_of(view)
        self._shapes: dict[int, Shape] = {}

    def shape(self, kind: int) -> Shape:
        """Return the columns of a state of some kind."""
        if kind not in self._shapes:
            self._shapes[kind] = shape_of(self.needs, kind)
        return self._shapes[kind]

    def shapes(self, kinds: np.ndarray) -> "Shapes":
        """Return the columns of states of several kinds."""
        if len(kinds) and (kinds == kinds[0]).all():
            return Shapes([self.shape(int(kinds[0]))], np.zeros(len(kinds), dtype=np.int64))
        distinct, place = np.unique(kinds, return_inverse=True)
        return Shapes([self.shape(kind) for kind in distinct.tolist()], place)

    @cached_property
    def reach(self) -> int | None:
        """How much older than the newest arrival a record may be and still count, None when there is no limit."""
        reaches = [item.window.reach for item in self.view.plan.aggregates]
        source = self.view.source.root
        return (
            None
            if any(item is None for item in reaches)
            else max(item for item in reaches if item is not None) + source.look_back_us + source.delay_us
        )


class Shapes:
    """The columns of several states: what `Shape` says of one, as an array with a number per state."""

    def __init__(self, distinct: Sequence[Shape], place: np.ndarray) -> None:
        def each(numbers: Iterable[int]) -> np.ndarray:
            return np.array(list(numbers), dtype=np.int64)[place]

        self.width = each(shape.width for shape in distinct)
        self.words = each(shape.words for shape in distinct)
        self.gone = each(shape.gone for shape in distinct)
        self.inputs = [
            EachPlaces(
                each(one.values for one in places),
                each(one.member for one in places),
                each(one.used for one in places),
                {name: each(one.totals[name] for one in places) for name in places[0].totals},
            )
            for places in zip(*(shape.inputs for shape in distinct), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class EachPlaces:
    """What `Places` says of one state, as arrays with a number per state."""

    values: np.ndarray
    member: np.ndarray
    used: np.ndarray
    totals: dict[str, np.ndarray]


@lru_cache(maxsize=1_000)
def states_of(view: FeatureView) -> States:
    """Return what makes and reads the states of a view."""
    return States(view)


class Spread:
    """Where the rows of several keys lie in one array of words, row i of a column beside row i + 1."""

    def __init__(self, begin: np.ndarray, size: np.ndarray) -> None:
        self.size, self.rows = size, int(size.sum())
        self.end = np.cumsum(size)
        self._first = begin
        if len(size) > 1:
            self._begin = np.repeat(begin - (self.end - size), size) + np.arange(self.rows)
            self._run = np.repeat(size, size)

    def at(self, unit: np.ndarray | int) -> Any:
        """Return the places of a column that begins so many words per row behind the first, or a slice."""
        if len(self.size) == 1:
            begin = int(self._first[0]) + int(np.ravel(unit)[0]) * self.rows
            return slice(begin, begin + self.rows)
        if np.ndim(unit) and (unit == np.ravel(unit)[0]).all():
            unit = int(np.ravel(unit)[0])
        return self._begin + (self.each(unit) if np.ndim(unit) else unit) * self._run

    def each(self, of_keys: np.ndarray | int) -> np.ndarray:
        """Return for each row what belongs to its key."""
        return np.repeat(np.broadcast_to(of_keys, self.size.shape), self.size)
