"""What a version says of rows, and how a client is told: by the kind of the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tenfold.core.times import iso
from tenfold.serving.answer.predictions import NO_CLASSES, Predictions
from tenfold.serving.rows.many import FEW
from tenfold.training.package import Manifest

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode, _lines = msgspec.json.Encoder().encode, msgspec.json.Encoder().encode_lines
_ORDER = (
    "prediction_id",
    "model",
    "version",
    "prediction",
    "score",
    "decision",
    "threshold",
    "probabilities",
    "outputs",
    "outputs_by",
    "as_of",
)
"""What an answer says, in this order, of which a version has some; then how old the features were."""


class Said(NamedTuple):
    """Scores, decisions and probabilities of n rows; NaN for a class that the version of a row has not learned."""

    score: np.ndarray
    decision: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

    @property
    def shares(self) -> np.ndarray:
        """The probabilities as `Predictions` holds them: 0 for a class that the version of a row has not learned."""
        if not self.classes:
            return self.probabilities
        unknown = np.isnan(self.probabilities) & np.isfinite(self.score)[:, None]
        return np.where(unknown, 0.0, self.probabilities)

    def of(self, place: int) -> "Said":
        """Return what was said of one row."""
        row = slice(place, place + 1)
        return Said(self.score[row], self.decision[row], self.probabilities[row], self.classes)


def said(manifest: Manifest, found: np.ndarray) -> Said:
    """Return what a version's predictor gave as scores, decisions and probabilities."""
    if manifest.kind == "multiclass":
        return Said(found.max(axis=1), _undecided(len(found)), found, _classes(manifest))
    if manifest.threshold is None:
        return Said(found, _undecided(len(found)), NO_CLASSES, ())
    decision = found >= manifest.threshold
    if not all_numbers(found):  # what is no number decides nothing
        decision = decision.astype(object)
        decision[~np.isfinite(found)] = None
    return Said(found, decision, NO_CLASSES, ())


def all_numbers(scores: np.ndarray) -> bool:
    """Return False when a score is no number, or all together are too large for one: a sum costs less than to look at each."""
    # numpy takes longer to begin than a few take
    return isfinite(sum(scores.tolist()) if len(scores) <= FEW else scores.sum())


def _undecided(rows: int) -> np.ndarray:
    return np.full(rows, None, dtype=object)


def as_dict(answers: Predictions, place: int, manifest: Manifest, views: Sequence[str]) -> dict[str, Any]:
    """Return one prediction as what a client gets."""
    one = answers.take(np.array([place]))
    return _decode(as_json(one, {int(one.version[0]): manifest}, views)[0])


def as_json(
    answers: Predictions,
    manifests: Mapping[int, Manifest],
    views: Sequence[str],
    besides: Mapping[str, Any] = MappingProxyType({}),
) -> list[bytes]:
    """Return predictions as what clients get.

    Parameters
    ----------
    manifests
        Those of their versions, by number.
    besides
        What is said of each of them too.
    """
    if len(manifests) == 1:
        ((number, manifest),) = manifests.items()
        return _of_version(answers, number, manifest, views, besides)
    found = [b""] * len(answers)
    for number, manifest in manifests.items():
        rows = np.flatnonzero(answers.version == number)
        texts = _of_version(answers.take(rows), number, manifest, views, besides)
        for place, text in zip(rows.tolist(), texts, strict=True):
            found[place] = text
    return found


def apart(answers: Predictions, manifests: Mapping[int, Manifest]) -> list[Predictions]:
    """Return predictions in parts whose versions know the same classes, and these alone: a row is stored as if no other were there."""
    known = {number: _classes(manifest) for number, manifest in manifests.items()}
    if len({*known.values()}) < 2:
        return [answers]
    found = []
    for classes in dict.fromkeys(known.values()):
        rows = np.isin(answers.version, [number for number, own in known.items() if own == classes])
        if rows.any():
            part = answers.take(np.flatnonzero(rows))
            own = part.probabilities[:, [answers.classes.index(name) for name in classes]]
            found.append(replace(part, probabilities=own, classes=classes))
    return found


def _classes(manifest: Manifest) -> tuple[str, ...]:
    return tuple(map(str, manifest.classes)) if manifest.kind == "multiclass" else ()


def json_lines(values: Iterable[Any]) -> list[str]:
    r"""Return values as JSON, all in one step; what is no number is null.

    Examples
    --------
    >>> json_lines([1.5, float("nan"), "a\nb"])
    ['1.5', 'null', '"a\\nb"']
    """
    # a list, for msgspec 0.22 never frees another iterable that it is given here
    return _lines(list(values)).decode().split("\n")[:-1]


def _of_version(
    answers: Predictions,
    number: int,
    manifest: Manifest,
    views: Sequence[str],
    besides: Mapping[str, Any],
) -> list[bytes]:
    """Return the answers of one version: what they have in common is written once, the rest column by column."""
    columns: dict[str, Sequence[str]] = {
        "prediction_id": json_lines(answers.id),
        **_said(answers, manifest),
        **_ruled(answers),
        "as_of": json_lines(map(iso, answers.at.tolist())),
    }
    threshold = None if manifest.kind == "multiclass" else manifest.threshold
    told = "".join(f",{_text(name)}:{_text(value)}" for name, value in besides.items())
    form = _form(answers.model, number, threshold, tuple(columns), tuple(views), told)
    ages = map(json_lines, (answers.ages / 1e6).T.tolist())
    return [(form % row).encode() for row in zip(*columns.values(), *ages, strict=True)]


@lru_cache(256)
def _form(
    model: str,
    number: int,
    threshold: float | None,
    columns: Sequence[str],
    views: Sequence[str],
    told: str,
) -> str:
    """Return an answer of a version with a place for each column, and then for the age of each view."""
    fixed: dict[str, Any] = {"model": model, "version": number}
    if threshold is not None:
        fixed["threshold"] = threshold
    form = [
        f"{_text(name)}:{'%s' if name in columns else _text(fixed[name])}"
        for name in _ORDER
        if name in columns or name in fixed
    ]
    ages = ",".join(f"{_text(view)}:%s" for view in views)
    return f'{{{",".join(form)},"ages_s":{{{ages}}}{told}}}'


def _text(value: Any) -> str:
    """Return a value as JSON within a form."""
    return _encode(value).decode().replace("%", "%%")


def _ruled(answers: Predictions) -> dict[str, Sequence[str]]:
    """Return the outputs, and by which rules they were made; nothing for a model without."""
    if not any(answers.outputs):
        return {}
    return {"outputs": answers.outputs, "outputs_by": json_lines(answers.outputs_by)}


def _said(answers: Predictions, manifest: Manifest) -> dict[str, Sequence[str]]:
    """Return what the version said, by the kind of the model."""
    score = json_lines(answers.score.tolist())
    if manifest.kind == "multiclass":
        names = list(map(str, manifest.classes))
        # there may be classes of other versions
        own = answers.probabilities[:, [answers.classes.index(name) for name in names]]
        each = [dict(zip(names, row, strict=True)) for row in own.tolist()]
        chosen = [
            manifest.classes[place] if fine else None
            for place, fine in zip(
                own.argmax(axis=1).tolist(), np.isfinite(answers.score).tolist(), strict=True
            )
        ]
        return {"prediction": json_lines(chosen), "score": score, "probabilities": json_lines(each)}
    if manifest.threshold is None:
        return {"prediction": score, "score": score}
    decision = json_lines(answers.decision.tolist())
    return {"prediction": decision, "score": score, "decision": decision}
