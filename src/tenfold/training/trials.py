"""One setting of an estimator on one fold: fitted, tested, and told in numbers."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.training.estimators import learn, spread, unfitted
from tenfold.training.evaluate import finites
from tenfold.training.formats import engine_of, scorer_of
from tenfold.training.metrics import evaluate
from tenfold.training.rows import TrainingSet

Rows = slice | np.ndarray
THREADS = ("n_jobs", "nthread", "num_threads", "thread_count")
ONE_CLASS = "one class only"


@dataclass(frozen=True)
class Subject:
    """What fitting needs to know of a model; unlike a whole declaration it can be sent to another process."""

    name: str
    kind: str
    columns: Mapping[str, str]
    estimator: Any
    metrics: Sequence[str]
    groups: str | None
    trusted: Sequence[str]
    categories: Mapping[str, Sequence[str]]
    folds: Sequence[tuple[Rows, Rows]]
    classes: int = 0
    """How many classes there are; labels are places among them."""

    @property
    def has_classes(self) -> bool:
        """Whether the label is one of several outcomes."""
        return self.kind in ("binary", "multiclass")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a fold says of a setting: metrics, None for what cannot be computed; why something is missing; what went wrong."""

    metrics: Mapping[str, float | None]
    note: str | None = None
    error: str | None = None


def judge(
    subject: Subject,
    X: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray | None,
    params: Mapping[str, Any],
    fold: int,
) -> Judged:
    """Learn on a fold with some parameters and test; what an estimator raises is part of the answer."""
    learned, tested = subject.folds[fold]
    nothing = dict.fromkeys(subject.metrics)
    note = _note(subject, y[learned], y[tested])
    if note is not None and note.endswith("learn from"):
        return Judged(nothing, note)
    rows = TrainingSet(
        {}, y[learned], _none(y[learned]), _none(y[learned]), {}, {}, groups=_of(groups, learned)
    )
    try:
        estimator = on_one_thread(with_params(subject.estimator, params))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of forty fits each would say the same
            # the first fold says whether it can be stored at all
            engine = scorer_of if fold else engine_of
            predictor = learn(subject, rows, subject.categories, estimator, X=X[learned], engine=engine)  # type: ignore[arg-type]
            prediction = predictor.predict(X[tested])
            prediction = spread(prediction, predictor.classes, range(subject.classes))
        found = evaluate(subject.metrics, y[tested], prediction, _of(groups, tested))
    except Exception as error:  # noqa: BLE001 - whatever an estimator raises makes the trial failed, not the search
        return Judged(nothing, note, f"{type(error).__name__}: {error}")
    return Judged(finites(found), note)


def _note(subject: Subject, learned: np.ndarray, tested: np.ndarray) -> str | None:
    for rows, what in ((learned, "learn from"), (tested, "test on")):
        if not len(rows):
            return f"no row to {what}"
        if subject.has_classes and len(np.unique(rows)) < 2:
            return f"{ONE_CLASS} to {what}"
    return None


def _none(like: np.ndarray) -> np.ndarray:
    return np.zeros(len(like), dtype=np.int64)


def _of(groups: np.ndarray | None, rows: Rows) -> np.ndarray | None:
    return None if groups is None else groups[rows]


def with_params(estimator: Any, params: Mapping[str, Any]) -> Any:
    """Return an unfitted copy with other parameters; `step__name` reaches into a Pipeline."""
    fresh = unfitted(estimator)
    return fresh.set_params(**params) if params else fresh


def on_one_thread(estimator: Any) -> Any:
    """Set every parameter that counts threads to 1: the bits of a sum may depend on them, and processes share the cores."""
    if not hasattr(estimator, "get_params"):
        return estimator
    known = estimator.get_params(deep=True)
    mine = {name: 1 for name in known if name.rpartition("__")[2] in THREADS}
    return estimator.set_params(**mine) if mine else estimator


def is_sendable(estimator: Any) -> bool:
    """Return whether another process can import everything an estimator is made of."""
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    return not any(_module(part) == "__main__" for part in parts)


def _module(part: Any) -> str | None:
    kind = part if inspect.isclass(part) or inspect.isroutine(part) else type(part)
    return getattr(kind, "__module__", None)
