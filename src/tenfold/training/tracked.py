"""Runs that a person makes by hand: `with app.track("deeper trees") as run: run.fit(estimator, X, y, test=(X2, y2))`.

Nothing is patched: `run.fit` calls the estimator's own `fit`, and what it asks the estimator afterwards is recorded.
"""

import hashlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable
from tenfold.sources.base import Blobs
from tenfold.sources.blobs import encode
from tenfold.sources.owner import heartbeat
from tenfold.tracking.runs import Run, Runs
from tenfold.training.metrics import evaluate

FILES = "run-files"
"""What the names of the blobs begin with; no model can have this name."""
CONTENT = "content"
"""The name of the only file of such a blob."""
SCORES, VALUES = (
    ("roc_auc", "average_precision", "log_loss", "brier"),
    ("mean_absolute_error", "root_mean_squared_error"),
)
EVERY = 60.0
"""Seconds between two signs of life."""
EARLY = ("early_stopping_rounds", "early_stopping_round", "n_iter_no_change")


class Tracked:
    """A run under way. Leaving the `with` block closes it: as done, or as failed with the error that left the block.

    When its process ends before that, the next look at the runs closes it as failed. Inside the block it shows a sign of
    life every minute, for those who look from other machines.

    Every call is durable when it returns. What is measured stays; the same step, file or parameter again replaces it.
    """

    def __init__(
        self, runs: Runs, blobs: Blobs, clock: Clock, run: Run, drawn: Callable[[str], str | None] = repr
    ) -> None:
        self._runs, self._blobs, self._clock, self._drawn = runs, blobs, clock, drawn
        self._results: dict[str, float] = {}
        self.id = run.id
        self._beating = ExitStack()

    def __enter__(self) -> Self:
        self._beating.enter_context(heartbeat(self._beat, EVERY))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beating.close()
        if error is None:
            self._runs.finish(self.id, metrics=self._results)
        else:
            self._runs.fail(self.id, f"{type(error).__name__}: {error}")

    def __repr__(self) -> str:
        return f"run {self.id}"

    def _repr_html_(self) -> str | None:
        """Return what is known of it by now, for a notebook."""
        return self._drawn(self.id)

    def _beat(self) -> None:
        with suppress(Unavailable):  # the next one will do
            self._runs.alive(self.id)

    def log(self, metric: str, value: float, *, step: int | None = None) -> None:
        """Record a metric at a step, by default the next one; its last value becomes its result."""
        self._runs.log(self.id, {metric: value}, step=step)

    def params(self, **values: Any) -> None:
        """Record parameters; what JSON does not know is recorded as its `repr`."""
        self._runs.describe(self.id, params={name: plain(value) for name, value in values.items()})

    def note(self, text: str, *, by: str = "user") -> None:
        """Write what you think of it; more may be said later, by `app.runs.note`."""
        self._runs.note(self.id, text, by=by)

    def attach(self, name: str, content: bytes | str | Path) -> None:
        """Keep a file with the run: its bytes, its text, or the path to it.

        Raises
        ------
        DefinitionError
            When the name is not one: letters, digits, "_", "." and "-", with "/" between parts.
        """
        encode(name, "file")
        data = content.read_bytes() if isinstance(content, Path) else content
        data = data.encode() if isinstance(data, str) else bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        self._blobs.put(f"{FILES}/{digest}", {CONTENT: data})
        self._runs.attach(self.id, name, digest=digest, size=len(data))

    def fit(
        self, estimator: Any, X: Any, y: Any, *, test: tuple[Any, Any] | None = None, **given: Any
    ) -> Any:
        """Fit an estimator as scikit-learn does and return it, after recording what there is to know.

        Recorded are its parameters, how many rows it saw and their digest, how long it took, metrics of the rows it
        learned from ("train.log_loss") and of `test` ("log_loss"), and the learning curve when the estimator keeps
        one. LightGBM and XGBoost are given both sets of rows to report on, unless they are set to stop early: then
        only an `eval_set` of your own is used, since the rows of a test must not decide when to stop.
        """
        self._runs.describe(self.id, params=_parameters(estimator), samples=_samples(X, y, test))
        watched = {} if given.keys() & {"eval_set", "eval_X"} else _watched(estimator, X, y, test)
        began = self._clock.elapsed()
        estimator.fit(X, y, **watched, **given)
        self._results["fit_seconds"] = (self._clock.elapsed() - began) / 1e6
        if test is not None:
            self._results |= measure(estimator, *test)
        self._results |= {f"train.{name}": value for name, value in measure(estimator, X, y).items()}
        self._runs.log_curves(self.id, _curves(estimator, ("train", "test") if watched else ()))
        return estimator


def measure(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    """Return the metrics of a fitted estimator on rows: of its probabilities, its classes or its numbers."""
    y = np.asarray(y)
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return evaluate(VALUES, y, np.asarray(estimator.predict(X), dtype=np.float64).reshape(len(y)))
    right = {"accuracy": float(np.mean(np.asarray(estimator.predict(X)).reshape(len(y)) == y))}
    code = np.searchsorted(classes, y).astype(np.float64)
    if hasattr(estimator, "predict_proba"):
        found = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        scores = (
            evaluate(SCORES, code, found[:, 1]) if len(classes) == 2 else evaluate(["log_loss"], code, found)
        )
        return scores | right
    if len(classes) == 2 and hasattr(estimator, "decision_function"):  # it ranks, but is no probability
        return evaluate(SCORES[:2], code, estimator.decision_function(X)) | right
    return right


def digest(*parts: Any) -> str:
    """Return a hash of the values, types and column names of arrays or data frames: equal digests are equal rows.

    Examples
    --------
    >>> X, y = np.zeros((2, 1)), np.array([0, 1])
    >>> digest(X, y) == digest(X.copy(), y), digest(X, y) == digest(X + 1, y)
    (True, False)
    """
    found = hashlib.sha256()
    for name, array in (column for part in parts for column in _columns(part)):
        found.update(msgspec.msgpack.encode([name, str(array.dtype), array.shape]))
        if array.dtype.hasobject:
            found.update(msgspec.msgpack.encode([plain(value) for value in array.ravel().tolist()]))
        else:
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _columns(part: Any) -> Iterable[tuple[str, np.ndarray]]:
    if hasattr(part, "columns") and hasattr(part, "__getitem__"):  # a data frame of pandas or polars
        return [(str(name), np.asarray(part[name])) for name in part.columns]
    if hasattr(part, "tocsr"):  # a sparse matrix of scipy
        rows = part.tocsr()
        return [("data", rows.data), ("indices", rows.indices), ("indptr", rows.indptr)]
    return [("", np.asarray(part))]


def _samples(X: Any, y: Any, test: tuple[Any, Any] | None) -> dict[str, Any]:
    sets = {"train": (X, y)} | ({"test": test} if test else {})
    return {
        name: {"rows": len(np.asarray(labels)), "digest": digest(rows, labels), "labels": digest(labels)}
        for name, (rows, labels) in sets.items()
    }


def _parameters(estimator: Any) -> dict[str, Any]:
    settings = estimator.get_params() if hasattr(estimator, "get_params") else {}
    return {"estimator": type(estimator).__name__} | {name: plain(value) for name, value in settings.items()}


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: of what it does not know, also of NaN, what it says of itself.

    Examples
    --------
    >>> plain({"depth": np.int64(3), "missing": float("nan"), "kind": complex})
    {'depth': 3, 'missing': 'nan', 'kind': "<class 'complex'>"}
    """
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return repr(value) if not hasattr(value, "get_params") else type(value).__name__


def _watched(estimator: Any, X: Any, y: Any, test: tuple[Any, Any] | None) -> dict[str, Any]:
    """Return what makes a booster report on rows as it learns; nothing when these would change what it learns."""
    if not type(estimator).__module__.startswith(("lightgbm", "xgboost")) or not hasattr(
        estimator, "get_params"
    ):
        return {}
    settings = estimator.get_params()
    if any(settings.get(name) for name in EARLY):
        return {}
    sets = [(X, y), *([test] if test else [])]
    if "eval_X" in inspect.signature(estimator.fit).parameters:  # LightGBM from 4.7 on
        return {"eval_X": tuple(rows for rows, _ in sets), "eval_y": tuple(labels for _, labels in sets)}
    return {"eval_set": sets}


def _curves(estimator: Any, names: tuple[str, ...]) -> dict[str, list[float]]:
    """Return what an estimator kept of its learning, by name such as "train.binary_logloss"."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    kept = getattr(last, "evals_result_", None) or {}
    found = {
        f"{names[place] if place < len(names) else part}.{metric}": list(map(float, values))
        for place, (part, metrics) in enumerate(kept.items())
        for metric, values in metrics.items()
    }
    for name, attribute in (
        ("train.loss", "loss_curve_"),
        ("train.score", "train_score_"),
        ("validation.score", "validation_score_"),
        ("validation.score", "validation_scores_"),
    ):
        values = getattr(last, attribute, None)
        if values is not None and np.ndim(values) == 1:
            found[name] = np.asarray(values, dtype=np.float64).tolist()
    return found
