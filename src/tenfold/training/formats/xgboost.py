"""XGBoost: the booster's own binary JSON."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from tenfold.core.errors import DefinitionError, MissingExtra
from tenfold.training.formats.base import Context

FILE = "model.ubj"
ALONE = 1000
"""With fewer rows than this, waiting for a second thread costs more than it does."""


class XGBoost:
    """A booster; probabilities for classifiers. XGBoost computes in 32 bits, so do its scores."""

    format: ClassVar[str] = "xgboost"
    libraries: ClassVar[Sequence[str]] = ("xgboost", "xgboost-cpu")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._one = _booster(data, threads=1)
        self._columns = self._one.num_features()

    @classmethod
    def of(cls, fitted: Any, context: Context) -> Self | None:  # noqa: ARG003 - a booster says it all
        get = getattr(fitted, "get_booster", None)
        if get is None:
            return None
        booster = get()
        if '"name":"multi:softmax"' in booster.save_config().replace(" ", ""):
            raise DefinitionError(
                f'{type(fitted).__name__}(objective="multi:softmax") gives no probabilities. Use "multi:softprob".'
            )
        best = booster.attributes().get("best_iteration")
        used = booster if best is None else booster[: int(best) + 1]
        return cls(bytes(used.save_raw("ubj")))

    @classmethod
    def load(cls, files: Mapping[str, bytes], context: Context) -> Self:  # noqa: ARG003
        return cls(files[FILE])

    def files(self) -> dict[str, bytes]:
        return {FILE: self._data}

    def predict(self, rows: np.ndarray) -> np.ndarray:
        booster = self._one if len(rows) < ALONE else self._many
        return np.asarray(booster.inplace_predict(rows), dtype=np.float64)

    @property
    def texts(self) -> list[list[Any]]:
        """The values of columns that were categories of a data frame, in their order."""
        held = self._one.get_categories(export_to_arrow=True).to_arrow()
        return [values.to_pylist() for _, values in held if values is not None]

    @property
    def names(self) -> list[str]:
        """What its columns are called, in their order; empty when it was given none."""
        return list(self._one.feature_names or ())

    @property
    def trees(self) -> int:
        """How many trees there are for each class."""
        return int(self._one.num_boosted_rounds())

    def staged(self, X: np.ndarray, upto: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield what the first trees alone predict, for each of these numbers of trees."""
        for trees in upto:
            yield np.asarray(self._one.inplace_predict(X, iteration_range=(0, trees)), dtype=np.float64)

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """Return what each feature adds to each score before the link, and the base behind them (SHAP).

        (n_rows, n_scores, n_features + 1) float64; they add up to `raw`.
        """
        found = self._one.predict(self._matrix(X), pred_contribs=True, validate_features=False)
        return np.asarray(found, dtype=np.float64).reshape(len(X), -1, X.shape[1] + 1)

    def raw(self, X: np.ndarray) -> np.ndarray:
        """Return the scores before the link: (n_rows, n_scores)."""
        found = self._one.predict(self._matrix(X), output_margin=True, validate_features=False)
        return np.asarray(found, dtype=np.float64).reshape(len(X), -1)

    def _matrix(self, X: np.ndarray) -> Any:
        import xgboost

        types = self._one.feature_types
        return xgboost.DMatrix(X, feature_types=types, enable_categorical=bool(types), nthread=1)

    def importance(self) -> np.ndarray:
        gain = np.zeros(self._columns)
        names = self._one.feature_names or [f"f{place}" for place in range(self._columns)]
        places = {name: place for place, name in enumerate(names)}
        for name, share in self._one.get_score(importance_type="total_gain").items():
            gain[places[name]] = share
        return gain / max(gain.sum(), 1e-300)

    @cached_property
    def _many(self) -> Any:
        return _booster(self._data, threads=2)


def _booster(data: bytes, *, threads: int) -> Any:
    try:
        import xgboost
    except ModuleNotFoundError as error:
        raise MissingExtra("an XGBoost model", "xgboost") from error

    return xgboost.Booster({"nthread": threads}, model_file=bytearray(data))
