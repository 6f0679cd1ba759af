"""Versions that were trained elsewhere: a file, or a version that was taken over, measured here and registered like any other."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.core.times import to_us
from tenfold.registry.versions import Version
from tenfold.training.dataset import Dataset
from tenfold.training.estimators import Fitted, classes_of
from tenfold.training.folds import first_row, newest_split
from tenfold.training.foreign import FILES, Columns, Foreign, inputs_of, opened
from tenfold.training.formats.base import Context
from tenfold.training.imported import INPUTS
from tenfold.training.model import Model
from tenfold.training.package import stored
from tenfold.training.pipeline import Training, execute, pipeline_steps
from tenfold.training.train import Trainer

VERSION = re.compile(r"(.+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Given:
    """What is to be registered: the bytes of a file, what is known of its inputs, and where it came from."""

    file: str
    data: bytes
    told: Mapping[str, Any]
    signature: Sequence[tuple[str, str]] = ()
    until: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)


def register(
    trainer: Trainer,
    model: Model,
    dataset: Dataset,
    now: int,
    what: str | Path | Version,
    *,
    columns: Columns | None = None,
    trained_until: Any = None,
    classes: Sequence[str | int] | None = None,
) -> Version:
    """Measure a model on the newest mature rows, and register it with its manifest and golden rows.

    Parameters
    ----------
    what
        The path of a file, or a version that was taken over from another system, also as "risk/3".
    columns
        Which of the model's columns it takes: all of them, in the order of the file, or by what they are called in it.
        Needed where its names are others.
    trained_until
        It learned from rows before this moment. When not given: the end of the training period, or when the run that was
        taken over with it ended, if that is later. A gate refuses it where that is later than the test period begins.
    classes
        What the columns of its probabilities stand for, for a model of several classes; when not given, what the file
        says, or those that occur in the training period, in order.

    Raises
    ------
    DefinitionError
        When it does not take the model's columns, or does not give what the model predicts.
    SchemaError
        When it cannot be read, or holds what the model does not trust.
    """
    given = _given(trainer, what)
    foreign = opened(given.file, given.data, model)
    inputs = inputs_of(foreign, model, columns, given.signature)
    split = newest_split(model, now, first_row(dataset))
    until = max(split.train[1], given.until) if trained_until is None else to_us(trained_until)
    split = replace(split, train=(split.train[0], until))
    known = foreign.categories(model, inputs) or None
    named = list(classes or foreign.classes) if model.kind == "multiclass" else []
    once = replace(model, tune=None, folds=0)
    training = Training(once, dataset, split, categories=known, classes=named, elsewhere=True)
    fitted = _fitted(foreign, inputs, training, named)
    _try(given.file, fitted, training)
    told = {
        **given.told,
        "sha256": hashlib.sha256(given.data).hexdigest(),
        "columns": inputs,
        "train": list(split.train),
        "test": list(split.test),
        "now": split.now,
        "period": split.text,
    }
    run = trainer.runs.start(
        "register",
        model.name,
        params=told,
        data=dict(dataset.history.versions),
        code={"declaration": model.fingerprint, **trainer.code},
    )
    try:
        found = _registered(trainer, training, fitted, run.id, given.origin)
    except Exception as error:
        trainer.runs.fail(run.id, f"{type(error).__name__}: {error}")
        raise
    metrics = {key: math.nan if value is None else value for key, value in found.info["metrics"].items()}
    trainer.runs.finish(run.id, metrics=metrics, artefact=found.artefact)
    return found


def _registered(
    trainer: Trainer, training: Training, fitted: Fitted, run_id: str, origin: Mapping[str, Any]
) -> Version:
    training.parts.make("fit", lambda: stored(fitted))
    execute(pipeline_steps(training.model, lambda _: training))
    package = training.package()
    name, manifest = f"{training.model.name}/{run_id}", package.manifest
    info = {
        "metrics": manifest.metrics,
        "rows": manifest.rows,
        "period": training.split.text,
        "training_set": manifest.training_set,
        **origin,
    }
    digest = trainer.blobs.put(name, package.files())
    return trainer.registry.register(
        training.model.name, run_id=run_id, digest=digest, artefact=name, info=info
    )


def _given(trainer: Trainer, what: str | Path | Version) -> Given:
    if isinstance(what, Version):
        return _taken_over(trainer, what)
    path = Path(what)
    if path.suffix in FILES:
        return Given(FILES[path.suffix], _read(path), {"file": path.name})
    if named := VERSION.fullmatch(str(what)):
        return _taken_over(trainer, trainer.registry.get(named[1], int(named[2])))
    raise DefinitionError(
        f'"{what}" is no model file by its name. Register one that ends in {", ".join(FILES)}, or a version that was taken over, '
        'such as "risk/3"; estimators are trained here: app.train(model).'
    )


def _taken_over(trainer: Trainer, version: Version) -> Given:
    """Return the file of a version of another system, with what was recorded beside it."""
    files = trainer.blobs.get(version.artefact)
    run = trainer.runs.get(version.run_id)
    names = [name for name in FILES.values() if name in files]
    if run.kind != "import" or not names:
        raise DefinitionError(
            f"{version.model}/{version.number} was not taken over from another system. Promote it as it is: "
            f'app.promote("{version.model}", {version.number}).'
        )
    signature = msgspec.json.decode(files.get(INPUTS, b"[]"), type=list[tuple[str, str]])
    told = {"file": names[0], "version": f"{version.model}/{version.number}", "run": version.run_id}
    systems = {
        name: value for name, value in version.info.items() if isinstance(value, dict) and "run" in value
    }
    return Given(names[0], files[names[0]], told, signature, run.finished or 0, systems)


def _fitted(
    foreign: Foreign, inputs: Mapping[str, str], training: Training, named: Sequence[str | int]
) -> Fitted:
    model, categories = training.model, training.material.categories
    context = Context(model.kind, model.columns, categories, None, model.trusted)
    engine = foreign.engine(context, inputs)
    known = named or classes_of(model.kind, training.material.learned)
    return Fitted(engine, model.kind, categories, known)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DefinitionError(f'"{path}" cannot be read: {why}.') from error


def _try(file: str, fitted: Fitted, training: Training) -> None:
    """Score a few rows, and compare what comes with what the model predicts."""
    material, kind = training.material, training.model.kind
    try:
        found = fitted.predict(material.X[material.test()][:64])
    except SchemaError as error:
        raise DefinitionError(str(error)) from error
    except Exception as error:  # each library has errors of its own
        raise DefinitionError(f"{file} scores no rows of these columns: {str(error)[:300]}") from error
    if found.ndim == 2 and found.shape[1] != len(fitted.classes):
        raise DefinitionError(
            f"the file gives {found.shape[1]} probabilities, and the classes are {', '.join(map(str, fitted.classes))}. Say "
            "which there are, in the file's order: app.register(model, path, classes=[...])."
        )
    if kind in ("binary", "multiclass") and not np.all((found >= 0) & (found <= 1)):
        raise DefinitionError(
            f"{file} gives {found.min():.4g} to {found.max():.4g}, and a model that is {kind} gives probabilities: 0 to 1."
        )
