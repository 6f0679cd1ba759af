"""Rows that come too late are set aside, deleted records are gone; in every driver, and however often a call is repeated."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, DefinitionError
from tenfold.core.times import UNITS, to_us
from tenfold.processing import batches
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.processing.quarantine import SCHEMA, Quarantine
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.sources.sqlite import SQLiteDatabase
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History
from tenfold.store.online import lookup
from tests.property.tried import tried

AT = datetime(2024, 5, 1, tzinfo=UTC)
NOW = to_us(AT)
HOUR = UNITS["h"]


class Sale:
    sale_id: str
    shop: str
    amount: float | None
    gone: bool
    at: datetime
    seen: datetime


def sale(place, hours, *, gone=False, amount=1.5, seen=None):
    at = AT + timedelta(hours=hours)
    row = {"sale_id": f"s{place}", "shop": "a", "amount": amount, "gone": gone, "at": at}
    return row | {"seen": at if seen is None else AT + timedelta(hours=seen)}


class Shop:
    def __init__(self, folder, **options):
        self.source = Events("sales", Sale, time="at", id="sale_id", **options)
        self.clock = VirtualClock(NOW)
        self.log = MemoryLog(self.clock)
        self.database = SQLiteDatabase(folder / "state.db", SCHEMA)
        self.aside = Quarantine(self.database, self.clock)

    def ingest(self, rows, **options):
        done = ingest(self.source, rows, log=self.log, quarantine=self.aside, clock=self.clock, **options)
        return done.stored, done.rejected


@pytest.fixture
def make(tmp_path):
    opened = []

    def shop(**options):
        opened.append(Shop(tmp_path, **options))
        return opened[-1]

    yield shop
    for item in opened:
        item.database.close()


def test_a_row_that_comes_too_late_is_set_aside_with_a_reason(make):
    shop = make(lateness="2h")
    rows = [sale(0, -2), sale(1, -3), sale(2, -1)]
    assert shop.ingest(rows) == (2, 1)
    assert [(item.reason, item.rows) for item in shop.aside.counts()] == [
        ('arrived later than lateness="2h" after "at"', 1)
    ]
    assert shop.aside.rows("sales")[0]["row"]["sale_id"] == "s1"


def test_lateness_counts_from_when_a_row_should_have_been_known(make):
    shop = make(lateness="2h", delay="1h")
    assert shop.ingest([sale(0, -3), sale(1, -4)]) == (1, 1)


def test_history_is_late_by_when_it_says_it_was_known(make):
    shop = make(lateness="2h", known="seen")
    rows = [sale(0, -100), sale(1, -100, seen=-98), sale(2, -100, seen=-97)]
    assert shop.ingest(pa.Table.from_pylist(rows), history=True) == (2, 1)


def test_without_a_lateness_a_row_counts_however_late(make):
    assert make().ingest([sale(0, -10_000)]) == (1, 0)


@pytest.mark.parametrize("few", [64, 0], ids=["few rows", "a stream"])
def test_a_repeated_call_is_judged_as_the_first_one_was(make, few, monkeypatch):
    monkeypatch.setattr(batches, "FEW", few)
    shop = make(lateness="2h")
    rows = [sale(0, -1), sale(1, -3), sale(2, 0)]
    for _ in range(3):
        assert shop.ingest(rows, key="k") == (2, 1)
        shop.clock.set(shop.clock.now() + 2 * HOUR)
    assert sum(item.rows for item in shop.aside.counts()) == 1
    with pytest.raises(Conflict):
        shop.ingest(rows[:1], key="k")


def test_the_field_that_deletes_is_a_bool_that_is_never_missing():
    with pytest.raises(DefinitionError, match='source "sales": deleted="amount" may be missing'):
        Events("sales", Sale, time="at", id="sale_id", deleted="amount")
    with pytest.raises(DefinitionError, match='source "sales": deleted="shop" is a str, not a bool'):
        Events("sales", Sale, time="at", id="sale_id", deleted="shop")
    with pytest.raises(DefinitionError, match='deleted reads "gon", which is not a field of Sale'):
        Events("sales", Sale, time="at", id="sale_id", deleted="gon")


# A change feed: records come, change and go ----------------------------------------------------------

CHANGES = Events("changes", Sale, time="at", id="sale_id", deleted="gone")
LARGE = Derived("large", source=CHANGES, where=col("amount") > 1.0)
VIEWS = [
    FeatureView(
        f"of_{source.name}",
        entity=Entity("shop", key="shop"),
        source=source,
        features={
            "sales": count(),
            "sales_3h": count(window="3h"),
            "total_3h": col("amount").sum(window="3h"),
            "most": col("amount").max(window="3h"),
            "newest": col("amount").last(),
        },
    )
    for source in (CHANGES, LARGE)
]
changes = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from([0, 1, 2]), st.booleans(), st.sampled_from([None, 0.5, 1.5, 2.5])
    ),
    min_size=1,
    max_size=12,
)


@tried(40)
@given(changes)
def test_a_deleted_record_is_gone_in_every_driver(steps):
    clock = VirtualClock(NOW)
    log, lake, store = MemoryLog(clock), MemoryLake(), MemoryOnlineStore()
    moments, answers, truth = [], [], {}
    for place, back, gone, amount in steps:
        clock.set(clock.now() + HOUR // 2)
        hours = (clock.now() - NOW) / HOUR - back
        row = sale(place, hours, gone=gone, amount=amount)
        ingest(CHANGES, [row], log=log, quarantine=None, clock=clock)
        StateSink(log, store, VIEWS).advance()
        truth[place] = row
        moments.append(clock.now() + 1)
        answers.append(lookup(store, VIEWS, {"shop": "a"}, moments[-1]).features)
        left = [row for row in truth.values() if not row["gone"]]
        assert answers[-1]["of_changes"]["sales"].plain() == [len(left)]
    LakeSink(log, lake, ["changes"]).flush()
    history = History(lake)
    for view in VIEWS:
        offline = history.features(view, [column("str", ["a"] * len(moments))], np.array(moments))
        for name, item in offline.items():
            assert item.plain() == [answer[view.name][name].plain()[0] for answer in answers], name


def test_rows_are_the_same_as_few_or_as_a_stream(tmp_path, monkeypatch):
    rows = [sale(place, -place, amount=None if place % 2 else place / 3) for place in range(5)]
    found = []
    for few in (64, 0):
        monkeypatch.setattr(batches, "FEW", few)
        with closing(SQLiteDatabase(tmp_path / f"{few}.db", SCHEMA)) as database:
            clock = VirtualClock(NOW)
            log, aside = MemoryLog(clock), Quarantine(database, clock)
            for row in rows:
                ingest(CHANGES, [row], log=log, quarantine=aside, clock=clock)
            ingest(CHANGES, rows, log=log, quarantine=aside, clock=clock, history=True)
        held = log.read("changes", 0)
        assert (held[0].data[0] == 0xFF) == (few == 0)
        frame = batches.read_frame(CHANGES, held)
        found.append(
            [{name: item.plain() for name, item in frame.items()}, batches.to_tables(held).to_pylist()]
        )
    assert found[0] == found[1]
