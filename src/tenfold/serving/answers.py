"""What a version says of rows, and how a client is told: by the kind of the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
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
    return as_dicts(answers.take(np.array([place])), [manifest], views)[0]


def as_dicts(
    answers: Predictions, manifests: Sequence[Manifest], views: Sequence[str]
) -> list[dict[str, Any]]:
    """Return predictions, each with the manifest of its version, as what clients get."""
    moments = {at: iso(at) for at in set(answers.at.tolist())}
    versions, ages = answers.version.tolist(), (answers.ages / 1e6).tolist()
    kinds = _by_kind(answers, manifests)
    rules = [_by_rule(*each) for each in zip(answers.outputs, answers.outputs_by, strict=True)]
    return [
        {
            "prediction_id": name,
            "model": answers.model,
            "version": versions[place],
            **kinds[place],
            **rules[place],
            "as_of": moments[at],
            "ages_s": dict(zip(views, [None if isnan(age) else age for age in ages[place]], strict=True)),
        }
        for place, (name, at) in enumerate(zip(answers.id, answers.at.tolist(), strict=True))
    ]


def _by_rule(outputs: str, by: str) -> dict[str, Any]:
    """Return the outputs, and by which rules they were made; nothing for a model without."""
    return {"outputs": _decode(outputs), "outputs_by": by} if outputs else {}


def _by_kind(answers: Predictions, manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    each = zip(manifests, answers.score.tolist(), answers.decision.tolist(), strict=True)
    return [
        _several(answers, place, manifest, score)
        if manifest.kind == "multiclass"
        else {"prediction": score, "score": score}
        if manifest.threshold is None
        else {"prediction": decision, "score": score, "decision": decision, "threshold": manifest.threshold}
        for place, (manifest, score, decision) in enumerate(each)
    ]


def _several(answers: Predictions, place: int, manifest: Manifest, score: float) -> dict[str, Any]:
    named = dict(zip(answers.classes, answers.probabilities[place].tolist(), strict=True))
    # there may be classes of other versions
    chosen = max(manifest.classes, key=lambda name: named[str(name)])
    return {"prediction": chosen, "score": score, "probabilities": named}
