"""Slices in which a candidate is shown to be worse, with a correction for how many are looked at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.automation.evidence import error_of
from tenfold.training.losses import LARGEST
from tenfold.training.model import Model
from tenfold.training.rows import TrainingSet
from tenfold.training.slices import FEW, SMALL, Slice, slices_of

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Sliced:
    """Whether a slice is shown to be worse by more than the margin, and what is to be told of the slices."""

    failed: bool
    told: Sequence[str]


def worse_slices(model: Model, rows: TrainingSet, worse: np.ndarray, margin: float) -> Sliced:
    """Judge of each slice of a model whether the mean of `worse` there is greater than the margin.

    Holm's correction: the chance that any slice of a candidate that is not worse in any fails is at most 5 %. What is said
    of a slice that passed is the smallest difference that would have been seen in it.

    Parameters
    ----------
    worse : (n_rows,) float64
        How much larger the candidate's loss is, row by row.
    """
    if len(worse) != len(rows):
        return Sliced(False, ["slices are not judged where rows are ranked"] if model.slices else [])
    found = [piece for name in model.slices for piece in slices_of(name, rows.columns[name])]
    binary, largest = model.kind == "binary", LARGEST.get(model.kind)
    errors = [
        math.inf if piece.is_small(rows.y, outcomes=binary) else error_of(worse[piece.rows], largest)
        for piece in found
    ]
    judged = [(piece, error) for piece, error in zip(found, errors, strict=True) if math.isfinite(error)]
    small = [_name(piece) for piece, error in zip(found, errors, strict=True) if not math.isfinite(error)]
    chances = {_name(piece): _chance(worse[piece.rows], margin, error) for piece, error in judged}
    told = [f"{name}: worse by more than {margin:.4g} (p = {chances[name]:.2g})" for name in holm(chances)]
    failed = bool(told)
    if judged and not failed:
        least = max(_seen(margin, error, len(judged)) for _, error in judged)
        told.append(
            f"none of {len(judged)} slices is worse; in each, a loss larger by {least:.2g} would have been seen"
        )
    if small:
        needed = f"{SMALL} are needed" + (f", {FEW} of either outcome" if binary else "")
        told.append(f"not judged, too few rows ({needed}): {', '.join(small)}")
    return Sliced(failed, told)


def holm(chances: dict[str, float]) -> list[str]:
    """Return the names that are rejected: from the smallest p-value on, each against a bound that rises, until one is not.

    Examples
    --------
    >>> holm({"a": 0.04, "b": 0.001, "c": 0.02}), holm({"a": 0.04, "b": 0.03})
    (['b', 'c', 'a'], [])
    """
    found = []
    for place, (name, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        if chance > ALPHA / (len(chances) - place):
            break
        found.append(name)
    return found


def _chance(worse: np.ndarray, margin: float, error: float) -> float:
    """Return the one-sided p-value that the mean is not greater than the margin."""
    if not error:
        return 0.0 if worse.mean() > margin else 1.0
    return 0.5 * math.erfc((worse.mean() - margin) / error / math.sqrt(2))


def _seen(margin: float, error: float, slices: int) -> float:
    """Return the mean difference that would be found in four of five cases at the strictest of Holm's bounds."""
    from statistics import NormalDist

    return float(margin + (NormalDist().inv_cdf(1 - ALPHA / slices) + NormalDist().inv_cdf(0.8)) * error)


def _name(piece: Slice) -> str:
    return f"{piece.feature} {piece.value}"
