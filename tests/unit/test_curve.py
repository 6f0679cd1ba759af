"""Learning curves: over trees and epochs where an estimator keeps them, else over shares of the rows; else it is said why not."""

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from tenfold.training import curve
from tenfold.ui.evaluated import learning_curve
from tests.examples import parcels
from tests.unit.every_estimator import LIGHT, opened, pipeline, prepared
from tests.unit.own_estimators import Leastsq


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("home")) as found:
        yield found


def fitted(made, estimator, label, **more):
    """Return a manifest, and its curve."""
    manifest = made.fit(parcels.model(estimator, label, **more)).manifest
    return manifest, manifest.evaluation["learning_curve"]


STAGED = {
    "lightgbm": (lambda n: LGBMClassifier(**LIGHT | {"n_estimators": n}), "late"),
    "histogram boosting of classes": (lambda n: HistGradientBoostingClassifier(max_iter=n), "state"),
    "gradient boosting of numbers": (
        lambda n: pipeline(GradientBoostingRegressor(n_estimators=n)),
        "minutes",
    ),
    "behind a step that mixes columns": (
        lambda n: make_pipeline(prepared(), PCA(3), GradientBoostingClassifier(n_estimators=n)),
        "late",
    ),
}


@pytest.mark.parametrize("name", STAGED)
def test_fewer_trees_are_those_of_a_smaller_model(made, name):
    make, label = STAGED[name]
    manifest, found = fitted(made, make(24), label)
    assert (found["of"], found["metric"]) == ("trees", next(iter(manifest.metrics)))
    assert found["at"] == [3, 6, 9, 12, 15, 18, 21, 24]
    assert len(found["train"]) == 8
    assert found["test"][-1] == pytest.approx(manifest.metrics[found["metric"]], rel=1e-6)
    smaller, _ = fitted(made, make(9), label)
    assert found["test"][2] == pytest.approx(smaller.metrics[found["metric"]], rel=1e-6)


def test_a_network_tells_what_it_lost_in_each_epoch(made):
    network = pipeline(MLPClassifier([6], max_iter=120, learning_rate_init=0.01))
    _, found = fitted(made, network, "state")
    assert (found["of"], found["at"][-1], len(found["at"]), found["test"]) == ("epochs", 120, 50, [])
    assert found["train"][0] > 2 * found["train"][-1]


@pytest.mark.parametrize(
    ("last", "label"), [(LogisticRegression(), "state"), (SGDClassifier(loss="log_loss"), "late")]
)
def test_others_learn_from_more_and_more_of_the_rows(made, last, label):
    manifest, found = fitted(made, pipeline(last), label)
    every = manifest.rows
    assert found["of"] == "rows learned from"
    assert found["at"] == [round(every * share) for share in (0.1, 0.25, 0.5, 1)]
    assert found["test"][-1] == manifest.metrics[found["metric"]]
    assert all(value is not None for value in found["train"] + found["test"])
    assert "by rows learned from" in learning_curve(manifest.evaluation).note


class Seen(Leastsq):
    """Remembers how many rows it saw, and does not learn from few."""

    rows = []  # noqa: RUF012 - of all copies of it
    fewest = 0

    def fit(self, X, y):
        self.rows.append(len(y))
        if len(y) < self.fewest:
            raise ZeroDivisionError
        return super().fit(X, y)


def test_a_fit_of_few_rows_that_fails_is_a_gap(made, monkeypatch):
    monkeypatch.setattr(Seen, "fewest", 60)
    manifest, found = fitted(made, Seen(), "minutes")
    assert Seen.rows == [manifest.rows, *found["at"][:-1]]
    assert [value is None for value in found["test"]] == [True, False, False, False]
    assert learning_curve(manifest.evaluation).html.startswith("<svg")


class Orders(Leastsq):
    """A ranker of one's own."""

    def fit(self, X, y, group):
        return super().fit(X, y)


def test_where_there_is_none_it_is_said_why(made, monkeypatch):
    _, found = fitted(made, Orders(), "stars", groups="route", metrics=["ndcg@10"])
    assert found["why"].endswith("would cut the groups that it orders")
    monkeypatch.setattr(curve, "MOST", 100)
    manifest, found = fitted(made, Seen(), "minutes")
    assert found == {
        "why": "its estimator keeps no steps, and it is fitted on shares of the rows only where there are 200 to 100 of them, "
        f"not {manifest.rows}"
    }
    section = learning_curve(manifest.evaluation)
    assert section.html == f"<p>There is none: {found['why']}.</p>"
    assert np.isfinite(manifest.metrics["mean_absolute_error"])
