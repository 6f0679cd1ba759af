# ruff: noqa: S101, D103  asserting is what checks do, and their names are sentences
"""What every database must pass, as plain functions; see `contract.py` for how they are used.

Each check takes `make`, which opens the database at one place with a schema: the first call finds it empty, a later call
finds what was stored there. `busy_ms` is how long its writers wait.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from tenfold.core.clock import SystemClock
from tenfold.core.errors import SchemaError, Unavailable
from tenfold.sources.database import Database
from tenfold.sources.turn import Locked

T = TypeVar("T")
THREADS = 4
PATIENCE = 30.0  # seconds

TABLES = """
CREATE TABLE IF NOT EXISTS item (
    name TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    share REAL,
    CHECK (count < 9223372036854775807)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    item TEXT NOT NULL REFERENCES item (name),
    text TEXT NOT NULL,
    "by" TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS event_first ON event (item) WHERE text = 'first';
CREATE TRIGGER IF NOT EXISTS event_fixed BEFORE UPDATE OF item, text ON event
BEGIN SELECT RAISE(ABORT, 'an event; it''s fixed'); END;
CREATE TRIGGER IF NOT EXISTS event_kept BEFORE DELETE ON event WHEN OLD.text <> 'draft'
BEGIN SELECT RAISE(ABORT, 'an event is kept'); END;
CREATE TRIGGER IF NOT EXISTS event_late BEFORE INSERT ON event
WHEN (SELECT count FROM item WHERE name = NEW.item) < 0
BEGIN SELECT RAISE(ABORT, 'the item is closed'); END;
CREATE TRIGGER IF NOT EXISTS event_counted AFTER INSERT ON event
BEGIN UPDATE item SET count = count + 1 WHERE name = NEW.item; END;
"""
ADD = "INSERT INTO item (name, count, share) VALUES (?, ?, ?)"
TELL = "INSERT INTO event (item, text) VALUES (?, ?)"
NAMES = "SELECT name FROM item ORDER BY name"
COUNT = "SELECT count FROM item WHERE name = 'a'"


class Make(Protocol):
    """Opens a database at one place."""

    def __call__(self, schema: str, *, layout: int = 0, busy_ms: int = 30_000) -> Database: ...


def checks() -> list[Callable[[Make], None]]:
    """Return the checks of a `Database`."""
    return [
        values_read_back,
        rows_are_read_by_name_and_place,
        placeholders_may_have_numbers,
        text_is_ordered_by_its_bytes,
        numbers_follow_each_other,
        upserts_tell_what_they_did,
        documents_are_read_by_key,
        foreign_keys_hold,
        an_index_over_some_rows_is_unique_there,
        triggers_refuse,
        triggers_act,
        a_transaction_is_whole,
        a_statement_that_fails_fails_the_transaction,
        calls_inside_a_transaction_join_it,
        a_transaction_inside_another_is_refused,
        readers_do_not_wait,
        writers_take_turns,
        a_writer_that_waits_too_long_is_told_so,
        a_writer_in_a_hurry_is_told_soon,
        changes_are_told_once,
        a_schema_may_run_at_every_opening,
        a_wrong_schema_changes_nothing,
        another_layout_is_refused,
        many_open_it_at_once,
        closes_twice,
        closing_lets_a_transaction_finish,
        opens_again_after_closing,
    ]


def values_read_back(make: Make) -> None:
    database = make(TABLES)
    kept = [("ä 'quoted' ?\n\U0001f600", 2**62, 0.1), ("", -(2**63), math.inf), ("b", 0, None)]
    with database.transaction() as tx:
        assert tx.executemany(ADD, kept).rowcount == 3
        tx.execute(ADD, ("truth", True, 3))
    rows = database.query("SELECT name, count, share FROM item")
    assert sorted(map(tuple, rows)) == sorted([*kept, ("truth", 1, 3.0)])
    database.execute(TELL, "b", "x" * 1_000_000)
    assert len(database.query("SELECT text FROM event")[0]["text"]) == 1_000_000
    found = database.query("SELECT sum(count) AS n FROM item WHERE name IN ('b', 'truth')")
    assert (found[0]["n"], type(found[0]["n"])) == (2, int)


def rows_are_read_by_name_and_place(make: Make) -> None:
    database = make(TABLES)
    database.execute(ADD, "a", 5, None)
    (row,) = database.query('SELECT name, count AS "by", share FROM item')
    assert (row["name"], row[1], row["by"], row["share"], len(row)) == ("a", 5, 5, None, 3)
    assert dict(row) == {"name": "a", "by": 5, "share": None}
    with database.transaction() as tx:
        assert tx.execute(COUNT).fetchone()["count"] == 5
        assert [found["count"] for found in tx.execute(COUNT)] == [5]
        assert tx.execute("SELECT name FROM item WHERE name = ?", ("b",)).fetchone() is None
    assert database.query("SELECT name FROM item WHERE name = 'b'") == []


def placeholders_may_have_numbers(make: Make) -> None:
    database = make(TABLES)
    database.execute("INSERT INTO item (name, count, share) VALUES (?2, ?1, ?1)", 7, "a ?1")
    asked = "SELECT count FROM item WHERE (name = ?1 OR ?1 IS NULL) AND name <> '?' AND count < ?2"
    assert [row["count"] for row in database.query(asked, "a ?1", 8)] == [7]
    assert [row["count"] for row in database.query(asked, None, 8)] == [7]
    assert database.query(asked, "a ?2", 8) == []


def text_is_ordered_by_its_bytes(make: Make) -> None:
    database = make(TABLES)
    names = ["Z", "a", "a b", "a/b", "a0", "ab", "z", "ä", "\U0001f600"]
    for name in reversed(names):
        database.execute(ADD, name, 0, None)
    assert [row["name"] for row in database.query(NAMES)] == names
    inside = database.query("SELECT name FROM item WHERE name > ?1 || '/' AND name < ?1 || '0'", "a")
    assert [row["name"] for row in inside] == ["a/b"]


def numbers_follow_each_other(make: Make) -> None:
    database = make(TABLES)
    database.execute(ADD, "a", 0, None)
    told = [database.query("SELECT coalesce(max(seq), 0) AS seq FROM event")[0]["seq"]]
    with database.transaction() as tx:
        for _ in range(3):
            told += [row["seq"] for row in tx.execute(f"{TELL} RETURNING seq", ("a", "x")).fetchall()]
    assert told == sorted(set(told))
    assert len(told) == 4


def upserts_tell_what_they_did(make: Make) -> None:
    database = make(TABLES)
    add = "INSERT INTO item VALUES (?, ?, NULL) ON CONFLICT (name) DO UPDATE SET count = item.count + excluded.count"
    with database.transaction() as tx:
        seen = [tx.execute(f"{add} RETURNING count", ("a", 2)).fetchone()["count"] for _ in range(3)]
    assert seen == [2, 4, 6]
    assert database.execute("INSERT INTO item VALUES ('a', 0, NULL) ON CONFLICT DO NOTHING") == 0
    assert database.execute("INSERT INTO item VALUES ('b', 0, NULL) ON CONFLICT DO NOTHING") == 1
    assert database.execute("UPDATE item SET count = 0") == 2
    assert database.execute("DELETE FROM item WHERE name > ?", "b") == 0


def documents_are_read_by_key(make: Make) -> None:
    database = make(TABLES)
    database.execute(ADD, '{"orders": 3, "at": "noon"}', 0, None)
    asked = (
        "SELECT CAST(part.value AS TEXT) AS value FROM item, json_each(item.name) AS part WHERE part.key = ?"
    )
    assert [row["value"] for row in database.query(asked, "orders")] == ["3"]
    assert [row["value"] for row in database.query(asked, "at")] == ["noon"]


def foreign_keys_hold(make: Make) -> None:
    database = make(TABLES)
    _refused(lambda: database.execute(TELL, "nobody", "x"), "foreign key")
    assert database.query("SELECT * FROM event") == []


def an_index_over_some_rows_is_unique_there(make: Make) -> None:
    database = make(TABLES)
    database.execute(ADD, "a", 0, None)
    for text in ("first", "second", "second"):
        database.execute(TELL, "a", text)
    _refused(lambda: database.execute(TELL, "a", "first"), "unique")


def triggers_refuse(make: Make) -> None:
    database = make(TABLES)
    for name in ("a", "b"):
        database.execute(ADD, name, 0, None)
    database.execute(TELL, "a", "final")
    _refused(lambda: database.execute("UPDATE event SET text = 'other'"), "an event; it's fixed")
    assert database.execute("UPDATE event SET \"by\" = 'ann'") == 1
    _refused(lambda: database.execute("DELETE FROM event"), "an event is kept")
    database.execute(TELL, "a", "draft")
    assert database.execute("DELETE FROM event WHERE text = 'draft'") == 1
    database.execute("UPDATE item SET count = -1 WHERE name = 'b'")
    _refused(lambda: database.execute(TELL, "b", "x"), "the item is closed")
    assert [tuple(row) for row in database.query('SELECT text, "by" FROM event')] == [("final", "ann")]


def triggers_act(make: Make) -> None:
    database = make(TABLES)
    database.execute(ADD, "a", 0, None)
    with database.transaction() as tx:
        tx.executemany(TELL, [("a", "x"), ("a", "y")])
    assert _count(database) == 2


def a_transaction_is_whole(make: Make) -> None:
    database = make(TABLES)

    def fail(error: BaseException) -> None:
        with database.transaction() as tx:
            tx.execute(ADD, ("a", 0, None))
            raise error

    _raised(ZeroDivisionError, lambda: fail(ZeroDivisionError()))
    _raised(KeyboardInterrupt, lambda: fail(KeyboardInterrupt()))
    assert database.query(NAMES) == []
    database.execute(ADD, "a", 0, None)
    assert _count(database) == 0


def a_statement_that_fails_fails_the_transaction(make: Make) -> None:
    database = make(TABLES)
    database.execute(ADD, "a", 0, None)

    def twice() -> None:
        with database.transaction() as tx:
            tx.execute(ADD, ("b", 0, None))
            tx.execute(ADD, ("a", 0, None))

    _refused(twice, "unique")
    assert [row["name"] for row in database.query(NAMES)] == ["a"]


def calls_inside_a_transaction_join_it(make: Make) -> None:
    database = make(TABLES)

    def fail() -> None:
        with database.transaction():
            assert database.execute(ADD, "a", 0, None) == 1
            assert len(database.query(NAMES)) == 1
            raise ZeroDivisionError

    _raised(ZeroDivisionError, fail)
    assert database.query(NAMES) == []


def a_transaction_inside_another_is_refused(make: Make) -> None:
    database = make(TABLES)

    def nest() -> None:
        with database.transaction(), database.transaction():
            pass

    assert "already in a transaction" in str(_raised(RuntimeError, nest))


def readers_do_not_wait(make: Make) -> None:
    database = make(TABLES)
    with database.transaction() as tx, ThreadPoolExecutor(1) as pool:
        tx.execute(ADD, ("a", 0, None))
        assert pool.submit(database.query, NAMES).result(PATIENCE) == []
    assert len(database.query(NAMES)) == 1


def writers_take_turns(make: Make) -> None:
    databases = [make(TABLES), make(TABLES)]
    databases[0].execute(ADD, "a", 0, None)
    gate = threading.Barrier(THREADS)

    def work(place: int) -> None:
        database = databases[place % 2]
        gate.wait(PATIENCE)
        for _ in range(15):
            with database.transaction() as tx:
                seen = tx.execute(COUNT).fetchone()["count"]
                SystemClock().sleep(0.001)  # on a disk that is quick, others would seldom come between
                tx.execute("UPDATE item SET count = ? WHERE name = 'a'", (seen + 1,))

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(work, place) for place in range(THREADS)]:
            done.result(PATIENCE)
    assert _count(databases[0]) == THREADS * 15


def a_writer_that_waits_too_long_is_told_so(make: Make) -> None:
    first, second = make(TABLES), make(TABLES, busy_ms=20)
    with first.transaction():
        error = _raised(Unavailable, lambda: second.execute(ADD, "a", 0, None))
    assert "was locked by another writer for 20 ms. Nothing was changed; it is safe to retry." in str(error)
    assert second.execute(ADD, "a", 0, None) == 1


def a_writer_in_a_hurry_is_told_soon(make: Make) -> None:
    database = make(TABLES)
    hurried, changes = database.hurried(20), database.changes()
    with database.transaction():
        error = _raised(Locked, lambda: hurried.execute(ADD, "a", 0, None))
    assert "was locked by another writer for 20 ms. Nothing was changed; it is safe to retry." in str(error)
    assert hurried.execute(ADD, "a", 0, None) == 1
    hurried.close()
    assert changes.since_last()
    assert database.execute(ADD, "b", 0, None) == 1


def changes_are_told_once(make: Make) -> None:
    database, other = make(TABLES), make(TABLES)
    changes = database.changes()
    assert [changes.since_last() for _ in range(3)] == [True, False, False]
    for writer in (database, other):
        writer.execute(ADD, str(id(writer)), 0, None)
        assert [changes.since_last() for _ in range(2)] == [True, False]
        assert [row["name"] for row in changes.query(NAMES)] == [row["name"] for row in writer.query(NAMES)]
    _refused(lambda: other.execute(TELL, "nobody", "x"), "foreign key")
    other.query(NAMES)
    assert not changes.since_last()


def a_schema_may_run_at_every_opening(make: Make) -> None:
    make(TABLES).execute(ADD, "a", 0, None)
    make("")
    more = make(TABLES + "CREATE TABLE IF NOT EXISTS other (seq INTEGER PRIMARY KEY);")
    assert more.execute("INSERT INTO other (seq) VALUES (?)", 7) == 1
    more.execute(TELL, "a", "x")
    assert _count(more) == 1


def a_wrong_schema_changes_nothing(make: Make) -> None:
    make("CREATE TABLE IF NOT EXISTS one (a INTEGER);", layout=3)
    _refused(
        lambda: make("CREATE TABLE IF NOT EXISTS two (b INTEGER); CREATE TABEL three (c INTEGER);", layout=3),
        "syntax error",
    )
    again = make("", layout=3)
    assert again.query("SELECT * FROM one") == []
    _refused(lambda: again.query("SELECT * FROM two"), "two")


def another_layout_is_refused(make: Make) -> None:
    make(TABLES, layout=3).execute(ADD, "a", 0, None)
    make(TABLES, layout=3)
    assert "an earlier version of tenfold" in str(_raised(SchemaError, lambda: make(TABLES, layout=4)))
    assert "a later version of tenfold" in str(_raised(SchemaError, lambda: make(TABLES, layout=2)))
    assert len(make(TABLES).query(NAMES)) == 1


def many_open_it_at_once(make: Make) -> None:
    gate = threading.Barrier(THREADS)

    def work(place: int) -> int:
        gate.wait(PATIENCE)
        return make(TABLES, layout=1).execute(ADD, str(place), 0, None)

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS), timeout=PATIENCE)) == [1] * THREADS


def closes_twice(make: Make) -> None:
    database = make(TABLES)
    changes = database.changes()
    changes.since_last()
    database.close()
    database.close()
    for ask in (lambda: database.query(NAMES), lambda: database.execute(ADD, "a", 0, None)):
        assert "was closed" in str(_raised(Unavailable, ask))


def closing_lets_a_transaction_finish(make: Make) -> None:
    database = make(TABLES)
    with database.transaction() as tx:
        tx.execute(ADD, ("a", 0, None))
        database.close()
    assert len(make(TABLES).query(NAMES)) == 1


def opens_again_after_closing(make: Make) -> None:
    database = make(TABLES)
    database.execute(ADD, "a", 0, None)
    database.close()
    database.prepare(TABLES)
    assert _count(database) == 0


def _count(database: Database) -> int:
    return int(database.query(COUNT)[0]["count"])


def _raised(kind: type[BaseException], call: Callable[[], object]) -> BaseException:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised.")


def _refused(call: Callable[[], object], said: str) -> None:
    """Check that the database itself refuses a statement, with some words; the kind of error is its own."""
    assert said in str(_raised(Exception, call)).lower()
