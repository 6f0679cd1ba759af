"""What is behind a feature: every record of the key, counted or why not, and the nearest name of a feature."""

from datetime import UTC, datetime, timedelta

import pytest

from tenfold import Derived, Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import NotFound, SchemaError
from tenfold.core.times import to_us
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.explain import explain, find, key_of
from tenfold.store.materialize import LakeSink
from tenfold.store.offline import History

AT = datetime(2024, 5, 1, tzinfo=UTC)


class Sale:
    sale_id: str
    shop: str
    till: int
    amount: float
    gone: bool
    at: datetime


sales = Events("sales", Sale, time="at", id="sale_id", deleted="gone")
kept = Derived("kept", source=sales, where=col("amount") < 100)
TILL = FeatureView(
    "till",
    entity=Entity("till", key=("shop", "till")),
    source=kept,
    features={
        "large_3h": col("amount").sum(window="3h", where=col("amount") > 1),
        "share": col("amount").sum(window="3h") / count(),
        "newest": col("at").last(),
        "before": count(window="3h", offset="2h"),
        "last_two": col("amount").mean(rows=2),
    },
)


def sale(name, hours, amount=2.0, **more):
    at = AT - timedelta(hours=hours)
    return {"sale_id": name, "shop": "a", "till": 1, "amount": amount, "gone": False, "at": at} | more


@pytest.fixture(scope="module")
def history():
    clock = VirtualClock(to_us(AT) - 3_600_000_000)
    log, lake = MemoryLog(clock), MemoryLake()

    def add(*rows):
        ingest(sales, list(rows), log=log, quarantine=None, clock=clock)

    add(sale("old", 5), sale("small", 2, 0.5), sale("fixed", 2.5, 7.0), sale("huge", 2.2, 500.0))
    add(sale("cancelled", 1.5), sale("good", 1.2), sale("other", 1.1, till=2))
    clock.set(to_us(AT) - 1_000_000)
    add(sale("fixed", 2.5, 3.0), sale("cancelled", 1.5, gone=True))
    clock.set(to_us(AT) + 1_000_000)
    add(sale("late", 1), sale("coming", -1))
    LakeSink(log, lake, ["sales"]).flush()
    return History(lake)


def told(history, name, at=AT):
    return explain(history, TILL, name, ("a", 1), to_us(at))


def test_each_record_is_counted_or_not_with_the_reason(history):
    found = told(history, "large_3h")
    (part,) = found.parts
    assert (found.feature, found.value, part.value) == ("till.large_3h", 5.0, 5.0)
    assert part.aggregate == "sum(amount, window=10800s, where=(amount > 1))"
    assert {(item["id"], item["status"]) for item in part.records} == {
        ("coming", "not yet known"),
        ("late", "not yet known"),
        ("good", "counted"),
        ("cancelled", "replaced by a later version, known 2024-04-30T23:59:59+00:00"),
        ("cancelled", "deleted"),
        ("small", "where not met: (amount > 1)"),
        ("huge", 'not in source "kept": its where is not met'),
        ("fixed", "replaced by a later version, known 2024-04-30T23:59:59+00:00"),
        ("fixed", "counted"),
        ("old", "outside the window"),
    }
    assert part.records[0]["event"] == "2024-05-01T01:00:00+00:00", "the newest first"
    assert part.reasons["counted"] == 2


def test_every_aggregate_of_a_feature_is_told(history):
    found = told(history, "share")
    assert [part.aggregate for part in found.parts] == ["sum(amount, window=10800s)", "count(1)"]
    assert found.value == 5.5 / 4
    assert [part.reasons["counted"] for part in found.parts] == [3, 4]


def test_instants_offsets_and_last_rows(history):
    assert told(history, "newest").value == "2024-04-30T22:48:00+00:00"
    before = told(history, "before").parts[0]
    assert [item["id"] for item in before.records if item["status"] == "counted"] == ["fixed"]
    assert "newer than the offset" in before.reasons
    last = told(history, "last_two").parts[0]
    assert [item["id"] for item in last.records if item["status"] == "counted"] == ["good", "small"]


def test_a_limit_keeps_the_counts(history):
    found = explain(history, TILL, "large_3h", {"shop": "a", "till": 1}, to_us(AT), limit=1)
    assert [item["id"] for item in found.parts[0].records] == ["coming"]
    assert sum(found.parts[0].reasons.values()) == 10


def test_nothing_is_known_of_a_key(history):
    found = explain(history, TILL, "share", ("b", 1), to_us(AT))
    assert (found.value, [part.records for part in found.parts]) == (None, [[], []])


def test_mistakes_name_the_nearest():
    with pytest.raises(NotFound, match="Did you mean"):
        find({"till": TILL}, "till.shar")
    with pytest.raises(SchemaError, match='the key of view "till" is shop, till: 2 values, not 1'):
        key_of(TILL, "a")
    with pytest.raises(SchemaError, match='"till" is text, not a whole number'):
        key_of(TILL, {"shop": "a", "till": "x"})


def test_parameters_and_the_parts_of_an_id_are_shown(history):
    amount = col("amount")
    features = {
        "lag": amount.lag(2),
        "tail": amount.approx_quantile(0.9, window="3h"),
        "recent": amount.decayed_sum(half_life="90m"),
    }
    by_hour = Events("sales", Sale, time="at", id=("sale_id", "at"), deleted="gone")
    view = FeatureView("shop", entity=Entity("shop", key="shop"), source=by_hour, features=features)
    found = {name: explain(history, view, name, "a", to_us(AT)).parts[0] for name in features}
    assert [part.aggregate for part in found.values()] == [
        "lag(amount, 2)",
        "approx_quantile(amount, 0.9, window=10800s)",
        "decayed_sum(amount, half_life=5400s, window=345600s)",
    ]
    assert found["lag"].records[0]["id"] == "coming, 2024-05-01T01:00:00+00:00"
