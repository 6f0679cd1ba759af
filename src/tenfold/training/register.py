"""Versions that were trained elsewhere: an ONNX file, measured on the newest mature rows and registered like any other."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.core.times import to_us
from tenfold.registry.versions import Version
from tenfold.training.dataset import Dataset
from tenfold.training.estimators import Fitted, classes_of
from tenfold.training.folds import first_row, newest_split
from tenfold.training.formats.base import Context
from tenfold.training.formats.onnx import Onnx
from tenfold.training.model import Model
from tenfold.training.package import stored
from tenfold.training.pipeline import Training, execute, pipeline_steps
from tenfold.training.train import Trainer


def register(
    trainer: Trainer,
    model: Model,
    dataset: Dataset,
    now: int,
    path: str | Path,
    *,
    trained_until: Any = None,
    classes: Sequence[str | int] | None = None,
) -> Version:
    """Measure a file on the newest mature rows, and register it with its manifest and golden rows.

    Parameters
    ----------
    trained_until
        It learned from rows before this moment: the end of the training period when not given. A gate refuses it where
        that is later than the test period begins.
    classes
        What the columns of its probabilities stand for, for a model of several classes; in order those that occur in the
        training period when not given.

    Raises
    ------
    DefinitionError
        When it is no ONNX file that takes the model's columns and gives what the model predicts.
    """
    data = _read(path)
    split = newest_split(model, now, first_row(dataset))
    if trained_until is not None:
        split = replace(split, train=(split.train[0], to_us(trained_until)))
    training = Training(replace(model, tune=None, folds=0), dataset, split)
    known = list(classes or classes_of(model.kind, training.material.learned))
    context = Context(model.kind, model.columns, training.material.categories, None, model.trusted)
    engine = Onnx.checked(data, context)
    fitted = Fitted(engine, model.kind, training.material.categories, known)
    _try(fitted, training)
    run = trainer.runs.start(
        "register",
        model.name,
        params={
            "file": Path(path).name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "train": list(split.train),
            "test": list(split.test),
            "now": split.now,
            "period": split.text,
        },
        data=dict(dataset.history.versions),
        code={"declaration": model.fingerprint, **trainer.code},
    )
    try:
        training.parts.make("fit", lambda: stored(fitted))
        execute(pipeline_steps(training.model, lambda _: training))
        package = training.package()
        name = f"{model.name}/{run.id}"
        manifest = package.manifest
        info = {
            "metrics": manifest.metrics,
            "rows": manifest.rows,
            "period": split.text,
            "training_set": manifest.training_set,
        }
        found = trainer.registry.register(
            model.name,
            run_id=run.id,
            digest=trainer.blobs.put(name, package.files()),
            artefact=name,
            info=info,
        )
    except Exception as error:
        trainer.runs.fail(run.id, f"{type(error).__name__}: {error}")
        raise
    metrics = {key: math.nan if value is None else value for key, value in manifest.metrics.items()}
    trainer.runs.finish(run.id, metrics=metrics, artefact=name)
    return found


def _read(path: str | Path) -> bytes:
    path = Path(path)
    if path.suffix != ".onnx":
        raise DefinitionError(
            f'"{path}" is no ONNX file by its name. Register a .onnx file; estimators are trained here: app.train(model).'
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise DefinitionError(f'"{path}" cannot be read: {error.strerror}.') from error


def _try(fitted: Fitted, training: Training) -> None:
    """Score a few rows, and compare what comes with what the model predicts."""
    material = training.material
    try:
        found = fitted.predict(material.X[material.test()][:2])
    except SchemaError as error:
        raise DefinitionError(str(error)) from error
    if found.ndim == 2 and found.shape[1] != len(fitted.classes):
        raise DefinitionError(
            f"the file gives {found.shape[1]} probabilities, and the classes are {', '.join(map(str, fitted.classes))}. Say "
            "which there are, in the file's order: app.register(model, path, classes=[...])."
        )
