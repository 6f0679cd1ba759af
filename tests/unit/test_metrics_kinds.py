"""Metrics of classes, of rankings and of quantiles, compared with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tenfold.core.errors import SchemaError
from tenfold.training.metrics import METRICS, evaluate, paired_difference
from tenfold.training.metrics_ranking import per_group

CLASSES = st.lists(
    st.tuples(st.integers(0, 2), *[st.sampled_from([0.1, 0.2, 0.2000001, 0.7])] * 3), min_size=1, max_size=40
)
QUERIES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    min_size=2,
    max_size=40,
)


def classed(rows):
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], table[:, 1:] / table[:, 1:].sum(axis=1, keepdims=True)


@settings(deadline=None)
@given(CLASSES)
def test_metrics_of_classes_equal_scikit_learn(rows):
    y, prediction = classed(rows)
    found = evaluate(["accuracy", "macro_f1", "log_loss"], y, prediction)
    chosen = 2 - np.argmax(prediction[:, ::-1], axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, chosen))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, chosen, average="macro", zero_division=0.0))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, prediction, labels=[0, 1, 2]))


@settings(deadline=None)
@given(CLASSES)
def test_the_macro_auc_is_that_of_the_classes_that_occur(rows):
    y, prediction = classed(rows)
    each = [
        sk.roc_auc_score(y == place, prediction[:, place])
        for place in range(3)
        if 0 < (y == place).sum() < len(y)
    ]
    found = evaluate(["macro_roc_auc"], y, prediction)["macro_roc_auc"]
    assert found == pytest.approx(np.mean(each)) if each else np.isnan(found)


@settings(deadline=None)
@given(QUERIES, st.sampled_from([1, 3, 10]))
def test_ndcg_equals_scikit_learn_with_ties(rows, k):
    groups, y, score = (np.array(part, dtype=np.float64) for part in zip(*rows, strict=True))
    known, values = per_group("ndcg", y, score, groups, k)
    for group, value in zip(known, values, strict=True):
        mine = groups == group
        if y[mine].any() and mine.sum() > 1:
            assert value == pytest.approx(sk.ndcg_score([2 ** y[mine] - 1], [score[mine]], k=k))
        elif not y[mine].any():
            assert np.isnan(value)


def test_ndcg_of_outcomes_whose_gain_is_too_large_for_a_number_is_that_of_smaller_ones():
    y, groups = np.array([3.0, 1, 0, 2, 4, 0]), np.array([1, 1, 1, 1, 2, 2])
    for score in (y, -y, np.array([1.0, 2, 2, 0, 0, 1])):
        usual, large = (per_group("ndcg", y + more, score, groups, 10)[1] for more in (100, 5_000))
        assert large == pytest.approx(usual)
    assert usual[1] < 0.7


def test_a_score_that_says_nothing_earns_nothing_in_average_precision():
    y, groups = [1, 0, 0, 0], [7, 7, 7, 7]
    assert evaluate(["map@10"], y, [0.5] * 4, groups) == {"map@10": 0.25}
    assert evaluate(["map@1"], y, [0.5] * 4, groups) == {"map@1": 0.0}
    assert np.isnan(evaluate(["map@10"], [0, 0], [0.1, 0.2], [1, 1])["map@10"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=1, max_size=30))
def test_metrics_of_quantiles_equal_scikit_learn(rows):
    y, value = (np.array(part) for part in zip(*rows, strict=True))
    found = evaluate(["pinball@0.9", "median_absolute_error"], y, value)
    assert found["pinball@0.9"] == pytest.approx(sk.mean_pinball_loss(y, value, alpha=0.9), abs=1e-9)
    assert found["median_absolute_error"] == pytest.approx(sk.median_absolute_error(y, value), abs=1e-9)


def test_two_rankers_differ_by_whole_groups():
    groups = np.repeat(np.arange(30), 4)
    y = np.tile([1.0, 0, 0, 0], 30)
    rng = np.random.default_rng(0)
    found = paired_difference("ndcg@1", y, -y, y, rng=rng, groups=groups)
    assert found == (1.0, 1.0, 1.0)


def test_classes_that_do_not_fit_are_told():
    with pytest.raises(SchemaError, match="whole numbers from 0 to 1"):
        METRICS["macro_f1"].function([0, 2], [[0.5, 0.5], [0.5, 0.5]])
