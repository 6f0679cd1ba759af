"""The embedded log: batches of records per topic in one SQLite file."""

import sqlite3
from pathlib import Path

from tenfold.core.errors import SchemaError
from tenfold.sources.base import Batch
from tenfold.sources.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    topic TEXT NOT NULL, base INTEGER NOT NULL, count INTEGER NOT NULL CHECK (count > 0),
    arrival INTEGER NOT NULL, stamp INTEGER NOT NULL, key TEXT, data BLOB NOT NULL,
    PRIMARY KEY (topic, base)
);
CREATE UNIQUE INDEX IF NOT EXISTS batches_by_key ON batches (topic, key) WHERE key IS NOT NULL;
CREATE TABLE IF NOT EXISTS ends (topic TEXT PRIMARY KEY, "end" INTEGER NOT NULL) WITHOUT ROWID;
"""
COLUMNS = "topic, base, count, arrival, stamp, data"
FIND = f"SELECT {COLUMNS} FROM batches WHERE topic = ? AND key = ?"
READ = f"SELECT {COLUMNS} FROM batches WHERE topic = ? AND base >= ? ORDER BY base LIMIT ?"
ENDS = 'SELECT topic, "end" FROM ends'
RESERVE = """
INSERT INTO ends VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET "end" = "end" + excluded."end" RETURNING "end"
"""
INSERT = f"INSERT INTO batches ({COLUMNS}, key) VALUES (?, ?, ?, ?, ?, ?, ?)"


class SQLiteLog:
    """A `Log` in one SQLite file, shared by any number of threads and processes.

    `append` returns when the batch is on disk; offsets of a topic start at 0 and have no gaps. It is idempotent by
    `key`. `read` returns batches that start at or after `after`, which is the end of a batch already read (or 0): an
    offset inside a batch would skip the rest of that batch.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> log = SQLiteLog(Path(mkdtemp()) / "log.db")
    >>> log.append("payments", b"...", 3, arrival=0, stamp=0, key="p-1").end
    3
    >>> log.append("payments", b"...", 3, arrival=9, stamp=9, key="p-1").arrival
    0
    >>> log.ends()
    {'payments': 3}
    >>> log.close()
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    def append(
        self, topic: str, data: bytes, count: int, *, arrival: int, stamp: int, key: str | None = None
    ) -> Batch:
        check_count(topic, count)
        with self._database.transaction() as connection:
            held = None if key is None else connection.execute(FIND, (topic, key)).fetchone()
            if held is not None:
                return _batch(held)
            end = connection.execute(RESERVE, (topic, count)).fetchone()["end"]
            batch = Batch(topic, end - count, count, arrival, stamp, data)
            connection.execute(INSERT, (topic, batch.base, count, arrival, stamp, data, key))
            return batch

    def read(self, topic: str, after: int, *, limit: int = 100) -> list[Batch]:
        return [_batch(row) for row in self._database.query(READ, topic, after, limit)]

    def find(self, topic: str, key: str) -> Batch | None:
        rows = self._database.query(FIND, topic, key)
        return _batch(rows[0]) if rows else None

    def ends(self) -> dict[str, int]:
        return {row["topic"]: row["end"] for row in self._database.query(ENDS)}

    def close(self) -> None:
        self._database.close()


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
