"""Estimators of every kind: fitted on the rows of a training set, and what scores rows afterwards."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.processing.frame import Frame
from tenfold.training.formats import engine_of
from tenfold.training.formats.base import Context, Scorer
from tenfold.training.kinds import Kind
from tenfold.training.model import Model
from tenfold.training.predictor import Predictor
from tenfold.training.rows import TrainingSet
from tenfold.training.table import Table, names_columns
from tenfold.training.vector import encode


@dataclass(frozen=True, slots=True)
class Fitted:
    """Scores rows; the same bits for one row and for many.

    Attributes
    ----------
    categories
        The known values of the text columns.
    classes
        What the columns of the probabilities stand for, for a model of several classes; each occurred where it learned.
    """

    engine: Scorer
    kind: Kind
    categories: Mapping[str, Sequence[str]]
    classes: Sequence[str | int] = ()

    def predict(self, rows: np.ndarray | Frame) -> np.ndarray:
        """Return a score per row.

        Parameters
        ----------
        rows
            The model's columns, n rows each, or what `encode` makes of them.

        Returns
        -------
        (n,) float64
            The probability that it is true, the value, or the score by which the rows of a group are ordered.
        (n, k) float64
            For several classes, the probability of each of `classes`.
        """
        X = rows if isinstance(rows, np.ndarray) else encode(rows, self.categories)
        if not len(X):
            return np.zeros((0, len(self.classes)) if self.kind == "multiclass" else 0)
        return self._shaped(self.engine.predict(X))

    def warm(self) -> None:
        """Make ready what takes time and rows that are few at a time would wait for, where the format has such a thing."""
        getattr(self.engine, "warm", lambda: None)()

    def _shaped(self, found: np.ndarray) -> np.ndarray:
        if self.kind == "multiclass" and found.ndim == 1:
            return np.column_stack([1 - found, found])  # of two classes, boosters give the second's alone
        return found

    def importance(self) -> np.ndarray | None:
        """Return each feature's share, shape (n_features,) float64 summing to 1; None when the estimator does not say."""
        return self.engine.importance()

    @property
    def inputs(self) -> Mapping[str, str]:
        """How a file from elsewhere names the columns, in its order; empty where it takes them as they are."""
        return getattr(self.engine, "inputs", {})

    @property
    def importance_of(self) -> str:
        """What the shares are of: "gain" or "coefficient"."""
        return getattr(self.engine, "importance_of", "gain")

    @property
    def trees(self) -> int:
        """How many trees there are for each class; 0 where there are none to count."""
        return getattr(self.engine, "trees", 0)

    def staged(self, X: np.ndarray, upto: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield what the first trees alone predict, for each of these numbers of trees, which ascend."""
        return map(self._shaped, self.engine.staged(X, upto))  # type: ignore[attr-defined]

    @property
    def losses(self) -> Sequence[float] | None:
        """What it lost in each epoch of its learning, where it kept that."""
        return getattr(self.engine, "losses", None)

    @property
    def contributions(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Gives what each feature adds to each score before the link, (n_rows, n_scores, n_features + 1), where the format can."""
        return getattr(self.engine, "contributions", None)

    @property
    def linear(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Gives the scores before the link, (n_rows, n_scores), where they are sums of functions of one feature each."""
        return getattr(self.engine, "linear", None)

    def raw(self, X: np.ndarray) -> np.ndarray:
        """Return the scores before the link, (n_rows, n_scores), of what has contributions."""
        return self.engine.raw(X)  # type: ignore[attr-defined]

    def files(self) -> dict[str, bytes]:
        """Return the files to store."""
        return self.engine.files()


class Wide:
    """A fitted estimator that says nothing of classes it has not learned."""

    def __init__(self, fitted: Fitted, classes: Sequence[str | int]) -> None:
        self.inner, self._classes = fitted, classes

    def predict(self, X: np.ndarray) -> np.ndarray:
        return spread(self.inner.predict(X), self.inner.classes, self._classes)

    def staged(self, X: np.ndarray, upto: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield what the first trees alone predict, for each of these numbers of trees."""
        return (spread(found, self.inner.classes, self._classes) for found in self.inner.staged(X, upto))

    def importance(self) -> np.ndarray | None:
        return self.inner.importance()

    def files(self) -> dict[str, bytes]:
        return self.inner.files()

    def __getattr__(self, name: str) -> Any:
        """What else is said of the model is what the estimator says."""
        return getattr(self.inner, name)


def wide(fitted: Fitted, classes: Sequence[str | int]) -> Predictor:
    """Return an estimator whose probabilities are those of all of `classes`."""
    return fitted if list(fitted.classes) == list(classes) else Wide(fitted, classes)


def learn(
    model: Model,
    rows: TrainingSet,
    categories: Mapping[str, Sequence[str]],
    estimator: Any = None,
    *,
    X: np.ndarray | None = None,
    engine: Callable[[Any, Context], Scorer] = engine_of,
) -> Fitted:
    """Fit an unfitted copy of an estimator on the rows of a training set.

    Parameters
    ----------
    categories
        The known values of the text columns, from `vocabulary`.
    estimator
        Instead of the model's: the same with other parameters.
    X : (n_rows, n_columns) float64
        The rows as `encode` gives them, when they are at hand.
    engine
        Gives what scores a fitted estimator; `scorer_of` where it is not to be stored.

    Raises
    ------
    DefinitionError
        When the rows or the estimator do not fit the kind of the model, or no file format takes the estimator.
    """
    chosen = model.estimator if estimator is None else estimator
    if chosen is None:
        raise DefinitionError(
            f'model "{model.name}" has no estimator to fit. Give it one, or register a trained file: app.register(model, path).'
        )
    X = encode(rows.columns, categories) if X is None else X
    classes = classes_of(model.kind, rows)
    if len(classes) == 1:
        raise DefinitionError(
            f'model "{model.name}": all {len(rows):,} rows to learn from are of class "{classes[0]}". Learn from more rows.'
        )
    fresh = told_of_text(unfitted(chosen), model.columns)
    if model.kind == "ranking":
        _fit_groups(fresh, X, rows, model)
    else:
        taken = Table(model.columns, categories)(X) if names_columns(fresh, model.columns) else X
        fresh.fit(taken, targets(rows, classes), **_categorical(fresh, model.columns))
    context = Context(model.kind, model.columns, categories, chosen, model.trusted)
    return Fitted(engine(fresh, context), model.kind, categories, classes)


def classes_of(kind: str, rows: TrainingSet) -> list[str | int]:
    """Return the classes that occur in rows, for a model of several, in their order; nothing for other kinds."""
    if kind != "multiclass":
        return []
    found = np.unique(rows.y).astype(np.int64).tolist()
    return [rows.classes[place] for place in found] if rows.classes else found


def targets(rows: TrainingSet, classes: Sequence[str | int]) -> np.ndarray:
    """Return the labels as metrics take them: places among `classes` where there are any, which must know them all."""
    return places(rows.y, rows.classes, classes) if classes else rows.y


def places(y: np.ndarray, own: Sequence[str], classes: Sequence[str | int]) -> np.ndarray:
    """Return the place of each label among classes: (n,) float64.

    Parameters
    ----------
    y : (n,) float64
        Whole numbers, or places in `own` where labels are texts.
    """
    known = {label: float(place) for place, label in enumerate(classes)}
    found, back = np.unique(y.astype(np.int64), return_inverse=True)
    labels = [own[place] for place in found.tolist()] if own else found.tolist()
    return np.array([known[label] for label in labels], dtype=np.float64)[back]


def spread(
    prediction: np.ndarray, own: Sequence[str | int], classes: Sequence[str | int], unknown: float = 0.0
) -> np.ndarray:
    """Return probabilities for more classes than a version knows, in another order: `unknown` for one it has not learned.

    Examples
    --------
    >>> spread(np.array([[0.25, 0.75]]), ["a", "c"], ["a", "b", "c"])
    array([[0.25, 0.  , 0.75]])
    """
    if list(own) == list(classes):
        return prediction
    wide = np.full((len(prediction), len(classes)), unknown)
    wide[:, [list(classes).index(name) for name in own]] = prediction
    return wide


def together(*parts: Sequence[str | int]) -> list[str | int]:
    """Return all classes of several lists in their order."""
    return sorted(set().union(*parts), key=lambda name: (isinstance(name, str), name))


def unfitted(estimator: Any) -> Any:
    """Return an unfitted copy: a declaration never changes.

    Where scikit-learn would draw from its global generator because no `random_state` is given, it is 0: the same rows give
    the same bytes.
    """
    if not hasattr(estimator, "get_params"):
        return copy.deepcopy(estimator)
    fresh = type(estimator)(**copy.deepcopy(estimator.get_params(deep=False)))
    given = fresh.get_params(deep=True)
    for name, value in given.items():
        owner, _, last = name.rpartition("__")
        whose = given[owner] if owner else fresh
        if last == "random_state" and value is None and type(whose).__module__.startswith("sklearn."):
            fresh.set_params(**{name: 0})
    return fresh


def told_of_text(estimator: Any, columns: Mapping[str, str]) -> Any:
    """Tell XGBoost, where it may take categories, which columns hold codes."""
    if "str" in columns.values() and getattr(estimator, "enable_categorical", False):
        estimator.set_params(feature_types=["c" if kind == "str" else "q" for kind in columns.values()])
    return estimator


def _fit_groups(estimator: Any, X: np.ndarray, rows: TrainingSet, model: Model) -> None:
    """Fit an estimator that orders the rows of a group, which must lie together; rows without a group are left out."""
    groups = np.full(len(rows), -1) if rows.groups is None else rows.groups
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    if not len(order):
        raise DefinitionError(
            f'model "{model.name}": "{model.groups}" is null in all {len(rows):,} rows to learn from.'
        )
    _, sizes = np.unique(groups[order], return_counts=True)
    more = _categorical(estimator, model.columns)
    if any(kind.__name__ == "XGBRanker" for kind in type(estimator).__mro__):
        more["qid"] = groups[order]
    else:
        more["group"] = sizes
    estimator.fit(X[order], rows.y[order], **more)


def _categorical(estimator: Any, columns: Mapping[str, str]) -> dict[str, Any]:
    """Tell LightGBM which columns hold codes, so that their order means nothing."""
    text = [place for place, kind in enumerate(columns.values()) if kind == "str"]
    return {"categorical_feature": text} if text and type(estimator).__module__.startswith("lightgbm") else {}
