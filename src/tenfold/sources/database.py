"""What a database must do that keeps the state of a project; its checks are in `database_contract.py`.

The SQL is one text for every database: what SQLite takes, with types in capitals. Upserts are written with ON CONFLICT and
name their columns in full, subqueries have names, a value is compared before it is asked whether it IS NULL, and an order by
text is that of its bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Row(Protocol):
    """A row that was read: its values by name or place, in order."""

    def __getitem__(self, place: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def keys(self) -> list[str]:
        """Return the names of its columns, so that `dict(row)` works."""
        ...


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None after the last one."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Transaction(Protocol):
    """What is open inside `Database.transaction`."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run one statement; `?` or `?1` stand for values."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement for many rows of values."""
        ...


class Changes(Protocol):
    """Tells whether anybody, in any process, committed to a database since it was last asked; one thread at a time."""

    def since_last(self) -> bool:
        """Return whether there was a commit since the last call; True the first time."""
        ...

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return all rows of a statement that reads what changed, or raise as soon as `since_last` would."""
        ...


class Database(Protocol):
    """Tables that any number of threads and processes read and write; what is committed survives kill -9 and power loss.

    Readers never wait. Writers take turns: one transaction at a time, in one order, so whatever a transaction reads
    holds until it commits. A writer that waits too long gets `Unavailable`, as does everybody while the database is away.
    """

    def prepare(self, schema: str, *, layout: int = 0) -> None:
        """Make what is missing of a schema, whole or not at all, before the first use or after `close`.

        `layout` is the number of the schema's layout, which the database keeps; 0 for none. SchemaError when it has
        another one.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Wait for this writer's turn; commit at the end, roll back on any exception.

        Inside, the same thread's `query` and `execute` join it.
        """
        ...

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return all rows of a statement that reads, from one snapshot."""
        ...

    def execute(self, sql: str, *values: object) -> int:
        """Run one statement that writes, in a transaction of its own, and return the number of rows it changed."""
        ...

    def hurried(self, busy_ms: int) -> "Database":
        """Return the same for writers who get `Locked` after that many milliseconds, 1 or more; it is to be closed too."""
        ...

    def changes(self) -> Changes:
        """Return what tells cheaply whether anybody wrote; closed with the database."""
        ...

    def close(self) -> None:
        """Release what is held; may be called twice. A thread inside a transaction finishes it first."""
        ...
