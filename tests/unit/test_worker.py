"""The worker beside its lake: states go on while the lake stands still, and what the lake says is heard."""

import threading

import pytest

from tenfold import Entity, FeatureView, col
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.base import SINK
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.worker import Worker
from tests.unit.sales import AT, sale, sales

SECONDS = 20
CLOCK = VirtualClock(AT)
SHOP = Entity("shop", key="shop")
VIEW = FeatureView("shops", entity=SHOP, source=sales, features={"spent": col("price").sum(window="1d")})


class StandingLake(MemoryLake):
    """A lake whose appends begin and wait until it is let go; then they fail, if they are to."""

    def __init__(self):
        super().__init__()
        self.begun, self.go, self.fails = threading.Event(), threading.Event(), False

    def append(self, *args, **kwargs):
        self.begun.set()
        assert self.go.wait(SECONDS)
        if self.fails:
            raise Unavailable("the disk is full")
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


def test_what_the_lake_refuses_ends_the_worker(running):
    running.lake.fails = True
    running.lake.go.set()
    running.sell(0)
    running.thread.join(SECONDS)
    assert running.raised == ["the disk is full"]


def test_what_no_view_counts_goes_to_the_lake_too(running):
    running.lake.go.set()
    other = MemoryLog(CLOCK)
    ingest(sales, [sale(0, 1)], log=other, quarantine=None, clock=CLOCK)
    (batch,) = other.read("sales", 0)
    running.log.append("answers", batch.data, batch.count)
    assert comes(lambda: running.lake.version("answers") >= 0)
