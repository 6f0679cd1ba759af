"""Rows that were set aside are kept once, however odd they are, and come back as they were given."""

import math
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tenfold.core.clock import VirtualClock
from tenfold.processing.conform import Reject
from tenfold.processing.quarantine import SCHEMA, Aside, Quarantine, as_text
from tests import states


@pytest.fixture
def clock():
    return VirtualClock(5)


@pytest.fixture
def aside(address, clock):
    with closing(states.opened(address, SCHEMA)) as database:
        yield Quarantine(database, clock)


def test_rows_come_back_with_their_reason_newest_first(aside):
    aside.add(Aside("sales", [Reject(0, {"a": 1}, "why"), Reject(3, None, "null")], "b"))
    assert aside.rows("sales") == [
        {"at": 5, "reason": "null", "row": None},
        {"at": 5, "reason": "why", "row": {"a": 1}},
    ]
    assert aside.rows("sales", limit=1)[0]["reason"] == "null"
    assert aside.rows("other") == []


def test_reasons_are_counted_most_frequent_first(aside):
    rejects = [Reject(place, {"n": place}, "odd" if place else "first") for place in range(4)]
    aside.add(Aside("sales", rejects, "b"), Aside("visits", [Reject(0, {}, "empty")], "b"))
    found = [(item.source, item.reason, item.rows) for item in aside.counts()]
    assert found == [("sales", "odd", 3), ("visits", "empty", 1), ("sales", "first", 1)]
    assert [item.source for item in aside.counts("visits")] == ["visits"]
    assert aside.counts("sales")[0].example == '{"n": 1}'


def test_a_batch_that_is_repeated_counts_once_when_it_came_first(aside, clock):
    rejects = [Reject(0, {"a": 1}, "why"), Reject(1, {"a": 1}, "why")]
    for now in (5, 6, 7):
        clock.set(now)
        aside.add(Aside("sales", rejects, "same"))
    assert [row["at"] for row in aside.rows("sales")] == [5, 5]
    aside.add(Aside("sales", rejects, "other"))
    assert aside.counts()[0].rows == 4
    aside.add(Aside("sales", [Reject(0, {"a": 2}, "why")], "same"))
    assert aside.counts()[0].rows == 5


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def circular():
    row = {}
    row["self"] = row
    return row


@pytest.mark.parametrize(
    ("row", "back"),
    [
        ({"a": "\ud800", "b": "\0"}, {"a": "\ud800", "b": "\0"}),
        ({"a": 2**70, "b": math.inf}, {"a": 2**70, "b": math.inf}),
        ({"a": np.int64(3), "b": np.float64(0.5)}, {"a": 3, "b": 0.5}),
        ({"at": datetime(2024, 5, 1, tzinfo=UTC)}, {"at": "2024-05-01T00:00:00+00:00"}),
        ({"a": b"\xff", "b": {1}}, {"a": "b'\\xff'", "b": "{1}"}),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (circular(), None),
        (nested(100_000), None),
        ({"a": 10**5_000}, None),
        ({"a": Path("x")}, None),
    ],
    ids=["text", "numbers", "numpy", "time", "bytes", "keys", "circular", "deep", "digits", "object"],
)
def test_any_row_can_be_kept(aside, row, back):
    aside.add(Aside("sales", [Reject(0, row, "why")], "b"))
    found = aside.rows("sales")[0]["row"]
    assert back is None or found == back
    assert as_text(row).isascii()


def test_a_large_odd_row_is_kept_whole():
    text = "x" * 100_000
    assert text in as_text({(1,): [text] * 10})
