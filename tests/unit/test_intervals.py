"""Intervals hold the truth as often as they say, on rows that share their days."""

import numpy as np
import pytest

from tenfold.core.times import DAY, UNITS
from tenfold.training import metrics
from tenfold.training.intervals import Blocks, blocks_of, interval
from tenfold.training.slices import slices_of

WORLDS = 150


def world(seed, days=14, rows=40):
    """Return rows whose outcomes share a mood of their day, scored by what is usual, and when they are."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    chance = np.clip(0.4 + rng.normal(0, 0.15, days)[day], 0.05, 0.95)
    y = (rng.random(len(day)) < chance).astype(np.float64)
    return y, np.full(len(y), 0.4) + rng.normal(0, 0.01, len(y)), day * DAY


def share(blocks):
    """Return how often the interval of the gap holds 0, which is its true value."""
    held = 0
    for seed in range(WORLDS):
        y, score, at = world(seed)
        low, high = interval("calibration_gap", y, score, blocks(at))
        held += low <= 0 <= high
    return held / WORLDS


def test_days_hold_what_rows_do_not():
    assert share(blocks_of) > 0.9
    assert share(lambda at: Blocks(np.arange(len(at)), len(at), "rows")) < 0.75


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "macro_f1", "macro_roc_auc", "log_loss"])
def test_a_curve_that_is_counted_is_the_curve_itself(name):
    """The bins of a score, and sums over days, give what the metric of the drawn rows would."""
    rng = np.random.default_rng(0)
    y = (rng.random(3_000) < 0.3).astype(np.float64)
    score = np.clip(rng.normal(0.3 + 0.2 * y, 0.2), 0, 1)
    at = np.sort(rng.integers(0, 20 * DAY, 3_000))
    blocks = blocks_of(at)
    low, high = interval(name, y, score, blocks)
    value = metrics.evaluate([name], y, score)[name]
    drawn = np.random.default_rng(1).integers(0, 20, (300, 20))
    again = []
    for days in drawn:
        rows = np.concatenate([np.flatnonzero(blocks.place == day) for day in days])
        again.append(metrics.evaluate([name], y[rows], score[rows])[name])
    assert low < value < high
    assert (high - low) == pytest.approx(np.quantile(again, 0.975) - np.quantile(again, 0.025), rel=0.25)


def test_an_interval_is_a_function_of_its_rows():
    y, score, at = world(0)
    assert interval("roc_auc", y, score, blocks_of(at)) == interval("roc_auc", y, score, blocks_of(at))


def test_what_is_drawn_depends_on_how_long_the_rows_last():
    at = np.arange(500, dtype=np.int64)
    assert blocks_of(at * DAY // 10).text == "50 days"
    assert blocks_of(at * UNITS["m"] * 5).text == "42 hours"
    assert blocks_of(at).text == "500 rows"
    assert all(np.isnan(interval("roc_auc", np.ones(1), np.ones(1), blocks_of(at[:1]))))


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_every_metric_has_an_interval(name):
    metric = metrics.METRICS[name]
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.4).astype(np.float64)
    score = np.clip(rng.normal(0.3 + 0.3 * y, 0.2), 0.01, 0.99)
    groups = np.repeat(np.arange(40), 10) if metric.needs == "ranking" else None
    low, high = interval(name, y, score, blocks_of(np.arange(400) * DAY // 20), groups)
    value = metrics.evaluate([name], y, score, groups)[name]
    assert low <= value <= high
    assert low < high


def test_slices_share_out_all_rows():
    from tenfold.processing.frame import column

    rng = np.random.default_rng(0)
    texts = column("str", [None if place % 9 == 0 else f"t{place % 30}" for place in range(900)])
    numbers = column("float", [None if place % 7 == 0 else float(rng.normal()) for place in range(900)])
    for item, values in ((texts, 22), (numbers, 5)):
        parts = list(slices_of("x", item))
        assert len(parts) == values
        assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(900))
    assert {"other", "null"} <= {part.value for part in slices_of("x", texts)}
    assert [part.value for part in slices_of("x", column("bool", [True, False]))] == ["false", "true"]
