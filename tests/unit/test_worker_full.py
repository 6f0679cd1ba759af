"""A worker on a disk that is full: what has room goes on, and all of it when there is room again."""

from tenfold.core.errors import DiskFailed
from tenfold.sources.turn import Locked
from tenfold.store.base import SINK
from tests.unit.test_worker import SECONDS, comes, running  # noqa: F401 - a fixture

FULL = DiskFailed("the disk is full")


def told(caplog):
    return [record.getMessage() for record in caplog.records]


def test_states_go_on_while_there_is_no_room_for_the_lake(running, caplog):  # noqa: F811
    running.lake.fails = FULL
    running.lake.go.set()
    running.sell(0)
    assert comes(lambda: told(caplog))
    running.sell(1)
    assert comes(lambda: not running.states.behind())
    assert running.thread.is_alive()
    running.lake.fails = None
    assert comes(lambda: running.lake.position("sales", SINK) == 2)
    assert comes(lambda: len(told(caplog)) == 2)
    assert told(caplog) == [
        "the lake stands still, and the states go on: the disk is full",
        "the lake goes on",
    ]


def test_states_go_on_when_there_is_room_for_them_again(running, caplog, monkeypatch):  # noqa: F811
    running.lake.go.set()

    def refuse(*given, **how):
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(running.store, "write", refuse)
        running.sell(0)
        assert comes(lambda: told(caplog) == ["the worker waits for the disk: the disk is full"])
        assert running.states.behind()
    assert comes(lambda: not running.states.behind())
    assert running.thread.is_alive()


def test_a_worker_that_cannot_use_its_states_any_more_ends(running, monkeypatch):  # noqa: F811
    running.lake.go.set()

    def refuse(*given, **how):
        raise FULL

    monkeypatch.setattr(running.store, "write", refuse)
    monkeypatch.setattr(running.store, "offsets", refuse)
    running.thread.join(SECONDS)
    assert running.raised == ["the disk is full"]


def test_a_worker_goes_on_that_finds_its_states_locked_behind_a_full_disk(running, monkeypatch):  # noqa: F811
    running.lake.go.set()
    offsets, refused = running.store.offsets, []

    def refuse(*given, **how):
        refused.append("full")
        raise FULL

    def look(*given, **how):
        if refused[-1:] == ["full"]:
            refused.append("locked")
            raise Locked("somebody keeps them")
        return offsets(*given, **how)

    with monkeypatch.context() as patched:
        patched.setattr(running.store, "write", refuse)
        patched.setattr(running.store, "offsets", look)
        running.sell(0)
        assert comes(lambda: refused.count("locked") > 1)
    assert comes(lambda: not running.states.behind())
    assert running.thread.is_alive()
