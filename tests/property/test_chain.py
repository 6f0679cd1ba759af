"""Chained features: an aggregate over a column that reads another view's features, as of when each record happened."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, Label, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import FOREVER, UNITS, to_datetime
from tenfold.processing.batches import read_frame
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store import materialize, spill, upstream
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History
from tenfold.store.online import Lookup
from tests.property import reference
from tests.property.test_spill import bits
from tests.property.tried import tried

HOUR = UNITS["h"]


class Payment:
    payment_id: int
    card: str
    shop: str
    amount: int
    at: datetime
    told: datetime


payments = Events("payments", Payment, time="at", known="told", id="payment_id")


class Removed(Payment):
    gone: bool


card, shop = Entity("card", key="card"), Entity("shop", key="shop")
delayed = Events("payments", Payment, time="at", delay="1h", id="payment_id")  # known after it has arrived


def chain(root):
    """Return a view, and one whose source reads it, over the same records."""
    first = FeatureView(
        "by_card",
        entity=card,
        source=root,
        features={"spent": col("amount").sum(window="3h"), "payments": count(window="3h")},
    )
    judged = Derived("judged", source=root, added={"unusual": col("amount") > first["spent"].fill_null(2)})
    features = {"unusual_6h": count(window="6h", where=col("unusual")), "last_unusual": col("unusual").last()}
    return first, judged, FeatureView("by_shop", entity=shop, source=judged, features=features)


by_card, judged, by_shop = chain(payments)

events = st.lists(
    st.tuples(
        st.integers(0, 12).map(lambda n: n * HOUR // 2),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["x", "y"]),
        st.integers(0, 5),
        st.sampled_from([0, 0, 1, HOUR, 4 * HOUR]),
    ),
    max_size=14,
)


def records_of(events):
    return [
        {
            "id": number,
            "payment_id": number,
            "card": card,
            "shop": shop,
            "amount": amount,
            "at": at,
            "event": at,
            "known": at + late,
            "told": at + late,
            "offset": number,
        }
        for number, (at, card, shop, amount, late) in enumerate(events)
    ]


def expected(records, key, at):
    """Return the chained features by the reference: each record is judged as of when it happened."""
    judged_ = []
    for record in records:
        spent = reference.features(by_card, records, [record["card"]], min(record["event"], record["known"]))[
            "spent"
        ]
        judged_.append(record | {"unusual": record["amount"] > (2 if spent is None else spent)})
    mine = [record for record in judged_ if record["shop"] == key]
    return {name: reference.value(expr, mine, at) for name, expr in by_shop.features.items()}


def lake_of(records):
    clock = VirtualClock(100 * HOUR)
    log, lake = MemoryLog(clock), MemoryLake()
    rows = [
        {name: record[name] for name in ("payment_id", "card", "shop", "amount")}
        | {"at": to_datetime(record["at"]), "told": to_datetime(record["told"])}
        for record in records
    ]
    ingest(payments, rows, log=log, quarantine=None, clock=clock, history=True)
    LakeSink(log, lake, ["payments"]).flush()
    return lake


@tried(80)
@given(
    events,
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.integers(0, 16).map(lambda n: n * HOUR // 2 + 1)),
        min_size=1,
        max_size=5,
    ),
)
def test_offline_is_the_reference(events, queries):
    records = records_of(events)
    keys = [column("str", [key for key, _ in queries])]
    at = np.array([at for _, at in queries], dtype=np.int64)
    found = History(lake_of(records)).features(by_shop, keys, at)
    for row, (key, moment) in enumerate(queries):
        assert {name: item.plain()[row] for name, item in found.items()} == expected(records, key, moment)


twice = Derived("twice", source=judged, added={"third": col("amount") > by_shop["unusual_6h"].fill_null(0)})
by_both = FeatureView(
    "by_third",
    entity=Entity("third", key="third"),
    source=twice,
    features={"spent": col("amount").sum(window="9h"), "unusual": col("unusual").last()},
)


@tried(10)
@given(events, st.lists(st.integers(0, 16).map(lambda n: n * HOUR // 2 + 1), min_size=1, max_size=5))
def test_larger_than_memory_is_the_same_to_the_bit(events, moments):
    """Of a view, a view of that, and one of both whose key is a feature itself; corrections move records between parts."""
    records = records_of(events)
    records += [record | {"payment_id": place, "shop": "x"} for place, record in enumerate(records[1:4])]
    lake, at = lake_of(records), np.array(moments)
    asked = {
        by_shop: column("str", ["xyz"[n % 3] for n in moments]),
        by_both: column("bool", [n % 2 for n in moments]),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "ROWS_READ", 4)
        patch.setattr(spill, "ROWS_PER_PART", 3)
        for view, keys in asked.items():
            divided, whole = History(lake, memory=1), History(lake)
            assert divided.divides(payments) or not records
            assert bits(divided.features(view, [keys], at)) == bits(whole.features(view, [keys], at))
            assert bits({"": divided.newest(view, [keys], at)}) == bits({"": whole.newest(view, [keys], at)})
            assert not divided._pasts or not records, "nothing was read whole"


removable = Events("payments", Removed, time="at", known="told", id="payment_id", deleted="gone")
changes = st.lists(
    st.tuples(
        st.integers(0, 13),
        st.sampled_from([-9 * HOUR, -HOUR, 0, 0, 5 * HOUR]),
        st.sampled_from("ab"),
        st.sampled_from([0, HOUR, 30 * HOUR]),
        st.booleans(),
    ),
    max_size=4,
)


@tried(60)
@given(
    st.sampled_from([payments, delayed, removable]),
    events,
    changes,
    st.lists(st.integers(1, 4), max_size=5),
    st.integers(1, 40),
    st.sampled_from([1, 30]),
)
def test_states_are_the_lake(root, events, changes, sizes, later, apart):
    """Records arrive live, a few at a time, are corrected, moved and deleted; states are folded in batches of any size."""
    clock = VirtualClock(1000 * HOUR)
    log, lake, store = MemoryLog(clock), MemoryLake(), MemoryOnlineStore()
    first, _, second = chain(root)
    sink = StateSink(log, store, [first, second])
    records = records_of([(at * apart, *rest) for at, *rest in events])
    for place, by, key, late, gone in changes if records else []:
        one = records[place % len(records)]
        moved = {"at": one["at"] + by, "told": one["told"] + late, "known": one["known"] + late}
        records.append(one | moved | {"card": key, "gone": gone})
    for number, record in enumerate(sorted(records, key=lambda record: record["known"])):
        clock.set(1000 * HOUR + record["known"])
        row = {name: record[name] for name in ("payment_id", "card", "shop", "amount")}
        row |= {name: to_datetime(1000 * HOUR + record[name]) for name in ("at", "told")}
        if root is removable:
            row |= {"gone": record.get("gone", False)}
        ingest(root, [row], log=log, quarantine=None, clock=clock)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upstream, "ROWS", 2)
            if sizes and number % 3 == 0:
                patch.setattr(materialize, "BATCHES", sizes[number % len(sizes)])
                sink.advance()
            if number % 7 == 6:
                sink = StateSink(log, store, [first, second])
    while sink.behind():
        sink.advance()
    LakeSink(log, lake, ["payments"]).flush()
    at = clock.now() + later * HOUR // 4
    online = [Lookup([second])(store, {"shop": key}, at)[0].values for key in "xyz"]
    found = History(lake).features(second, [column("str", list("xyz"))], np.full(3, at))
    assert online == [list(row) for row in zip(*(item.plain() for item in found.values()), strict=True)]


def reported(chance):
    """Return records of a few cards over days: many late, announced ahead, corrected and moved; each is told later than the last."""
    told, found = 0, []
    for number in range(60):
        told += int(chance.integers(0, 3)) * HOUR // 2
        late = int(chance.choice([0, 0, 0, 0, 1, 9, 30, -2, -4])) * HOUR
        again = bool(found) and chance.random() < 0.3
        found.append(
            {
                "payment_id": found[chance.integers(len(found))]["payment_id"] if again else number,
                "card": "ab"[chance.integers(2)],
                "shop": "x",
                "amount": int(chance.integers(1, 9)),
                "at": told - late,
                "told": told + (int(chance.choice([0, 0, 3])) * HOUR),
                "arrival": told,
            }
        )
    return found


@pytest.mark.parametrize("seed", range(40))
def test_what_is_forgotten_never_counts(seed, monkeypatch):
    """A worker that forgets adds the features that one adds which has just read all of the log."""
    chance = np.random.default_rng(seed)
    clock = VirtualClock(1000 * HOUR)
    log = MemoryLog(clock)
    monkeypatch.setattr(upstream, "ROWS", 3)
    worker, records = upstream.Upstream(log), reported(chance)
    loaded = seed % 4 == 0  # as history, whose known times are those declared
    records = [records[place] for place in chance.permutation(60)] if loaded else records
    while records:
        some, records = records[: chance.integers(1, 5)], records[4:]
        first = log.ends().offsets.get("payments", 0)
        for record in some:
            clock.set(max(clock.now(), 1000 * HOUR + (0 if loaded else record["arrival"])))
            times = {name: to_datetime(1000 * HOUR + record[name]) for name in ("at", "told")}
            row = {name: record[name] for name in ("payment_id", "card", "shop", "amount")} | times
            ingest(payments, [row], log=log, quarantine=None, clock=clock, history=loaded)
        frame = read_frame(payments, log.read("payments", first))
        whole, every = upstream.Upstream(log), upstream.Held(log, by_card)
        every._reach, every._floor = FOREVER, -FOREVER  # as of a view with a window that has no end
        whole._held[by_card.fingerprint] = every
        one, two = worker.added(judged, frame), whole.added(judged, frame)
        assert bits(one) == bits(two)


def test_what_replaced_a_record_before_it_arrived_is_read_again():
    """History may be loaded in any order: here an announcement after what replaced it, which no window reaches."""
    clock = VirtualClock(1000 * HOUR)
    log = MemoryLog(clock)
    old = [(number, number, number) for number in range(2, 12)]
    loads = [[*old, (1, 50, 60), (12, 99, 99)], [(1, 96, 55)]]
    held = upstream.Held(log, by_card)
    for load, numbers in zip(loads, [["12"], ["1", "1", "12"]], strict=True):
        rows = [
            {"payment_id": number, "card": "a", "shop": "x", "amount": 1}
            | {"at": to_datetime(at * HOUR), "told": to_datetime(told * HOUR)}
            for number, at, told in load
        ]
        ingest(payments, rows, log=log, quarantine=None, clock=clock, history=True)
        frame = held.until(np.array([100 * HOUR]))
        assert sorted(map(str, frame["payment_id"].plain())) == numbers


@pytest.mark.parametrize("late", [0, 40])
def test_what_is_held_of_the_log_does_not_grow(late):
    """Of 300 hours those of a few windows are held: also when a row comes late, which needs more for a while."""
    clock = VirtualClock(1000 * HOUR)
    log = MemoryLog(clock)
    sink = StateSink(log, MemoryOnlineStore(), [by_shop])
    most = 0
    for hour in range(1, 300):
        clock.set((1000 + hour) * HOUR)
        at = clock.now() - (late * HOUR if hour == 150 else 0)
        times = {"at": to_datetime(at), "told": to_datetime(clock.now())}
        row = {"payment_id": hour, "card": "a", "shop": "x", "amount": 3}
        ingest(payments, [row | times], log=log, quarantine=None, clock=clock)
        sink.advance()
        (held,) = sink._upstream._held.values()
        most = max(most, len(held._frame["at"]))
    assert most <= 2 * (3 + 2 * max(3, late)) + 2


def test_another_definition_upstream_is_another_definition():
    other = FeatureView(
        "by_card", entity=card, source=payments, features={"spent": col("amount").sum(window="4h")}
    )
    again = Derived("judged", source=payments, added={"unusual": col("amount") > other["spent"].fill_null(2)})
    assert again.fingerprint != judged.fingerprint


REFUSED = {
    "a key it does not have": (
        lambda: Derived("d", source=outcomes, added={"x": by_card["spent"] + 1}),
        'source "d" reads features of view "by_card", but its key "card" is not a field of source "outcomes".',
    ),
    "a view of the row itself": (
        lambda: Derived(
            "d",
            source=payments,
            added={"x": FeatureView("row", source=payments, features={"a": col("amount")})["a"]},
        ),
        'source "d" reads features of view "row", which has no entity. Read columns of the row instead.',
    ),
    "a label": (
        lambda: Label(judged, on="payment_id", value=col("unusual"), horizon="1d"),
        'label of source "judged" reads features of view "by_card". A label is made of its own events.',
    ),
}


class Outcome:
    payment_id: int
    at: datetime


outcomes = Events("outcomes", Outcome, time="at", id="payment_id")


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_cannot_be_chained_is_refused(mistake):
    write, text = REFUSED[mistake]
    with pytest.raises(DefinitionError) as caught:
        write()
    assert str(caught.value).startswith(text)
