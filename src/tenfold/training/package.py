"""A trained version as files: the native model, a manifest of everything it needs, and golden rows checked at load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tenfold.core.errors import DefinitionError, MissingExtra, SchemaError
from tenfold.training.calibrate import calibrated
from tenfold.training.predictor import Predictor

GOLDEN_ROWS = 32
_MODEL, _MANIFEST = "model.txt", "manifest.json"


class LightGBMPredictor:
    """A LightGBM booster in its own text format; probabilities for classifiers."""

    def __init__(self, text: str) -> None:
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise MissingExtra("LightGBMPredictor", "lightgbm") from error

        self.text = text
        self._booster = lightgbm.Booster(model_str=text)

    def predict(self, X: np.ndarray) -> np.ndarray:
        threads = 1 if len(X) < 1000 else 2  # waiting for a second thread costs more than a few rows
        return np.asarray(self._booster.predict(X, num_threads=threads))

    @property
    def trees(self) -> int:
        """How many trees there are for each class."""
        return int(self._booster.current_iteration())

    def predict_with(self, X: np.ndarray, trees: int) -> np.ndarray:
        """Return what the first trees alone predict."""
        return np.asarray(self._booster.predict(X, num_iteration=trees, num_threads=1))

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """Return what each feature adds to each score before the link: (n_rows, n_features) float64 (SHAP)."""
        found = np.asarray(self._booster.predict(X, pred_contrib=True, num_threads=1))
        return found.reshape(len(X), -1, X.shape[1] + 1)[:, :, :-1].sum(axis=1)

    def importance(self) -> np.ndarray:
        gain = self._booster.feature_importance("gain")
        return gain / max(gain.sum(), 1e-300)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a version was made from and what it needs to answer.

    `columns` are the model's features in order with their types; `categories` the known values of the text ones;
    `reference` and `limits` are what drift is measured against;
    `golden_rows` and `golden_scores` are replayed whenever the version is loaded.
    """

    model: str
    declaration: str
    columns: dict[str, str]
    categories: dict[str, list[str]]
    views: dict[str, str]
    threshold: float
    metrics: dict[str, float | None]
    reference: dict[str, Any]
    limits: dict[str, float]
    importance: dict[str, float]
    tables: dict[str, int]
    training_set: str
    rows: int
    period: tuple[int, int]
    libraries: dict[str, str]
    golden_rows: bytes
    golden_scores: bytes
    evaluation: dict[str, Any] = {}
    calibration: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Package:
    """A version in memory."""

    predictor: Predictor
    manifest: Manifest

    def files(self) -> dict[str, bytes]:
        """Return the files to store."""
        return {
            **stored(getattr(self.predictor, "inner", self.predictor)),
            _MANIFEST: msgspec.json.encode(self.manifest),
        }


def stored(predictor: Predictor) -> dict[str, bytes]:
    """Return the native files of a predictor, without a manifest; its calibration is not part of them."""
    text = getattr(predictor, "text", None)
    if text is None:
        raise DefinitionError(f"{type(predictor).__name__} has no native format to store.")
    return {_MODEL: text.encode()}


def restored(files: Mapping[str, bytes]) -> Predictor:
    """Return the predictor that `stored` gave the files of."""
    return LightGBMPredictor(files[_MODEL].decode())


def predictor_of(estimator: Any) -> Predictor:
    """Return the native predictor of a fitted estimator.

    Raises
    ------
    DefinitionError
        When the estimator has no format that is safe to load: tenfold never stores pickles.
    """
    booster = getattr(estimator, "booster_", None)
    if booster is None:
        raise DefinitionError(
            f"{type(estimator).__name__} cannot be stored: only LightGBM's estimators have a safe native format here. "
            "Use LGBMClassifier or LGBMRegressor."
        )
    return LightGBMPredictor(booster.model_to_string())


def load(files: Mapping[str, bytes]) -> Package:
    """Return a version from its files, after its golden rows gave the stored scores again, bit for bit.

    Raises
    ------
    SchemaError
        When they did not: the library or the machine computes something else than where the version was tested.
    """
    manifest = msgspec.json.decode(files[_MANIFEST], type=Manifest)
    predictor = calibrated(restored(files), manifest.calibration)
    rows = np.frombuffer(manifest.golden_rows, dtype=np.float64).reshape(-1, len(manifest.columns))
    stored = np.frombuffer(manifest.golden_scores, dtype=np.float64)
    differing = int((predictor.predict(rows) != stored).sum())
    if differing:
        raise SchemaError(
            f"{differing} of {len(stored)} golden rows of model {manifest.model} score differently here than when it was "
            f"trained with {manifest.libraries}. Train it again on this machine, or install those versions."
        )
    return Package(predictor, manifest)


def golden(X: np.ndarray, scores: np.ndarray) -> tuple[bytes, bytes]:
    """Return evenly spaced rows and their scores as bytes."""
    places = np.unique(np.linspace(0, len(X) - 1, GOLDEN_ROWS).astype(np.int64))
    return np.ascontiguousarray(X[places]).tobytes(), scores[places].tobytes()


def libraries(names: Sequence[str]) -> dict[str, str]:
    """Return the installed versions of packages."""
    from importlib.metadata import version

    return {name: version(name) for name in names}
