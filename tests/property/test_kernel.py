"""Offline = SQL = online in any batching = the reference, to the bit, for any aggregate over any window of any history."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Derived, Entity, FeatureView, col, count
from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, to_us
from tenfold.store.offline import features
from tests.property import reference
from tests.property.tried import tried
from tests.prove import checks, declare, drivers, generate
from tests.prove.choose import Drawn, Seeded
from tests.prove.compare import differences
from tests.prove.oracle import Frames

HOUR, MINUTE = UNITS["h"], UNITS["m"]


@st.composite
def worlds(draw, **given_):
    return generate.world(Drawn(draw), **given_)


def differs(check, world, seed=1):
    return checks.failing(check, world, seed)[0]


@tried(200)
@given(worlds(fns=checks.ALL))
def test_offline_is_the_reference(world):
    assert differs("reference", world) == []


@tried(15)
@given(worlds(most_rows=30, most=3))
def test_offline_is_sql(world):
    assert differs("SQL", world) == []


@tried(15)
@given(worlds(most_rows=40, queries=0, fns=Frames.FNS, kinds=Frames.KINDS))
def test_offline_is_the_window_frames_of_sql(world):
    assert differs("window frames", generate.in_order(world)) == []


@tried(50)
@given(worlds(), st.integers(0, 99))
def test_the_order_of_records_and_questions_leaves_no_trace(world, seed):
    assert differs("any order", world, seed) == []


@tried(40)
@given(worlds(queries=4))
def test_one_question_is_answered_as_many_are(world):
    assert differs("one call each", world) == []


@tried(40)
@given(worlds(), st.integers(0, 99))
def test_states_answer_as_the_history_does_in_any_batching(world, seed):
    assert differs("states", generate.unmoved(world), seed) == []


@tried(40)
@given(worlds(**checks.LOOK_UPS) | worlds(), st.integers(0, 99))
def test_many_keys_are_read_at_once_as_one_by_one(world, seed):
    assert differs("many at once", generate.unmoved(world), seed) == []


@tried(10)
@given(worlds(), st.integers(0, 99), st.sampled_from(["lake", "divided"]))
def test_the_lake_answers_alike_from_memory_and_from_disk(world, seed, check):
    assert differs(check, world, seed) == []


@tried(20)
@given(worlds(), st.integers(0, 99))
def test_sharing_out_keys_changes_nothing(world, seed):
    assert differs("rebalanced", generate.unmoved(world), seed) == []


@tried(40)
@given(worlds(queries=0), st.integers(0, 99))
def test_batching_leaves_no_trace_in_the_states(world, seed):
    world = generate.unmoved(world)
    assert drivers.folded(world, Seeded(seed)) == drivers.folded(world, Seeded(seed + 100))


def test_a_seed_of_the_long_proof_finds_nothing():
    for seed in (3, 4):  # a small world and a large one
        cells, failures = checks.prove(seed)
        assert failures == []
        assert cells["reference"] > 0


@tried(25)
@given(worlds(most_rows=20), st.data())
def test_features_of_features_are_those_as_of_when_a_record_became_known(world, data):
    root = world.view.source.root
    inner = declare.view(Drawn(data.draw), source=root, name="inner", most=2, own=False)
    before = Derived("chain", source=root, added={"before": inner["f0"]})
    value = col("before")
    exprs = {"last": value.last(), "mode": value.mode(rows=3), "n": value.n_unique(window="1d")}
    exprs["known"] = count(window="3h", where=~value.is_null())
    outer = FeatureView("outer", entity=world.view.entity, source=before, features=exprs)
    world = replace(world, view=outer)
    assert differences(drivers.by_reference(world), drivers.by_lake(world, Seeded(1)))[0] == []


# Days where clocks are set at midnight ----------------------------------------------------------------

ODD = {
    "America/St_Johns": "2010-11-07T02:31:00+00:00",  # a minute past midnight back to a minute past eleven
    "America/Havana": "2024-11-03T05:00:00+00:00",  # 01:00 back to midnight, which comes twice
    "America/Sao_Paulo": "2018-11-04T03:00:00+00:00",  # there is no midnight
    "Africa/Cairo": "2024-10-31T21:00:00+00:00",  # midnight back to 23:00
    "Pacific/Apia": "2011-12-30T10:00:00+00:00",  # there is no 30 December
    "Australia/Lord_Howe": "2024-04-06T15:00:00+00:00",
}


@pytest.mark.parametrize("zone", ODD)
def test_days_begin_once_wherever_clocks_are_set(zone):
    change = to_us(ODD[zone])
    edges = [reference.begin(zone, reference.day(zone, change + days * UNITS["d"])) for days in (-1, 0, 1)]
    moments = sorted(
        {edge + step for edge in (change, *edges) for step in (-HOUR, -MINUTE, -1, 0, 1, MINUTE, HOUR)}
    )
    days = {f"n{size}": count(window=f"{size}d", zone=zone) for size in (1, 2)}
    view = FeatureView(
        "view", entity=Entity("key", key="branch"), source=declare.events(Seeded(1)), features=days
    )
    records = [row(place, moment) for place, moment in enumerate(moments)]
    world = generate.World(view, records, [((1,), moment + 1, row(-1, moment)) for moment in moments])
    assert differs("reference", world) == []


def row(place, moment, **values):
    """Return a record of branch 1 that is known when it happens."""
    blank = dict.fromkeys(("number", "whole", "flag", "word", "moment", "price")) | values
    draft = blank | {"key": ("c0", 1), "event": moment, "known": moment, "gone": False}
    return generate.record(draft, max(place, 0), max(place, 0), moment)


# What is refused, and what is null --------------------------------------------------------------------

START = to_us("2024-05-01")


def ask(records, at=START + HOUR, **exprs):
    view = FeatureView(
        "view", entity=Entity("key", key="branch"), source=declare.events(Seeded(1)), features=exprs
    )
    world = generate.World(view, records, [((1,), at, row(-1, at))])
    return {name: item.plain()[0] for name, item in drivers.by_offline(world).items()}


@pytest.mark.parametrize("expr", [col("number").sum(), col("number").mean(window="1d"), col("number").var()])
def test_an_inexact_sum_is_refused(expr):
    records = [row(place, START + place, number=2.0**42) for place in range(4)]
    with pytest.raises(DefinitionError, match=r'view "view", number: .* cannot be summed\s+exactly'):
        ask(records, f=expr)


def test_a_variance_keeps_what_a_large_mean_would_eat():
    records = [row(place, START + place, number=1e9 + place % 2) for place in range(1000)]
    assert ask(records, f=col("number").var())["f"] == 1000 / 4 / 999


near = st.integers(-4, 4).map(lambda step: 1.7e9 + step * 2.0**-20)  # the mean has 50 bits more than the rest


@tried(50)
@given(st.lists(near, min_size=2, max_size=20))
def test_a_variance_is_computed_with_twice_the_digits(values):
    records = [row(place, START + place, number=value) for place, value in enumerate(values)]
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
    lost = sum(value**2 for value in exact) / (len(exact) - 1) / 2**97
    assert abs(Fraction(ask(records, f=col("number").var())["f"]) - variance) <= variance / 2**51 + lost


def test_nothing_known_is_null_and_counts_zero():
    exprs = {
        fn: getattr(col("number"), fn)() for fn in ("sum", "mean", "min", "var", "last", "mode", "n_unique")
    }
    found = ask([], n=count(), **exprs)
    assert {name for name, value in found.items() if value == 0} == {"n", "n_unique"}
    assert {value for name, value in found.items() if name not in ("n", "n_unique")} == {None}


def test_columns_have_the_types_that_are_declared():
    world = generate.world(Seeded(3), most=8)
    found = features(
        world.view,
        world.frame,
        world.keys,
        drivers.moments(world),
        generate.frame([own for *_, own in world.queries]),
    )
    assert {name: item.type for name, item in found.items()} == dict(world.view.plan.types)
    assert differences(found, drivers.by_offline(world))[0] == []
    assert all(isinstance(item.values, np.ndarray) for item in found.values())
