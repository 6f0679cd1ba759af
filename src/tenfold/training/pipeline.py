"""The steps of a training, each a function of fixed tables and of the results before it, in memory or on the journal."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from tenfold.core.errors import DefinitionError, TenfoldError
from tenfold.core.times import UNITS
from tenfold.training.calibrate import Calibration, calibrated, fit_calibration
from tenfold.training.dataset import Dataset
from tenfold.training.definitions import definitions, label_text
from tenfold.training.estimators import Fitted, learn, unfitted, wide
from tenfold.training.evaluate import Champion, evaluation
from tenfold.training.explain import explanation
from tenfold.training.folds import Fold, Split
from tenfold.training.material import Material, Rows, count, labels_of, spaced
from tenfold.training.model import Model
from tenfold.training.package import (
    GOLDEN_ROWS,
    Manifest,
    Package,
    check_alone,
    golden,
    libraries,
    restored,
    stored,
)
from tenfold.training.parts import Files, Parts
from tenfold.training.pool import Judges, judges
from tenfold.training.predictor import Predictor
from tenfold.training.profile import counts, profile, thresholds
from tenfold.training.trials import Subject, with_params
from tenfold.training.tune import ROUND, Trial, best_of, best_or_none, play_round, rounds
from tenfold.training.watch import Unwatched, Watch

WEEK = UNITS["w"]
Results = Mapping[str, Any]
Step = tuple[str, Callable[[Results], Any]]
"""A name and a function from the results so far, as JSON gives them back, to a JSON value."""

_FILE = "result.json"
TUNE = "tune"
"""The rounds of a search are the steps "tune 1", "tune 2", ..."""
FOLDS = "folds"


class Training:
    """One training over fixed tables.

    A step returns names and numbers; what is larger it leaves in `parts`. Nothing else is carried from step to step,
    so a process that takes over after a crash computes what it needs again from the tables, to the same bits, or
    reads it from the parts. `elsewhere` says that what the step "fit" gives was trained by others.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        split: Split,
        *,
        parts: Parts | None = None,
        champion: Champion | None = None,
        watch: Watch | None = None,
        processes: int | None = None,
        categories: Mapping[str, Sequence[str]] | None = None,
        classes: Sequence[str | int] = (),
        elsewhere: bool = False,
    ) -> None:
        self.model, self.split, self.champion = model, split, champion
        others = [] if champion is None else champion.package.manifest.classes
        self.material = Material(model, dataset, split, categories, [*classes, *others])
        self.parts = Parts() if parts is None else parts
        self.watch = watch or Unwatched()
        self._processes = processes or len(os.sched_getaffinity(0))
        self._judges: Judges | None = None
        self._elsewhere = elsewhere

    def close(self) -> None:
        """End the processes that judge settings, if there are any; may be called twice."""
        if self._judges is not None:
            self._judges.close()
            self._judges = None

    # the steps, in order -----------------------------------------------------------------------------

    def periods(self, _: Results) -> Any:
        """Cut the rows by time; return each period and how many rows it has."""
        plan, material = self.material.plan, self.material
        return {
            "fit": [*plan.fit, count(material.fit())],
            "calibrate": None if plan.calibrate is None else list(plan.calibrate),
            "test": [*plan.test, count(material.test())],
            "folds": [[*fold.train, *fold.test] for fold in plan.folds],
        }

    def tune(self, place: int, results: Results) -> Any:
        """Play a round of the search; return its trials."""
        model, tune, metric = self.model, self.model.tune, self.model.metrics[0]
        assert tune is not None  # noqa: S101 - otherwise there are no rounds
        done = trials_of(results)
        best = best_or_none(done, metric)
        said = "" if best is None else f", best {metric} {best['value']:.4f} by trial {best['number']}"
        first, behind = place * ROUND, min((place + 1) * ROUND, tune.trials)
        step = self.watch.step(
            f"tune {model.name}: trials {first} to {behind - 1} of {tune.trials}{said}",
            total=(behind - first) * model.folds,
        )
        return play_round(tune, place, done, metric, model.folds, self.judges, step.advance)

    def test_folds(self, results: Results) -> Any:
        """Test the chosen parameters on every fold; the search has done so for the best of its trials."""
        model = self.model
        step = self.watch.step(f"{FOLDS} {model.name}", total=model.folds)
        if model.tune is not None:
            return best_of(trials_of(results), model.metrics[0])["folds"]
        asked = [self.judges.ask({}, place) for place in range(model.folds)]
        found = []
        for place, future in enumerate(asked, 1):
            self.judges.ready([future])
            one = future.result()
            if one.error is not None:
                raise DefinitionError(f'model "{model.name}" cannot be fitted on a fold: {one.error}.')
            found.append({"metrics": dict(one.metrics), "note": one.note})
            step.advance(1, f"fold {place} of {model.folds}")
        return found

    def fit(self, results: Results) -> Any:
        """Learn from the training period; the fitted model is a part."""
        self.close()
        self.parts.make("fit", lambda: stored(self._learned(results)))
        return {"rows": count(self.material.fit())}

    def calibrate(self, _: Results) -> Any:
        """Fit the correction of the scores on the rows held out for it; it is a part."""
        self.parts.make("calibrate", lambda: _packed(self._calibration()))
        return {"method": self.model.calibrate}

    def evaluate(self, results: Results) -> Any:
        """Measure the version on the test period; return its metrics, the whole evaluation is a part."""
        self.parts.make("evaluate", lambda: _packed(self._evaluation(results)))
        return {"metrics": self.metrics}

    def explain(self, results: Results) -> Any:
        """Say what the version goes by, and what live features are compared with."""
        self.parts.make("explain", lambda: _packed(self._explanation(results)))
        return {"warnings": len(_unpacked(self.parts.get("explain"))["evaluation"]["warnings"])}

    # what they leave ---------------------------------------------------------------------------------

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics on the test period; None for what cannot be computed."""
        found = _unpacked(self.parts.get("evaluate"))["metrics"]
        return {name: item["value"] for name, item in found.items()}

    @cached_property
    def predictor(self) -> Fitted:
        """What predicts, without calibration."""
        return restored(self.parts.get("fit"), self.model)

    @property
    def calibration(self) -> dict[str, Any] | None:
        """The correction of its scores as plain numbers."""
        return None if self.model.calibrate is None else _unpacked(self.parts.get("calibrate"))

    @cached_property
    def raw(self) -> np.ndarray:
        """The predictions for the test period before calibration."""
        return self._scores(self.shown, self.material.test())

    @property
    def shown(self) -> Predictor:
        """The same for all classes that occur, also one that only the test period has."""
        return wide(self.predictor, self.material.classes)

    def package(self) -> Package:
        """Return the version with its manifest; every step must have been executed."""
        model, material = self.model, self.material
        predictor = calibrated(self.predictor, self.calibration)
        explained = _unpacked(self.parts.get("explain"))
        evaluated = _unpacked(self.parts.get("evaluate"))
        some = material.X[spaced(material, material.test(), GOLDEN_ROWS)]
        predicted = predictor.predict(some)
        check_alone(model.name, predictor, some, predicted)
        rows, scores = golden(some, predicted)
        manifest = Manifest(
            model=model.name,
            kind=model.kind,
            format=self.predictor.engine.format,
            declaration=model.fingerprint,
            columns=dict(model.columns),
            fingerprints=model.fingerprints,
            definitions=definitions(model),
            label=label_text(model),
            categories=material.categories,
            classes=list(self.predictor.classes),
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
            libraries=libraries([*self.predictor.engine.libraries, "numpy"]),
            golden_rows=rows,
            golden_scores=scores,
            evaluation={**evaluated, **explained["evaluation"]},
            calibration=self.calibration,
            inputs=dict(self.predictor.inputs) or msgspec.UNSET,
        )
        return Package(predictor, manifest)

    # how ---------------------------------------------------------------------------------------------

    @property
    def judges(self) -> Judges:
        """What judges settings on the folds, started when it is first needed."""
        if self._judges is None:
            model, material = self.model, self.material
            within = material.within
            subject = Subject(
                name=model.name,
                kind=model.kind,
                columns=dict(model.columns),
                estimator=model.estimator,
                metrics=list(model.metrics),
                groups=model.groups,
                trusted=tuple(model.trusted),
                classes=len(material.classes),
                categories=material.categories,
                folds=[(within(fold.train, [fold.test]), within(fold.test)) for fold in material.plan.folds],
            )
            self._judges = judges(subject, material.X, material.y, material.rows.groups, self._processes)
        return self._judges

    def _learned(self, results: Results) -> Fitted:
        material, picked = self.material, self.material.fit()
        rows = labels_of(material.rows, picked)
        try:
            return learn(self.model, rows, material.categories, self.estimator(results), X=material.X[picked])
        except (TenfoldError, MemoryError):
            raise
        except Exception as error:  # each library has errors of its own
            raise DefinitionError(
                f'model "{self.model.name}" cannot be fitted on {len(rows):,} rows: {type(error).__name__}: {error}'
            ) from error

    def estimator(self, results: Results) -> Any:
        """Return an unfitted copy of the estimator with the best parameters found."""
        if self.model.tune is None:
            return unfitted(self.model.estimator)
        best = best_of(trials_of(results), self.model.metrics[0])
        return with_params(self.model.estimator, best["params"])

    def _calibration(self) -> Calibration:
        material = self.material
        assert material.plan.calibrate is not None and self.model.calibrate is not None  # noqa: S101, PT018
        held = material.within(material.plan.calibrate, [material.plan.test])
        scores = self._scores(self.predictor, held)
        return fit_calibration(self.model.calibrate, scores, material.y[held])

    def _scores(self, predictor: Predictor, rows: Rows) -> np.ndarray:
        """Return predictions for some rows; DefinitionError when one is missing."""
        found = predictor.predict(self.material.X[rows])
        missing = int(np.isnan(found).reshape(len(found), -1).any(axis=1).sum())
        if missing:
            raise DefinitionError(
                f'model "{self.model.name}": {type(self.model.estimator).__name__} predicts NaN for {missing:,} of '
                f"{len(found):,} rows, and such answers cannot be served."
            )
        return found

    def _evaluation(self, results: Results) -> dict[str, Any]:
        found = evaluation(self.model, self.material, self.raw, self.calibration, self.champion)
        folds = [
            {"train": list(fold.train), "test": list(fold.test), "rows": self._counts(fold), **tested}
            for fold, tested in zip(self.material.plan.folds, results.get(FOLDS, ()), strict=True)
        ]
        return found | {"folds": folds, "tuning": self._tuning(results)}

    def _counts(self, fold: Fold) -> list[int]:
        within = self.material.within
        return [count(within(fold.train, [fold.test])), count(within(fold.test))]

    def _tuning(self, results: Results) -> dict[str, Any] | None:
        if self.model.tune is None:
            return None
        trials, metric = trials_of(results), self.model.metrics[0]
        shown = [{name: item for name, item in trial.items() if name != "folds"} for trial in trials]
        best = best_of(trials, metric)["number"]
        return {"seed": self.model.tune.seed, "metric": metric, "trials": shown, "best": best}

    def _explanation(self, results: Results) -> dict[str, Any]:
        again = None if self._elsewhere else self.estimator(results)
        material, evaluated = self.material, _unpacked(self.parts.get("evaluate"))
        fitted = material.X[material.fit()]
        names = [name for name, kind in self.model.columns.items() if kind == "str"]
        reference = profile(fitted, list(self.model.columns), categorical=names)
        weeks = material.rows.at[material.fit()] // WEEK
        starts = np.flatnonzero(np.diff(weeks)) + 1
        chunks = [counts(reference, fitted[a:b]) for a, b in pairwise(starts.tolist())]
        return {
            "reference": reference.to_dict(),
            "limits": thresholds(reference, chunks),
            "evaluation": explanation(self.model, material, self.shown, evaluated, self.champion, again),
        }


def pipeline_steps(model: Model, training: Callable[[Results], Training]) -> list[Step]:
    """Return the steps from split to explain; `training` gives the one under way for the results so far."""

    def step(name: str, method: Callable[[Training, Results], Any]) -> Step:
        def run(results: Results) -> Any:
            mine = training(results)
            if not name.startswith((TUNE, FOLDS)):  # these say how far they are
                mine.watch.step(f"{name} {model.name}")
            return method(mine, results)

        return name, run

    def play(place: int) -> Step:
        return step(f"{TUNE} {place + 1}", lambda mine, results: mine.tune(place, results))

    return [
        step("split", Training.periods),
        *(play(place) for place in range(rounds(model.tune) if model.tune else 0)),
        *([step(FOLDS, Training.test_folds)] if model.folds else []),
        step("fit", Training.fit),
        *([step("calibrate", Training.calibrate)] if model.calibrate else []),
        step("evaluate", Training.evaluate),
        step("explain", Training.explain),
    ]


def trials_of(results: Results) -> list[Trial]:
    """Return the trials of all rounds so far, in order."""
    return [trial for name, found in results.items() if name.startswith(TUNE) for trial in found]


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
