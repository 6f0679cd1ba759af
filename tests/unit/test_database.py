"""SQLite as tenfold opens it: durable settings, whole transactions, many threads, many processes at the first opening."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tenfold.automation.audit import SCHEMA as AUDIT
from tenfold.automation.audit import Audit
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable
from tenfold.sources.sqlite import SQLiteDatabase

SCHEMA = """
CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS children (parent INTEGER NOT NULL REFERENCES parents (id), note TEXT);
"""
OPEN_AND_WRITE = """
import sys
from pathlib import Path
from tenfold.sources.sqlite import SQLiteDatabase
print("ready", flush=True)
for path in sys.stdin:
    database = SQLiteDatabase(Path(path.strip()), sys.argv[1])
    database.execute("INSERT INTO parents VALUES (?)", int(sys.argv[2]))
    database.close()
    print("ready", flush=True)
"""


@pytest.fixture
def database(tmp_path):
    database = SQLiteDatabase(tmp_path / "deep" / "a.db", SCHEMA)
    yield database
    database.close()


def ids(database):
    return [row["id"] for row in database.query("SELECT id FROM parents ORDER BY id")]


def test_settings_are_the_durable_ones(database):
    assert database.query("PRAGMA journal_mode")[0][0] == "wal"
    assert database.query("PRAGMA synchronous")[0][0] == 2
    assert database.query("PRAGMA foreign_keys")[0][0] == 1
    assert database.query("PRAGMA recursive_triggers")[0][0] == 1
    assert database.query("PRAGMA busy_timeout")[0][0] == 30_000


def test_what_is_settled_is_in_the_file_itself_once_it_is_enough(database, tmp_path):
    def alone(place):
        """Return the ids in the file without its write-ahead log."""
        copied = shutil.copy(tmp_path / "deep" / "a.db", tmp_path / place)
        with closing(sqlite3.connect(copied)) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM parents ORDER BY id")]

    for number in range(3):
        database.execute("INSERT INTO parents VALUES (?)", number)
    with closing(sqlite3.connect(tmp_path / "deep" / "a.db", isolation_level=None)) as other:
        other.execute("PRAGMA wal_checkpoint").fetchall()  # the tables themselves, and those three
    for number in range(3, 6):
        database.execute("INSERT INTO parents VALUES (?)", number)
    database.settle(100)
    assert alone("before") == [0, 1, 2]
    database.settle(6)
    assert alone("after") == ids(database) == [0, 1, 2, 3, 4, 5]
    database.execute("INSERT INTO parents VALUES (6)")
    database.settle(6)  # it counts anew
    assert alone("later") == [0, 1, 2, 3, 4, 5]


def insert(database, *numbers, then=None):
    """Insert ids in one transaction, which then fails with an exception."""
    with database.transaction() as connection:
        for number in numbers:
            connection.execute("INSERT INTO parents VALUES (?)", (number,))
        if then is not None:
            raise then


def test_a_transaction_is_whole(database):
    insert(database, 1)
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, 2, 1)
    with pytest.raises(KeyboardInterrupt):
        insert(database, 3, then=KeyboardInterrupt)
    assert ids(database) == [1]
    insert(database, 2)
    assert ids(database) == [1, 2]


def test_execute_returns_the_number_of_changed_rows(database):
    assert database.execute("INSERT INTO parents VALUES (?), (?)", 1, 2) == 2
    assert database.execute("DELETE FROM parents WHERE id > ?", 1) == 1
    assert database.execute("DELETE FROM parents WHERE id > ?", 1) == 0


def test_foreign_keys_are_enforced(database):
    with pytest.raises(sqlite3.IntegrityError):
        database.execute("INSERT INTO children VALUES (7, 'orphan')")


def test_what_may_not_be_deleted_may_not_be_replaced(tmp_path):
    database = SQLiteDatabase(tmp_path / "state.db", AUDIT)
    audit = Audit(database, VirtualClock(10))
    first = audit.record("gate", "fraud 8", "passed", "auc rose", by="ann", evidence={})
    columns = [row["name"] for row in database.query("SELECT name FROM pragma_table_info('decision')")]
    forged = ", ".join("'mallory'" if name == "by" else f'"{name}"' for name in columns)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(f"INSERT OR REPLACE INTO decision SELECT {forged} FROM decision")
    assert audit.list() == [first]
    database.close()


def test_calls_inside_a_transaction_join_it(database):
    def fail_later():
        with database.transaction():
            database.execute("INSERT INTO parents VALUES (1)")
            assert ids(database) == [1]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_later()
    assert ids(database) == []


def test_a_transaction_inside_a_transaction_is_refused(database):
    def nest():
        with database.transaction():
            insert(database, 1)

    with pytest.raises(RuntimeError, match="already in a transaction"):
        nest()
    assert ids(database) == []


def test_readers_do_not_wait_for_a_writer(database):
    with database.transaction() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("INSERT INTO parents VALUES (1)")
        assert pool.submit(ids, database).result() == []
    assert ids(database) == [1]


def test_a_writer_that_waits_too_long_is_told_so(tmp_path):
    first = SQLiteDatabase(tmp_path / "a.db", SCHEMA)
    second = SQLiteDatabase(tmp_path / "a.db", SCHEMA, busy_ms=10)
    with (
        first.transaction(),
        pytest.raises(Unavailable, match=r"locked by another writer for 10 ms.* safe to retry"),
    ):
        second.execute("INSERT INTO parents VALUES (1)")
    assert second.execute("INSERT INTO parents VALUES (1)") == 1
    first.close()
    second.close()


def test_threads_lose_nothing(database):
    gate = threading.Barrier(8)

    def write(place):
        gate.wait()
        for number in range(20):
            database.execute("INSERT INTO parents VALUES (?)", place * 20 + number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert ids(database) == list(range(160))


def test_a_schema_may_hold_triggers_and_runs_at_every_opening(tmp_path):
    schema = SCHEMA + (
        "CREATE TRIGGER IF NOT EXISTS note AFTER INSERT ON parents BEGIN "
        "INSERT INTO children VALUES (new.id, 'born; named'); UPDATE children SET note = note || '.'; END"
    )
    for number in (1, 2):
        database = SQLiteDatabase(tmp_path / "a.db", schema)
        database.execute("INSERT INTO parents VALUES (?)", number)
        database.close()
    database = SQLiteDatabase(tmp_path / "a.db", schema)
    assert [row["note"] for row in database.query("SELECT note FROM children")] == [
        "born; named..",
        "born; named.",
    ]
    database.close()


def test_a_wrong_schema_changes_nothing(tmp_path):
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        SQLiteDatabase(tmp_path / "a.db", "CREATE TABLE a (x); CREATE TABEL b (x)")
    database = SQLiteDatabase(tmp_path / "a.db", "")
    assert database.query("SELECT name FROM sqlite_master") == []
    database.close()


def test_closing_twice_is_fine_and_a_closed_database_says_so(database):
    database.close()
    database.close()
    with pytest.raises(Unavailable, match="was closed"):
        database.query("SELECT 1")


def test_closing_lets_a_transaction_finish(tmp_path):
    database = SQLiteDatabase(tmp_path / "a.db", SCHEMA)
    with database.transaction() as connection:
        connection.execute("INSERT INTO parents VALUES (1)")
        database.close()
    again = SQLiteDatabase(tmp_path / "a.db", SCHEMA)
    assert ids(again) == [1]
    again.close()
    assert not (tmp_path / "a.db-wal").exists()


def test_processes_may_open_an_empty_file_at_once(tmp_path):
    paths = [tmp_path / name for name in ("a.db", "b.db", "c.db")]
    command = [sys.executable, "-c", OPEN_AND_WRITE, SCHEMA]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, str(n)], **pipes) for n in range(6)]
    for path in paths:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 6
        for process in processes:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
    assert [process.communicate()[1] for process in processes] == [""] * 6
    for path in paths:
        database = SQLiteDatabase(path, SCHEMA)
        assert ids(database) == list(range(6))
        database.close()
