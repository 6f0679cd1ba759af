"""What a model reads and computes for many rows at once: as columns, and as the matrix that an estimator takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tenfold.core.decimals import PLACES, units_of
from tenfold.core.expr import AS_OF
from tenfold.features.state.blocks import Columns
from tenfold.processing.evaluate import Made, evaluate
from tenfold.processing.frame import Column, Frame, column
from tenfold.serving.rows.plan import Known, vector
from tenfold.store.base import OnlineStore
from tenfold.store.many import LookupMany
from tenfold.training.model import Model
from tenfold.training.vector import Categories, encode

FEW = 64
"""Up to so many rows one after the other is faster."""
_AS_THEY_ARE = ("int", "float", "bool", "time")
"""Types whose values are the numbers that an estimator gets."""


class _Target(NamedTuple):
    """Features that lie in one block, and their places in the model's order."""

    view: int
    block: int
    rows: Any
    places: Any


@dataclass(frozen=True, slots=True)
class KnownMany:
    """The features of rows, each as of its moment.

    Attributes
    ----------
    at : (n,) int64
        The moment of each row in microseconds UTC.
    ages : (n, n_views) float64
        Per view how many microseconds old its newest record is, NaN where nothing is known of a key.
    """

    at: np.ndarray
    ages: np.ndarray
    _plan: "ManyPlan"
    _stored: Sequence[Columns]
    _computed: Frame

    def columns(self) -> dict[str, Column]:
        """Return the features by name, in the model's order."""
        return {name: self._column(name, *where) for name, where in self._plan.names.items()}

    def matrix(self, categories: Categories) -> np.ndarray:
        """Return what `encode` returns for the features: shape (n_rows, n_columns) float64."""
        plan = self._plan
        out = np.empty((len(plan.names), len(self.at)), dtype=np.float64)
        for view, which, rows, places in plan.targets:
            block = self._stored[view].blocks[which]
            values, valid = block.values[rows], block.valid[rows]
            out[places] = values if valid.all() else np.where(valid, values, np.nan)
        for name, place in plan.single.items():
            item = self._column(name, *plan.names[name])
            text = item.type == "str"
            out[place] = encode({name: item}, categories)[:, 0] if text else item.numbers()
        return np.ascontiguousarray(out.T)

    def _column(self, name: str, view: int, feature: str) -> Column:
        return self._computed[name] if view < 0 else self._stored[view][feature]


@dataclass(frozen=True, slots=True)
class KnownRows:
    """The same of few rows, which are read one after the other."""

    at: np.ndarray
    ages: np.ndarray
    _types: Mapping[str, str]
    rows: Sequence[Known]

    def columns(self) -> dict[str, Column]:
        """Return the features by name, in the model's order."""
        return {
            name: column(kind, [_units(known.row[place], kind) for known in self.rows])
            for place, (name, kind) in enumerate(self._types.items())
        }

    def matrix(self, categories: Categories) -> np.ndarray:
        """Return what `encode` returns for the features: shape (n_rows, n_columns) float64."""
        if "str" in self._types.values():
            rows = [vector(known, categories) for known in self.rows]
            return np.concatenate(rows) if rows else np.zeros((0, len(self._types)))
        values = np.array([known.row for known in self.rows], dtype=np.float64)  # None is NaN there
        return values.reshape(len(self.rows), len(self._types))


def _units(value: Any, kind: str) -> Any:
    """Return a value as columns hold it: a decimal as its units."""
    return value if value is None or kind not in PLACES else units_of(value, PLACES[kind])


def of_rows(model: Model, rows: Sequence[Known], at: np.ndarray) -> KnownRows:
    """Return the features of rows that were read one after the other, each as of its moment: (n,) int64."""
    newest = np.array([known.newest for known in rows], dtype=np.float64)
    ages = at[:, None] - newest.reshape(len(rows), len(model.stored))
    return KnownRows(at, ages, model.columns, rows)


class ManyPlan:
    """Computes the features of many rows of a model: one snapshot of the store, and every step over all rows.

    The values are those of `ServingPlan` and of `assemble`, bit by bit.

    Attributes
    ----------
    names
        The features in the model's order: the place of the view, -1 for a computed one, and the name there.
    targets, single
        What goes into the matrix block by block, and what column by column.
    """

    def __init__(self, model: Model) -> None:
        self._lookup = LookupMany(model.stored)
        self._computed = model.computed
        stored = {
            f"{view.name}.{name}": (at, name)
            for at, view in enumerate(model.stored)
            for name in view.features
        }
        self.names = {name: stored.get(name, (-1, name)) for name in model.columns}
        used = set().union(*(expr.columns() for expr in model.computed.values()))
        self._read = [(name, *where) for name, where in stored.items() if name in used]
        self._order(model)

    def _order(self, model: Model) -> None:
        """Work out which features go into the matrix together: those of one block that are numbers."""
        self.single: dict[str, int] = {}
        found: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        for place, (name, (view, feature)) in enumerate(self.names.items()):
            if view < 0 or model.columns[name] not in _AS_THEY_ARE:
                self.single[name] = place
                continue
            which, row = self._lookup.places[view][feature]
            rows, places = found.setdefault((view, which), ([], []))
            rows.append(row)
            places.append(place)
        self.targets = [
            _Target(*where, _evenly(rows), _evenly(places)) for where, (rows, places) in found.items()
        ]

    def __call__(
        self, store: OnlineStore, rows: Frame, at: np.ndarray, asked: Frame | None = None
    ) -> KnownMany:
        """Return the features of rows.

        Parameters
        ----------
        rows
            The fields of the spine and what it derives, n rows.
        at : (n,) int64
            The moment of each row in microseconds UTC.
        asked
            The rows as columns of the source, for views that count the row that is asked for.
        """
        found = self._lookup(store, rows, at, asked)
        frame = {**rows, AS_OF: Column("time", at, np.ones(len(at), dtype=np.bool_))}
        for name, which, short in self._read:
            frame[name] = found[which].features[short]
        made: Made = {}
        for name, expr in self._computed.items():
            frame[name] = evaluate(expr, frame, len(at), made)
        ages = np.full((len(at), len(found)), np.nan)
        for place, one in enumerate(found):
            np.copyto(ages[:, place], at - one.newest, where=one.newest != 0)
        computed = {name: frame[name] for name in self._computed}
        return KnownMany(at, ages, self, [one.features for one in found], computed)


def _evenly(places: list[int]) -> list[int] | slice:
    """Return places as a slice where they are as far from each other: numpy copies less then."""
    steps = {two - one for one, two in pairwise(places)} or {1}
    step = steps.pop()
    return places if steps or step < 1 else slice(places[0], places[-1] + 1, step)
