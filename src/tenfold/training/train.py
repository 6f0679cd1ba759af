"""A recorded training: run, version and artefact, reproducible from the table versions the run names."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import SchemaError
from tenfold.core.times import iso
from tenfold.registry.versions import Registry, Version
from tenfold.sources.base import Blobs, Lake
from tenfold.store.offline import History
from tenfold.tracking.runs import Run, Runs
from tenfold.training.dataset import Dataset
from tenfold.training.fit import Split, fit
from tenfold.training.model import Model


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains models and leaves a trace: a run with parameters, data and code versions, a blob, a registered version."""

    runs: Runs
    registry: Registry
    blobs: Blobs
    code: Mapping[str, str]

    def start(self, model: Model, dataset: Dataset, split: Split) -> Run:
        """Record that a training begins, with all that is needed to repeat it."""
        estimator = model.estimator
        settings = estimator.get_params() if hasattr(estimator, "get_params") else {}
        params = {
            "estimator": type(estimator).__name__,
            **{name: value for name, value in settings.items() if isinstance(value, (bool, int, float, str))},
            "train": list(split.train),
            "test": list(split.test),
            "now": split.now,
            "period": split.text,
        }
        for source in {
            view.source.root.name: view.source.root for view in (*model.stored, model.label.view)
        }.values():
            dataset.history.frame(source)  # so that the run names the version of every table it reads
        return self.runs.start(
            "train",
            model.name,
            params=params,
            data=dict(dataset.history.versions),
            code={"declaration": model.fingerprint, **self.code},
        )

    def finish(self, model: Model, dataset: Dataset, split: Split, run_id: str) -> Version:
        """Fit on the tables the run names, store and register; repeating it after a crash changes nothing finished."""
        run = self.runs.get(run_id)
        if run.status == "done":
            return next(version for version in self.registry.versions(model.name) if version.run_id == run_id)
        if dataset.history.versions != run.data:  # the tables moved on after the run was started
            dataset = Dataset(model, dataset.history.at(run.data))
        package = fit(model, dataset, split)
        name = f"{model.name}/{run_id}"
        digest = self.blobs.put(name, package.files())
        info = {
            "metrics": package.manifest.metrics,
            "rows": package.manifest.rows,
            "period": split.text,
            "training_set": package.manifest.training_set,
        }
        version = self.registry.register(model.name, run_id=run_id, digest=digest, artefact=name, info=info)
        known = {
            name: math.nan if value is None else value for name, value in package.manifest.metrics.items()
        }
        self.runs.finish(run_id, metrics=known, artefact=name)
        return version

    def train(self, model: Model, dataset: Dataset, split: Split) -> Version:
        """Start and finish; a training that fails is recorded as failed."""
        run = self.start(model, dataset, split)
        try:
            return self.finish(model, dataset, split, run.id)
        except Exception as error:
            self.runs.fail(run.id, f"{type(error).__name__}: {error}")
            raise

    def rebuild(self, model: Model, lake: Lake, run_id: str) -> bool:
        """Train again from the table versions a run names and return whether the files are the same, byte for byte.

        Raises
        ------
        SchemaError
            When the declaration is not the one the run was made with.
        """
        run = self.runs.get(run_id)
        if run.code.get("declaration") != model.fingerprint:
            raise SchemaError(
                f'run {run_id} of {iso(run.started)} was made with another declaration of model "{model.name}" '
                f"({run.code.get('declaration')}, now {model.fingerprint}). Check out the code it was made with."
            )
        dataset = Dataset(model, History(lake, run.data))
        params: dict[str, Any] = run.params
        split = Split(tuple(params["train"]), tuple(params["test"]), params["now"])
        return fit(model, dataset, split).files() == self.blobs.get(f"{model.name}/{run_id}")
