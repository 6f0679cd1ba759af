"""SQLite, opened the one way that is durable and safe for many threads and processes."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Self, TypeVar

from tenfold.core.errors import DiskFailed, SchemaError, Unavailable
from tenfold.core.room import BROKEN, FULL, READ_ONLY, Trouble, in_room, is_full, refused
from tenfold.sources.pooled import Pooled
from tenfold.sources.turn import Locked

Made = TypeVar("Made")
BEGIN = "BEGIN IMMEDIATE"
WAL_ATTEMPTS = 100
FAILED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""Kinds of errors of which the disk may be the cause."""


class SQLiteDatabase(Pooled[sqlite3.Connection]):
    """One SQLite file in WAL mode; every commit is on disk before it returns (`synchronous=FULL`).

    Any number of threads and processes may use the same file: readers never wait, writers wait for each other up to
    `busy_ms` milliseconds and then get `Unavailable`. Inside `transaction` the same thread's `query` and `execute` join
    that transaction.

    Parameters
    ----------
    path : Path
        The file; it and its folders are created when missing.
    schema : str
        SQL statements that may run at every opening (`CREATE ... IF NOT EXISTS`), in one transaction.
    busy_ms : int
        Milliseconds a writer waits for another one.
    layout : int
        The number of the schema's layout, which the file keeps; 0 for none.
    page : int
        Bytes of a page of a new file, a power of two from 512 to 65536; one that is there keeps its own.
    checkpoint : int
        Pages that are appended to the write-ahead log before a commit puts them into the file, and takes that much longer.

    Raises
    ------
    SchemaError
        When the file has another layout.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> database = SQLiteDatabase(Path(mkdtemp()) / "a.db", "CREATE TABLE IF NOT EXISTS t (a INTEGER)")
    >>> with database.transaction() as connection:
    ...     rows = connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    >>> [row["a"] for row in database.query("SELECT a FROM t WHERE a > ?", 1)]
    [2]
    >>> database.close()
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        busy_ms: int = 30_000,
        layout: int = 0,
        page: int = 4_096,
        checkpoint: int = 1_000,
    ) -> None:
        super().__init__(str(path), busy_ms)
        self._path = path
        self._page, self._checkpoint = page, checkpoint
        self._watches: list[SQLiteChanges] = []
        self._only_read, self._commits = False, 0
        self.prepare(schema, layout=layout)

    def prepare(self, schema: str, *, layout: int = 0) -> None:
        """Make what is missing of a schema, whole or not at all."""
        with in_room(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._open()
        try:
            self._use_wal(connection)
            self._check_layout(connection, layout)
            self._create(connection, f"{schema}\n;PRAGMA user_version = {layout};" if layout else schema)
        except BaseException as error:
            connection.close()
            self._tell(error)
            raise
        self._closed = False
        self._opened = os.stat(self._path)
        self._idle.append(connection)

    def each(self, work: Callable[[sqlite3.Cursor], Made], sql: str, *values: object) -> Made:
        """Return what a function makes of the rows of a statement, from one snapshot; what it does not take is not read."""
        with self._connection() as connection, closing(connection.execute(sql, values)) as rows:
            return work(rows)

    def changes(self) -> "SQLiteChanges":
        """Return what tells cheaply whether anybody wrote to the file; closed with it."""
        found = SQLiteChanges(self._open())
        self._watches.append(found)
        return found

    def settle(self, commits: int) -> None:
        """Put what so many commits appended to the write-ahead log into the file: else a later commit does, for which somebody waits.

        Where it cannot be done, one of them will.
        """
        if self._commits >= commits:
            self._commits = 0
            with suppress(Unavailable, OSError, sqlite3.Error), self._connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def hurried(self, busy_ms: int) -> Self:
        """Return the same file for writers who get `Locked` after that many milliseconds; it is to be closed too."""
        found = super().hurried(busy_ms)
        found._watches = []
        return found

    def close(self) -> None:
        """Close the file; may be called twice. A thread inside a transaction finishes it first."""
        while self._watches:
            self._watches.pop().close()
        super().close()

    def _works(self, connection: sqlite3.Connection) -> bool:  # noqa: ARG002 - they were opened alike
        # One that was opened while the disk might only be read still does so when it may be written again.
        return not self._only_read

    def _open(self) -> sqlite3.Connection:
        self._only_read = False
        try:
            return self._connected()
        except sqlite3.OperationalError as error:
            self._tell(error)
            raise

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_ms / 1_000, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA page_size={self._page}")
        connection.execute(f"PRAGMA wal_autocheckpoint={self._checkpoint}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # Without it, INSERT OR REPLACE deletes rows and fires no trigger that forbids to.
        connection.execute("PRAGMA recursive_triggers=ON")
        return connection

    def _quit(self, connection: sqlite3.Connection) -> None:
        connection.close()

    def _begin(self, connection: sqlite3.Connection) -> None:
        if not self._is_there():
            raise Unavailable(
                f'database "{self._path}" was moved or removed while this process had it open: what it would write there would '
                "be lost. Nothing was changed. End all processes, put it back and start them again."
            )
        connection.execute(BEGIN)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._name), self._opened)
        except FileNotFoundError:
            return False

    def _commit(self, connection: sqlite3.Connection) -> None:
        self._commits += 1
        try:
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            # What fails behind the last write of a commit is its sync, or its place in the index: then it may be there.
            if _family(error) == sqlite3.SQLITE_IOERR and _code(error) != sqlite3.SQLITE_IOERR_WRITE:
                raise self._unsure(error) from error
            raise

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def _tell(self, error: BaseException) -> None:
        if not isinstance(error, sqlite3.OperationalError):
            return
        if is_locked(error):
            raise Locked(
                f'database "{self._path}" was locked by another writer for {self._busy_ms} ms. '
                "Nothing was changed; it is safe to retry."
            ) from error
        if _code(error) == sqlite3.SQLITE_IOERR_FSYNC:
            raise self._unsure(error) from error
        if _family(error) not in FAILED:
            return
        self._only_read = self._only_read or _family(error) == sqlite3.SQLITE_READONLY
        number = self._refused()
        trouble = self._trouble(error, number)
        if trouble is not None:
            what = "grow" if trouble is FULL else trouble.what
            raise DiskFailed(
                f'database "{self._path}" cannot {what}: {trouble.why}. Nothing was changed. {trouble.fix}'
            ) from error
        if number in (errno.EACCES, errno.EPERM) or _family(error) == sqlite3.SQLITE_READONLY:
            raise PermissionError(errno.EACCES, "it may only be read", str(self._path)) from error

    def _refused(self) -> int:
        """Return the number of the error with which the system refuses to have the file written, 0 when it does not."""
        # None of SQLite's files is opened for that: to close it again takes away all locks that this process has on it.
        files = (self._path.with_name(f"{self._path.name}{end}") for end in ("", "-wal", "-shm"))
        may = all(os.access(file, os.W_OK) for file in files if file.exists())
        return refused(self._path.parent) or (0 if may else errno.EACCES)

    def _trouble(self, error: sqlite3.OperationalError, number: int) -> Trouble | None:
        """Return what is wrong with the disk, None when it is something else."""
        family = _family(error)
        if family == sqlite3.SQLITE_FULL or (family == sqlite3.SQLITE_IOERR and is_full(self._path.parent)):
            return FULL
        if number == errno.EROFS or (_code(error) == sqlite3.SQLITE_READONLY and not number):
            return READ_ONLY
        if family == sqlite3.SQLITE_IOERR:
            return BROKEN._replace(why=f"{BROKEN.why} ({error.sqlite_errorname})")
        return None

    def _unsure(self, error: sqlite3.OperationalError) -> DiskFailed:
        """Return what says that a commit failed behind its last byte.

        No connection sees it and the next commit is written over it, but where all processes die before that, who opens the
        file finds it whole.
        """
        trouble = self._trouble(error, self._refused()) or BROKEN
        return DiskFailed(
            f'database "{self._path}" did not confirm a commit: {trouble.why}. What was to be stored may be found there later, or '
            f"not; sent again under the same key, it is stored once. {trouble.fix}"
        )

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not wait for a lock when it changes the journal mode, so an empty transaction does the waiting.
        for _ in range(WAL_ATTEMPTS):
            try:
                connection.execute("PRAGMA journal_mode=WAL").fetchall()
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
                connection.execute(BEGIN)
                connection.execute("ROLLBACK")
            else:
                return
        raise Unavailable(f'database "{self._path}" stayed locked while it was opened. Try again.')

    def _check_layout(self, connection: sqlite3.Connection, layout: int) -> None:
        # In this order: another process may be creating tables and number in one transaction.
        is_new = not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout and found != layout and not is_new:
            other = "an earlier" if found < layout else "a later"
            raise SchemaError(
                f'the home at "{self._path.parent}" was made by {other} version of tenfold. '
                "Make a new home and load the history again."
            )

    def _create(self, connection: sqlite3.Connection, schema: str) -> None:
        # executescript commits what is open, so the transaction has to be part of the script.
        connection.executescript(f"{BEGIN};\n{schema}\n;COMMIT;")


class SQLiteChanges:
    """Tells whether anybody, in any process, committed to a database since it was last asked; one thread at a time.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> database = SQLiteDatabase(Path(mkdtemp()) / "a.db", "CREATE TABLE IF NOT EXISTS t (a INTEGER)")
    >>> changes = database.changes()
    >>> (
    ...     changes.since_last(),
    ...     changes.since_last(),
    ...     database.execute("INSERT INTO t VALUES (1)"),
    ...     changes.since_last(),
    ... )
    (True, False, 1, True)
    >>> database.close()
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen: int | None = None

    def since_last(self) -> bool:
        """Return whether there was a commit since the last call; True the first time."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        before, self._seen = self._seen, version
        return before != version

    def query(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a statement that reads."""
        return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Release the connection; may be called twice."""
        self._connection.close()


def is_locked(error: sqlite3.OperationalError) -> bool:
    """Return whether another connection's lock is the cause.

    Examples
    --------
    >>> is_locked(sqlite3.OperationalError("no such table: t"))
    False
    """
    return _family(error) == sqlite3.SQLITE_BUSY


def _family(error: sqlite3.OperationalError) -> int:
    """Return what kind of error it is: the low byte of SQLite's code."""
    return _code(error) & 0xFF


def _code(error: sqlite3.OperationalError) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
