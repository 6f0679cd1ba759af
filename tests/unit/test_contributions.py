"""What features add to a score: together with the base they are the raw score, whose link is the score, or the score itself."""

from itertools import permutations
from math import factorial
from types import SimpleNamespace

import numpy as np
import pytest

from tenfold.core.errors import SchemaError
from tenfold.training.contributions import contributed, estimated
from tenfold.training.package import Package
from tenfold.training.vector import encode
from tests.unit.every_estimator import opened

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
ESTIMATED = (
    "random forest",
    "neighbours",
    "gradient boosting",
    "a class of one's own",
    "a step of one's own",
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("home")) as fitted:
        yield fitted


def made(fitted, name):
    model, dataset, package = fitted(name)
    return model, package, encode(dataset.columns, package.manifest.categories)


def linked(model, raw):
    """Return the score of a raw one, as every estimator here links them."""
    return 1 / (1 + np.exp(-raw)) if model.kind == "binary" else raw


@pytest.mark.parametrize("name", EXPLAINED)
def test_they_add_up_to_the_raw_score_of_the_score(fitted, name):
    model, package, X = made(fitted, name)
    several = len(package.manifest.classes)
    for place in range(0, len(X), len(X) // 7):
        row = X[place : place + 1]
        score = package.predictor.predict(row)[0]
        found = [contributed(package, row, of) for of in range(several or 1)]
        assert all(one.errors is None for one in found)
        for one in found:
            assert one.each.shape == (len(model.columns),)
            assert np.isclose(one.base + one.each.sum(), one.raw, rtol=1e-5, atol=1e-5)
        if several:
            shares = np.exp([one.raw for one in found])
            assert np.allclose(shares / shares.sum(), score, atol=1e-5)
        else:
            assert np.isclose(linked(model, found[0].raw), score, rtol=1e-5)


def test_of_a_linear_model_they_are_its_weights_times_the_distance_from_the_usual(fitted):
    _, package, X = made(fitted, "numbers only, no names")
    steps = package.predictor.engine._estimator
    golden = np.frombuffer(package.manifest.golden_rows).reshape(-1, X.shape[1])
    away = steps[:-1].transform(X[:1])[0] - steps[:-1].transform(golden).mean(axis=0)
    assert np.allclose(contributed(package, X[:1]).each, steps[-1].coef_[0] * away)


@pytest.mark.parametrize("name", ESTIMATED)
def test_what_has_no_exact_answer_is_estimated_and_adds_up_to_the_score(fitted, name):
    _, package, X = made(fitted, name)
    for place in range(0, len(X), len(X) // 3):
        row = X[place : place + 1]
        score = package.predictor.predict(row)[0]
        for of in range(len(package.manifest.classes) or 1):
            one = contributed(package, row, of)
            assert one.raw == (score[of] if package.manifest.classes else score)
            assert np.isclose(one.base + one.each.sum(), one.raw, atol=1e-12)
            assert one.errors.shape == one.each.shape
            assert not one.errors[one.each == 0].any()
            again = contributed(package, row, of)
            assert (again.each == one.each).all()


def exactly(scores, row, rows):
    """Return Shapley values by their definition: over all orders, and all of `rows`."""
    found = np.zeros(len(row))
    for order in permutations(range(len(row))):
        for first in rows:
            now = first.copy()
            for place in order:
                before = scores(now[None])[0]
                now[place] = row[place]
                found[place] += scores(now[None])[0] - before
    return found / len(rows) / factorial(len(row))


def test_estimates_are_those_of_the_definition_within_their_errors():
    rng = np.random.default_rng(3)
    rows, row = rng.normal(size=(32, 4)), np.array([1.0, -2.0, 0.5, 3.0])

    def scores(X):
        return X[:, 0] * X[:, 1] * X[:, 2] + np.maximum(X[:, 2], X[:, 0]) * X[:, 3]

    wanted = exactly(scores, row, rows)
    away = [
        np.abs(found.each - wanted) / found.errors
        for found in (estimated(scores, row, rows, np.random.default_rng(place)) for place in range(20))
    ]
    assert np.max(away) < 3
    assert np.mean(away) < 1  # the errors hold what other rows would change, too


def test_many_features_are_estimated_from_fewer_rows():
    asked = []

    def scores(X):
        asked.append(len(X))
        return X @ np.arange(1500.0)

    rows = np.random.default_rng(1).normal(size=(32, 1500))
    found = estimated(scores, np.ones(1500), rows, np.random.default_rng(0))
    assert sum(asked) == 4 * 2 * 1501
    assert np.isclose(found.base + found.each.sum(), found.raw)


def test_where_a_mix_of_rows_gives_no_number_it_is_refused_with_what_to_do(fitted):
    _, package, X = made(fitted, "neighbours")

    def with_scores(predict):
        return Package(SimpleNamespace(predict=predict), package.manifest)

    def raises(X):
        raise ValueError("no such row")

    for predict, why in [
        (raises, "its estimator says ValueError: no such row"),
        (lambda X: X[:, 0] * np.nan, "it gives no number"),
    ]:
        with pytest.raises(SchemaError, match=rf"is not explained: {why}.*/predict"):
            contributed(with_scores(predict), X[:1])
