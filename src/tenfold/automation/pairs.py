"""What the outcomes say of a candidate: losses of both versions on the same rows, of matured cohorts only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.monitoring.performance import Matured, mature
from tenfold.registry.rollouts import Rollout
from tenfold.registry.versions import Registry
from tenfold.serving.answer.predictions import BATCH, ONLINE, SHADOW, Predictions, read
from tenfold.sources.base import Lake
from tenfold.store.offline import History
from tenfold.tracking.runs import Runs
from tenfold.training.dataset import Dataset
from tenfold.training.estimators import together
from tenfold.training.losses import LARGEST, losses
from tenfold.training.model import Model

UNUSED = "features", "ages", "outputs", "outputs_by"
"""What a loss does not depend on."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Losses of a champion and of a candidate on the same rows, in the order the rows were answered.

    As `losses` says: of rows, or of the groups that are ranked. `largest` is the largest a loss can be, None where there is
    no bound. `left_out` counts requests that both were asked about and at least one gave no number for.
    """

    champion: np.ndarray
    candidate: np.ndarray
    largest: float | None
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.champion)


def unseen(model: Model, registry: Registry, runs: Runs, rollout: Rollout) -> int:
    """Return from when on rows are predicted that no version of a rollout learned from, nor from labels of their time."""
    versions = [registry.get(model.name, number) for number in (rollout.champion, rollout.candidate)]
    ends = [int(runs.get(version.run_id).params["train"][1]) for version in versions]
    return max(ends) + model.label.takes_us


def pairs_of(model: Model, lake: Lake, dataset: Dataset, rollout: Rollout, since: int, now: int) -> Pairs:
    """Return the pairs of a rollout whose outcome is known and final, of rows predicted at `since` or later, from the lake."""
    both = rollout.champion, rollout.candidate
    unused = UNUSED if model.groups is not None else (*UNUSED, "request")
    # not from when it began: a day that is scored later is evidence, unless a version has learned its outcomes by heart
    shadow = read(lake, model.name, SHADOW, since, FOREVER // 4, both, without=unused)
    first = int(shadow.at.min(initial=FOREVER // 4))
    told = [
        read(lake, model.name, mode, first, FOREVER // 4, both, without=unused) for mode in (ONLINE, BATCH)
    ]
    return pairs(model, dataset.history, told, shadow, both, now)


def pairs(
    model: Model,
    history: History,
    answered: Sequence[Predictions],
    shadow: Predictions,
    versions: tuple[int, int],
    now: int,
) -> Pairs:
    """Return the pairs whose outcome is known and final.

    A row counts once, with its first pair, and only when the time its label takes has passed for it: of younger rows the
    outcomes that are known first are not like those that come later. A pair has a number of each version: a row that the
    champion gave none for says nothing of which is better.

    Parameters
    ----------
    answered
        What was told to callers, per mode.
    shadow
        What the other version said of the same requests, under the same ids.
    versions
        The numbers of the champion and of the candidate.
    """
    left_out, units = 0, []
    for one in answered:
        mine, theirs, blank = _same_requests(one, shadow, versions)
        left_out += blank
        if len(mine):
            units += _paired(model, history, one.take(mine), shadow.take(theirs), versions, now)
    first = {unit.name: unit for unit in sorted(units, key=lambda unit: -unit.at)}
    kept = sorted(first.values(), key=lambda unit: unit.at)
    both = np.array([(unit.champion, unit.candidate) for unit in kept]).reshape(-1, 2)
    return Pairs(both[:, 0], both[:, 1], LARGEST.get(model.kind), left_out)


class _Unit(NamedTuple):
    """A row, or a group of rows that are ranked: when it was answered, its name, both losses."""

    at: int
    name: str
    champion: float
    candidate: float


def _paired(
    model: Model,
    history: History,
    told: Predictions,
    shadow: Predictions,
    versions: tuple[int, int],
    now: int,
) -> list[_Unit]:
    aside = replace(shadow, mode=told.mode, request=told.request)
    one, two = (mature(model, history, part, now) for part in (told, aside))
    classes = together(one.predictions.classes, two.predictions.classes)
    one, two = one.among(classes), two.among(classes)
    is_candidate = one.predictions.version == versions[1]
    said = [part.predictions.probabilities if classes else part.predictions.score for part in (one, two)]
    by_candidate = is_candidate[:, None] if classes else is_candidate
    kind, metric = model.kind, model.metrics[0]
    found = [
        losses(kind, metric, one.y, np.where(by_candidate, said[1 - place], said[place]), one.groups)
        for place in (0, 1)
    ]
    return [_Unit(*values) for values in zip(*_names(one), *(loss.tolist() for loss in found), strict=True)]


def _same_requests(
    answered: Predictions, shadow: Predictions, versions: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the places of requests that one version answered and the other was asked about, both with a number, and how many lack one."""
    places = {name: place for place, name in enumerate(answered.id)}
    both = [(places[name], place) for place, name in enumerate(shadow.id) if name in places]
    mine, theirs = np.array(both, dtype=np.int64).reshape(-1, 2).T
    asked = np.sort(np.stack([answered.version[mine], shadow.version[theirs]], axis=1), axis=1)
    fits = (asked == np.sort(versions)).all(axis=1)
    known = fits & np.isfinite(answered.score[mine]) & np.isfinite(shadow.score[theirs])
    return mine[known], theirs[known], int(fits.sum() - known.sum())


def _names(rows: Matured) -> tuple[list[int], list[str]]:
    """Return when each unit was answered and what it is called, in the order of its losses."""
    if rows.groups is None:
        return rows.predictions.at.tolist(), list(rows.predictions.row)
    names, first = np.unique(rows.groups, return_index=True)
    return rows.predictions.at[first].tolist(), names.tolist()
