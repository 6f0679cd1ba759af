"""A feature that is the outcome in another guise is pointed out, for every kind of model, and an honest one is not."""

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor

from tenfold.processing.frame import Column
from tenfold.training.leaks import follows
from tests.examples import parcels
from tests.unit.every_estimator import LIGHT


def trained(home, model, leak=None):
    """Return what is warned of a version whose feature `leak` was filled in when the parcel had arrived."""
    rows = parcels.history()
    for sent, arrived in zip(rows["parcels"], rows["arrivals"], strict=True):
        sent.update(leak(arrived) if leak else {})
    with parcels.opened(home, model, rows) as app:
        found = app.versions.package(model, app.train(model).number).manifest.evaluation
    return [words for words in found["warnings"] if "known only after the outcome" in words]


@pytest.mark.parametrize(
    ("label", "estimator", "leak", "told"),
    [
        (
            "state",
            LGBMClassifier(**LIGHT),
            lambda row: {"shop": {"fine": "x", "broken": "y", "lost": "z"}[row["state"]]},
            'feature parcel.shop alone tells class "fine" from the others with AUC 1',
        ),
        (
            "stars",
            LGBMClassifier(**LIGHT),
            lambda row: {"weight": 1.0 if row["stars"] == 4 else 0.0},
            'feature parcel.weight alone tells class "4" from the others with AUC 1',
        ),
        (
            "minutes",
            LGBMRegressor(**LIGHT),
            lambda row: {"weight": 90.0 - row["minutes"] / 60},
            "feature parcel.weight alone orders the rows as the label does",
        ),
    ],
)
def test_an_outcome_in_another_guise_is_pointed_out(tmp_path, label, estimator, leak, told):
    model = parcels.model(estimator, label)
    assert trained(tmp_path / "honest", model) == []
    assert any(words.startswith(f"{told}: is it") for words in trained(tmp_path / "leaking", model, leak))


def test_how_closely_a_number_follows_the_label_is_the_correlation_of_ranks():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    y, ok = rng.integers(0, 9, 300).astype(float), np.ones(300, bool)
    for x in (y**3 - 7, -y + rng.normal(size=300), rng.normal(size=300).round(1)):
        mine = follows(Column("float", x, ok), y)
        assert mine == pytest.approx(abs(stats.spearmanr(x, y).statistic), abs=1e-12)
    assert np.isnan(follows(Column("float", np.ones(300), ok), y))
    assert np.isnan(follows(Column("str", np.array(["a"] * 300, dtype=object), ok), y))
