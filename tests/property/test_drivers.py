"""Request, stream, lake and log compute the same bits, however a history is batched, repeated or interrupted."""

import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.clock import VirtualClock
from tenfold.features.state.chunks import SIZES, Sizes
from tenfold.monitoring.skew import skew
from tenfold.sources.log import SQLiteLog
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store import materialize
from tenfold.store.lmdb import LMDBOnlineStore
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.worker import Worker
from tests.property.shop import (
    HOUR,
    MINUTE,
    PACKAGE,
    START,
    gaps,
    histories,
    login_row,
    model,
    order,
    order_row,
)
from tests.property.tried import tried
from tests.property.world import World, mismatches

asked = order.map(lambda raw: raw | {"units": max(raw["units"], 1)})  # a row of the spine


@tried(25)
@given(histories, st.tuples(st.just("predict"), gaps, asked))
def test_the_four_drivers_agree(history, last):
    world = World().play([*history, last])
    drivers = world.all_drivers()
    for name in ("stream", "lake", "log"):
        assert mismatches(drivers["request"], drivers[name]) == [], name
    found = skew(model, world.dataset, [world.served()], lambda _: PACKAGE.manifest)
    assert (found.mismatches, found.cells) == (0, drivers["request"].size)


# Repeated, interrupted, twice at once ---------------------------------------------------------------


def records():
    """Return a fixed history of late, corrected and repeated records, as (source, rows) per append."""
    now = START
    for place in range(30):
        now += [MINUTE, HOUR, 0][place % 3]
        raw = {
            "order_id": f"o{place % 7}",
            "amount": place / 10,
            "units": place % 4,
            "late": [0, MINUTE, HOUR][place % 3],
        }
        yield now, "orders", [order_row(raw, now)]
        raw = {"login_id": place % 5, "card": 1 + place % 2, "word": "up", "paid": place % 3 == 0}
        yield now, "logins", [login_row(raw | {"late": 0, "ahead": place % 2 * MINUTE}, now)]


def filled(make):
    """Return a log that holds the fixed history."""
    clock = VirtualClock(START)
    log = make(clock)
    world = World(log=log, clock=clock)
    for now, source, rows in records():
        world.clock.set(now)
        world.arrive(source, rows)
    return log


def state_of(store):
    return dict(store.items()), store.offsets()


def table_of(lake):
    return {name: lake.read(name).to_pylist() for name in ("orders", "logins")}


LOG = filled(MemoryLog)
TINY = Sizes(most=3, mean=2)
TRUTH = {}
for sizes in (SIZES, TINY):
    done = World(log=LOG, divided=sizes).play([])
    TRUTH[sizes] = state_of(done.store), table_of(done.lake)
in_chunks_or_not = pytest.mark.parametrize("sizes", TRUTH, ids=["in one piece", "in chunks"])


class Died(Exception):
    pass


class Dying:
    """Something whose process dies at the n-th call, before or after the call took effect."""

    def __init__(self, inner, calls, at, after):
        self._inner, self._calls, self._at, self._after = inner, calls, at, after

    def __getattr__(self, name):
        method = getattr(self._inner, name)

        def call(*args, **kwargs):
            self._calls.append(name)
            dies = len(self._calls) == self._at
            if dies and not self._after:
                raise Died
            result = method(*args, **kwargs)
            if dies:
                raise Died
            return result

        return call


@pytest.mark.parametrize(
    ("after", "sizes", "step"),
    [(False, TINY, 3), (True, SIZES, 1)],
    ids=["before every third call, in chunks", "after a call"],
)
def test_a_record_counts_once_however_a_worker_dies(after, sizes, step, monkeypatch):
    monkeypatch.setattr(materialize, "BATCHES", 8)
    deaths = 0
    for at in itertools.count(1, step):
        store, lake, calls = MemoryOnlineStore(), MemoryLake(), []
        log, first_store, first_lake = (Dying(item, calls, at, after) for item in (LOG, store, lake))
        try:
            worker(log, first_store, first_lake, sizes).drain()
        except Died:
            deaths += 1
        else:
            break
        worker(LOG, store, lake, sizes).drain()
        assert (state_of(store), table_of(lake)) == TRUTH[sizes], (at, calls[-1])
    assert deaths > 30 / step, "the worker did not die often enough to say anything"


def worker(log, store, lake, sizes):
    states = StateSink(log, store, model.stored, sizes=sizes)
    return Worker(states, LakeSink(log, lake, ["orders", "logins"]), VirtualClock(START))


class Interrupted:
    """A store or log where another worker finishes its own work right after one of the first worker's reads."""

    def __init__(self, inner, name, other):
        self._inner, self._name, self._other = inner, name, other

    def __getattr__(self, name):
        method = getattr(self._inner, name)
        if name != self._name:
            return method

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            other, self._other = self._other, lambda: None
            other()
            return result

        return call


@in_chunks_or_not
@pytest.mark.parametrize("moment", ["offsets", "use"])
def test_a_slow_worker_does_not_undo_what_a_fast_one_did(moment, sizes, monkeypatch):
    store = MemoryOnlineStore()
    clock = VirtualClock(START)
    part = MemoryLog(clock)
    for batch in LOG.read("orders", 0, limit=5):
        clock.set(batch.arrival)
        part.append("orders", batch.data, batch.count)
    fast = StateSink(LOG, store, model.stored, sizes=sizes)
    interrupted = Interrupted(store, moment, lambda: drained(fast))
    slow = StateSink(part, interrupted, model.stored, sizes=sizes)
    assert slow.advance() == [], "the slow worker made nothing visible"
    assert state_of(store) == TRUTH[sizes][0]


def drained(sink):
    while sink.behind():
        sink.advance()


def test_two_workers_do_not_store_a_record_twice(monkeypatch):
    lake = MemoryLake()
    other = LakeSink(LOG, lake, ["orders", "logins"])
    monkeypatch.setattr(materialize, "BATCHES", 1)
    slow = LakeSink(LOG, Interrupted(lake, "position", other.flush), ["orders", "logins"])
    assert slow.flush() == 0
    assert table_of(lake) == TRUTH[SIZES][1]


@in_chunks_or_not
def test_the_same_batches_again_change_nothing(sizes):
    store = MemoryOnlineStore()
    drained(StateSink(LOG, store, model.stored, sizes=sizes))
    again = MemoryOnlineStore()
    again.write(dict(store.items()), {})  # the states, as if no offset had been committed
    drained(StateSink(LOG, again, model.stored, sizes=sizes))
    assert state_of(again) == TRUTH[sizes][0]


DRAIN = """
import sys
from pathlib import Path
from tenfold.core.clock import VirtualClock
from tenfold.sources.log import SQLiteLog
from tenfold.store.lmdb import LMDBOnlineStore
from tenfold.store import materialize
from tests.property.test_drivers import TINY, StateSink, model
materialize.BATCHES = 1
home = Path(sys.argv[1])
log, store = SQLiteLog(home / "log.db", VirtualClock(0)), LMDBOnlineStore(home / "online")
sink = StateSink(log, store, model.stored, sizes=TINY)
print(sum(len(sink.advance()) for _ in iter(sink.behind, False)))
"""


def test_two_processes_share_the_work(tmp_path):
    filled(lambda clock: SQLiteLog(tmp_path / "log.db", clock)).close()
    run = [sys.executable, "-c", DRAIN, str(tmp_path)]
    both = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    done = [int(process.communicate(timeout=60)[0]) for process in both]
    store = LMDBOnlineStore(tmp_path / "online")
    assert state_of(store) == TRUTH[TINY][0]
    assert sum(done) == 60, "each batch was made visible by exactly one of them"
    store.close()
