"""A recorded training: run, version and artefact, reproducible from the table versions the run names."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.errors import Conflict, SchemaError
from tenfold.core.times import iso
from tenfold.registry.versions import Registry, Version
from tenfold.sources.base import Blobs, Lake
from tenfold.store.offline import History
from tenfold.tracking.runs import Run, Runs
from tenfold.training.dataset import Dataset
from tenfold.training.definitions import label_text
from tenfold.training.evaluate import Champion
from tenfold.training.fit import fit
from tenfold.training.fits import places
from tenfold.training.folds import Split
from tenfold.training.kept import kept
from tenfold.training.model import Model
from tenfold.training.package import Package
from tenfold.training.parts import Parts
from tenfold.training.pipeline import Results, Step, Training, execute, pipeline_steps
from tenfold.training.tracked import plain
from tenfold.training.watch import Unwatched, Watch


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains models and leaves a trace: a run with parameters, data and code versions, a blob, a registered version."""

    runs: Runs
    registry: Registry
    blobs: Blobs
    read_code: Callable[[], Mapping[str, str]]

    @property
    def code(self) -> Mapping[str, str]:
        """Which code trains; waits until it is read."""
        return self.read_code()

    def steps(
        self,
        model: Model,
        dataset: Callable[[], Dataset],
        cause: str,
        *,
        watch: Watch | None = None,
        processes: int | None = None,
    ) -> list[Step]:
        """Return the durable steps of one training, from load to register.

        They read the split from `results["input"]`: "train", "test" and "now". Each may be executed again after a crash;
        the last gives the number of the version.

        Parameters
        ----------
        dataset
            Gives the rows over the newest tables; a training that was begun goes on with those it began with.
        cause
            Tells this training from every other one: the id of its durable run.
        watch
            Told of each step as it begins, with the trials and folds of a search.
        processes
            How many fit the trials of a search; one per core unless given. The result does not depend on it.
        """
        return _Steps(self, model, dataset, cause, watch or Unwatched(), processes).all()

    def train(self, model: Model, dataset: Dataset, split: Split) -> Version:
        """Execute all steps in this process, without a journal; a training that fails is recorded as failed."""
        given = {"train": list(split.train), "test": list(split.test), "now": split.now}
        results = execute([("input", lambda _: given), *self.steps(model, lambda: dataset, "")])
        return self.registry.get(model.name, results["register"])

    def again(self, model: Model, lake: Lake, run_id: str) -> Package:
        """Train again from the table versions a run names; nothing is stored.

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
        return fit(model, dataset, split, champion=self.champion(model, params.get("champion")))

    def champion(self, model: Model, number: int | None) -> Champion | None:
        """Return a version to compare with, None when it cannot score the features that the model has now."""
        if number is None:
            return None
        try:
            package = kept(self.blobs, self.registry.get(model.name, number), model)
            places(model, package.manifest, number)
        except SchemaError:
            return None  # gone, damaged or no longer trusted: it must not keep out its successor
        return Champion(number, package)


@dataclass
class _Steps:
    """The steps of one training as functions of the results so far."""

    trainer: Trainer
    model: Model
    dataset: Callable[[], Dataset]
    cause: str
    watch: Watch
    processes: int | None
    _training: Training | None = field(default=None, init=False)

    def all(self) -> list[Step]:
        steps: Sequence[Step] = [
            *pipeline_steps(self.model, self.training),
            ("save", self.save),
            ("register", self.register),
        ]
        return [("load", self.load), *((name, self.recorded(step)) for name, step in steps)]

    def load(self, results: Results) -> Any:
        """Fix the versions of all tables and begin the run."""
        self.watch.step(f"load {self.model.name}")
        dataset, split = self.dataset(), _split(results)
        for source in {view.source.root.name: view.source.root for view in _views(self.model)}.values():
            dataset.history.frame(source)  # so that the run names the version of every table it reads
        production = self.trainer.registry.production(self.model.name)
        run = self._begun() or self.trainer.runs.start(
            "train",
            self.model.name,
            params={
                **settings_of(self.model),
                "train": list(split.train),
                "test": list(split.test),
                "now": split.now,
                "period": split.text,
                "champion": None if production is None else production.number,
                "journal": self.cause,
            },
            data=dict(dataset.history.versions),
            code={"declaration": self.model.fingerprint, **self.trainer.code},
        )
        return {"run": run.id, "tables": run.data, "champion": run.params["champion"]}

    def _begun(self) -> Run | None:
        """Return the run that this training began before it was interrupted."""
        mine = [
            run
            for run in self.trainer.runs.list(self.model.name, limit=20)
            if self.cause and run.status == "running" and run.params.get("journal") == self.cause
        ]
        return mine[0] if mine else None

    def training(self, results: Results) -> Training:
        """Return the training under way, over the tables it began with."""
        if self._training is None:
            loaded, dataset = results["load"], self.dataset()
            if dataset.history.versions != loaded["tables"]:  # the tables moved on after it began
                dataset = Dataset(self.model, dataset.history.at(loaded["tables"]))
            parts = Parts(self.trainer.blobs, f"parts/{self.model.name}/{loaded['run']}")
            champion = self.trainer.champion(self.model, loaded["champion"])
            self._training = Training(
                self.model,
                dataset,
                _split(results),
                parts=parts,
                champion=champion,
                watch=self.watch,
                processes=self.processes,
            )
        return self._training

    def save(self, results: Results) -> Any:
        """Store the version's files; return their name, their digest and what the registry says of the version."""
        package = self.training(results).package()
        name = f"{self.model.name}/{results['load']['run']}"
        info = {
            "metrics": package.manifest.metrics,
            "rows": package.manifest.rows,
            "period": _split(results).text,
            "training_set": package.manifest.training_set,
        }
        return {"artefact": name, "digest": self.trainer.blobs.put(name, package.files()), "info": info}

    def register(self, results: Results) -> Any:
        """Register the version, close the run, and remove what the steps left for each other; return its number."""
        saved, run_id = results["save"], results["load"]["run"]
        version = self.trainer.registry.register(
            self.model.name,
            run_id=run_id,
            digest=saved["digest"],
            artefact=saved["artefact"],
            info=saved["info"],
        )
        if self.trainer.runs.get(run_id).status == "running":
            metrics = saved["info"]["metrics"]
            known = {name: math.nan if value is None else value for name, value in metrics.items()}
            self.trainer.runs.finish(run_id, metrics=known, artefact=saved["artefact"])
        Parts(self.trainer.blobs, f"parts/{self.model.name}/{run_id}").clear()
        return version.number

    def recorded(self, step: Callable[[Results], Any]) -> Callable[[Results], Any]:
        """Return a step that closes the run as failed when it raises."""

        def run(results: Results) -> Any:
            done = False
            try:
                found = step(results)
                done = True
            except Conflict:
                raise  # somebody else goes on with it
            except Exception as error:
                self.trainer.runs.fail(results["load"]["run"], f"{type(error).__name__}: {error}")
                raise
            finally:
                if not done and self._training is not None:
                    self._training.close()
            return found

        return run


def _split(results: Results) -> Split:
    given = results["input"]
    return Split(tuple(given["train"]), tuple(given["test"]), given["now"])


def _views(model: Model) -> list[Any]:
    return [*model.stored, model.label.view]


def settings_of(model: Model) -> dict[str, Any]:
    """Return what a run tells of how a model is declared: plain parameters of its estimator, and its pipeline's."""
    given: dict[str, Any] = getattr(model.estimator, "get_params", dict)()
    found = {
        name: plain(value) for name, value in given.items() if isinstance(value, (bool, int, float, str))
    }
    tune = model.tune
    pipeline = {
        "label": label_text(model),
        "lead": model.lead,
        "train_window": model.train_window,
        "test_window": model.test_window,
        "folds": model.folds or None,
        "trials": None if tune is None else tune.trials,
        "trials_seed": None if tune is None else tune.seed,
        "calibrate": model.calibrate,
        "groups": model.groups,
        "threshold": model.threshold,
    }
    told = {name: value for name, value in pipeline.items() if value is not None}
    return {"estimator": type(model.estimator).__name__, **found, **told}
