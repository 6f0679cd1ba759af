"""What drifted: the features a version was served with against those it was trained on."""

from dataclasses import dataclass

from tenfold.core.times import DAY
from tenfold.monitoring.drift import DriftRow, drift_report
from tenfold.monitoring.served import parts
from tenfold.serving.answer.predictions import BATCH, ONLINE
from tenfold.serving.answer.service import Loaded
from tenfold.sources.base import Lake
from tenfold.training.profile import Profile, counts, merge

MONDAY = 4 * DAY
"""A Monday, 1970-01-05, in microseconds: where weeks are counted from."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of one version's features over [start, end), microseconds UTC; the worst feature first."""

    version: int
    start: int
    end: int
    rows: int
    features: list[DriftRow]


def drift(lake: Lake, version: Loaded, start: int, end: int) -> Drift:
    """Compare every prediction a version served in [start, end), online and in batch, with its training set.

    Predictions by other versions are left out: text features are coded by version. Whole days or weeks compare best,
    because the thresholds come from whole weeks.
    """
    manifest = version.package.manifest
    fixed = Profile.from_dict(manifest.reference)
    live = {name: 0 * rows for name, rows in fixed.reference.items()}
    rows = 0
    for mode in (ONLINE, BATCH):
        for part in parts(lake, manifest.model, mode, start, end):
            X = part.features[part.version == version.number, : len(manifest.columns)]
            if len(X):
                live, rows = merge([live, counts(fixed, X)]), rows + len(X)
    features = drift_report(fixed, live, importance=manifest.importance, limits=manifest.limits)
    return Drift(version.number, start, end, rows, features)
