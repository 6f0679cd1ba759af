"""Features that include the row asked for, against a plain reading of the rule."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, col, count
from tenfold.core.errors import DefinitionError
from tenfold.features.records import OFFSET
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import column
from tenfold.store.offline import features

HOUR = 3_600_000_000


class Payment:
    number: int
    key: str
    amount: int
    at: datetime


payments = Events("payments", Payment, time="at", id="number")
large = Derived("large", source=payments, where=col("amount") > 0, added={"twice": col("amount") * 2})
view = FeatureView(
    "own",
    entity=Entity("key", key="key"),
    source=large,
    features={
        "count_1h": count(window="1h", include_self=True),
        "sum": col("twice").sum(include_self=True),
        "without": col("twice").sum(),
        "last_2": col("amount").sum(rows=2, include_self=True),
    },
)

row = st.fixed_dictionaries(
    {
        "number": st.integers(0, 6),
        "amount": st.integers(-1, 5),
        "at": st.integers(0, 8).map(lambda n: n * HOUR // 2),
        "late": st.sampled_from([0, 0, 1, HOUR]),
    }
)


def frame_of(rows):
    types = {"number": "int", "key": "str", "amount": "int", "at": "time", KNOWN: "int", OFFSET: "int"}
    return {name: column(kind, [item[name] for item in rows]) for name, kind in types.items()}


def complete(rows):
    return [
        item | {"key": "xy"[item["number"] % 2], KNOWN: item["at"] + item["late"], OFFSET: place}
        for place, item in enumerate(rows)
    ]


def visible(rows, at):
    newest = {}
    for item in sorted(rows, key=lambda item: (item[KNOWN], item[OFFSET])):
        if item[KNOWN] < at:
            newest[item["number"]] = item
    return [item for item in newest.values() if item["at"] < at]


def expected(rows, asked):
    at = asked["at"]
    seen = [item for item in visible(rows, at) if item["key"] == asked["key"]]
    others = [item for item in seen if item["number"] != asked["number"] and item["amount"] > 0]
    others.sort(key=lambda item: (item["at"], str(item["number"])))
    mine = [asked] if asked["amount"] > 0 else []
    every = others + mine
    alone = [2 * item["amount"] for item in seen if item["amount"] > 0]
    return {
        "count_1h": sum(item["at"] > at - HOUR for item in others) + len(mine),
        "sum": sum(2 * item["amount"] for item in every) if every else None,
        "without": sum(alone) if alone else None,
        "last_2": sum(item["amount"] for item in every[-2:]) if every else None,
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(row, max_size=15), st.lists(row, min_size=1, max_size=5))
def test_a_row_counts_in_its_own_features_once(history, questions):
    rows, asked = complete(history), complete(questions)
    frame = frame_of(asked)
    got = features(view, frame_of(rows), [frame["key"]], frame["at"].values, frame)
    for place, item in enumerate(asked):
        assert {name: found.plain()[place] for name, found in got.items()} == expected(rows, item)


def test_rows_in_the_history_are_not_counted_twice():
    rows = complete([{"number": 2 * n, "amount": 1, "at": n * HOUR // 4, "late": 0} for n in range(5)])
    frame = frame_of(rows)
    got = features(view, frame, [frame["key"]], frame["at"].values, frame)
    assert got["count_1h"].plain() == [1, 2, 3, 4, 4]
    assert got["sum"].plain() == [2, 4, 6, 8, 10]


def test_the_rows_are_needed():
    with pytest.raises(DefinitionError, match="counts the row that is asked for, and none was given"):
        features(view, frame_of([]), [column("str", ["x"])], np.array([HOUR]))
