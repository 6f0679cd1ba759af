"""LightGBM: the booster's own text."""

import ctypes
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np

from tenfold.core.errors import MissingExtra
from tenfold.training.formats.base import Context
from tenfold.training.formats.forest import Walks

FILE = "model.txt"
MANY = 1_000
"""Rows asked about together from which on another thread, or another way, is worth it."""
_FLOAT64, _BY_ROWS, _NORMAL = 1, 1, 0
_ALONE = b"num_threads=1"


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
        self._few = _Few(self._booster)
        self._walks = Walks(text, self.trees, partial(_scores, self._booster))

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
        if len(rows) < MANY and self._few.takes(rows):
            found = self._walks.few(rows)
            return self._few(rows) if found is None else found
        if len(rows) >= MANY and (found := self._walks.many(rows)) is not None:
            return found
        threads = 1 if len(rows) < MANY else 2  # waiting for a second thread costs more than a few rows
        return _scores(self._booster, rows, threads)

    def warm(self) -> None:
        """Make ready what rows take that are few at a time."""
        self._walks.warm()

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

    def staged(self, X: np.ndarray, upto: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield what the first trees alone predict, for each of these numbers of trees."""
        return (np.asarray(self._booster.predict(X, num_iteration=trees, num_threads=1)) for trees in upto)

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


def _scores(booster: Any, rows: np.ndarray, threads: int = 1) -> np.ndarray:
    return np.asarray(booster.predict(rows, num_threads=threads))


class _Few:
    """Scores few rows by LightGBM's C interface, to the same bits: `Booster.predict` takes as long as five rows before it begins."""

    def __init__(self, booster: Any) -> None:
        from lightgbm import basic

        self._booster, self._library = booster, basic._LIB
        self._handle = booster._handle
        self._width, self._scores = booster.num_feature(), booster.num_model_per_iteration()
        self._lock = threading.Lock()
        # one row is over before another thread could make use of the interpreter
        self._alone = ctypes.PyDLL(self._library._name).LGBM_BoosterPredictForMatSingleRowFast
        self._prepared = ctypes.c_void_p()
        self._check(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle,
                ctypes.c_int(_NORMAL),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(self._width),
                _ALONE,
                ctypes.byref(self._prepared),
            )
        )

    def __del__(self) -> None:
        if self._prepared.value:
            self._library.LGBM_FastConfigFree(self._prepared)

    def takes(self, rows: np.ndarray) -> bool:
        """Return whether rows lie in memory as they are read here."""
        return rows.shape[1:] == (self._width,) and rows.dtype == np.float64 and rows.flags.c_contiguous

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), self._scores))
        given, out, length = rows.ctypes.data, found.ctypes.data, ctypes.c_int64()
        if len(rows) == 1:
            with self._lock:
                self._check(
                    self._alone(
                        self._prepared, ctypes.c_void_p(given), ctypes.byref(length), ctypes.c_void_p(out)
                    )
                )
        else:
            self._check(
                self._library.LGBM_BoosterPredictForMat(
                    self._handle,
                    ctypes.c_void_p(given),
                    ctypes.c_int(_FLOAT64),
                    ctypes.c_int32(len(rows)),
                    ctypes.c_int32(self._width),
                    ctypes.c_int(_BY_ROWS),
                    ctypes.c_int(_NORMAL),
                    ctypes.c_int(0),
                    ctypes.c_int(-1),
                    _ALONE,
                    ctypes.byref(length),
                    ctypes.c_void_p(out),
                )
            )
        return found[:, 0] if self._scores == 1 else found

    def _check(self, code: int) -> None:
        if code:
            raise RuntimeError(self._library.LGBM_GetLastError().decode())
