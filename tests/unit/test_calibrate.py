"""Calibration makes scores fit what happens, and is the same function for one row and for many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from tenfold.core.times import to_us
from tenfold.training.calibrate import corrected, fit_calibration
from tenfold.training.metrics import evaluate, roc_auc
from tests.examples import piped
from tests.examples.tiny import in_process

METHODS = ("isotonic", "sigmoid")


def overconfident(seed, rows=4_000):
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1, 1, rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    return 1 / (1 + np.exp(-(2.5 * odds + 1))), y


@pytest.mark.parametrize("method", METHODS)
def test_scores_that_promise_too_much_are_corrected(method):
    found = fit_calibration(method, *overconfident(1))
    scores, y = overconfident(2)
    after = corrected(found, scores)
    names = ["log_loss", "brier", "expected_calibration_error"]
    worse, better = evaluate(names, y, scores), evaluate(names, y, after)
    assert all(better[name] < worse[name] for name in names)
    assert better["expected_calibration_error"] < 0.03 < 0.1 < worse["expected_calibration_error"]
    assert roc_auc(y, after) == pytest.approx(roc_auc(y, scores), abs=0.005)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9]), st.integers(0, 1)), min_size=1, max_size=40
    )
)
def test_isotonic_equals_scikit_learn(rows):
    scores, y = (np.array(part, dtype=np.float64) for part in zip(*rows, strict=True))
    found = fit_calibration("isotonic", scores, y)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, y)
    asked = np.linspace(0, 1, 41)
    assert corrected(found, asked) == pytest.approx(theirs.predict(asked), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_one_row_gives_the_bits_that_many_give(method):
    found = fit_calibration(method, *overconfident(1))
    scores = np.r_[overconfident(3)[0], 0.0, 1.0, 1e-300, 5e-17]
    many = corrected(found, scores)
    one = np.concatenate([corrected(found, scores[place : place + 1]) for place in range(len(scores))])
    assert many.tobytes() == one.tobytes()
    strided = corrected(found, np.repeat(scores, 3)[::3])
    assert strided.tobytes() == many.tobytes()


@pytest.mark.parametrize("scores", [[0.5, 0.5, 0.5], [0.0, 1.0, 1.0]])
@pytest.mark.parametrize("y", [[0, 1, 1], [0, 0, 0], [1, 1, 1]])
@pytest.mark.parametrize("method", METHODS)
def test_few_rows_give_finite_scores(method, scores, y):
    found = fit_calibration(method, np.array(scores), np.array(y, dtype=np.float64))
    after = corrected(found, np.linspace(0, 1, 11))
    assert np.isfinite(after).all()
    assert ((after >= 0) & (after <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_served_score_is_calibrated_as_a_batch_is(tmp_path, method):
    declared = piped.model(calibrate=method, tune=None, folds=0)
    with piped.project(declared).open(piped.platform(tmp_path)) as app:
        piped.load(app)
        app.promote("late_delivery", app.train("late_delivery").number)
        app.process()
        package = app.versions.production(declared).package
        assert package.manifest.calibration["method"] == method
        at = app.clock.now()
        orders = [
            {"order_id": f"n{place}", "customer": f"c{place % 4}", "item": "sofa", "amount": 20.0 + place}
            | {"placed": "2024-03-09T00:00:00Z", "ships": "2024-03-11T00:00:00Z"}
            for place in range(5)
        ]
        served = [in_process(app.asgi(), "/predict", order) for order in orders]
        assert [status for status, _ in served] == [200] * 5
        columns = app.dataset(declared).of(orders).columns
        from tenfold.training.vector import encode

        X = encode(columns, package.manifest.categories)
        batch = package.predictor.predict(X)
        raw = package.predictor.inner.predict(X)
        assert at == to_us("2024-03-11")
    order = np.argsort([row["order_id"] for row in orders])
    assert [served[place][1]["score"] for place in order] == batch.tolist()
    assert (batch != raw).all()
