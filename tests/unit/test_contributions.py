"""What features add to a score: together with the base they are the raw score, whose link is the score; nothing is guessed."""

import numpy as np
import pytest
from lightgbm import LGBMClassifier

from tenfold.core.errors import SchemaError
from tenfold.training.contributions import contributed
from tenfold.training.vector import encode
from tests.examples import parcels
from tests.unit.test_estimators import LIGHT, TABLE, fitted

EXPLAINED = (
    "lightgbm",
    "lightgbm of texts",
    "lightgbm regressor",
    "lightgbm ranker",
    "xgboost",
    "xgboost of texts, with categories",
    "logistic regression",
    "logistic regression of texts",
    "linear regression",
    "numbers only, no names",
)
REFUSED = ("random forest", "neighbours", "a class of one's own", "a step of one's own")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with parcels.opened(tmp_path_factory.mktemp("home"), parcels.model(LGBMClassifier(**LIGHT))) as app:
        yield app


def made(app, name):
    estimator, label, more = TABLE[name]
    model = parcels.model(estimator, label, **more)
    package = fitted(app, model)
    return model, package, encode(app.dataset(model).columns, package.manifest.categories)


def linked(model, raw):
    """Return the score of a raw one, as every estimator here links them."""
    return 1 / (1 + np.exp(-raw)) if model.kind == "binary" else raw


@pytest.mark.parametrize("name", EXPLAINED)
def test_they_add_up_to_the_raw_score_of_the_score(app, name):
    model, package, X = made(app, name)
    several = len(package.manifest.classes)
    for place in range(0, len(X), len(X) // 7):
        row = X[place : place + 1]
        score = package.predictor.predict(row)[0]
        found = [contributed(package, row, of) for of in range(several or 1)]
        for one in found:
            assert one.each.shape == (len(model.columns),)
            assert np.isclose(one.base + one.each.sum(), one.raw, rtol=1e-5, atol=1e-5)
        if several:
            shares = np.exp([one.raw for one in found])
            assert np.allclose(shares / shares.sum(), score, atol=1e-5)
        else:
            assert np.isclose(linked(model, found[0].raw), score, rtol=1e-5)


def test_of_a_linear_model_they_are_its_weights_times_the_distance_from_the_usual(app):
    estimator, label, more = TABLE["numbers only, no names"]
    model = parcels.model(estimator, label, **more)
    package = fitted(app, model)
    X = encode(app.dataset(model).columns, package.manifest.categories)
    steps = package.predictor.engine._estimator
    golden = np.frombuffer(package.manifest.golden_rows).reshape(-1, X.shape[1])
    away = steps[:-1].transform(X[:1])[0] - steps[:-1].transform(golden).mean(axis=0)
    assert np.allclose(contributed(package, X[:1]).each, steps[-1].coef_[0] * away)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_answer_is_refused_with_what_to_do(app, name):
    _, package, X = made(app, name)
    with pytest.raises(SchemaError, match=r"so it is not explained\. Use LightGBM, XGBoost or a linear"):
        contributed(package, X[:1])
