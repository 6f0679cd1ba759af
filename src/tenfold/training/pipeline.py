"""The steps of a training, each a function of fixed tables and of the results before it, in memory or on the journal."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from tenfold.core.times import UNITS
from tenfold.training.calibrate import Calibration, calibrated, fit_calibration
from tenfold.training.dataset import Dataset
from tenfold.training.estimators import learn, unfitted
from tenfold.training.evaluate import Champion, evaluation
from tenfold.training.explain import explanation
from tenfold.training.folds import Split
from tenfold.training.material import Material, count, take
from tenfold.training.model import Model
from tenfold.training.package import Manifest, Package, golden, libraries, restored, stored
from tenfold.training.parts import Files, Parts
from tenfold.training.predictor import Predictor
from tenfold.training.profile import counts, profile, thresholds

WEEK = UNITS["w"]
Results = Mapping[str, Any]
Step = tuple[str, Callable[[Results], Any]]
"""A name and a function from the results so far, as JSON gives them back, to a JSON value."""

_FILE = "result.json"


class Training:
    """One training over fixed tables.

    A step returns names and numbers; what is larger it leaves in `parts`. Nothing else is carried from step to step,
    so a process that takes over after a crash computes what it needs again from the tables, to the same bits, or
    reads it from the parts.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        split: Split,
        *,
        parts: Parts | None = None,
        champion: Champion | None = None,
    ) -> None:
        self.model, self.split, self.champion = model, split, champion
        self.material = Material(model, dataset, split)
        self.parts = Parts() if parts is None else parts

    # the steps, in order -----------------------------------------------------------------------------

    def periods(self, _: Results) -> Any:
        """Cut the rows by time; return each period and how many rows it has."""
        plan, material = self.material.plan, self.material
        folds = [
            {"train": list(fold.train), "test": list(fold.test), "rows": [count(a), count(b)]}
            for fold, (a, b) in zip(plan.folds, self.folds, strict=True)
        ]
        return {
            "fit": [*plan.fit, count(material.fit())],
            "calibrate": None if plan.calibrate is None else list(plan.calibrate),
            "test": [*plan.test, count(material.test())],
            "folds": folds,
        }

    def fit(self, results: Results) -> Any:
        """Learn from the training period; the fitted model is a part."""
        self.parts.make("fit", lambda: stored(self._learned(results)))
        return {"rows": count(self.material.fit())}

    def calibrate(self, _: Results) -> Any:
        """Fit the correction of the scores on the rows held out for it; null when none is declared."""
        if self.model.calibrate is None:
            return None
        self.parts.make("calibrate", lambda: _packed(self._calibration()))
        return {"method": self.model.calibrate}

    def evaluate(self, _: Results) -> Any:
        """Measure the version on the test period; return its metrics, the whole evaluation is a part."""
        self.parts.make("evaluate", lambda: _packed(self._evaluation()))
        return {"metrics": self.metrics}

    def explain(self, _: Results) -> Any:
        """Say what the version goes by, and what live features are compared with."""
        self.parts.make("explain", lambda: _packed(self._explanation()))
        return {"warnings": len(_unpacked(self.parts.get("explain"))["evaluation"]["warnings"])}

    # what they leave ---------------------------------------------------------------------------------

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics on the test period; None for what cannot be computed."""
        found = _unpacked(self.parts.get("evaluate"))["metrics"]
        return {name: item["value"] for name, item in found.items()}

    @cached_property
    def predictor(self) -> Predictor:
        """What predicts, without calibration."""
        return restored(self.parts.get("fit"))

    @property
    def calibration(self) -> dict[str, Any] | None:
        """The correction of its scores as plain numbers."""
        return None if self.model.calibrate is None else _unpacked(self.parts.get("calibrate"))

    @cached_property
    def raw(self) -> np.ndarray:
        """The predictions for the test period before calibration."""
        return self.predictor.predict(self.material.X[self.material.test()])

    def package(self) -> Package:
        """Return the version with its manifest; every step must have been executed."""
        model, material = self.model, self.material
        predictor = calibrated(self.predictor, self.calibration)
        explained = _unpacked(self.parts.get("explain"))
        evaluated = _unpacked(self.parts.get("evaluate"))
        X_test = material.X[material.test()]
        rows, scores = golden(X_test, calibrated_scores(self))
        manifest = Manifest(
            model=model.name,
            declaration=model.fingerprint,
            columns=dict(model.columns),
            categories=material.categories,
            views={view.name: view.fingerprint for view in model.views},
            threshold=model.threshold,
            metrics=self.metrics,
            reference=explained["reference"],
            limits=explained["limits"],
            importance=explained["evaluation"]["importance"],
            tables=dict(material.rows.tables),
            training_set=material.learned.digest,
            rows=count(material.fit()),
            period=self.split.train,
            libraries=libraries(["lightgbm", "numpy"]),
            golden_rows=rows,
            golden_scores=scores,
            evaluation={**evaluated, **explained["evaluation"]},
            calibration=self.calibration,
        )
        return Package(predictor, manifest)

    # how ---------------------------------------------------------------------------------------------

    @cached_property
    def folds(self) -> list[tuple[Any, Any]]:
        """The rows of each fold: learned from, tested on."""
        within = self.material.within
        return [(within(fold.train, [fold.test]), within(fold.test)) for fold in self.material.plan.folds]

    def _learned(self, results: Results) -> Predictor:
        material, picked = self.material, self.material.fit()
        rows = take(material.rows, picked)
        return learn(self.model, rows, material.categories, self.estimator(results), X=material.X[picked])

    def estimator(self, results: Results) -> Any:
        """Return an unfitted copy of the estimator with the best parameters found."""
        return unfitted(self.model.estimator)

    def _calibration(self) -> Calibration:
        material = self.material
        assert material.plan.calibrate is not None and self.model.calibrate is not None  # noqa: S101, PT018
        held = material.within(material.plan.calibrate, [material.plan.test])
        scores = self.predictor.predict(material.X[held])
        return fit_calibration(self.model.calibrate, scores, material.y[held])

    def _evaluation(self) -> dict[str, Any]:
        return evaluation(self.model, self.material, self.raw, self.calibration, self.champion)

    def _explanation(self) -> dict[str, Any]:
        material = self.material
        fitted = material.X[material.fit()]
        names = [name for name, kind in self.model.columns.items() if kind == "str"]
        reference = profile(fitted, list(self.model.columns), categorical=names)
        weeks = material.rows.at[material.fit()] // WEEK
        chunks = [counts(reference, fitted[weeks == week]) for week in np.unique(weeks)[1:-1]]
        return {
            "reference": reference.to_dict(),
            "limits": thresholds(reference, chunks),
            "evaluation": explanation(self.model, material, self.predictor),
        }


def calibrated_scores(training: Training) -> np.ndarray:
    """Return the predictions for the test period as they will be served."""
    found = calibrated(training.predictor, training.calibration)
    return (
        training.raw
        if training.calibration is None
        else found.predict(training.material.X[training.material.test()])
    )


def pipeline_steps(training: Callable[[Results], Training]) -> list[Step]:
    """Return the steps from split to explain; `training` gives the one under way for the results so far."""

    def step(name: str, method: str) -> Step:
        return name, lambda results: getattr(training(results), method)(results)

    return [
        step("split", "periods"),
        step("fit", "fit"),
        step("calibrate", "calibrate"),
        step("evaluate", "evaluate"),
        step("explain", "explain"),
    ]


def execute(steps: Sequence[Step]) -> dict[str, Any]:
    """Execute steps in memory, with results as the journal would give them back."""
    results: dict[str, Any] = {}
    for name, step in steps:
        results[name] = msgspec.json.decode(msgspec.json.encode(step(results)))
    return results


def _packed(document: Any) -> Files:
    return {_FILE: msgspec.json.encode(document)}


def _unpacked(files: Files) -> Any:
    return msgspec.json.decode(files[_FILE])
