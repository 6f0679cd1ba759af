"""A disk that has errors or may only be read: nothing is acknowledged, what is said is true, and all goes on when it works again."""

import asyncio
import fcntl
import json
import logging
import os
import shutil
from contextlib import suppress
from errno import EROFS

import httpx
import pytest

from tenfold import Platform, VirtualClock
from tenfold.core.errors import DiskFailed, Unavailable
from tenfold.sources.log import SQLiteLog
from tenfold.sources.sqlite import SQLiteDatabase
from tenfold.store.base import read
from tenfold.store.lmdb import LMDBOnlineStore
from tests.examples import bare
from tests.failing import OPEN, SYNC, TO_WRITE, WRITE, failing, on

CLOCK = VirtualClock(0)


@pytest.fixture
def log(tmp_path):
    log = SQLiteLog(tmp_path / "log.db", CLOCK)
    log.append("sales", b"before", 1, key="before")
    yield log
    log.close()


def append(log):
    return lambda: log.append("sales", b"new", 1, key="new")


def stored(log):
    return [batch.data for batch in log.read("sales", 0)]


def after_a_crash(log, tmp_path):
    """Return the log that is found when all processes died now."""
    (tmp_path / "crashed").mkdir()
    for name in ("log.db", "log.db-wal"):  # the index of the write-ahead log is made anew
        shutil.copy(tmp_path / name, tmp_path / "crashed" / name)
    return SQLiteLog(tmp_path / "crashed/log.db", CLOCK)


@pytest.mark.parametrize(
    ("number", "cannot"),
    [
        (5, "be read or written: the disk has errors (SQLITE_IOERR_WRITE)"),
        (28, "grow: the disk is full"),
    ],
)
def test_what_could_not_be_written_is_not_there(number, cannot, log, tmp_path):
    error = failing(WRITE, append(log), number)
    assert str(error).startswith(f'database "{tmp_path / "log.db"}" cannot {cannot}. Nothing was changed. ')
    assert isinstance(error, DiskFailed)
    found = after_a_crash(log, tmp_path)
    assert stored(log) == stored(found) == [b"before"]
    found.close()
    assert append(log)().base == 1
    assert stored(log) == [b"before", b"new"]


def test_what_was_not_synced_may_be_there_and_under_its_key_is_stored_once(log, tmp_path):
    error = failing(SYNC, append(log))
    assert isinstance(error, DiskFailed)
    assert str(error) == (
        f'database "{tmp_path / "log.db"}" did not confirm a commit: the disk has errors (SQLITE_IOERR_FSYNC). What was to be '
        "stored may be found there later, or not; sent again under the same key, it is stored once. See the system's log, mend "
        "the disk and try again."
    )
    assert stored(log) == [b"before"]
    found = after_a_crash(log, tmp_path)
    for one in (found, log):
        assert append(one)().base == 1
        assert stored(one) == [b"before", b"new"]
    found.close()


def test_what_comes_next_takes_the_place_of_what_was_not_synced(log, tmp_path):
    failing(SYNC, append(log))
    log.append("sales", b"other", 1, key="other")
    found = after_a_crash(log, tmp_path)
    assert stored(log) == stored(found) == [b"before", b"other"]
    found.close()


@pytest.mark.parametrize("call", [WRITE, SYNC])
def test_what_cannot_be_settled_is_as_before_and_nobody_is_told(call, log, monkeypatch):
    monkeypatch.setattr("tenfold.sources.log.SETTLED", 1)
    append(log)()
    failing(call, log.settle)
    assert stored(log) == [b"before", b"new"]
    assert log.append("sales", b"later", 1).base == 2


def test_what_was_opened_while_the_disk_might_only_be_read_is_opened_again(tmp_path):
    first = SQLiteDatabase(tmp_path / "a.db", "CREATE TABLE IF NOT EXISTS t (a INTEGER)")
    database = first.hurried(1_000)

    def add():
        return database.execute("INSERT INTO t VALUES (1)")

    assert failing(OPEN, lambda: database.query("SELECT a FROM t"), EROFS, TO_WRITE) == []
    error = failing(OPEN, add, EROFS, TO_WRITE)
    assert isinstance(error, DiskFailed)
    assert str(error) == (
        f'database "{tmp_path / "a.db"}" cannot be written: the disk may only be read. Nothing was changed. A disk with errors '
        "becomes so: see the system's log, make it writable and try again."
    )
    assert [add(), add()] == [1, 1]
    database.close()
    first.close()


def synced(folder):
    """Return the open file through which the last page of a commit is written, which says where the others are."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # what listed them is closed
            is_ours = os.path.samefile(f"/proc/self/fd/{name}", folder / "data.mdb")
            if is_ours and fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_DSYNC:
                return int(name)
    raise LookupError(folder)


def test_states_that_could_not_be_synced_are_those_of_before(tmp_path):
    store = LMDBOnlineStore(tmp_path)
    store.write({b"key": b"before"}, {"sales": 1})
    error = failing(SYNC, lambda: store.write({b"key": b"new"}, {"sales": 2}))
    assert isinstance(error, DiskFailed)
    assert str(error) == (
        f'"{tmp_path}" cannot be read or written: the disk has errors. See the system\'s log, mend the disk and try again.'
    )
    assert (read(store, [b"key"]), store.offsets()) == ([b"before"], {"sales": 1})
    assert store.write({b"key": b"new"}, {"sales": 2}, after={"sales": 1})
    store.close()


def test_states_whose_last_page_could_not_be_written_are_whole_and_not_called_damaged(tmp_path):
    store = LMDBOnlineStore(tmp_path)
    store.write({b"key": b"before"}, {"sales": 1})
    error = failing(WRITE, lambda: store.write({b"key": b"new"}, {"sales": 2}), EROFS, on(synced(tmp_path)))
    assert isinstance(error, DiskFailed)
    with pytest.raises(
        DiskFailed, match=r"the disk may only be read\. What it held before is whole\..*again"
    ):
        store.offsets()
    store.close()
    store = LMDBOnlineStore(tmp_path)
    assert (read(store, [b"key"]), store.offsets()) == ([b"before"], {"sales": 1})
    store.close()


def test_the_server_says_that_it_is_to_be_tried_again_and_logs_a_line(tmp_path, caplog):
    async def ask(place):
        transport = httpx.ASGITransport(app.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            headers = {"content-type": "application/json", "idempotency-key": f"visit-{place}"}
            return await client.post("/events/visits", content=json.dumps(bare.visit(place)), headers=headers)

    with bare.project.open(Platform(home=tmp_path, clock=VirtualClock(bare.ASK_AT))) as app:
        assert (
            asyncio.run(ask(0)).status_code == 200
        )  # so that threads that stay are not started by one that fails
        with caplog.at_level(logging.ERROR):
            answer = failing(SYNC, lambda: asyncio.run(ask(1)))
        said = answer.json()["error"]
        assert (answer.status_code, said["kind"]) == (503, Unavailable.__name__)
        (line,) = caplog.records
        assert (line.getMessage(), line.exc_info) == (
            f"request failed path=/events/visits: {said['message']}",
            None,
        )
        assert [asyncio.run(ask(1)).json()["stored"] for _ in range(2)] == [1, 1]
        assert app.log.ends().offsets["visits"] == 2
