"""Answers one row at a time: state of the row's keys, the kernel, the Production version, the prediction log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.errors import NotFound, SchemaError, Unavailable
from tenfold.core.times import iso
from tenfold.processing.conform import Misfit, convert
from tenfold.processing.frame import Column, column
from tenfold.registry.versions import Registry
from tenfold.serving.predictions import ONLINE, PredictionLog, Predictions, as_dict
from tenfold.sources.base import Blobs, Log
from tenfold.sources.declare import Field
from tenfold.store.base import OnlineStore
from tenfold.store.online import group_name, lookup
from tenfold.training.model import Model
from tenfold.training.package import Package, load
from tenfold.training.vector import assemble, encode

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version in memory."""

    number: int
    package: Package


class Versions:
    """The Production version of a model, loaded once and switched when the registry says so."""

    def __init__(self, registry: Registry, blobs: Blobs) -> None:
        self._registry, self._blobs = registry, blobs
        self._loaded: dict[tuple[str, int], Package] = {}

    def production(self, model: Model) -> Loaded:
        """Return the version in Production.

        Raises
        ------
        NotFound
            When there is none yet.
        SchemaError
            When it was trained on another declaration of the features than the one running.
        """
        version = self._registry.production(model.name)
        if version is None:
            raise NotFound("version in production of model", model.name, [])
        return self.get(model, version.number)

    def get(self, model: Model, number: int) -> Loaded:
        """Return a version by number."""
        key = (model.name, number)
        if key not in self._loaded:
            version = self._registry.get(model.name, number)
            package = load(self._blobs.get(version.artefact))
            _check_columns(model, package, number)
            self._loaded[key] = package
        return Loaded(number, self._loaded[key])


def _check_columns(model: Model, package: Package, number: int) -> None:
    trained, declared = package.manifest.columns, dict(model.columns)
    if list(trained.items()) != list(declared.items()):
        missing, extra = sorted(set(trained) - set(declared)), sorted(set(declared) - set(trained))
        raise SchemaError(
            f"{model.name} version {number} was trained on other features than are declared now: "
            f"missing {missing or 'none'}, new {extra or 'none'}. Train again, or run the declaration it was trained with."
        )


class Service:
    """Predicts rows of one model online.

    A feature is read from state that holds every record acknowledged before the request: the service waits for the
    worker to reach the end of the log as it was when the request came.
    """

    def __init__(
        self,
        model: Model,
        *,
        store: OnlineStore,
        log: Log,
        versions: Versions,
        predictions: PredictionLog,
        clock: Clock,
    ) -> None:
        self.model = model
        self._store, self._log, self._versions = store, log, versions
        self._predictions, self._clock = predictions, clock
        self._topics = {group_name(view): view.source.root.name for view in model.stored}

    def behind(self) -> dict[str, int]:
        """Return the offsets the states must reach so that a request now sees all that is acknowledged."""
        ends = self._log.ends()
        return {group: ends.get(topic, 0) for group, topic in self._topics.items()}

    def reached(self, wanted: Mapping[str, int]) -> bool:
        """Return whether the states hold the log up to the given offsets."""
        offsets = self._store.offsets()
        return all(offsets.get(group, 0) >= end for group, end in wanted.items())

    def wait(self, seconds: float) -> None:
        """Wait until the states hold everything acknowledged by now.

        Raises
        ------
        Unavailable
            When the worker does not get there in time.
        """
        wanted = self.behind()
        deadline = self._clock.elapsed() + int(seconds * 1e6)
        while not self.reached(wanted):
            if self._clock.elapsed() > deadline:
                raise Unavailable(too_late(seconds))
            self._clock.sleep(0.001)

    def version(self) -> int:
        """Return the number of the version in Production."""
        return self._versions.production(self.model).number

    def predict(self, row: Any, *, key: str | None = None) -> dict[str, Any]:
        """Return the answer for one row of the spine as of now, logged durably; the same key again gives the same answer.

        Raises
        ------
        SchemaError
            When the row does not fit the spine; says which field and why.
        """
        at = self._clock.now()
        values = self._checked(row)
        spine = self.model.spine.root
        row_id = "|".join(str(values[name]) for name in spine.ids)
        prediction_id = key or f"{self.model.name}/{row_id}/{at}"
        stored = self._predictions.find(prediction_id, self.model.name, ONLINE)
        version = self._versions.production(self.model)
        if stored is None:
            answer = self._answer(values, at, version, row_id, prediction_id)
            stored = self._predictions.write(answer, key=prediction_id)
        names = [view.name for view in self.model.stored]
        return as_dict(stored, 0, version.package.manifest.threshold, names)

    def _checked(self, row: Any) -> dict[str, Any]:
        try:
            return convert(self.model.spine.root.fields, row)
        except Misfit as misfit:
            raise SchemaError(
                f'the row does not fit source "{self.model.spine.root.name}": {misfit}'
            ) from misfit

    def _answer(
        self, values: Mapping[str, Any], at: int, version: Loaded, row_id: str, prediction_id: str
    ) -> Predictions:
        found = lookup(self._store, self.model.stored, values, at)
        fields = self.model.spine.root.fields
        frame: dict[str, Column] = {
            name: column(fields[name].type, [value]) for name, value in values.items()
        }
        columns = assemble(self.model, frame, found.features, np.array([at], dtype=np.int64))
        manifest = version.package.manifest
        X = encode(columns, manifest.categories)
        score = version.package.predictor.predict(X)
        ages = [np.nan if age is None else float(age) for age in found.ages.values()]
        return Predictions(
            self.model.name,
            ONLINE,
            [prediction_id],
            [row_id],
            [str(values[self.model.label.on])],
            np.array([version.number], dtype=np.int64),
            np.array([at], dtype=np.int64),
            score,
            score >= manifest.threshold,
            X,
            np.array([ages], dtype=np.float64),
            [_request(fields, values)],
        )


def _request(fields: Mapping[str, Field], values: Mapping[str, Any]) -> str:
    """Return the row as JSON that reads back to the same values."""
    times = {
        name: iso(values[name])
        for name, item in fields.items()
        if item.type == "time" and values[name] is not None
    }
    return _encode({**values, **times}).decode()


def too_late(seconds: float) -> str:
    """Return what to say when the worker lags behind the log."""
    return (
        f"the worker did not reach the newest acknowledged event within {seconds:g} s, so no exact answer can be given. "
        "Nothing was stored; it is safe to retry. Is a worker running? See: tenfold status"
    )
