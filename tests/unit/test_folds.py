"""Arithmetic of splits: nothing is learned from that was not known when the next period begins."""

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.core.errors import DefinitionError
from tenfold.core.times import DAY
from tenfold.training.folds import between, newest_split, plan
from tests.examples import piped

DAYS = st.integers(1, 30)


@settings(deadline=None)
@given(
    test=st.integers(1, 12),
    folds=st.integers(0, 4),
    train=st.none() | st.integers(13, 40),
    calibrate=st.sampled_from([None, "sigmoid"]),
    history=st.integers(20, 200),
)
def test_periods_follow_each_other_with_the_gap_of_a_label(test, folds, train, calibrate, history):
    window = None if train is None else f"{train}d"
    declared = piped.model(
        test_window=f"{test}d", folds=folds, train_window=window, calibrate=calibrate, tune=None
    )
    takes, now = declared.label.takes_us, history * DAY
    split = newest_split(declared, now, 0)
    try:
        found = plan(declared, split, 0)
    except DefinitionError as error:
        assert "nothing to learn from: the first row" in str(error)  # noqa: PT017 - only some of the drawn histories are too short
        return
    assert split.test == (now - takes - test * DAY, now - takes)
    ends = found.fit[1] if found.calibrate is None else found.calibrate[1]
    assert ends == split.test[0] - takes
    if found.calibrate is not None:
        assert found.calibrate[1] - found.calibrate[0] == test * DAY
        assert found.fit[1] == found.calibrate[0] - takes
    assert len(found.folds) == folds
    tests = [fold.test for fold in found.folds]
    assert all(a[1] == b[0] for a, b in pairwise(tests))
    assert all(end - start == test * DAY for start, end in tests)
    assert tests == [] or tests[-1][1] == found.fit[1]
    for fold in found.folds:
        assert fold.train[1] == fold.test[0] - takes
        assert found.start <= fold.train[0] < fold.train[1]
        if train is None:
            assert fold.train[0] == found.fit[0]
        else:
            assert fold.train[0] == max(0, fold.test[1] - train * DAY)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50)), st.integers(0, 50), st.integers(0, 50))
def test_rows_of_a_period_are_those_in_it(times, start, length):
    at = np.sort(np.array(times, dtype=np.int64))
    inside = (at >= start) & (at < start + length)
    assert (
        np.flatnonzero(inside).tolist() == np.arange(len(at))[between(at, (start, start + length))].tolist()
    )


def test_rows_of_one_group_never_lie_on_both_sides(tmp_path):
    declared = piped.model(groups="customer", tune=None, calibrate=None, folds=1, test_window="5d")
    from tenfold.training.material import Material
    from tests.examples import shop

    placed, done = shop.history()
    for row in [*placed, *done]:
        place = int(row["order_id"][1:])
        row["customer"] = f"c{place // 40}" if place % 4 else "c-lasts"
    with piped.project(declared).open(piped.platform(tmp_path, datetime(2024, 3, 1, tzinfo=UTC))) as app:
        app.ingest("orders", placed, history=True)
        app.ingest("deliveries", done, history=True)
        app.flush()
        dataset = app.dataset(declared)
        material = Material(declared, dataset, newest_split(declared, app.clock.now(), int(dataset.at[0])))
        groups = material.rows.groups
        fold = material.plan.folds[0]
        learned, tested = material.within(fold.train, [fold.test]), material.within(fold.test)
        for rows, held in ((material.fit(), material.test()), (learned, tested)):
            assert len(groups[rows]) > 100
            assert set(groups[rows]).isdisjoint(groups[held])
            assert np.isin(groups[: held.start], groups[held]).any()


def test_groups_of_every_row_leave_nothing(tmp_path):
    declared = piped.model(groups="item", tune=None, calibrate=None, folds=0)
    with piped.project(declared).open(piped.platform(tmp_path)) as app:
        piped.load(app)
        with pytest.raises(DefinitionError, match='groups="item" leaves none'):
            app.train("late_delivery")
