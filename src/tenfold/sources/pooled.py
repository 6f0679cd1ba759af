"""What databases have in common: a pool of connections that many threads share, and whole transactions."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from typing import Any, Generic, Self, TypeVar

from tenfold.core.errors import Unavailable
from tenfold.sources.database import Transaction

Connection = TypeVar("Connection", bound=Transaction)


class Pooled(ABC, Generic[Connection]):
    """Connections in a pool instead of one per thread: a thread that ends leaves nothing open, and `close` is complete.

    A process that was forked opens connections of its own. What differs between databases is in the abstract methods.
    """

    def __init__(self, name: str, busy_ms: int) -> None:
        self._name, self._busy_ms = name, busy_ms
        self._idle: list[Connection] = []
        self._abandoned: list[Connection] = []
        self._process = os.getpid()
        self._mine = threading.local()
        self._closed = False

    def transaction(self) -> AbstractContextManager[Connection]:
        """Give a connection that holds the write lock; commit at the end, roll back on any exception.

        Raises
        ------
        Unavailable
            When another writer held the lock for too long, the disk is full or fails, or the database is away; nothing was
            changed, unless the message says that the commit may be found later.
        """
        return _Whole(self)

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return all rows of a statement that reads, from one snapshot."""
        current = self._current()
        if current is not None:
            return current.execute(sql, values).fetchall()
        with self._connection() as connection:
            return connection.execute(sql, values).fetchall()

    def execute(self, sql: str, *values: object) -> int:
        """Run one statement that writes, in a transaction of its own, and return the number of rows it changed."""
        current = self._current()
        if current is not None:
            return current.execute(sql, values).rowcount
        with self.transaction() as connection:
            return connection.execute(sql, values).rowcount

    def hurried(self, busy_ms: int) -> Self:
        """Return the same for writers who get `Locked` after that many milliseconds; it is to be closed too."""
        found = copy(self)
        found._busy_ms = busy_ms
        found._idle, found._abandoned, found._mine = [], [], threading.local()
        return found

    def close(self) -> None:
        """Close it; may be called twice. A thread inside a transaction finishes it first."""
        self._closed = True
        while self._idle:
            self._quit(self._idle.pop())

    def _current(self) -> Connection | None:
        return getattr(self._mine, "connection", None)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        connection = self._take()
        try:
            yield connection
        except Exception as error:
            self._tell(error)
            raise
        finally:
            self._give_back(connection)

    def _take(self) -> Connection:
        """Return a connection that nobody else uses until it is given back."""
        if self._closed:
            raise Unavailable(f'database "{self._name}" was closed. Open it again before using it.')
        self._after_fork()
        while (connection := self._kept()) is not None:
            if self._works(connection):
                return connection
            self._quit(connection)
        return self._open()

    def _kept(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()

    def _after_fork(self) -> None:
        if self._process != os.getpid():
            # They are the parent's: to close them here would end them there, so they are only kept.
            self._abandoned, self._idle = [*self._abandoned, *self._idle], []
            self._process, self._mine = os.getpid(), threading.local()

    @abstractmethod
    def _works(self, connection: Connection) -> bool:
        """Return whether an idle connection can be used."""

    @abstractmethod
    def _open(self) -> Connection: ...

    @abstractmethod
    def _quit(self, connection: Connection) -> None: ...

    @abstractmethod
    def _begin(self, connection: Connection) -> None:
        """Begin a transaction and wait for the write lock."""

    @abstractmethod
    def _commit(self, connection: Connection) -> None: ...

    @abstractmethod
    def _roll_back(self, connection: Connection) -> None:
        """Roll back if a transaction is open."""

    @abstractmethod
    def _tell(self, error: BaseException) -> None:
        """Raise Unavailable in place of an error that says that the database is busy, full or away."""


class _Whole(AbstractContextManager[Connection]):
    """A transaction; a class, as a generator of a generator took as long as the lock does."""

    def __init__(self, pool: Pooled[Connection]) -> None:
        self._pool = pool

    def __enter__(self) -> Connection:
        pool = self._pool
        if pool._current() is not None:
            raise RuntimeError("this thread is already in a transaction. Use the connection that it yielded.")
        self._connection = pool._take()
        try:
            pool._begin(self._connection)
        except BaseException as error:
            self._end(error)
            raise
        pool._mine.connection = self._connection
        return self._connection

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            try:
                self._pool._commit(self._connection)
            except BaseException as failed:
                self._end(failed)
                raise
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        pool = self._pool
        try:
            if error is not None:
                pool._roll_back(self._connection)
                pool._tell(error)
        finally:
            pool._mine.connection = None
            pool._give_back(self._connection)
