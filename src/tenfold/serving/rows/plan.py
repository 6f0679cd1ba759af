"""What a model reads and computes for one row, prepared once: keys, states, expressions, their order."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tenfold.core.decimals import PLACES, decimal_of
from tenfold.core.expr import AS_OF, Expr
from tenfold.features.state.written import Found
from tenfold.processing.compiled import compile_row
from tenfold.processing.derive import Derived, Source
from tenfold.processing.frame import Frame, types_of
from tenfold.store.base import OnlineStore
from tenfold.store.online import Lookup
from tenfold.training.model import Model


class Known(NamedTuple):
    """The features of one row as of a moment as Python values, decimals as Decimal, and per view when its newest record happened."""

    at: int
    names: Sequence[str]
    row: Sequence[Any]
    views: Sequence[str]
    newest: Sequence[int | None]

    @property
    def ages(self) -> dict[str, int | None]:
        """Per view how many microseconds old its newest record is, None where nothing is known of the key."""
        each = zip(self.views, self.newest, strict=True)
        return {name: None if moment is None else self.at - moment for name, moment in each}

    @property
    def values(self) -> dict[str, Any]:
        """The features by name."""
        return dict(zip(self.names, self.row, strict=True))


_new: Any = tuple.__new__
"""Makes a tuple of names in a third of the time."""


class ServingPlan:
    """Computes the features of single rows of a model: one snapshot of the store and one function of Python values.

    The values are those of `assemble`, bit by bit.
    """

    def __init__(self, model: Model) -> None:
        self._lookup = Lookup(model.stored)
        self._views = [view.name for view in model.stored]
        self._columns = list(model.columns)
        stored = [[f"{view.name}.{name}" for name in view.features] for view in model.stored]
        types = types_of(model.spine.root.fields) | {AS_OF: "time"}
        self._added = added(model.spine)
        self._derive = compile_row(self._added, types)
        types |= {name: model.spine.fields[name].type for name in self._added}
        for view in model.stored:
            types |= {f"{view.name}.{name}": kind for name, kind in view.plan.types.items()}
        self._row = compile_row(model.computed, types, stored, self._columns)
        self._decimals = [
            (place, PLACES[kind]) for place, kind in enumerate(model.columns.values()) if kind in PLACES
        ]

    def __call__(
        self, store: OnlineStore, row: Mapping[str, Any], at: int, asked: Frame | None = None
    ) -> Known:
        """Return the features of a row as of `at`.

        Parameters
        ----------
        row
            The fields of the spine as Python values, times in microseconds.
        at
            Microseconds UTC.
        asked
            The row as columns, for a view that counts the row that is asked for.
        """
        mine = self._mine(row, at)
        return self._known(mine, at, self._lookup(store, mine, at, asked))

    def each(
        self,
        store: OnlineStore,
        rows: Sequence[Mapping[str, Any]],
        at: Sequence[int],
        asked: Sequence[Frame | None],
    ) -> list[Known]:
        """Return the features of each of a few rows, all from one snapshot."""
        mine = list(map(self._mine, rows, at))
        return list(map(self._known, mine, at, self._lookup.each(store, mine, at, asked)))

    def _mine(self, row: Mapping[str, Any], at: int) -> dict[str, Any]:
        """Return what expressions read of a row."""
        mine = {**row, AS_OF: at}
        if self._added:
            mine.update(zip(self._added, self._derive(mine), strict=True))
        return mine

    def _known(self, mine: Mapping[str, Any], at: int, found: Sequence[Found]) -> Known:
        values, newest = zip(*found) if found else ((), ())  # noqa: B905 - each is a pair
        features: Sequence[Any] = self._row(mine, *values)
        if self._decimals:
            features = self._shown(features)
        known: Known = _new(Known, (at, self._columns, features, self._views, newest))
        return known

    def _shown(self, row: Sequence[Any]) -> Sequence[Any]:
        """Return the features with decimals as Decimal."""
        found = list(row)
        for place, places in self._decimals:
            found[place] = None if found[place] is None else decimal_of(found[place], places)
        return found


def added(source: Source) -> dict[str, Expr]:
    """Return the columns a derived source adds, each after those it may read."""
    if not isinstance(source, Derived):
        return {}
    return added(source.source) | dict(source.computed)


def vector(known: Known, categories: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Return what `encode` returns for the features as columns: shape (1, n_columns) float64."""
    return np.array(
        [
            [
                _number(value, categories.get(name, ()))
                for name, value in zip(known.names, known.row, strict=True)
            ]
        ],
        dtype=np.float64,
    )


def _number(value: Any, categories: Sequence[str]) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, str):
        return float(categories.index(value)) if value in categories else float("nan")
    return float(value)
