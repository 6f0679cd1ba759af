"""Scores of scikit-learn's estimators, the same bits for one row and for many.

scikit-learn hands matrices to BLAS, whose last bits depend on how many rows it gets. Steps that look at one value at a
time, and trees, do not care; every other estimator scores blocks of one size, the last one filled up with its last row.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.training.formats.base import Context
from tenfold.training.formats.direct import Unfit, direct
from tenfold.training.kinds import is_classifier
from tenfold.training.table import Table, names_columns

Pick = Callable[[np.ndarray], np.ndarray]
"""From probabilities of classes to scores."""
BLOCK = 64
"""Rows scored at once; scikit-learn needs about as long for one."""
ALONE = 1000
"""With fewer rows than this, waiting for other threads costs more than they do."""

_BY_VALUE = frozenset(
    {
        "Binarizer", "FunctionTransformer", "KBinsDiscretizer", "MaxAbsScaler", "MinMaxScaler", "MissingIndicator",
        "OneHotEncoder", "OrdinalEncoder", "PowerTransformer", "QuantileTransformer", "RobustScaler", "SimpleImputer",
        "StandardScaler", "TargetEncoder",
    }
)  # fmt: skip
"""Steps whose output for a row depends on nothing but that row, however many there are."""
_OF_STEPS = frozenset({"ColumnTransformer", "FeatureUnion", "Pipeline"})
_TREES = frozenset(
    {
        "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor",
        "GradientBoostingClassifier", "GradientBoostingRegressor", "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor", "RandomForestClassifier", "RandomForestRegressor",
        "LGBMClassifier", "LGBMRanker", "LGBMRegressor", "XGBClassifier", "XGBRanker", "XGBRegressor",
    }
)  # fmt: skip


class Rowwise:
    """A fitted estimator with scikit-learn's methods, as a function from rows to scores."""

    def __init__(self, estimator: Any, context: Context) -> None:
        alone(estimator)
        last = _last(estimator)
        apart = last is not estimator and all(map(_by_value, _before_last(estimator)))
        self._apart = apart
        self._prepare = Prepare(
            estimator[:-1] if apart else None, context, names_columns(estimator, context.columns)
        )
        self._last, self._pick = last, _pick(last, context)
        # what a stage is asked with: what the last step takes
        self._before = None if apart or last is estimator else estimator[:-1]
        self._score = _scorer(last if apart else estimator, self._pick)
        self._whole = type(last).__name__ in _TREES if apart else _by_value(estimator)
        self.linear = self._sums(last) if apart or last is estimator else None

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return (n_rows,) or (n_rows, n_classes) float64 for rows as `encode` makes them.

        Raises
        ------
        SchemaError
            When the estimator refuses a row, as an encoder that knows no such category does.
        """
        try:
            with _threads(len(X)):
                found = self._score(self._prepare(X)) if self._whole else self._blocks(X)
        except ValueError as error:
            raise SchemaError(f"the estimator refuses a row: {error}") from error
        return np.ascontiguousarray(found, dtype=np.float64)

    @property
    def trees(self) -> int:
        """How many trees there are for each class, where each adds to those before it; else 0."""
        if type(self._last).__name__ not in _TREES or not hasattr(self._last, "staged_predict"):
            return 0
        return int(getattr(self._last, "n_iter_", None) or self._last.n_estimators_)

    @property
    def losses(self) -> list[float] | None:
        """What it lost in each epoch of its learning, where it kept that."""
        found = getattr(self._last, "loss_curve_", None)
        return None if found is None else [float(loss) for loss in found]

    def staged(self, X: np.ndarray, upto: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield what the first trees alone predict, for each of these numbers of trees, which ascend."""
        rows = self._prepare(X) if self._before is None else self._before.transform(self._prepare(X))
        last = self._last
        stages = last.staged_predict(rows) if self._pick is None else last.staged_predict_proba(rows)
        for trees, found in enumerate(stages, 1):
            if trees in upto:
                yield np.asarray(found if self._pick is None else self._pick(found), dtype=np.float64)

    def _sums(self, last: Any) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return what gives the sums a linear estimator makes of its columns, (n_rows, n_scores); None for any other."""
        if not (type(last).__module__.startswith("sklearn.linear_model") and hasattr(last, "coef_")):
            return None
        weights = np.atleast_2d(last.coef_).T

        def linear(X: np.ndarray) -> np.ndarray:
            rows = self._prepare(X)
            rows = rows.toarray() if hasattr(rows, "toarray") else rows
            return np.asarray(rows, dtype=np.float64) @ weights + last.intercept_

        return linear

    def _blocks(self, X: np.ndarray) -> np.ndarray:
        """Score blocks of one size; also how a block lies in memory must not depend on how many rows there are."""
        rows = self._prepare(X) if self._apart else None
        parts = []
        for start in range(0, len(X), BLOCK):
            places = np.minimum(np.arange(start, start + BLOCK), len(X) - 1)
            block = self._prepare(X[places]) if rows is None else _taken(rows, places)
            parts.append(self._score(np.ascontiguousarray(block) if isinstance(block, np.ndarray) else block))
        return np.concatenate(parts)[: len(X)]


def _taken(rows: Any, places: np.ndarray) -> Any:
    return rows.iloc[places] if hasattr(rows, "iloc") else rows[places]


class Prepare:
    """The steps before the last one, where they look at one value at a time; else what makes the rows an estimator takes.

    The first rows are computed by scikit-learn as well, and it goes on alone should a bit differ.
    """

    def __init__(self, steps: Any, context: Context, by_name: bool) -> None:
        self._steps = steps
        self._table = Table(context.columns, context.categories) if by_name else None
        self._direct = None if steps is None else direct(steps, context.columns, context.categories)
        self._compared = False

    def __call__(self, X: np.ndarray) -> Any:
        if self._direct is None:
            return self._slowly(X)
        try:
            found = self._direct(X)
        except Unfit:
            return self._slowly(X)  # it says what is wrong with the row, or knows better
        if not self._compared:
            self._compared = True
            if not _same(found, self._slowly(X)):
                self._direct = None
                return self._slowly(X)
        return found

    def _slowly(self, X: np.ndarray) -> Any:
        rows: Any = X if self._table is None else self._table(X)
        return rows if self._steps is None else self._steps.transform(rows)


def _same(found: np.ndarray, wanted: Any) -> bool:
    """Return whether a matrix is, to the bit, what scikit-learn made, which may be sparse."""
    if hasattr(wanted, "toarray"):
        wanted = wanted.toarray()
    return (
        isinstance(wanted, np.ndarray)
        and wanted.dtype == found.dtype
        and wanted.shape == found.shape
        and np.array_equal(found, wanted, equal_nan=True)
    )


def _scorer(estimator: Any, pick: Pick | None) -> Callable[[Any], np.ndarray]:
    """Return a function from what an estimator takes to scores."""
    return estimator.predict if pick is None else lambda rows: pick(estimator.predict_proba(rows))


def _pick(last: Any, context: Context) -> Pick | None:
    """Return what makes scores of an estimator's probabilities; None when it predicts them itself."""
    if context.kind not in ("binary", "multiclass") or not (is_classifier(last) or _has(last)):
        return None
    if not _has(last):
        raise DefinitionError(
            f"{type(last).__name__} gives no probabilities, so it has no score for a class. Wrap it in scikit-learn's "
            "CalibratedClassifierCV, or use a classifier with predict_proba."
        )
    if context.kind == "multiclass":
        return lambda found: found
    true = np.flatnonzero(np.asarray(getattr(last, "classes_", (0, 1))) == 1)
    if not len(true):
        return lambda found: np.zeros(len(found))  # nothing was true where it learned
    return lambda found: found[:, true[0]]


def _has(estimator: Any) -> bool:
    return hasattr(estimator, "predict_proba")


class Scored:
    """What the formats have in common whose estimators have scikit-learn's methods."""

    def __init__(self, estimator: Any, context: Context) -> None:
        self._estimator, self._columns = estimator, len(context.columns)
        self._score = Rowwise(estimator, context)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._score(rows)

    @property
    def linear(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Gives the scores before the link as sums of functions of one feature each; None where they are none."""
        return self._score.linear

    @property
    def trees(self) -> int:
        """How many trees there are for each class, where each adds to those before it; else 0."""
        return self._score.trees

    @property
    def losses(self) -> list[float] | None:
        """What it lost in each epoch of its learning, where it kept that."""
        return self._score.losses

    def staged(self, X: np.ndarray, upto: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield what the first trees alone predict, for each of these numbers of trees, which ascend."""
        return self._score.staged(X, upto)

    def importance(self) -> np.ndarray | None:
        return shares(self._estimator, self._columns)

    @property
    def importance_of(self) -> str:
        """What the shares are of."""
        return "gain" if hasattr(self._estimator, "feature_importances_") else "coefficient"


def shares(estimator: Any, columns: int) -> np.ndarray | None:
    """Return each column's share of an estimator's importances or coefficients; None when it has none per column."""
    found = getattr(estimator, "feature_importances_", None)
    if found is None and hasattr(estimator, "coef_"):
        found = np.abs(np.atleast_2d(estimator.coef_)).mean(axis=0)
    if found is None or np.shape(found) != (columns,):
        return None
    return np.asarray(found, dtype=np.float64) / max(float(np.sum(found)), 1e-300)


def alone(estimator: Any) -> None:
    """Make an estimator score with one process and thread: the others would take longer to wake."""
    if not hasattr(estimator, "set_params"):
        return
    names = [name for name in estimator.get_params(deep=True) if name.split("__")[-1] == "n_jobs"]
    estimator.set_params(**dict.fromkeys(names, 1))


def _last(estimator: Any) -> Any:
    return estimator.steps[-1][1] if type(estimator).__name__ == "Pipeline" else estimator


def _before_last(estimator: Any) -> list[Any]:
    return [step for _, step in estimator.steps[:-1]]


def _by_value(step: Any) -> bool:
    """Return whether a step, and every step in it, gives a row the same result alone and among others."""
    name = type(step).__name__
    if isinstance(step, str) or step is None:
        return True
    if not type(step).__module__.startswith(("sklearn.", "lightgbm.", "xgboost.")):
        return False
    if name in _OF_STEPS:
        inner = [
            part for kind in ("steps", "transformers", "transformer_list") for part in getattr(step, kind, ())
        ]
        return all(_by_value(part[1]) for part in inner)
    return name in _BY_VALUE or name in _TREES


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _threads(rows: int) -> Any:
    """Return a context in which numerical libraries use one thread, or as many as they like for many rows."""
    return _controller().limit(limits=1, user_api="blas" if rows >= ALONE else None)
