"""Offline = online in any batching = the reference interpreter, compared with ==."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold import Entity, Events, FeatureView, col, count
from tenfold.features.records import OFFSET, rows_of
from tenfold.features.state import advance, read
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Column, column
from tenfold.store.offline import features
from tests.property import reference

HOUR = 3_600_000_000


class Reading:
    id: str
    key: str
    number: float | None
    whole: int
    word: str | None
    at: datetime


SOURCE = Events("readings", Reading, time="at", id="id", lateness="52w")
VIEW = FeatureView(
    "view",
    entity=Entity("key", key="key"),
    source=SOURCE,
    features={
        "count_1h": count(window="1h"),
        "big_3h": count(window="3h", where=col("whole") > 2),
        "sum_1h": col("number").sum(window="1h"),
        "sum_3h": col("number").sum(window="3h", where=col("number") > 0.5),
        "total_3h": col("whole").sum(window="3h"),
        "mean_3h": col("number").mean(window="3h"),
        "mean_whole_1h": col("whole").mean(window="1h"),
        "min_3h": col("number").min(window="3h"),
        "max_1h": col("whole").max(window="1h"),
        "last": col("word").last(),
        "last_1h": col("number").last(window="1h"),
        "last_big": col("whole").last(where=col("whole") > 2),
    },
)

moments = st.builds(
    lambda hours, edge: hours * HOUR // 2 + edge, st.integers(0, 12), st.sampled_from([-1, 0, 0, 0, 1])
)
numbers = st.one_of(
    st.none(),
    st.sampled_from([0.1, -0.1, 1e6, 0.5, 3.25]),
    st.integers(-(2**30), 2**30).map(lambda n: n / 1024 + 0.1),
)
events = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abcdefghijklmnopqrstuvwxyz"),
        "key": st.sampled_from(["x", "y"]),
        "number": numbers,
        "whole": st.integers(-5, 5),
        "word": st.sampled_from([None, "up", "down", "Übung"]),
        "event": moments,
        "late": st.sampled_from([0, 0, 0, 1, HOUR, 4 * HOUR, -HOUR]),
    }
)


def as_records(raw):
    """Give each record a key that its id decides, as a correction does not move a record to another key."""
    return [
        record
        | {"key": "xy"[ord(record["id"]) % 2], "known": record["event"] + record["late"], "offset": place}
        for place, record in enumerate(raw)
    ]


def as_frame(records):
    """Return records as the columns a source delivers."""
    types = {"id": "str", "key": "str", "number": "float", "whole": "int", "word": "str"}
    frame = {name: column(type_, [record[name] for record in records]) for name, type_ in types.items()}
    for name, field, type_ in (("at", "event", "time"), (KNOWN, "known", "int"), (OFFSET, "offset", "int")):
        frame[name] = column(type_, [record[field] for record in records])
    return frame


def expected(records, key, at):
    mine = [record for record in records if record["key"] == key]
    return {name: reference.value(expr, mine, at) for name, expr in VIEW.features.items()}


def plain(features_, row=0):
    return {name: item.plain()[row] for name, item in features_.items()}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(events, max_size=30),
    st.lists(st.tuples(st.sampled_from("xyz"), moments), min_size=1, max_size=12),
)
def test_offline_is_the_reference(raw, queries):
    records = as_records(raw)
    keys = [column("str", [key for key, _ in queries])]
    got = features(VIEW, as_frame(records), keys, np.array([at for _, at in queries], dtype=np.int64))
    for row, (key, at) in enumerate(queries):
        assert plain(got, row) == expected(records, key, at)


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=25), st.lists(moments, min_size=1, max_size=4), st.data())
def test_online_is_the_reference_in_any_batching(raw, at, data):
    records = [record for record in as_records(raw) if record["key"] == "x"]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=4)))
    state = None
    for first, behind in zip([0, *cuts], [*cuts, len(records)], strict=True):
        if behind > first:
            _, rows = rows_of(VIEW, as_frame(records[first:behind]), behind - first)
            state = advance(VIEW, state, rows, int(rows.known.max()))
    if records:
        _, rows = rows_of(VIEW, as_frame(records), len(records))
        assert state == advance(VIEW, None, rows, int(rows.known.max())), "batching left a trace in the state"
    for moment in at:
        got, _ = read(VIEW, state, moment)
        assert plain(got) == expected(records, "x", moment)


@settings(max_examples=100, deadline=None)
@given(st.lists(events, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_order_of_arrival_leaves_no_trace(raw, random):
    unique = list({record["id"]: record for record in as_records(raw)}.values())
    shuffled = random.sample(unique, len(unique))
    one = features(VIEW, as_frame(unique), [column("str", ["x"])], np.array([6 * HOUR]))
    two = features(VIEW, as_frame(shuffled), [column("str", ["x"])], np.array([6 * HOUR]))
    assert plain(one) == plain(two)


def test_an_inexact_sum_is_refused():
    records = as_records(
        [{"id": "a", "number": 2.0**42, "whole": 0, "word": None, "event": 0, "late": 0, "key": "x"}] * 1
    )
    many = [record | {"id": letter} for record in records for letter in "aceg"]
    with pytest.raises(
        ValueError, match='view "view", number: a window of 4 values cannot be summed exactly'
    ):
        features(
            VIEW,
            as_frame([record | {"key": "x"} for record in many]),
            [column("str", ["x"])],
            np.array([HOUR - 1]),
        )


def test_columns_say_what_is_null():
    got = features(VIEW, as_frame([]), [column("str", ["x"])], np.array([HOUR]))
    assert got["count_1h"].plain() == [0]
    assert isinstance(got["mean_3h"], Column)
    assert got["mean_3h"].plain() == [None]
