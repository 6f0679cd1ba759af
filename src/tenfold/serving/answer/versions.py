"""The versions of a model in memory: loaded once, checked, and kept, so that a rollback loads nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tenfold.core.errors import NotFound
from tenfold.registry.versions import Registry
from tenfold.serving.answer.predictions import Predictions
from tenfold.sources.base import Blobs
from tenfold.training.fits import Places, places
from tenfold.training.kept import kept, kind
from tenfold.training.kinds import Kind
from tenfold.training.model import Model
from tenfold.training.package import Package

MOST = 16
"""Versions of a model that are kept besides the one in Production: a server that is trained for daily sees hundreds."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version in memory, and where its features are among those declared now."""

    number: int
    package: Package
    places: Places = None

    def own(self, X: np.ndarray) -> np.ndarray:
        """Return of a matrix of all features declared now those that the version takes, in its order."""
        return X if self.places is None else np.take(X, self.places, axis=1)


class Versions:
    """The Production version of a model, loaded once and switched when the registry says so."""

    def __init__(self, registry: Registry, blobs: Blobs) -> None:
        self._registry, self._blobs = registry, blobs
        self._loaded: dict[tuple[str, int], Package] = {}
        self._fitting: dict[tuple[str, int], tuple[Model, Loaded]] = {}
        self._kinds: dict[tuple[str, int], Kind | None] = {}

    def production(self, model: Model) -> Loaded:
        """Return the version in Production.

        Raises
        ------
        NotFound
            When there is none yet.
        SchemaError
            When a feature that it was trained on is not declared any more, or on another definition.
        """
        number = self.number(model)
        if number is None:
            raise NotFound("version in production of model", model.name, [], hint=_how_to_promote(model.name))
        return self.get(model, number)

    def number(self, model: Model) -> int | None:
        """Return the number of the version in Production, None when there is none."""
        version = self._registry.production(model.name)
        return None if version is None else version.number

    def get(self, model: Model, number: int) -> Loaded:
        """Return a version by number; SchemaError when it was trained on features that are not declared now."""
        known = self._fitting.get((model.name, number))
        if known is None or known[0] is not model:
            package = self.package(model, number)
            where = places(model, package.manifest, number)
            known = self._fitting[model.name, number] = model, Loaded(number, package, where)
            self._let_go(model)
        return known[1]

    def package(self, model: Model, number: int) -> Package:
        """Return the files of a version, whatever it was trained on."""
        key = (model.name, number)
        found = self._loaded.get(key)
        if found is None:
            version = self._registry.get(model.name, number)
            found = self._loaded[key] = kept(self._blobs, version, model)
            self._let_go(model)
        return found

    def of_kind(self, model: Model, parts: Iterable[Predictions]) -> Iterator[Predictions]:
        """Yield answers without those of versions that predicted something else than is declared now: no outcome says how good they were."""
        for part in parts:
            numbers = np.unique(part.version).tolist()
            fine = [number for number in numbers if self._kind(model, number) in (None, model.kind)]
            same = len(fine) == len(numbers)
            yield part if same else part.take(np.flatnonzero(np.isin(part.version, fine)))

    def _kind(self, model: Model, number: int) -> Kind | None:
        """Return what a version predicts, None where that is not known."""
        key = model.name, number
        if key not in self._kinds:
            try:
                self._kinds[key] = kind(self._blobs, self._registry.get(*key))
            except NotFound:  # an answer of no version, such as a fallback
                return None
        return self._kinds[key]

    def _let_go(self, model: Model) -> None:
        """Keep the versions of a model that were loaded last, and the one in Production."""
        production = model.name, self.number(model)
        for held in (self._loaded, self._fitting):
            others = [key for key in list(held) if key[0] == model.name and key != production]
            for key in others[:-MOST]:
                held.pop(key, None)


def _how_to_promote(model: str) -> str:
    return f" Train one and promote it: tenfold train PROJECT.py, then tenfold promote PROJECT.py {model} 1."
