"""What the outcomes say of a candidate: losses of both versions on the same rows, of matured cohorts only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tenfold.automation.release import Release
from tenfold.core.times import FOREVER
from tenfold.monitoring.performance import Matured, known_by, values_of, with_outcomes
from tenfold.registry.rollouts import Rollout
from tenfold.registry.versions import Registry
from tenfold.serving.answer.predictions import BATCH, ONLINE, SHADOW, Predictions, read
from tenfold.serving.scores import listed
from tenfold.sources.base import Lake
from tenfold.store.offline import History
from tenfold.tracking.runs import Runs
from tenfold.training.dataset import Dataset
from tenfold.training.estimators import together
from tenfold.training.losses import LARGEST, losses
from tenfold.training.model import Model

if TYPE_CHECKING:
    import pyarrow as pa

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


def pairs_of(release: Release, lake: Lake, dataset: Dataset, rollout: Rollout, since: int, now: int) -> Pairs:
    """Return the pairs of a rollout whose outcome is known and final, of rows predicted at `since` or later, from the lake."""
    model = release.model
    both = rollout.champion, rollout.candidate
    unused = UNUSED if model.groups or release.unit else (*UNUSED, "request")
    # not from when it began: a day that is scored later is evidence, unless a version has learned its outcomes by heart
    lean: dict[str, Any] = {"without": unused, "arrow": True}
    shadow = read(lake, model.name, SHADOW, since, FOREVER // 4, both, **lean)
    first = int(shadow.at.min(initial=FOREVER // 4))
    told = [read(lake, model.name, mode, first, FOREVER // 4, both, **lean) for mode in (ONLINE, BATCH)]
    return pairs(model, dataset.history, told, shadow, both, now, release.unit)


def pairs(
    model: Model,
    history: History,
    answered: Sequence[Predictions],
    shadow: Predictions,
    versions: tuple[int, int],
    now: int,
    unit: str | None = None,
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
    unit
        A field of the spine: rows with the same value of it count once, with their first pair.
    """
    left_out, found = 0, []
    for one in answered:
        mine, theirs, blank = _same_requests(one, shadow, versions)
        left_out += blank
        if len(mine):
            found.append(_paired(model, history, one.take(mine), shadow.take(theirs), versions, now, unit))
    if not found:
        return Pairs(np.zeros(0), np.zeros(0), LARGEST.get(model.kind), left_out)
    at, champion, candidate = (np.concatenate(parts) for parts in list(zip(*found, strict=True))[1:])
    kept = first_of_each([one.name for one in found], at)
    return Pairs(champion[kept], candidate[kept], LARGEST.get(model.kind), left_out)


class _Units(NamedTuple):
    """Rows, or groups of rows that are ranked: the name of each, when it was answered, both losses."""

    name: "pa.Array"
    at: np.ndarray
    champion: np.ndarray
    candidate: np.ndarray


def first_of_each(names: "Sequence[pa.Array]", at: np.ndarray) -> np.ndarray:
    """Return the positions of the first unit of each name, in the order in which they were answered."""
    import pyarrow as pa

    codes = pa.concat_arrays(names).dictionary_encode().indices.to_numpy()
    latest_first = np.argsort(-at, kind="stable")
    _, seen = np.unique(codes[latest_first], return_index=True)
    _, last = np.unique(codes[latest_first[::-1]], return_index=True)
    first = latest_first[::-1][last][np.argsort(seen)]
    kept: np.ndarray = first[np.argsort(at[first], kind="stable")]
    return kept


def _paired(
    model: Model,
    history: History,
    told: Predictions,
    shadow: Predictions,
    versions: tuple[int, int],
    now: int,
    unit: str | None,
) -> _Units:
    # both are of the same rows, as of the same moments, and so have the same outcomes
    rows, y, known = known_by(model, history, told, now)
    aside = replace(shadow, mode=told.mode, request=told.request)
    parts = [part.take(rows) for part in (told, aside)]
    if model.groups or unit:
        parts = list(map(listed, parts))  # it reads the requests
    one, two = (with_outcomes(model, history, part, y, known) for part in parts)
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
    names, at = _names(one)
    if unit is not None:
        names = _shared(names, values_of(model, history, parts[0], unit))
    return _Units(names, at, *found)


def _same_requests(
    answered: Predictions, shadow: Predictions, versions: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the places of requests that one version answered and the other was asked about, both with a number, and how many lack one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    told, aside = (pa.array(part.id, pa.string()) for part in (answered, shadow))
    places = pc.index_in(aside, value_set=told)
    theirs = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False))
    mine = places.drop_null().to_numpy().astype(np.int64)
    asked = np.sort(np.stack([answered.version[mine], shadow.version[theirs]], axis=1), axis=1)
    fits = (asked == np.sort(versions)).all(axis=1)
    known = fits & np.isfinite(answered.score[mine]) & np.isfinite(shadow.score[theirs])
    return mine[known], theirs[known], int(fits.sum() - known.sum())


def _names(rows: Matured) -> "tuple[pa.Array, np.ndarray]":
    """Return what each unit is called and when it was answered, in the order of its losses."""
    import pyarrow as pa

    if rows.groups is None:
        return pa.array(rows.predictions.row, pa.string()), rows.predictions.at
    names, first = np.unique(rows.groups, return_index=True)
    return pa.array(names, pa.string()), rows.predictions.at[first]


def _shared(rows: "pa.Array", values: Sequence[Any]) -> "pa.Array":
    """Return the name of the unit of each row: its value, or its own name where it has none."""
    import pyarrow as pa

    both = zip(values, rows.to_pylist(), strict=True)
    return pa.array([f"row {row}" if value is None else f"value {value}" for value, row in both], pa.string())
