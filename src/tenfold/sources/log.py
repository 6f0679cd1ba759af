"""The embedded log: batches of records per topic in one SQLite file."""

import sqlite3
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import starmap
from operator import attrgetter
from pathlib import Path

import msgspec

from tenfold.core.clock import Clock
from tenfold.core.errors import SchemaError
from tenfold.sources.base import Append, Batch, Ends, portion
from tenfold.sources.sqlite import SQLiteDatabase
from tenfold.sources.turn import PROMPT, Overtaken, Turn

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
# without the batch itself, which several keys may have in common
FIND_ALL = "SELECT key, base FROM keys WHERE topic = ? AND key IN (SELECT value FROM json_each(?))"
READ = f"SELECT {COLUMNS} FROM batches WHERE topic = ? AND base >= ? AND base < ? ORDER BY base LIMIT ?"
ENDS = 'SELECT topic, "end", arrival FROM ends'
SET_END = "INSERT OR REPLACE INTO ends VALUES (?, ?, ?)"
LAYOUT = 2
SAME = f"PRAGMA user_version = {LAYOUT}"
"""Has the next commit write a page and sync it although nothing changes: a commit that writes none proves nothing of the disk."""
PAGE, CHECKPOINT = 8_192, 1_600
"""Bytes of a page, and pages between two checkpoints: a batch changes a few pages, and most checkpoints write a page once."""
SETTLED = 64
"""Appends after which `settle` makes a checkpoint: mostly before one is due that makes an append, and whom it answers, wait."""
INSERT, ROW = f"INSERT INTO batches ({COLUMNS}) VALUES ", "(?, ?, ?, ?, ?, ?)"
TOGETHER = 256
"""Batches of one statement: between two of them, other threads take their turn at Python."""
KEEP = "INSERT INTO keys VALUES (?, ?, ?)"
# one statement for all keys: each statement costs more than a key does
KEEP_ALL = "INSERT INTO keys SELECT ?, value, ? FROM json_each(?)"
_encode = msgspec.json.Encoder().encode
_values = attrgetter(*COLUMNS.split(", "))


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
        self._database = SQLiteDatabase(path, SCHEMA, layout=LAYOUT, page=PAGE, checkpoint=CHECKPOINT)
        self._clock = clock
        # Threads queue here: SQLite would let them poll, with pauses that grow.
        self._turn = Turn()
        self._prompts: dict[float, SQLiteLog] = {}

    def append(self, topic: str, data: bytes, count: int, *, key: str | Sequence[str] | None = None) -> Batch:
        (batch,) = self.append_all([Append(topic, data, count, key)])
        return batch

    def append_all(self, appends: Sequence[Append], *, still: Ends | None = None) -> list[Batch]:
        check_counts(appends)
        found: list[Batch] = []
        new: list[Batch] = []
        with self._turn, self._database.transaction() as connection:
            at, ends = self._ends(connection)
            if still is not None:
                check_still(still, at, ends)
            for one in appends:
                keys, base = keys_of(one.key), ends.get(one.topic, 0)
                if _keep(connection, one.topic, keys, base):
                    new.append(Batch(one.topic, base, one.count, at, self._clock.elapsed(), one.data))
                    found.append(new[-1])
                    ends[one.topic] = new[-1].end
                else:  # seldom, so nothing is looked up before
                    _insert(connection, new)  # one of which may hold the key
                    new = []
                    found.append(_held(connection, one.topic, keys))
            _insert(connection, new)
        return found

    def read(
        self, topic: str, after: int, *, limit: int = 100, rows: int = 2**40, size: int = 2**40
    ) -> list[Batch]:
        def some(found: sqlite3.Cursor) -> list[Batch]:
            return list(portion(starmap(Batch, found), size))

        return self._database.each(some, READ, topic, after, after + rows, limit)

    def find(self, topic: str, keys: Sequence[str]) -> dict[str, Batch]:
        bases = dict(self._database.query(FIND_ALL, topic, _encode(keys).decode())) if keys else {}
        batches = {base: self.read(topic, base, limit=1)[0] for base in set(bases.values())}
        return {key: batches[base] for key, base in bases.items()}

    def ends(self) -> Ends:
        # With the lock, although nothing is written: no append may have its arrival and not be visible yet.
        with self._turn, self._database.transaction() as connection:
            return Ends(*self._ends(connection))

    def check(self) -> None:
        with self._turn, self._database.transaction() as connection:
            connection.execute(SAME)

    def settle(self) -> None:
        self._database.settle(SETTLED)

    def prompt(self, seconds: float = PROMPT) -> "SQLiteLog":
        if seconds not in self._prompts:
            found = self._prompts[seconds] = copy(self)
            found._prompts = {}
            found._database = self._database.hurried(int(seconds * 1_000))
            found._turn = self._turn.prompt(seconds)
        return self._prompts[seconds]

    def close(self) -> None:
        for prompt in list(self._prompts.values()):
            prompt.close()
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


def _keep(connection: sqlite3.Connection, topic: str, keys: Sequence[str], base: int) -> bool:
    """Keep the keys of a batch; when a topic holds some of them, keep none and return False."""
    try:
        if len(keys) == 1:
            connection.execute(KEEP, (topic, keys[0], base))
        elif keys:
            connection.execute(KEEP_ALL, (topic, base, _encode(keys).decode()))
    except sqlite3.IntegrityError:
        return False
    return True


def _held(connection: sqlite3.Connection, topic: str, keys: Sequence[str]) -> Batch:
    """Return the batch that holds the first of the keys that a topic holds."""
    rows = (connection.execute(FIND, (topic, key)).fetchone() for key in keys)
    return next(_batch(row) for row in rows if row)


def _insert(connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
    """Store batches, and where their topics end after them."""
    for first in range(0, len(batches), TOGETHER):
        some = batches[first : first + TOGETHER]
        values = [value for one in some for value in _values(one)]
        connection.execute(INSERT + ", ".join([ROW] * len(some)), values)
    ends = {batch.topic: (batch.topic, batch.end, batch.arrival) for batch in batches}
    if ends:
        connection.executemany(SET_END, ends.values())


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


def check_counts(appends: Sequence[Append]) -> None:
    """Refuse a batch without records: it would have no offset of its own.

    Examples
    --------
    >>> check_counts([Append("payments", b"", 0)])
    Traceback (most recent call last):
    tenfold.core.errors.SchemaError: a batch of 0 records was appended to topic "payments". Append at least one record.
    """
    for one in appends:
        if one.count < 1:
            raise SchemaError(
                f'a batch of {one.count} records was appended to topic "{one.topic}". Append at least one record.'
            )


def check_still(still: Ends, at: int, ends: Mapping[str, int]) -> None:
    """Raise Overtaken unless what was known of a log's end is still true.

    Examples
    --------
    >>> check_still(Ends(5, {"payments": 2, "labels": 0}), 7, {"payments": 2, "predictions": 9})
    >>> check_still(Ends(5, {"payments": 2}), 7, {"payments": 3})
    Traceback (most recent call last):
    tenfold.sources.turn.Overtaken: others appended meanwhile. Nothing was changed; it is safe to retry.
    """
    if still.at > at or any(ends.get(topic, 0) != end for topic, end in still.offsets.items()):
        raise Overtaken("others appended meanwhile. Nothing was changed; it is safe to retry.")


def _batch(row: sqlite3.Row) -> Batch:
    return Batch(*row)
