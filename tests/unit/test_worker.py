"""The worker beside its lake: states go on while the lake stands still, and what the lake says is heard."""

import os
import sys
import threading

import pyarrow as pa
import pytest

from tenfold import Entity, Events, FeatureView, col
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.errors import Unavailable
from tenfold.processing.ingest import ingest
from tenfold.sources.log import SQLiteLog
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store import materialize
from tenfold.store.base import SINK
from tenfold.store.lmdb import LMDBOnlineStore
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.worker import NICE, Worker
from tests.states import locked
from tests.unit.sales import AT, Sale, sale, sales

SECONDS = 20
CLOCK = VirtualClock(AT)
SHOP = Entity("shop", key="shop")
VIEW = FeatureView("shops", entity=SHOP, source=sales, features={"spent": col("price").sum(window="1d")})


class StandingLake(MemoryLake):
    """A lake whose appends begin and wait until it is let go; then they fail, if they are to, with an error."""

    def __init__(self):
        super().__init__()
        self.begun, self.go, self.fails = threading.Event(), threading.Event(), None
        self.priority = None

    def append(self, *args, **kwargs):
        if sys.platform == "linux" and not self.begun.is_set():
            self.priority = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        self.begun.set()
        assert self.go.wait(SECONDS)
        if self.fails:
            raise self.fails
        return super().append(*args, **kwargs)


class Running:
    """A worker in a thread of its own, over everything in memory but a lake that stands still."""

    def __init__(self):
        self.log, self.store, self.lake = MemoryLog(CLOCK), MemoryOnlineStore(), StandingLake()
        self.stop, self.raised = threading.Event(), []
        self.states = StateSink(self.log, self.store, [VIEW])
        sink = LakeSink(self.log, self.lake, ["sales", "answers"])
        self.worker = Worker(self.states, sink, CLOCK, seconds=0.01)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.worker.run(self.stop.is_set)
        except Unavailable as error:
            self.raised.append(str(error))

    def sell(self, place):
        ingest(sales, [sale(place, 1)], log=self.log, quarantine=None, clock=CLOCK)

    def end(self):
        self.lake.go.set()
        self.stop.set()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def running():
    found = Running()
    yield found
    found.end()


def comes(condition):
    """Return whether something becomes true soon."""
    until = CLOCK.elapsed() + SECONDS * 1_000_000
    while not condition() and CLOCK.elapsed() < until:
        CLOCK.sleep(0.001)
    return condition()


def test_states_go_on_while_the_lake_stands_still(running):
    running.sell(0)
    assert running.lake.begun.wait(SECONDS)
    running.sell(1)
    assert comes(lambda: not running.states.behind())
    assert running.lake.version("sales") < 0
    running.end()
    assert running.lake.position("sales", SINK) == 2
    assert not running.raised


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows priorities of threads")
def test_only_who_writes_the_lake_lets_others_go_first(running):
    before = os.getpriority(os.PRIO_PROCESS, running.thread.native_id)
    running.sell(0)
    assert running.lake.begun.wait(SECONDS)
    assert running.lake.priority == max(before, NICE)
    assert os.getpriority(os.PRIO_PROCESS, running.thread.native_id) == before


def test_what_the_lake_refuses_ends_the_worker(running):
    running.lake.fails = Unavailable("the lake does not answer")
    running.lake.go.set()
    running.sell(0)
    running.thread.join(SECONDS)
    assert running.raised == ["the lake does not answer"]


def test_what_no_view_counts_goes_to_the_lake_too(running):
    running.lake.go.set()
    other = MemoryLog(CLOCK)
    ingest(sales, [sale(0, 1)], log=other, quarantine=None, clock=CLOCK)
    (batch,) = other.read("sales", 0)
    running.log.append("answers", batch.data, batch.count)
    assert comes(lambda: running.lake.version("answers") >= 0)


PIECE = 20


@pytest.fixture
def small(monkeypatch):
    """Let pieces have few records."""
    monkeypatch.setattr(materialize, "PIECE", PIECE)


class Log(MemoryLog):
    """A log that counts how often it is read."""

    reads = 0

    def read(self, *args, **kwargs):
        self.reads += 1
        return super().read(*args, **kwargs)


class Lake(MemoryLake):
    """A lake that keeps how many tables each append consisted of."""

    def __init__(self):
        super().__init__()
        self.tables = []

    def append(self, table, rows, **kwargs):
        pieces = [rows] if isinstance(rows, pa.Table) else list(rows)
        self.tables.append(len(pieces))
        return super().append(table, pieces, **kwargs)


def filled(rows, *, calls, own=lambda _: sales):
    """Return a log of so many sales in so many calls."""
    log = Log(CLOCK)
    for call in range(calls):
        some = range(call * rows // calls, (call + 1) * rows // calls)
        ingest(own(call), [sale(place, 1) for place in some], log=log, quarantine=None, clock=CLOCK)
    return log


def moved(log, rest=None):
    """Return a lake with what is in a log."""
    lake = Lake()
    assert LakeSink(log, lake, ["sales"]).flush(rest) == log.ends().offsets["sales"]
    return lake


@pytest.mark.usefixtures("small")
def test_with_breaks_the_lake_gets_the_same_rows_as_one_version():
    log, breaks = filled(70, calls=14), []
    lake = moved(log, lambda: breaks.append(log.reads))
    assert lake.tables == [4]
    assert lake.version("sales") == 0
    # one after each piece that is read, and after each that is written
    assert breaks == [1, 2, 3, 4, 4, 4, 4, 4]
    assert lake.read("sales").equals(moved(log).read("sales"))


@pytest.mark.usefixtures("small")
def test_pieces_of_other_columns_are_one_table():
    class Tagged(Sale):
        tag: str | None

    tagged = Events("sales", Tagged, time="at", id="sale_id")
    log = filled(2 * PIECE, calls=2, own=lambda call: tagged if call else sales)
    lake = moved(log, lambda: None)
    assert lake.tables == [1]
    assert lake.read("sales")["tag"].null_count == 2 * PIECE
    assert lake.read("sales").equals(moved(log).read("sales"))


@pytest.mark.usefixtures("small")
def test_many_records_are_few_pieces():
    (pieces,) = moved(filled(60 * PIECE, calls=60 * PIECE // 5), lambda: None).tables
    assert 20 < pieces <= materialize.MOST_PIECES


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("rest", [None, lambda: None])
@pytest.mark.parametrize(
    ("most", "commits"), [((5, 500, 10**9), 20), ((500, 40, 10**9), 3), ((500, 500, 1), 5)]
)
def test_a_commit_takes_no_more_than_it_may(monkeypatch, rest, most, commits):
    monkeypatch.setattr(materialize, "LAKE", most)
    lake = moved(filled(5 * PIECE, calls=5 * PIECE), rest)
    assert lake.version("sales") == commits - 1
    assert lake.read("sales").num_rows == 5 * PIECE


class Heavy(Log):
    """A log that keeps how many bytes were read between two of its marks."""

    def __init__(self):
        super().__init__(CLOCK)
        self.read_now, self.pieces = 0, []

    def read(self, *args, **kwargs):
        found = super().read(*args, **kwargs)
        self.read_now += sum(len(batch.data) for batch in found)
        return found

    def mark(self):
        self.pieces.append(self.read_now)
        self.read_now = 0


def long_texts(rows, each):
    """Return a log of sales with long texts, in calls of so many, and those rows."""
    log = Heavy()
    found = [sale(place, 1, shop=f"{place % 7:06}" + "a" * LONG) for place in range(rows)]
    for first in range(0, rows, each):
        ingest(sales, found[first : first + each], log=log, quarantine=None, clock=CLOCK)
    return log, [row["shop"] for row in found]


LONG = 100_000


@pytest.mark.parametrize("each", [1, 30])
def test_rows_with_long_texts_are_read_a_few_at_a_time(each):
    """What a piece takes is only known when it is there."""
    rows = 1_200
    (log, shops), lake = long_texts(rows, each), Lake()
    LakeSink(log, lake, ["sales"]).flush(log.mark)
    assert sum(log.pieces) > rows * LONG
    assert max(log.pieces) < materialize.ENOUGH + each * (LONG + 200) < 20 << 20
    assert (len(lake.tables), max(lake.tables)) == (2, 4)
    assert lake.read("sales")["shop"].to_pylist() == shops


@pytest.mark.parametrize("each", [1, 30])
def test_rows_with_long_texts_are_folded_a_few_at_a_time(monkeypatch, each):
    """Neither those that are new nor those that a new view still lacks are more than it may have in memory."""
    monkeypatch.setattr(materialize, "BYTES", 4 << 20)
    (log, _), store = long_texts(210, each), MemoryOnlineStore()
    newest = FeatureView("newest", entity=SHOP, source=sales, features={"shop": col("shop").last()})
    for views in ([VIEW], [VIEW, newest]):
        sink = StateSink(log, store, views)
        while sink.behind():
            log.mark()
            sink.advance()
            log.mark()
    assert max(log.pieces) < materialize.BYTES + each * (LONG + 200) < 8 << 20
    monkeypatch.setattr(materialize, "BYTES", 1 << 40)
    at_once = MemoryOnlineStore()
    StateSink(log, at_once, [VIEW, newest]).advance()
    assert (list(store.items()), store.offsets()) == (list(at_once.items()), at_once.offsets())


class Sleeping(VirtualClock):
    """A clock whose time passes as it is told, and that keeps for how long it was slept."""

    def __init__(self):
        super().__init__(AT)
        self.passed, self.slept = 0, []

    def elapsed(self):
        return self.passed

    def sleep(self, seconds):
        self.slept.append(seconds)


def test_a_break_is_as_long_as_three_pieces_until_the_next_ones_are_due():
    clock, stopped = Sleeping(), threading.Event()
    rest = Worker(None, None, clock, seconds=10)._rest(stopped.is_set)
    for took in (10_000, 20_000, 2_000_000):
        clock.passed += took
        rest()
    assert clock.slept == [0.03, 0.06, 1.0]
    stopped.set()
    rest()
    stopped.clear()
    clock.passed += 10_000_000
    rest()
    assert len(clock.slept) == 3


@pytest.mark.parametrize("during", [False, True])
def test_a_worker_that_is_told_to_stop_leaves_much_to_the_next_one(monkeypatch, during):
    monkeypatch.setattr(materialize, "LAKE", (5, 500, 10**9))
    log, lake, stopped, clock = filled(100, calls=100), Lake(), threading.Event(), Sleeping()
    append = lake.append

    def slow(*args, **kwargs):
        stopped.set()
        clock.passed += 2_000_000
        return append(*args, **kwargs)

    lake.append = slow
    states = StateSink(log, MemoryOnlineStore(), [VIEW])
    worker = Worker(states, LakeSink(log, lake, ["sales"]), clock, rows=1)
    if not during:
        stopped.set()
    worker.run(stopped.is_set)
    moved = lake.position("sales", SINK)
    assert moved in ((15, 20) if during else (15,))  # one more may have been under way
    assert not states.behind()
    assert worker.drain() == 0
    assert lake.position("sales", SINK) == 100
    assert sorted(lake.read("sales")["sale_id"].to_pylist()) == sorted(
        sale(place, 1)["sale_id"] for place in range(100)
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("breaks", [True, False])
def test_what_comes_while_the_lake_is_written_waits_in_every_topic(breaks):
    """Else an answer would be in the lake before the records that it was made from, and count as skewed."""
    log, lake = filled(3, calls=3), Lake()
    answer = log.read("sales", 0, limit=1)[0].data
    log.append("answers", answer, 1)
    before, append = dict(log.ends().offsets), lake.append

    def arrives():
        ingest(sales, [sale(10**6 + log.ends().offsets["sales"], 1)], log=log, quarantine=None, clock=CLOCK)
        log.append("answers", answer, 1)

    def during(*args, **kwargs):
        arrives()
        return append(*args, **kwargs)

    lake.append = during
    assert LakeSink(log, lake, ["sales", "answers"]).flush(arrives if breaks else None) == sum(
        before.values()
    )
    assert {topic: lake.position(topic, SINK) for topic in before} == before


def test_a_log_that_was_locked_for_too_long_is_asked_again(tmp_path, caplog):
    log, lake, stop = SQLiteLog(tmp_path / "log.db", CLOCK), MemoryLake(), threading.Event()
    hurried = log.prompt()
    states = StateSink(hurried, MemoryOnlineStore(), [VIEW])
    worker = Worker(states, LakeSink(hurried, lake, ["sales"]), CLOCK, seconds=0.01)
    thread = threading.Thread(target=worker.run, args=[stop.is_set])
    with locked(tmp_path / "log.db"):
        thread.start()
        while "the worker goes on" not in caplog.text and thread.is_alive():
            SystemClock().sleep(0.01)
    ingest(sales, [sale(1, 1)], log=log, quarantine=None, clock=CLOCK)
    while not lake.position("sales", SINK) and thread.is_alive():
        SystemClock().sleep(0.01)
    stop.set()
    thread.join(SECONDS)
    assert lake.position("sales", SINK) == 1
    log.close()


@pytest.mark.parametrize("again", [False, True])
def test_a_store_that_was_moved_away_ends_the_worker_also_when_nothing_comes(tmp_path, again):
    log, online = MemoryLog(CLOCK), tmp_path / "online"
    store = LMDBOnlineStore(online, map_size=2**26)
    worker = Worker(StateSink(log, store, [VIEW]), LakeSink(log, MemoryLake(), ["sales"]), CLOCK)
    ingest(sales, [sale(1, 1)], log=log, quarantine=None, clock=CLOCK)
    assert worker.drain() == 1
    online.rename(tmp_path / "elsewhere")
    if again:  # as a server makes it that starts then
        LMDBOnlineStore(online, map_size=2**26).close()
    with pytest.raises(
        Unavailable, match=r'online" was moved or removed while this process had it open\. Start it again'
    ):
        worker.run(lambda: False)
    with pytest.raises(Unavailable, match="moved or removed"):
        store.write({}, {})
    store.close()
