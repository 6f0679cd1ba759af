"""Fit and evaluate: from training sets to a packaged version with its metrics."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, iso
from tenfold.training.dataset import Dataset
from tenfold.training.metrics import evaluate
from tenfold.training.model import Model
from tenfold.training.package import Manifest, Package, golden, libraries, predictor_of
from tenfold.training.profile import counts, profile, thresholds
from tenfold.training.rows import TrainingSet
from tenfold.training.vector import encode, vocabulary

WEEK = UNITS["w"]


@dataclass(frozen=True, slots=True)
class Split:
    """Two periods of predictions, [start, end) each, in microseconds; labels as known at `now`."""

    train: tuple[int, int]
    test: tuple[int, int]
    now: int

    @property
    def text(self) -> str:
        """The periods as text."""
        return " ".join(
            f"{name} {iso(a)[:10]} to {iso(b)[:10]}"
            for name, (a, b) in (("train", self.train), ("test", self.test))
        )


def newest_split(model: Model, now: int, first: int) -> Split:
    """Return the split a retraining at `now` uses: the newest mature rows to test on, all before them to learn from.

    Between the two lies the time a label takes, so nothing is learned from that was not known when the test begins.
    """
    takes = model.label.takes_us
    test_end = now - takes
    test_start = test_end - model.test_us
    train_start = first if model.train_us is None else max(first, test_end - model.train_us)
    return Split((train_start, test_start - takes), (test_start, test_end), now)


def first_row(dataset: Dataset) -> int:
    """Return when the first row of a model's spine is predicted; DefinitionError when there is none yet."""
    if not len(dataset.at):
        name = dataset.model.spine.root.name
        raise DefinitionError(
            f'model "{dataset.model.name}": source "{name}" has no rows in the lake yet. Ingest some: tenfold ingest.'
        )
    return int(dataset.at[0])


def fit(model: Model, dataset: Dataset, split: Split) -> Package:
    """Learn from the training period and evaluate on the test period.

    The same declaration, table versions, split and library versions give the same model bytes.

    Raises
    ------
    DefinitionError
        When a period holds no row with a mature label.
    """
    learn = dataset.training_set(split.now, start=split.train[0], end=split.train[1])
    test = dataset.training_set(split.now, start=split.test[0], end=split.test[1])
    categories = vocabulary(learn.columns)
    X = encode(learn.columns, categories)
    text = [place for place, kind in enumerate(model.columns.values()) if kind == "str"]
    estimator = _fresh(model.estimator)
    estimator.fit(X, learn.y, **_categorical(estimator, text))
    predictor = predictor_of(estimator)
    X_test = encode(test.columns, categories)
    rows, scores = golden(X_test, predictor.predict(X_test))
    importance = dict(zip(model.columns, predictor.importance().tolist(), strict=True))
    names = [name for name, kind in model.columns.items() if kind == "str"]
    reference = profile(X, list(model.columns), categorical=names)
    weeks = learn.at // WEEK
    chunks = [counts(reference, X[weeks == week]) for week in np.unique(weeks)[1:-1]]
    manifest = Manifest(
        model=model.name,
        declaration=model.fingerprint,
        columns=dict(model.columns),
        categories=categories,
        views={view.name: view.fingerprint for view in model.views},
        threshold=model.threshold,
        metrics=_finite(evaluate(model.metrics, test.y, predictor.predict(X_test))),
        reference=reference.to_dict(),
        limits=thresholds(reference, chunks),
        importance=importance,
        tables=dict(learn.tables),
        training_set=learn.digest,
        rows=len(learn),
        period=split.train,
        libraries=libraries(["lightgbm", "numpy"]),
        golden_rows=rows,
        golden_scores=scores,
    )
    return Package(predictor, manifest)


def scores(package: Package, rows: TrainingSet | Mapping[str, Any]) -> np.ndarray:
    """Return the scores of a version for a training set or for columns."""
    columns = rows.columns if isinstance(rows, TrainingSet) else rows
    return package.predictor.predict(encode(columns, package.manifest.categories))


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics with None for what cannot be computed, as when the test rows have one outcome only."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _fresh(estimator: Any) -> Any:
    """Return an unfitted copy: a declaration never changes."""
    if hasattr(estimator, "get_params"):
        return type(estimator)(**copy.deepcopy(estimator.get_params(deep=False)))
    return copy.deepcopy(estimator)


def _categorical(estimator: Any, places: list[int]) -> dict[str, Any]:
    """Tell LightGBM which columns hold codes, so that their order means nothing."""
    return (
        {"categorical_feature": places}
        if places and type(estimator).__module__.startswith("lightgbm")
        else {}
    )
