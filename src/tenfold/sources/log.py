"""The embedded log: batches of records per topic in one SQLite file."""

import sqlite3
import threading
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path

import msgspec

from tenfold.core.clock import Clock
from tenfold.core.errors import SchemaError
from tenfold.sources.base import Batch, Ends
from tenfold.sources.sqlite import SQLiteDatabase

SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    topic TEXT NOT NULL, base INTEGER NOT NULL, count INTEGER NOT NULL CHECK (count > 0),
    arrival INTEGER NOT NULL, stamp INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (topic, base)
);
CREATE TABLE IF NOT EXISTS keys (
    topic TEXT NOT NULL, key TEXT NOT NULL, base INTEGER NOT NULL, PRIMARY KEY (topic, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ends (
    topic TEXT PRIMARY KEY, "end" INTEGER NOT NULL, arrival INTEGER NOT NULL
) WITHOUT ROWID;
"""
COLUMNS = "topic, base, count, arrival, stamp, data"
FIND = f"SELECT {COLUMNS} FROM keys JOIN batches USING (topic, base) WHERE topic = ? AND key = ?"
READ = f"SELECT {COLUMNS} FROM batches WHERE topic = ? AND base >= ? AND base < ? ORDER BY base LIMIT ?"
ENDS = 'SELECT topic, "end", arrival FROM ends'
SET_END = "INSERT OR REPLACE INTO ends VALUES (?, ?, ?)"
LAYOUT = 2
INSERT = f"INSERT INTO batches ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
KEEP = "INSERT INTO keys VALUES (?, ?, ?)"
# one statement for all keys: each statement costs more than a key does
KEEP_ALL = "INSERT INTO keys SELECT ?, value, ? FROM json_each(?)"
_encode = msgspec.json.Encoder().encode


class SQLiteLog:
    """A `Log` in one SQLite file, shared by any number of threads and processes.

    `append` returns when the batch is on disk; offsets of a topic start at 0 and have no gaps. It is idempotent by
    `key`. `read` returns batches that start at or after `after`, which is the end of a batch already read (or 0): an
    offset inside a batch would skip the rest of that batch. The write order is SQLite's lock for writers.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from tenfold.core.clock import VirtualClock
    >>> clock = VirtualClock(5)
    >>> log = SQLiteLog(Path(mkdtemp()) / "log.db", clock)
    >>> log.append("payments", b"...", 3, key="p-1").end
    3
    >>> clock.set(9)
    >>> log.append("payments", b"...", 3, key="p-1").arrival
    5
    >>> log.ends()
    Ends(at=9, offsets={'payments': 3})
    >>> log.close()
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._database, self._clock = SQLiteDatabase(path, SCHEMA, layout=LAYOUT), clock
        # Threads queue here: SQLite would let them poll, with pauses that grow.
        self._turn = threading.Lock()

    def append(self, topic: str, data: bytes, count: int, *, key: str | Sequence[str] | None = None) -> Batch:
        check_count(topic, count)
        keys = keys_of(key)
        with self._turn, self._database.transaction() as connection:
            at, ends = self._ends(connection)
            base = ends.get(topic, 0)
            held = _keep(connection, topic, keys, base)
            if held is not None:
                return held
            batch = Batch(topic, base, count, at, self._clock.elapsed(), data)
            connection.execute(INSERT, (topic, base, count, at, batch.stamp, data))
            connection.execute(SET_END, (topic, base + count, at))
            return batch

    def read(self, topic: str, after: int, *, limit: int = 100, rows: int = 2**40) -> list[Batch]:
        return list(starmap(Batch, self._database.query(READ, topic, after, after + rows, limit)))

    def find(self, topic: str, key: str) -> Batch | None:
        rows = self._database.query(FIND, topic, key)
        return _batch(rows[0]) if rows else None

    def ends(self) -> Ends:
        # With the lock, although nothing is written: no append may have its arrival and not be visible yet.
        with self._turn, self._database.transaction() as connection:
            return Ends(*self._ends(connection))

    def close(self) -> None:
        self._database.close()

    def _ends(self, connection: sqlite3.Connection) -> tuple[int, dict[str, int]]:
        """Return the present moment, or the newest arrival if that is later, and where topics end.

        Both hold while the lock for writers is held.
        """
        at, found = self._clock.now(), {}
        for topic, end, arrival in connection.execute(ENDS):
            found[topic] = end
            at = max(at, arrival)
        return at, found


def _keep(connection: sqlite3.Connection, topic: str, keys: Sequence[str], base: int) -> Batch | None:
    """Keep the keys of a batch; when a topic holds some of them, keep none and return the batch of the first of those."""
    try:
        if len(keys) == 1:
            connection.execute(KEEP, (topic, keys[0], base))
        elif keys:
            connection.execute(KEEP_ALL, (topic, base, _encode(keys).decode()))
    except sqlite3.IntegrityError:  # seldom, so nothing is looked up before
        for key in keys:
            if row := connection.execute(FIND, (topic, key)).fetchone():
                return _batch(row)
        raise
    return None


def keys_of(key: str | Sequence[str] | None) -> Sequence[str]:
    """Return the keys of an append, each once.

    Examples
    --------
    >>> keys_of("a"), keys_of(["a", "b", "a"]), keys_of(None)
    (['a'], ['a', 'b'], [])
    """
    if key is None:
        return []
    return [key] if isinstance(key, str) else list(dict.fromkeys(key))


def check_count(topic: str, count: int) -> None:
    """Refuse a batch without records: it would have no offset of its own.

    Examples
    --------
    >>> check_count("payments", 0)
    Traceback (most recent call last):
    tenfold.core.errors.SchemaError: a batch of 0 records was appended to topic "payments". Append at least one record.
    """
    if count < 1:
        raise SchemaError(
            f'a batch of {count} records was appended to topic "{topic}". Append at least one record.'
        )


def _batch(row: sqlite3.Row) -> Batch:
    return Batch(*row)
