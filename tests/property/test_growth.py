"""A home grows with its project: fields and views that are added later find what was stored before them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, DefinitionError, NotFound, SchemaError, Unavailable
from tenfold.core.times import UNITS, to_us
from tenfold.processing.batches import read_frame
from tenfold.processing.ingest import ingest
from tenfold.sources.lake import DeltaLake
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store import materialize
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History
from tenfold.store.online import group_name
from tenfold.store.worker import Worker
from tests.property.tried import tried

AT = datetime(2024, 5, 1, tzinfo=UTC)
SHOP = Entity("shop", key="shop")


class Sale:
    sale_id: str
    shop: str
    at: datetime


class Tipped(Sale):
    tip: float | None
    guest: str | None


class Required(Sale):
    tip: float


plain, tipped, required = (
    Events("sales", schema, time="at", id="sale_id") for schema in (Sale, Tipped, Required)
)


def view(source, name="tips", **features):
    return FeatureView(
        name, entity=SHOP, source=source, features=features or {"tips": col("tip").sum(window="2d")}
    )


def sale(place, **more):
    return {
        "sale_id": f"s{place}",
        "shop": "ab"[place % 2],
        "at": AT + timedelta(minutes=place),
    } | more


def add(log, source, place, **more):
    clock = VirtualClock(to_us(AT) + UNITS["d"])
    return ingest(source, [sale(place, **more)], log=log, quarantine=None, clock=clock, key=f"k{place}")


def new_log():
    return MemoryLog(VirtualClock(to_us(AT) + UNITS["d"]))


def drained(sink):
    while sink.behind():
        sink.advance()


# Fields ---------------------------------------------------------------------------------------------

appends = st.lists(
    st.tuples(st.booleans(), st.none() | st.sampled_from([0.0, 1.5]), st.booleans()), min_size=1, max_size=8
)


@tried(40)
@given(appends)
def test_rows_of_before_a_field_count_as_rows_without_it(appends):
    """Processes of the old and the new declaration take turns; `flush` says when the lake is written."""
    mixed, truth, lake, store = new_log(), new_log(), MemoryLake(), MemoryOnlineStore()
    tips = []
    for place, (new, tip, flush) in enumerate(appends):
        tips.append(tip if new else None)
        more = {"tip": tips[-1], "guest": None}
        add(truth, tipped, place, **more)
        add(mixed, *(tipped, place) if new else (plain, place), **more if new else {})
        if flush:
            LakeSink(mixed, lake, ["sales"]).flush()
    expected = MemoryOnlineStore()
    drained(StateSink(truth, expected, [view(tipped)]))
    worker = Worker(
        StateSink(mixed, store, [view(tipped)]), LakeSink(mixed, lake, ["sales"]), VirtualClock(0)
    )
    assert worker.drain() == len(tips)
    assert read_frame(tipped, mixed.read("sales", 0))["tip"].plain() == tips
    assert History(lake).frame(tipped)["tip"].plain() == tips
    assert History(lake).frame(plain)["sale_id"].plain() == [f"s{place}" for place in range(len(tips))]
    assert dict(store.items()) == dict(expected.items())


@pytest.fixture(params=["memory", "delta"])
def lake(request, tmp_path):
    return MemoryLake() if request.param == "memory" else DeltaLake(tmp_path)


@pytest.mark.parametrize("flushed", [False, True], ids=["in one commit", "in two commits"])
def test_both_lakes_give_what_was_stored_before_a_field(lake, flushed):
    log = new_log()
    add(log, plain, 0)
    if flushed:
        LakeSink(log, lake, ["sales"]).flush()
        before = History(lake).frame(tipped)
        assert (before["tip"].plain(), before["guest"].plain()) == ([None], [None])
    add(log, tipped, 1, tip=2.5, guest="Ann")
    assert LakeSink(log, lake, ["sales"]).flush() == 2 - flushed
    frame = History(lake).frame(tipped)
    assert (frame["tip"].plain(), frame["guest"].plain()) == ([None, 2.5], [None, "Ann"])
    assert set(History(lake).frame(plain)) == {"sale_id", "shop", "at", "_known", "_offset"}


@pytest.mark.parametrize("later", [False, True], ids=["before a new row", "with a new row"])
def test_a_field_that_may_not_be_missing_needs_a_new_home(lake, later):
    log = new_log()
    add(log, plain, 0)
    if later:
        add(log, required, 1, tip=1.0)
    LakeSink(log, lake, ["sales"]).flush()
    for read in (
        lambda: read_frame(required, log.read("sales", 0)),
        lambda: StateSink(log, MemoryOnlineStore(), [view(required)]).advance(),
        lambda: History(lake).frame(required),
    ):
        with pytest.raises(SchemaError) as error:
            read()
        assert str(error.value) == (
            'source "sales" has rows that were stored without the field "tip": declare it `| None`, '
            "or load the history again into a new home."
        )


def test_a_key_of_before_a_field_still_stores_nothing_again():
    log = new_log()
    add(log, plain, 0)
    assert add(log, tipped, 0, tip=None, guest=None).stored == 1
    with pytest.raises(Conflict, match="already used for other rows"):
        add(log, tipped, 0, tip=1.0, guest=None)
    assert log.ends().offsets == {"sales": 1}


def test_the_columns_a_user_may_mean_are_the_declared_ones(lake):
    log = new_log()
    add(log, plain, 0)
    LakeSink(log, lake, ["sales"]).flush()
    with pytest.raises(NotFound) as unknown:
        lake.read("sales", columns=["known"])
    with pytest.raises(DefinitionError) as wrong:
        lake.read("sales", where="tip > 1")
    for error in (unknown, wrong):
        assert "sale_id" in str(error.value)
        assert not any(own in str(error.value) for own in ("_known", "_offset", "_arrival"))


# Views ----------------------------------------------------------------------------------------------

old, new = view(plain, "old", sales=count(window="2d")), view(plain, "new", sales=count(window="3d"))


def mark(store, item):
    return store.offsets().get(group_name(item), 0)


@tried(60)
@given(st.integers(0, 8), st.integers(1, 3), st.lists(st.sampled_from(["add", "both", "old"]), max_size=12))
def test_a_new_view_holds_no_other_view_back(before, batches, steps):
    log, store, reported = new_log(), MemoryOnlineStore(), []
    alone, both = StateSink(log, store, [old]), StateSink(log, store, [old, new])
    for place in range(before):
        add(log, plain, place)
    drained(alone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(materialize, "BATCHES", batches)
        for step in [*steps, *["both"] * (before + len(steps))]:
            end, was = log.ends().offsets.get("sales", 0), mark(store, old)
            if step == "add":
                add(log, plain, end)
                continue
            done = (alone if step == "old" else both).advance()
            assert mark(store, old) == min(end, was + batches), "the old view moves as if it were alone"
            reported += [item.base for item in done] if step == "both" else []
    assert not both.behind()
    assert reported == list(range(log.ends().offsets.get("sales", 0))), "once each, when all views have it"
    truth = MemoryOnlineStore()
    drained(StateSink(log, truth, [old, new]))
    assert (dict(store.items()), store.offsets()) == (dict(truth.items()), truth.offsets())


class Busy(MemoryLog):
    """A log to which a second record is added right after a read behind the first one."""

    def read(self, topic, after, **limits):
        found = super().read(topic, after, **limits)
        if after == 1:
            add(self, plain, 1)
        return found


def test_a_view_that_catches_up_does_not_overtake():
    log, store = Busy(VirtualClock(to_us(AT) + UNITS["d"])), MemoryOnlineStore()
    add(log, plain, 0)
    StateSink(log, store, [old]).advance()
    both = StateSink(log, store, [old, new])
    assert [[item.base for item in both.advance()] for _ in range(3)] == [[0], [1], []]


# Definitions that are no longer declared -------------------------------------------------------------


class Stops(MemoryOnlineStore):
    """A store that is away from a write on, counted from 0."""

    left = 10**9

    def write(self, *args, **options):
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the store is away")
        return super().write(*args, **options)


@pytest.mark.parametrize("writes", range(12))
def test_states_of_a_definition_that_is_gone_are_removed_however_often_it_stops(writes, monkeypatch):
    monkeypatch.setattr(materialize, "KEYS", 1)
    log, store, truth = new_log(), Stops(), MemoryOnlineStore()
    for place in range(4):
        add(log, plain, place)
    drained(StateSink(log, store, [old, new]))
    drained(StateSink(log, truth, [new]))
    kept = StateSink(log, store, [new])
    store.left = writes
    try:
        kept.retire()
    except Unavailable:
        assert writes < 8
    store.left = 10**9
    kept.retire()
    assert (dict(store.items()), store.offsets()) == (dict(truth.items()), truth.offsets())
    assert kept.retire() == 0


def test_a_definition_that_is_declared_again_is_whole_again(monkeypatch):
    monkeypatch.setattr(materialize, "KEYS", 1)
    log, store, truth = new_log(), Stops(), MemoryOnlineStore()
    for place in range(4):
        add(log, plain, place)
    both = StateSink(log, store, [old, new])
    drained(both)
    drained(StateSink(log, truth, [old, new]))
    store.left = 2
    with pytest.raises(Unavailable):
        StateSink(log, store, [new]).retire()
    store.left = 10**9
    drained(both)
    assert both.retire() == 0
    assert (dict(store.items()), store.offsets()) == (dict(truth.items()), truth.offsets())
