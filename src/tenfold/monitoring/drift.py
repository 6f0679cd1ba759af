"""Drift of features against the training set of a version: a report ranked by importance.

A drift verdict is a reason to look, never a reason to retrain or roll back.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from tenfold.training.profile import FLOOR, Bins, Counts, Profile, psi

MUTED_SHARE = 0.01
"""A feature with a smaller share of the importance is muted when it drifts."""

STABLE, DRIFTING, MUTED, NO_DATA = "stable", "drifting", "drifting, unimportant", "no data"


class DriftRow(TypedDict):
    """One feature of a drift report.

    `importance` is its share of all importance, `score` is psi / threshold * importance. `psi` and `score` are NaN
    when there are no live rows.
    """

    feature: str
    importance: float
    psi: float
    threshold: float
    score: float
    verdict: str


def drift_report(
    fixed: Profile, live: Counts, *, importance: Mapping[str, float], limits: Mapping[str, float]
) -> list[DriftRow]:
    """Return one row per feature, the largest product of drift and importance first.

    Features that drift with less than 1 % of the importance are muted and come last. When nothing is known about
    importance (all zero), all features are equally important and none is muted. Features that `limits` (from
    `thresholds`) does not name have the threshold 0.1.

    Examples
    --------
    >>> from tenfold.training.profile import counts, profile
    >>> fixed = profile([[0.0], [1.0]] * 50, ["late"])
    >>> live = counts(fixed, [[1.0]] * 100)
    >>> drift_report(fixed, live, importance={"late": 3.0}, limits={"late": 0.2})[0]["verdict"]
    'drifting'
    """
    shares, least = _shares(fixed.names, importance)
    rows = [
        _row(bins, live[bins.name], shares[bins.name], least, limits.get(bins.name, FLOOR))
        for bins in fixed.features
    ]
    return sorted(rows, key=_rank)


def _row(bins: Bins, live: NDArray[np.int64], share: float, least: float, limit: float) -> DriftRow:
    index = psi(bins.counts, live)
    return DriftRow(
        feature=bins.name,
        importance=share,
        psi=index,
        threshold=limit,
        score=index / limit * share,
        verdict=_verdict(index / limit, muted=share < least),
    )


def _verdict(ratio: float, *, muted: bool) -> str:
    if math.isnan(ratio):
        return NO_DATA
    if ratio <= 1:
        return STABLE
    return MUTED if muted else DRIFTING


def _rank(row: DriftRow) -> tuple[bool, float, str]:
    score = row["importance"] if math.isnan(row["score"]) else row["score"]
    return row["verdict"] == MUTED, -score, row["feature"]


def _shares(names: Sequence[str], importance: Mapping[str, float]) -> tuple[dict[str, float], float]:
    weights = {name: max(0.0, importance.get(name, 0.0)) for name in names}
    total = sum(weights.values())
    if not total:
        return dict.fromkeys(names, 1 / max(1, len(names))), 0.0
    return {name: weight / total for name, weight in weights.items()}, MUTED_SHARE
