"""Sequential tests: their error under looking all the time, and how soon they see what is there."""

import numpy as np
import pytest

from tenfold.automation.evidence import betting, interval
from tenfold.core.errors import DefinitionError

ROLLOUTS, LABELS, ALPHA = 400, 4_000, 0.05
CHAMPION, DISAGREE = 0.10, 0.06


def rollout(rng, worse):
    """Return differences in error of a candidate and a champion on the same rows; the candidate errs more by `worse`."""
    disagree = rng.random(LABELS) < DISAGREE
    lost = rng.random(LABELS) < (DISAGREE + worse) / (2 * DISAGREE)
    return np.where(disagree, np.where(lost, 1.0, -1.0), 0.0)


def crossed(evidence):
    return np.flatnonzero(evidence >= 1 / ALPHA)


def first(evidence):
    places = crossed(evidence)
    return places[0] + 1 if len(places) else LABELS + 1


def test_an_equal_candidate_is_seldom_rolled_back_however_often_one_looks():
    rng = np.random.default_rng(5)
    false = sum(len(crossed(betting(rollout(rng, 0.0), -1, 1, 0.0))) > 0 for _ in range(ROLLOUTS))
    assert false / ROLLOUTS <= ALPHA


def test_a_naive_test_looked_at_all_the_time_is_wrong_far_more_often():
    """The test of the test: the same rollouts trip a z test that is looked at every 200 labels."""
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(ROLLOUTS):
        values = rollout(rng, 0.0)
        n = np.arange(1, LABELS + 1)
        z = np.cumsum(values) / np.sqrt(np.maximum(np.cumsum(values**2), 1))
        false += bool((z[199::200] > 1.645).any()) and bool(n[-1])
    assert false / ROLLOUTS > 3 * ALPHA


def test_two_points_worse_is_seen_within_a_thousand_labels_and_four_much_sooner():
    rng = np.random.default_rng(6)
    two = np.median([first(betting(rollout(rng, 0.02), -1, 1, 0.0)) for _ in range(ROLLOUTS)])
    four = np.median([first(betting(rollout(rng, 0.04), -1, 1, 0.0)) for _ in range(ROLLOUTS)])
    assert two <= 1_000
    assert four <= 350


def test_the_evidence_is_a_fair_game_under_the_worst_null():
    """Its mean over all outcomes stays 1 at most: that is what makes it valid at every time."""
    rng = np.random.default_rng(7)
    values = np.where(rng.random((4_000, 60)) < 0.3, 1.0, 0.0)
    last = [betting(row, 0, 1, mean=0.3)[-1] for row in values]
    assert np.mean(last) < 1 + 4 * np.std(last) / np.sqrt(len(last))


def test_a_bet_is_made_before_its_value_is_known():
    rng = np.random.default_rng(8)
    values = rng.random(50)
    changed = values.copy()
    changed[30:] = rng.random(20)
    assert (betting(values, 0, 1, 0.5)[:30] == betting(changed, 0, 1, 0.5)[:30]).all()


@pytest.mark.parametrize(("values", "mean"), [([2.0], 0.0), ([float("nan")], 0.0), ([0.0], 1.0)])
def test_what_is_not_bounded_is_refused(values, mean):
    with pytest.raises(DefinitionError, match="needs values within"):
        betting(values, -1, 1, mean)


def test_the_bounds_of_the_mean_hold_at_all_times():
    rng = np.random.default_rng(9)
    missed = 0
    for _ in range(ROLLOUTS):
        low, high = interval(rng.exponential(2.0, LABELS), ALPHA)
        missed += bool(((low > 2) | (high < 2)).any())
    assert missed / ROLLOUTS <= ALPHA


def test_the_bounds_say_nothing_before_what_is_rare_was_among_the_values():
    """Where all differences but a tenth are the same: a mean of 0, from which the first values are mostly on one side."""
    rng = np.random.default_rng(10)
    missed = 0
    for _ in range(ROLLOUTS):
        low, high = interval(np.where(rng.random(LABELS) < 0.1, 0.9, -0.1), ALPHA)
        missed += bool(((low > 0) | (high < 0)).any())
    assert missed / ROLLOUTS <= ALPHA


def test_of_values_that_are_all_the_same_nothing_is_said():
    low, high = interval(np.full(LABELS, -0.1), ALPHA)
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_nothing_is_said_of_one_value():
    low, high = interval([1.0], ALPHA)
    assert np.isnan(low).all()
    assert np.isnan(high).all()
