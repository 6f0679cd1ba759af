"""What a version says of rows, and how a client is told: by the kind of the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tenfold.core.times import iso
from tenfold.serving.predictions import NO_CLASSES, Predictions
from tenfold.training.package import Manifest

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Said:
    """Scores, decisions and probabilities of n rows, as `Predictions` holds them."""

    score: np.ndarray
    decision: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

    def of(self, place: int) -> "Said":
        """Return what was said of one row."""
        row = slice(place, place + 1)
        return Said(self.score[row], self.decision[row], self.probabilities[row], self.classes)


def said(manifest: Manifest, found: np.ndarray) -> Said:
    """Return what a version's predictor gave as scores, decisions and probabilities."""
    if manifest.kind == "multiclass":
        names = tuple(map(str, manifest.classes))
        return Said(found.max(axis=1), _undecided(len(found)), found, names)
    if manifest.threshold is None:
        return Said(found, _undecided(len(found)), NO_CLASSES, ())
    return Said(found, found >= manifest.threshold, NO_CLASSES, ())


def _undecided(rows: int) -> np.ndarray:
    return np.full(rows, None, dtype=object)


def as_dict(answers: Predictions, place: int, manifest: Manifest, views: Sequence[str]) -> dict[str, Any]:
    """Return one prediction as what a client gets."""
    ages = answers.ages[place]
    return {
        "prediction_id": answers.id[place],
        "model": answers.model,
        "version": int(answers.version[place]),
        **_by_kind(answers, place, manifest),
        **_by_rule(answers, place),
        "as_of": iso(int(answers.at[place])),
        "ages_s": {
            name: None if np.isnan(age) else age / 1e6 for name, age in zip(views, ages.tolist(), strict=True)
        },
    }


def _by_rule(answers: Predictions, place: int) -> dict[str, Any]:
    """Return the outputs, and by which rules they were made; nothing for a model without."""
    if not answers.outputs[place]:
        return {}
    return {"outputs": _decode(answers.outputs[place]), "outputs_by": answers.outputs_by[place]}


def _by_kind(answers: Predictions, place: int, manifest: Manifest) -> dict[str, Any]:
    score = float(answers.score[place])
    if manifest.kind == "multiclass":
        shares = answers.probabilities[place].tolist()
        named = dict(zip(answers.classes, shares, strict=True))
        chosen = max(
            manifest.classes, key=lambda name: named[str(name)]
        )  # there may be classes of other versions
        return {"prediction": chosen, "score": score, "probabilities": named}
    if manifest.threshold is None:
        return {"prediction": score, "score": score}
    decision = bool(answers.decision[place])
    return {
        "prediction": decision,
        "score": score,
        "decision": decision,
        "threshold": manifest.threshold,
    }
