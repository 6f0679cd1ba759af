import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import NotFound, SchemaError
from tenfold.monitoring import drift
from tenfold.training import profile

NAN = float("nan")
CELLS = st.sampled_from([NAN, -math.inf, math.inf, -1.0, 0.0, 0.5, 1.0, 7.0, 1e300])
COUNTS = st.lists(st.integers(0, 50), min_size=4, max_size=4)


def data(n=5_000, seed=1, shift=0.0):
    rng = np.random.default_rng(seed)
    delay = rng.normal(shift, 1.0, n)
    late = np.maximum(0, rng.poisson(0.4, n)).astype(float)
    origin = rng.integers(0, 3, n).astype(float)
    temp = np.where(rng.random(n) < 0.1, NAN, rng.normal(20, 5, n))
    return np.column_stack([delay, late, origin, temp])


NAMES = ["delay", "late", "origin", "temp"]


def reference():
    return profile.profile(data(), NAMES, categorical={"origin"})


def test_bins_are_few_and_the_reference_is_spread_over_them():
    fixed = reference()
    delay, late, origin, temp = (np.array(bins.counts) for bins in fixed.features)
    assert len(delay) == profile.BINS + 1
    assert delay[:-1].min() > 200
    assert temp[-1] == np.isnan(data()[:, 3]).sum()
    assert late[1] == (data()[:, 1] == 0).sum()  # the zero has a bin for itself
    assert origin.tolist() == [*np.bincount(data()[:, 2].astype(int)), 0, 0]
    assert all(rows.sum() == 5_000 for rows in (delay, late, origin, temp))


def test_a_constant_column_shows_a_move_to_either_side():
    fixed = profile.profile(np.full((100, 1), 3.0), ["x"])
    for value, place in ((2.9, 0), (3.0, 1), (3.1, 2), (NAN, 3)):
        assert profile.counts(fixed, [[value]])["x"].argmax() == place


def test_many_categories_keep_the_fifty_most_frequent():
    codes = np.repeat(np.arange(80.0), np.arange(80, 0, -1))
    fixed = profile.profile(codes[:, None], ["tail"], categorical={"tail"})
    assert fixed.features[0].values == tuple(range(50))
    assert profile.counts(fixed, [[79.0], [1_000.0], [-1.0], [0.0]])["tail"][[0, 50]].tolist() == [1, 3]


@given(st.lists(CELLS, max_size=30), st.lists(CELLS, max_size=30), st.booleans())
def test_counts_of_parts_add_up_and_no_row_is_lost(ours, theirs, categorical):
    fixed = profile.profile(np.reshape(ours, (-1, 1)), ["x"], categorical={"x"} if categorical else ())
    parts = [profile.counts(fixed, np.reshape(part, (-1, 1))) for part in (ours, theirs)]
    whole = profile.counts(fixed, np.reshape(ours + theirs, (-1, 1)))
    assert (
        profile.merge(parts)["x"].tolist()
        == profile.merge(reversed(parts))["x"].tolist()
        == whole["x"].tolist()
    )
    assert whole["x"].sum() == len(ours) + len(theirs)
    assert whole["x"][-1] == sum(map(math.isnan, ours + theirs))
    assert tuple(parts[0]["x"]) == fixed.features[0].counts
    assert profile.Profile.from_dict(json.loads(json.dumps(fixed.to_dict(), allow_nan=False))) == fixed


def test_merging_does_not_change_its_parts():
    part = {"x": np.array([1, 2])}
    profile.merge([part, part])
    assert part["x"].tolist() == [1, 2]


@given(COUNTS, COUNTS)
def test_distances_are_those_of_the_definition(a, b):
    if not any(a) or not any(b):
        assert math.isnan(profile.psi(a, b))
        return
    p, q = ((np.array(rows) + 0.5) / (sum(rows) + 2) for rows in (a, b))
    assert profile.psi(a, b) == pytest.approx(sum((q - p) * (np.log(q) - np.log(p))), abs=1e-12)
    assert profile.psi(a, b) == pytest.approx(profile.psi(b, a), abs=1e-12)
    assert profile.psi(a, b) >= 0


def test_json_bytes_give_an_equal_profile_and_other_json_is_refused():
    fixed = reference()
    assert profile.Profile.from_dict(msgspec.json.decode(msgspec.json.encode(fixed.to_dict()))) == fixed
    assert len(msgspec.json.encode(fixed.to_dict())) < 4_000
    with pytest.raises(SchemaError, match="not a stored drift profile"):
        profile.Profile.from_dict({"features": [{"name": "x"}]})


def test_thresholds_come_from_the_reference_chunks_and_have_a_floor():
    fixed, X = reference(), data()
    X[:500, 0] += 2.0  # a season inside the reference
    chunks = [profile.counts(fixed, part) for part in np.split(X, 10)]
    limits = profile.thresholds(fixed, chunks)
    assert limits["delay"] == 1.5 * max(
        profile.psi(fixed.reference["delay"], chunk["delay"]) for chunk in chunks
    )
    assert limits["delay"] > 1.0
    assert limits["origin"] == profile.FLOOR
    empty = profile.counts(fixed, np.empty((0, 4)))
    assert profile.thresholds(fixed, [empty, *chunks, empty]) == limits


def test_the_report_ranks_by_drift_and_importance_and_mutes_the_unimportant():
    fixed = reference()
    live = data(seed=2)
    live[:, 0] += 0.5
    live[:, 3] += 50.0
    rows = drift.drift_report(
        fixed,
        profile.counts(fixed, live),
        importance={"delay": 60.0, "late": 39.5, "temp": 0.5},
        limits=dict.fromkeys(NAMES, 0.1),
    )
    assert [(row["feature"], row["verdict"]) for row in rows] == [
        ("delay", drift.DRIFTING),
        ("late", drift.STABLE),
        ("origin", drift.STABLE),
        ("temp", drift.MUTED),
    ]
    first = rows[0]
    assert first["importance"] == pytest.approx(0.6)
    assert first["score"] == pytest.approx(first["psi"] / first["threshold"] * 0.6)
    assert rows[-1]["psi"] > rows[0]["psi"]


def test_without_importance_nothing_is_muted_and_without_rows_nothing_is_judged():
    fixed = reference()
    moved = data(seed=2) + np.array([0, 0, 0, 50.0])
    rows = drift.drift_report(fixed, profile.counts(fixed, moved), importance={}, limits={})
    assert (rows[0]["feature"], rows[0]["verdict"], rows[0]["threshold"]) == (
        "temp",
        drift.DRIFTING,
        profile.FLOOR,
    )
    nothing = profile.counts(fixed, np.empty((0, 4)))
    rows = drift.drift_report(fixed, nothing, importance={"late": 2.0, "temp": 1.0}, limits={})
    assert [row["feature"] for row in rows[:2]] == ["late", "temp"]
    assert {row["verdict"] for row in rows} == {drift.NO_DATA}


def test_a_second_draw_of_the_same_data_is_stable_and_a_tenth_of_a_deviation_is_seen():
    fixed = reference()
    same = drift.drift_report(fixed, profile.counts(fixed, data(seed=9)), importance={}, limits={})
    assert {row["verdict"] for row in same} == {drift.STABLE}
    slight = profile.counts(fixed, data(n=100_000, seed=9, shift=0.1))
    assert profile.psi(fixed.reference["delay"], slight["delay"]) == pytest.approx(0.0133, abs=0.005)


def test_wrong_columns_say_what_to_give():
    fixed = reference()
    with pytest.raises(SchemaError, match="delay, late, origin, temp"):
        profile.counts(fixed, np.zeros((2, 3)))
    with pytest.raises(NotFound, match='Did you mean "origin"'):
        profile.profile(data(), NAMES, categorical={"orign"})
