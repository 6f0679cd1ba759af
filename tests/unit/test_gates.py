"""Gates where a version gives no number for some of the test rows."""

from types import SimpleNamespace

import numpy as np
import pytest

from tenfold import checks
from tenfold.automation.gates import Case, judge_candidate
from tenfold.core.clock import VirtualClock
from tenfold.training.rows import TrainingSet
from tests.examples import tiny

ROWS = 200
Y = (np.arange(ROWS) % 3 == 0).astype(float)
GOOD, BAD = np.where(Y == 1, 0.8, 0.2), np.where(Y == 1, 0.4, 0.6) + np.arange(ROWS) % 5 / 50
GATES = [checks.at_least("roc_auc", 0.9), checks.beats_champion("roc_auc"), checks.not_worse(by=0.05)]


def version(said):
    """Return as much of a version as is asked for: it predicts this, whatever the rows are."""
    return SimpleNamespace(
        manifest=SimpleNamespace(kind="binary", classes=()),
        predictor=SimpleNamespace(predict=lambda _: said),
        matrix=lambda _: None,
    )


def some(said, missing):
    """Return predictions of which the first have no number."""
    return np.where(np.arange(ROWS) < missing, np.nan, said)


def judged(candidate, champion, model=tiny.late_order, gates=GATES, **known):
    at = np.arange(ROWS)
    rows = TrainingSet({}, Y, at, at.astype("S3"), {}, {})
    case = Case(model, rows, version(candidate), version(champion), VirtualClock(0), lambda: None, **known)
    return judge_candidate(gates, case)


@pytest.mark.parametrize("other", [BAD, GOOD])
def test_a_champion_is_compared_on_the_rows_it_has_a_number_for(other):
    whole, partly = judged(GOOD, other), judged(GOOD, some(other, 50))
    assert [one.passed for one in whole] == [True] * 3
    assert [one.passed for one in partly] == [True] * 4
    assert [one.value for one in partly[:2]] == [one.value for one in whole[:2]]
    assert (
        partly[-1].why == "the champion gives no number for 50 of 200 test rows, and is not compared on them"
    )


def test_a_worse_candidate_is_refused_as_ever():
    assert [one.passed for one in judged(BAD, some(GOOD, 50))] == [False, False, False, True]


def test_a_champion_without_any_number_does_not_keep_out_its_successor():
    found = judged(GOOD, some(BAD, ROWS))
    assert [one.passed for one in found] == [True] * 4
    assert [one.why.rpartition("; ")[2] for one in found[1:3]] == ["not compared"] * 2


def test_a_candidate_without_a_number_for_some_rows_is_refused():
    (found,) = judged(some(GOOD, 3), BAD)
    assert (found.passed, found.value) == (False, 3.0)
    assert found.why == "it gives no number for 3 of 200 test rows"


@pytest.mark.parametrize(("metric", "passed"), [("pinball@0.9", True), ("mean_absolute_error", False)])
def test_numbers_are_compared_by_the_first_metric(metric, passed):
    model = SimpleNamespace(kind="regression", metrics=(metric,), slices=())
    above, below = (
        Y + 2 + np.arange(ROWS) % 5 / 10,
        Y - 1,
    )  # by the pinball loss of 0.9 it is the smaller mistake to be above
    (found,) = judged(above, below, model, [checks.not_worse(by=0.02)])
    assert found.passed is passed


@pytest.mark.parametrize(("better", "passed"), [(0.0, True), (0.01, None), (0.3, True)])
def test_versions_that_differ_by_the_same_on_every_row_are_told_apart_only_by_much(better, passed):
    """What costs most may be rare, and among none of the rows."""
    champion = np.full(ROWS, 0.5)
    gates = [checks.not_worse(by=0.005)]
    (found,) = judged(np.where(Y == 1, 0.5 + better, 0.5 - better), champion, gates=gates)
    assert found.passed is passed


@pytest.mark.parametrize(
    ("metric", "missing"),
    [("roc_auc", "no matured rows of both outcomes"), ("mean_absolute_error", "no matured rows")],
)
def test_a_metric_without_rows_says_what_is_missing_for_it(metric, missing):
    told = checks.judge(checks.at_most(metric, 1.0), None)
    assert (told.passed, told.why) == (None, f"{metric} cannot be computed: {missing}")
