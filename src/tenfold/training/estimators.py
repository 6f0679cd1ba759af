"""Fitting: an unfitted copy of a declared estimator and the rows it learns from, to what predicts."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.training.model import Model
from tenfold.training.package import predictor_of
from tenfold.training.predictor import Predictor
from tenfold.training.rows import TrainingSet
from tenfold.training.vector import encode

Categories = Mapping[str, Sequence[str]]


def learn(
    model: Model,
    rows: TrainingSet,
    categories: Categories,
    estimator: Any = None,
    *,
    X: np.ndarray | None = None,
) -> Predictor:
    """Fit a copy of the model's estimator, or of another one, and return what predicts.

    Parameters
    ----------
    X : (n_rows, n_columns) float64
        The rows as `encode` gives them, when they are at hand.
    """
    text = [place for place, kind in enumerate(model.columns.values()) if kind == "str"]
    fresh = unfitted(model.estimator if estimator is None else estimator)
    fresh.fit(encode(rows.columns, categories) if X is None else X, rows.y, **_categorical(fresh, text))
    return predictor_of(fresh)


def unfitted(estimator: Any) -> Any:
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
