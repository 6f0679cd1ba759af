"""Nothing is lost and nothing counts twice, wherever a call stops and however often it is repeated."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tenfold import Entity, Events, FeatureView, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, SchemaError, Unavailable
from tenfold.core.times import to_us
from tenfold.processing import ingest as module
from tenfold.processing.batches import read_frame, to_table
from tenfold.processing.conform import KNOWN
from tenfold.processing.ingest import Call, Ingested, ingest, ingest_all
from tenfold.processing.quarantine import SCHEMA, Quarantine
from tenfold.sources.memory import MemoryLog
from tenfold.sources.sqlite import SQLiteDatabase
from tenfold.store.materialize import StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.online import lookup

AT = datetime(2024, 5, 1, tzinfo=UTC)
NOW = to_us(AT) + 86_400_000_000


class Sale:
    sale_id: str
    shop: str
    amount: float
    at: datetime


SALES = Events("sales", Sale, time="at", id="sale_id")


def sale(place, **changed):
    return {"sale_id": f"s{place}", "shop": "a", "amount": 1.5, "at": AT + timedelta(seconds=place)} | changed


ROWS = [sale(place) for place in range(10)]
BAD = sale(10, amount="x")
VIEW = FeatureView(
    "shop", entity=Entity("shop", key="shop"), source=SALES, features={"sales_2d": count(window="2d")}
)


class FailingLog(MemoryLog):
    """A log that is away for one append, counted from 0."""

    def __init__(self, fails, clock):
        super().__init__(clock)
        self._fails, self._calls = fails, 0

    def append(self, *args, **options):
        self._calls += 1
        if self._calls == self._fails + 1:
            raise Unavailable("the log is away")
        return super().append(*args, **options)


class Shop:
    def __init__(self, folder, fails):
        self.clock = VirtualClock(NOW)
        self.log = FailingLog(fails, self.clock)
        self.database = SQLiteDatabase(folder / "state.db", SCHEMA)
        self.aside = Quarantine(self.database, self.clock)

    def ingest(self, data, **options):
        return ingest(SALES, data, log=self.log, quarantine=self.aside, clock=self.clock, **options)

    def together(self, *calls):
        return ingest_all(calls, log=self.log, quarantine=self.aside, clock=self.clock)

    def records(self):
        """Return the rows in the log, in order."""
        return [row for batch in self.log.read("sales", 0) for row in to_table(batch).to_pylist()]

    def ids(self):
        return [row["sale_id"] for row in self.records()]

    def rejected(self):
        return sum(item.rows for item in self.aside.counts())


@pytest.fixture
def make(tmp_path):
    made = []

    def shop(fails=10**9):
        made.append(Shop(tmp_path, fails))
        return made[-1]

    yield shop
    for item in made:
        item.database.close()


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 4)


def test_good_rows_are_stored_and_bad_ones_set_aside(make):
    shop = make()
    assert shop.ingest([*ROWS[:2], BAD]) == Ingested(
        "sales",
        2,
        1,
        '1 of 3 rows of source "sales" were set aside: "amount" is text, not a number (1). '
        "The other rows were stored. See: tenfold rejects PROJECT.py sales",
    )
    assert shop.records()[0] == ROWS[0] | {KNOWN: NOW, "_offset": 0, "_arrival": NOW}
    assert shop.rejected() == 1


def test_history_counts_as_known_from_its_own_time_and_news_from_their_arrival(make):
    shop = make()
    shop.ingest(ROWS[:1], history=True)
    late = sale(11, at=AT + timedelta(days=2))
    shop.ingest([ROWS[1], late])
    assert [row[KNOWN] for row in shop.records()] == [to_us(AT), NOW, to_us(late["at"])]


def test_the_same_rows_under_a_key_are_stored_once_as_history_or_not(make):
    shop = make()
    shop.ingest(ROWS[:2], key="k", history=True)
    shop.clock.set(NOW + 1)
    for history in (True, False):
        assert shop.ingest(ROWS[:2], key="k", history=history).stored == 2
    assert [row[KNOWN] for row in shop.records()] == [to_us(row["at"]) for row in ROWS[:2]]


def test_history_and_news_are_read_together(make):
    shop = make()
    shop.ingest(ROWS[:1], history=True)
    shop.ingest(ROWS[1:2])
    frame = read_frame(SALES, shop.log.read("sales", 0))
    assert frame[KNOWN].plain() == [to_us(AT), NOW]


def test_a_crash_between_rejects_and_rows_is_completed_by_the_same_call(make):
    shop = make(fails=0)
    with pytest.raises(Unavailable):
        shop.ingest([*ROWS, BAD], key="k")
    assert (shop.ids(), shop.rejected()) == ([], 1)
    shop.clock.set(NOW + 1)
    first = shop.ingest([*ROWS, BAD], key="k")
    shop.clock.set(NOW + 2)
    assert shop.ingest([*ROWS, BAD], key="k") == first
    assert (shop.ids(), shop.rejected()) == ([row["sale_id"] for row in ROWS], 1)
    assert {row[KNOWN] for row in shop.records()} == {NOW + 1}


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_crash_between_parts_is_completed_by_the_same_call(make, small_parts, fails):
    shop = make(fails)
    data = pa.Table.from_pylist(ROWS)
    with pytest.raises(Unavailable):
        shop.ingest(data, key="k")
    assert len(shop.ids()) == 4 * fails
    for _ in range(2):
        assert shop.ingest(data, key="k").stored == 10
    assert shop.ids() == [row["sale_id"] for row in ROWS]


def test_without_a_key_equal_ids_count_once_downstream(make, small_parts):
    shop = make(fails=1)
    with pytest.raises(Unavailable):
        shop.ingest([*ROWS, BAD])
    shop.ingest([*ROWS, BAD])
    assert len(shop.ids()) == 14
    assert shop.rejected() == 2
    store = MemoryOnlineStore()
    StateSink(shop.log, store, [VIEW]).advance()
    answer = lookup(store, [VIEW], {"shop": "a"}, NOW + 1)
    assert answer.features["shop"]["sales_2d"].plain() == [10]


@pytest.mark.parametrize("other", [[ROWS[1]], ROWS[:2], [sale(0, amount=2)], ROWS[:1] * 2])
def test_a_key_used_for_other_rows_is_a_conflict_and_changes_nothing(make, other):
    shop = make()
    shop.ingest(ROWS[:1], key="k")
    with pytest.raises(Conflict) as error:
        shop.ingest(other, key="k")
    assert str(error.value) == (
        'key "k" of source "sales" was already used for other rows. Those of the first call count; '
        "give other rows a new key."
    )
    assert shop.ids() == ["s0"]


def test_a_key_under_which_nothing_fitted_may_be_used_for_the_corrected_rows(make):
    shop = make()
    assert shop.ingest([BAD], key="k").stored == 0
    assert shop.ingest([sale(10)], key="k").stored == 1
    assert (shop.ids(), shop.rejected()) == (["s10"], 1)


LONG = [sale(place, shop="a" * size) for place, size in enumerate([38, 38, 38, 150, 8, 8, 8, 8, 88, 8])]
CUT = [2, 1, 1, 4, 2]


def whole(shop):
    """Return what readers and states make of what is in the log."""
    frame = read_frame(SALES, shop.log.read("sales", 0))
    store = MemoryOnlineStore()
    StateSink(shop.log, store, [VIEW]).advance()
    return {name: item.plain() for name, item in frame.items()}, list(store.items()), store.offsets()


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("form", [list, pa.Table.from_pylist])
def test_long_texts_are_batches_of_few_rows_and_read_as_if_they_were_one(make, monkeypatch, form, history):
    one, several = make(), make()
    one.ingest(form(LONG), history=history)
    monkeypatch.setattr(module, "TEXT_PER_BATCH", 100)
    assert several.ingest(form(LONG), history=history, key="k").stored == 10
    assert [batch.count for batch in one.log.read("sales", 0)] == [10]
    assert [batch.count for batch in several.log.read("sales", 0)] == CUT
    assert whole(one) == whole(several)


@pytest.mark.parametrize(("first", "later"), [(10**9, 100), (100, 60), (100, 100)])
@pytest.mark.parametrize("fails", range(6))
def test_a_call_is_completed_as_it_was_cut_at_first(make, monkeypatch, first, later, fails):
    """A process that repeats it may be of a version whose batches are smaller."""
    shop, data = make(fails), pa.Table.from_pylist(LONG)
    monkeypatch.setattr(module, "TEXT_PER_BATCH", first)
    with suppress(Unavailable):
        shop.ingest(data, key="k", history=True)
    held = shop.log.read("sales", 0)
    assert [batch.count for batch in held] == (CUT if first == 100 else [10])[:fails]
    monkeypatch.setattr(module, "TEXT_PER_BATCH", later)
    for _ in range(2):
        assert shop.ingest(data, key="k").stored == 10
    assert shop.log.read("sales", 0)[: len(held)] == held
    assert shop.ids() == [row["sale_id"] for row in LONG]


def test_a_call_that_was_cut_otherwise_is_not_completed_by_more_rows(make, monkeypatch):
    shop = make()
    shop.ingest(LONG, key="k")
    monkeypatch.setattr(module, "TEXT_PER_BATCH", 500)
    with pytest.raises(Conflict):
        shop.ingest([*LONG, sale(10), sale(11, shop="a" * 400)], key="k")
    assert shop.ids() == [row["sale_id"] for row in LONG]


def others():
    changed = [*LONG[:9], sale(9, amount=3)]
    return [
        LONG[:2],
        LONG[:3],
        LONG[:9],
        [*LONG, sale(10)],
        [*LONG, *LONG],
        changed,
        LONG[::-1] * 2,
        LONG[1:],
    ]


@pytest.mark.parametrize("other", others())
@pytest.mark.parametrize("together", [True, False])
def test_a_key_of_several_batches_that_is_used_for_other_rows_changes_nothing(
    make, monkeypatch, other, together
):
    monkeypatch.setattr(module, "TEXT_PER_BATCH", 100)
    shop = make()
    if together:
        (told,) = shop.together(Call(SALES, LONG, "k"))
        (again, wrong, fine) = shop.together(
            Call(SALES, LONG, "k"), Call(SALES, [*other, BAD], "k"), Call(SALES, [sale(11)], "l")
        )
        assert (told, again, type(wrong), fine.stored) == (again, told, Conflict, 1)
    else:
        shop.ingest(LONG, key="k")
        with pytest.raises(Conflict):
            shop.ingest([*other, BAD], key="k")
    assert shop.ids() == [row["sale_id"] for row in LONG] + ["s11"] * together


def test_a_row_that_no_batch_can_hold_is_refused_and_nothing_stored(make, monkeypatch):
    monkeypatch.setattr(module, "TEXT_PER_BATCH", 100)
    monkeypatch.setattr(module, "LONGEST", 151)
    shop = make()
    with pytest.raises(SchemaError) as error:
        shop.ingest([*LONG, BAD], key="k")
    assert str(error.value) == (
        'a row of source "sales" has texts of 152 characters together. A row may have 151: keep long ones elsewhere and '
        "their names here. Nothing was stored."
    )
    assert (shop.ids(), shop.rejected()) == ([], 0)
    monkeypatch.setattr(module, "LONGEST", 152)
    assert shop.ingest([*LONG, BAD], key="k").stored == 10


def test_a_table_that_is_wrong_as_a_whole_stores_nothing(make):
    shop = make()
    with pytest.raises(SchemaError):
        shop.ingest(pa.table({"sale_id": ["s0"]}))
    assert (shop.ids(), shop.rejected()) == ([], 0)


def test_nothing_at_all_is_fine(make):
    assert make().ingest([], key="k") == Ingested("sales", 0, 0, "")
