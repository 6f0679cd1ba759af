"""LightGBM: the booster's own text."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from tenfold.core.errors import MissingExtra
from tenfold.training.formats.base import Context

FILE = "model.txt"


class LightGBM:
    """A booster; probabilities for classifiers."""

    format: ClassVar[str] = "lightgbm"
    libraries: ClassVar[Sequence[str]] = ("lightgbm",)

    def __init__(self, text: str) -> None:
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise MissingExtra("a LightGBM model", "lightgbm") from error

        self.text = text
        self._booster = lightgbm.Booster(model_str=text)

    @classmethod
    def of(cls, fitted: Any, context: Context) -> Self | None:  # noqa: ARG003 - a booster says it all
        booster = getattr(fitted, "booster_", None)
        return None if booster is None else cls(booster.model_to_string())

    @classmethod
    def load(cls, files: Mapping[str, bytes], context: Context) -> Self:  # noqa: ARG003
        return cls(files[FILE].decode())

    def files(self) -> dict[str, bytes]:
        return {FILE: self.text.encode()}

    def predict(self, rows: np.ndarray) -> np.ndarray:
        threads = 1 if len(rows) < 1000 else 2  # waiting for a second thread costs more than a few rows
        return np.asarray(self._booster.predict(rows, num_threads=threads))

    @property
    def names(self) -> list[str]:
        """What its columns are called, in their order; empty when it was given none."""
        found = self._booster.feature_name()
        return [] if found == [f"Column_{place}" for place in range(len(found))] else found

    @property
    def texts(self) -> list[list[str]]:
        """The values of columns that were categories of pandas, in their order."""
        return self._booster.pandas_categorical or []

    @property
    def trees(self) -> int:
        """How many trees there are for each class."""
        return int(self._booster.current_iteration())

    def predict_with(self, X: np.ndarray, trees: int) -> np.ndarray:
        """Return what the first trees alone predict."""
        return np.asarray(self._booster.predict(X, num_iteration=trees, num_threads=1))

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """Return what each feature adds to each score before the link, and the base behind them (SHAP).

        (n_rows, n_scores, n_features + 1) float64; they add up to `raw`.
        """
        found = np.asarray(self._booster.predict(X, pred_contrib=True, num_threads=1))
        return found.reshape(len(X), -1, X.shape[1] + 1)

    def raw(self, X: np.ndarray) -> np.ndarray:
        """Return the scores before the link: (n_rows, n_scores)."""
        return np.asarray(self._booster.predict(X, raw_score=True, num_threads=1)).reshape(len(X), -1)

    def importance(self) -> np.ndarray:
        gain = self._booster.feature_importance("gain")
        return gain / max(gain.sum(), 1e-300)
