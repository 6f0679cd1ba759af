import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tenfold.core.errors import NotFound, SchemaError
from tenfold.training import metrics

SCORES = st.sampled_from([0.0, 0.05, 0.1, 0.1 + 1e-16, 0.25, 0.5, 0.75, 0.999, 1.0])
ROWS = st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=1, max_size=60)
OF_ROWS = sorted(name for name, metric in metrics.METRICS.items() if metric.per_group is None)


def split(rows):
    y, score = zip(*rows, strict=True)
    return np.array(y), np.array(score)


@settings(deadline=None)
@given(ROWS)
def test_ranking_metrics_equal_scikit_learn_with_ties(rows):
    y, score = split(rows)
    if len(set(y)) == 2:
        assert metrics.roc_auc(y, score) == pytest.approx(sk.roc_auc_score(y, score), abs=1e-12)
    else:
        assert np.isnan(metrics.roc_auc(y, score))
    if y.any():
        assert metrics.average_precision(y, score) == pytest.approx(
            sk.average_precision_score(y, score), abs=1e-12
        )
    else:
        assert np.isnan(metrics.average_precision(y, score))


@settings(deadline=None)
@given(ROWS)
def test_probability_metrics_equal_scikit_learn(rows):
    y, score = split(rows)
    clipped = np.clip(score, 1e-15, 1 - 1e-15)
    assert metrics.log_loss(y, score) == pytest.approx(sk.log_loss(y, clipped, labels=[0, 1]), abs=1e-12)
    assert metrics.brier(y, score) == pytest.approx(np.mean((y - score) ** 2), abs=1e-12)
    assert metrics.calibration_gap(y, score) == pytest.approx(score.mean() - y.mean(), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=40))
def test_value_metrics_equal_scikit_learn(rows):
    y, value = split(rows)
    assert metrics.mean_absolute_error(y, value) == pytest.approx(
        sk.mean_absolute_error(y, value), rel=1e-12, abs=1e-12
    )
    expected = sk.root_mean_squared_error(y, value)
    assert metrics.root_mean_squared_error(y, value) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(deadline=None)
@given(ROWS, st.sampled_from(OF_ROWS), st.randoms(use_true_random=False))
def test_a_weight_is_the_same_as_repeating_the_row(rows, name, random):
    y, score = split(rows)
    metric = metrics.METRICS[name]
    if name == "expected_calibration_error":
        return  # its bins stay those of the rows given
    weights = np.array([random.randint(0, 3) for _ in rows])
    weighted = metric.weighted(y.astype(float), score)(weights.astype(float))
    repeated = metric.function(np.repeat(y, weights), np.repeat(score, weights)) if weights.any() else np.nan
    assert weighted == pytest.approx(repeated, abs=1e-12, nan_ok=True)


def test_calibration_bins_hold_every_row_and_keep_equal_scores_together():
    rng = np.random.default_rng(1)
    score = np.round(rng.random(5_000), 2)
    y = (rng.random(5_000) < score**2).astype(float)
    curve = metrics.calibration_curve(y, score)
    assert sum(part["count"] for part in curve) == 5_000
    assert [part["predicted"] for part in curve] == sorted(part["predicted"] for part in curve)
    total = sum(abs(part["predicted"] - part["happened"]) * part["count"] for part in curve) / 5_000
    assert metrics.expected_calibration_error(y, score) == pytest.approx(total, abs=1e-12)
    assert len(metrics.calibration_curve([0, 1, 1], [0.3, 0.3, 0.3])) == 1


def test_calibration_is_zero_for_a_perfect_model_and_large_for_an_overconfident_one():
    y = np.tile([0.0, 1.0], 500)
    assert metrics.expected_calibration_error(y, np.full(1_000, 0.5)) == pytest.approx(0.0, abs=1e-12)
    assert metrics.expected_calibration_error(1 - y, y) == 1.0


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_no_rows_give_nan_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(metrics.evaluate([name], [], [])[name])
    assert metrics.calibration_curve([], []) == []


def test_unknown_metric_and_unfit_rows_say_what_to_do():
    with pytest.raises(NotFound, match='Did you mean "roc_auc"'):
        metrics.evaluate(["roc_acu"], [0, 1], [0, 1])
    with pytest.raises(NotFound):
        metrics.paired_difference("nope", [0], [0], [0], rng=np.random.default_rng())
    with pytest.raises(SchemaError, match=r"1 of 2 predictions are missing"):
        metrics.roc_auc([0, 1], [0.5, np.nan])
    with pytest.raises(SchemaError, match="0 or 1"):
        metrics.roc_auc([0, 2], [0.5, 0.5])
    with pytest.raises(SchemaError, match="shape"):
        metrics.brier([0, 1], [0.5])
    with pytest.raises(TypeError):
        metrics.METRICS["mine"] = metrics.METRICS["brier"]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("roc_auc", 0.7, 0.8), ("log_loss", 0.5, 0.4), ("calibration_gap", -0.2, 0.1)],
)
def test_gain_is_positive_when_it_got_better(name, before, after):
    assert metrics.METRICS[name].gain(before, after) == pytest.approx(0.1)
    assert metrics.METRICS[name].gain(after, before) == pytest.approx(-0.1)


def two_models(n, seed=3):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(1.2 - signal))).astype(float)
    return y, *(1 / (1 + np.exp(1.2 - signal + rng.normal(size=n) * noise)) for noise in (1.0, 0.8))


def test_the_difference_is_that_of_the_metrics_inside_its_interval_and_repeats():
    y, a, b = two_models(4_000)
    first = metrics.paired_difference("roc_auc", y, a, b, rng=np.random.default_rng(5))
    assert first == metrics.paired_difference("roc_auc", y, a, b, rng=np.random.default_rng(5))
    assert first[0] == pytest.approx(sk.roc_auc_score(y, b) - sk.roc_auc_score(y, a), abs=1e-12)
    assert 0 < first[1] < first[0] < first[2]
    swapped = metrics.paired_difference("roc_auc", y, b, a, rng=np.random.default_rng(5))
    assert swapped == pytest.approx((-first[0], -first[2], -first[1]), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(OF_ROWS))
def test_a_model_against_itself_differs_by_nothing(name):
    y, a, _ = two_models(300)
    assert metrics.paired_difference(name, y, a, a, rng=np.random.default_rng(0), rounds=20) == (
        0.0,
        0.0,
        0.0,
    )


def test_the_interval_equals_a_plain_bootstrap():
    y, a, b = two_models(800)
    _, low, high = metrics.paired_difference(
        "average_precision", y, a, b, rng=np.random.default_rng(9), rounds=50
    )
    rng, draws = np.random.default_rng(9), []
    for _ in range(50):
        rows = rng.integers(0, 800, 800)
        draws.append(
            sk.average_precision_score(y[rows], b[rows]) - sk.average_precision_score(y[rows], a[rows])
        )
    assert (low, high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-12)


def test_one_class_has_no_difference_and_a_rare_class_leaves_undefined_rounds_out():
    nothing = metrics.paired_difference(
        "roc_auc", [0, 0], [0.1, 0.2], [0.2, 0.1], rng=np.random.default_rng(0)
    )
    assert np.isnan(nothing).all()
    rare = metrics.paired_difference(
        "roc_auc", [1, 0, 0], [0.1, 0.2, 0.3], [0.9, 0.2, 0.3], rng=np.random.default_rng(0)
    )
    assert rare == (1.0, 1.0, 1.0)
    never = metrics.paired_difference(
        "roc_auc", [0, 1], [0.1, 0.2], [0.2, 0.1], rng=np.random.default_rng(0), rounds=0
    )
    assert never[0] == -1.0
    assert np.isnan(never[1:]).all()


def test_two_hundred_rounds_on_thirty_thousand_rows_are_quick():
    y, a, b = two_models(30_000)
    start = time.process_time()
    metrics.paired_difference("roc_auc", y, a, b, rng=np.random.default_rng(0))
    assert time.process_time() - start < 3.0
