"""What a model reads and computes for many rows at once: as columns, and as the matrix that an estimator takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.features.state.blocks import Columns
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, Frame
from tenfold.store.base import OnlineStore
from tenfold.store.many import LookupMany
from tenfold.training.model import Model
from tenfold.training.vector import Categories, encode


@dataclass(frozen=True, slots=True)
class KnownMany:
    """The features of rows, each as of its moment.

    Attributes
    ----------
    at : (n,) int64
        The moment of each row in microseconds UTC.
    names
        The features in the model's order, each with the place of its view in `stored`, -1 when it is in `computed`.
    ages : (n, n_views) float64
        Per view how many microseconds old its newest record is, NaN where nothing is known of a key.
    """

    at: np.ndarray
    names: Mapping[str, int]
    ages: np.ndarray
    stored: Sequence[Columns]
    computed: Frame

    def columns(self) -> dict[str, Column]:
        """Return the features by name."""
        return {
            name: self.computed[name] if which < 0 else self.stored[which][_short(name)]
            for name, which in self.names.items()
        }

    def matrix(self, categories: Categories) -> np.ndarray:
        """Return what `encode` returns for the features: shape (n_rows, n_columns) float64."""
        out = np.empty((len(self.names), len(self.at)), dtype=np.float64)
        wanted: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        for place, (name, which) in enumerate(self.names.items()):
            if which < 0:
                out[place] = encode({name: self.computed[name]}, categories)[:, 0]
                continue
            block, row = self.stored[which].places[_short(name)]
            if self.stored[which].blocks[block].type == "str":
                out[place] = encode({name: self.stored[which][_short(name)]}, categories)[:, 0]
                continue
            rows, places = wanted.setdefault((which, block), ([], []))
            rows.append(row)
            places.append(place)
        for (which, block), (rows, places) in wanted.items():
            found = self.stored[which].blocks[block]
            out[places] = found.values[rows]
            if not found.valid.all():
                out[places] = np.where(found.valid[rows], out[places], np.nan)
        return np.ascontiguousarray(out.T)


def _short(name: str) -> str:
    """Return the name of a feature within its view."""
    return name.partition(".")[2]


class ManyPlan:
    """Computes the features of many rows of a model: one snapshot of the store, and every step over all rows.

    The values are those of `ServingPlan` and of `assemble`, bit by bit.
    """

    def __init__(self, model: Model) -> None:
        self._lookup = LookupMany(model.stored)
        self._computed = model.computed
        views = {f"{view.name}.{name}": at for at, view in enumerate(model.stored) for name in view.features}
        self._names = {name: views.get(name, -1) for name in model.columns}
        used = set().union(*(expr.columns() for expr in model.computed.values()))
        self._read = [(name, which, _short(name)) for name, which in views.items() if name in used]

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
        for name, expr in self._computed.items():
            frame[name] = evaluate(expr, frame, len(at))
        ages = np.full((len(at), len(found)), np.nan)
        for place, one in enumerate(found):
            np.copyto(ages[:, place], at - one.newest, where=one.newest != 0)
        computed = {name: frame[name] for name in self._computed}
        return KnownMany(at, self._names, ages, [one.features for one in found], computed)
