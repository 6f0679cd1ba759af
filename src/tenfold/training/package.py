"""A trained version as files: the model in its own format, a manifest of everything it needs, golden rows checked at load."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.processing.frame import Column
from tenfold.training.calibrate import calibrated
from tenfold.training.estimators import Fitted
from tenfold.training.formats import engine_from
from tenfold.training.formats.base import Context
from tenfold.training.kinds import Kind
from tenfold.training.model import Model
from tenfold.training.predictor import Predictor
from tenfold.training.vector import encode

GOLDEN_ROWS = 32
MANIFEST, _ABOUT = "manifest.json", "fitted.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a version was made from and what it needs to answer.

    `columns` are the model's features in order with their types, `fingerprints` the hashes of what they are;
    `definitions` and `label` say what they are and what is predicted, to be read; `categories` the known values of
    the text ones;
    `classes` what the probabilities stand for when there are several; `files` the sha256 of every other file;
    `reference` and `limits` are what drift is measured against; `evaluation` is how well it did, in full;
    `golden_rows` and `golden_scores` are replayed whenever the version is loaded; `inputs` says how a file from elsewhere
    names the columns, in its order.
    """

    model: str
    kind: Kind
    format: str
    declaration: str
    columns: dict[str, str]
    fingerprints: dict[str, str] = {}
    definitions: dict[str, str] = {}
    label: str = ""
    categories: dict[str, list[str]]
    classes: list[str | int]
    views: dict[str, str]
    threshold: float | None
    metrics: dict[str, float | None]
    evaluation: dict[str, Any] = {}
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
    files: dict[str, str] = {}
    calibration: dict[str, Any] | None = None
    inputs: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Package:
    """A version in memory."""

    predictor: Predictor
    manifest: Manifest

    def matrix(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Return what the predictor takes of columns, of which there may be more, in any order: (n_rows, n_features) float64."""
        mine = {name: columns[name] for name in self.manifest.columns}
        return encode(mine, self.manifest.categories)

    def files(self) -> dict[str, bytes]:
        """Return the files to store."""
        files = self.predictor.files()
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
        manifest = msgspec.structs.replace(self.manifest, files=hashes)
        return {**files, MANIFEST: msgspec.json.encode(manifest)}


def load(files: Mapping[str, bytes], model: Model) -> Package:
    """Return a version from its files, after its golden rows gave the stored scores again, bit for bit.

    Parameters
    ----------
    model
        The declaration, which says what may be loaded (`trusted`).

    Raises
    ------
    SchemaError
        When a file is not the one that was stored, or a golden row scores differently: the library or the machine computes
        something else than where the version was tested.
    """
    manifest = manifest_of(files, model.name)
    _check_files(files, manifest)
    fitted = _fitted(files, manifest, model)
    predictor = calibrated(fitted, manifest.calibration)
    _replay(predictor, manifest)
    return Package(predictor, manifest)


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """What a fitted estimator is, beside its own files."""

    format: str
    categories: dict[str, list[str]]
    classes: list[str | int]
    inputs: dict[str, str] = {}


def stored(predictor: Fitted) -> dict[str, bytes]:
    """Return a fitted estimator as files, without a manifest; its calibration is not part of them."""
    about = _About(
        format=predictor.engine.format,
        categories={name: list(known) for name, known in predictor.categories.items()},
        classes=list(predictor.classes),
        inputs=dict(predictor.inputs),
    )
    return {**predictor.files(), _ABOUT: msgspec.json.encode(about)}


def restored(files: Mapping[str, bytes], model: Model) -> Fitted:
    """Return the fitted estimator that `stored` gave the files of."""
    about = msgspec.json.decode(files[_ABOUT], type=_About)
    return _fitted(files, about, model)


def _fitted(files: Mapping[str, bytes], about: _About | Manifest, model: Model) -> Fitted:
    columns = about.columns if isinstance(about, Manifest) else model.columns
    context = Context(model.kind, columns, about.categories, model.estimator, model.trusted)
    engine = engine_from(about.format, files, context, about.inputs or {})
    return Fitted(engine, model.kind, about.categories, about.classes)


def manifest_of(files: Mapping[str, bytes], model: str) -> Manifest:
    """Return the manifest among the files of a version; SchemaError when there is none, or it cannot be read."""
    if MANIFEST not in files:
        raise SchemaError(
            f"a version of model {model} has no {MANIFEST}: it was damaged, or taken over from another system, of which nobody "
            "knows whether it saw the same features. To serve it, say which features it takes: tenfold models register; or train the "
            "model here."
        )
    try:
        return msgspec.json.decode(files[MANIFEST], type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SchemaError(
            f"{MANIFEST} of model {model} cannot be read: {error}. The version is damaged or of another release of "
            "tenfold. Roll back, or train it again."
        ) from error


def _check_files(files: Mapping[str, bytes], manifest: Manifest) -> None:
    """Refuse files that are not the ones that were stored."""
    for name in sorted({*files, *manifest.files} - {MANIFEST}):
        if name not in files:
            told = "is missing"
        elif name not in manifest.files:
            told = "was not stored with it"
        elif hashlib.sha256(files[name]).hexdigest() != manifest.files[name]:
            told = "has another sha256 than when it was stored"
        else:
            continue
        raise SchemaError(f"{name} of model {manifest.model} {told}. Roll back, or train it again.")


def _replay(predictor: Predictor, manifest: Manifest) -> None:
    """Score the golden rows together and one by one, and refuse a version that scores one differently."""
    rows = np.frombuffer(manifest.golden_rows, dtype=np.float64).reshape(-1, len(manifest.columns))
    stored = np.frombuffer(manifest.golden_scores, dtype=np.float64).reshape(len(rows), -1)
    differs = _differ(predictor.predict(rows), stored) | _differ_alone(predictor, rows, stored)
    if differs.any():
        raise SchemaError(
            f"{differs.sum()} of {len(rows)} golden rows of model {manifest.model} score differently here than when it was "
            f"trained with {manifest.libraries}. Train it again on this machine, or install those versions."
        )


def check_alone(model: str, predictor: Predictor, rows: np.ndarray, scores: np.ndarray) -> None:
    """Refuse an estimator that scores a row differently alone and among others: what is served would not be what was tested.

    Raises
    ------
    DefinitionError
        When a bit differs.
    """
    differs = _differ_alone(predictor, rows, scores.reshape(len(rows), -1))
    if differs.any():
        raise DefinitionError(
            f'model "{model}": {differs.sum()} of {len(rows)} rows have another score alone than among others, so its estimator '
            "cannot be served. Does its predict look at other rows, or draw random numbers?"
        )


def _differ_alone(predictor: Predictor, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return which rows have other scores, (n_rows, n_scores), when each is predicted alone."""
    found = [
        _differ(predictor.predict(row[None]), one[None])[0] for row, one in zip(rows, scores, strict=True)
    ]
    return np.array(found, dtype=np.bool_)


def _differ(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return which rows are not the same bits."""
    found = np.ascontiguousarray(scores, dtype=np.float64).reshape(len(wanted), -1)
    if found.shape != wanted.shape:
        return np.ones(len(wanted), dtype=np.bool_)
    return (found.view(np.int64) != np.ascontiguousarray(wanted).view(np.int64)).any(axis=1)


def golden(X: np.ndarray, scores: np.ndarray) -> tuple[bytes, bytes]:
    """Return evenly spaced rows and their scores as bytes."""
    places = np.unique(np.linspace(0, len(X) - 1, GOLDEN_ROWS).astype(np.int64))
    return np.ascontiguousarray(X[places]).tobytes(), np.ascontiguousarray(scores[places]).tobytes()


def libraries(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages, of those that are installed: a library may come under one of two names."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
