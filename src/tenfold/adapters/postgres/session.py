"""One connection to Postgres that speaks our SQL: the same placeholders, rows and numbers as SQLite."""

import select
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tenfold.adapters.postgres.sql import statement

if TYPE_CHECKING:
    import psycopg

BIGINT = 20
"""The number of the type in Postgres."""
SOON = 2
"""A statement is prepared when it has run so often."""
STATEMENTS = 500
"""Most statements that stay prepared."""
ELSEWHERE = {"26000", "42P05", "08P01", "42P01"}
"""What is said in a session in which a statement was not prepared, or whose tables are others."""


class Row(Sequence[Any]):
    """Values by name or place.

    Examples
    --------
    >>> row = Row({"a": 0, "b": 1}, (5, None))
    >>> row["b"], row[0], dict(row)
    (None, 5, {'a': 5, 'b': None})
    """

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: Sequence[Any]) -> None:
        self._places, self._values = places, values

    def __getitem__(self, place: Any) -> Any:
        return self._values[self._places[place] if isinstance(place, str) else place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._places)


class Session:
    """A connection, and by what its last transaction that wrote is known: a mark, and how many there were.

    Which session of the server it has is the row that the settings return in the end. Since when it rests, in
    microseconds, is set by the pool that it is in.

    Parameters
    ----------
    patience
        Seconds in which the server must say something whenever it is waited for.
    """

    def __init__(self, address: str, settings: str, patience: float) -> None:
        import psycopg

        from tenfold.adapters.postgres.bounded import Bounded

        self.connection = Bounded.connect(
            address,
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
            row_factory=_rows,
            prepare_threshold=SOON,
        )
        self.connection.patience = patience
        self.connection.prepared_max = STATEMENTS
        self.mark, self.turn, self.rests_since = 0, 0, 0
        _adapt(self.connection)
        self.who = list(self.several(settings).fetchone() or ())

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> "psycopg.Cursor[Row]":
        """Run one statement in our SQL."""
        import psycopg

        try:
            return self.connection.execute(statement(sql), values or None)
        except psycopg.Error as error:
            if error.sqlstate in ELSEWHERE:
                self.connection.close()  # a pooler gave it another session: the next one makes its settings anew
            raise

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> "psycopg.Cursor[Row]":
        """Run one statement in our SQL for many rows of values."""
        cursor = self.connection.cursor()
        cursor.executemany(statement(sql), rows)
        return cursor

    def several(self, sql: str) -> "psycopg.Cursor[Row]":
        """Run statements of Postgres in one round trip and return the result of the last one."""
        cursor = self.connection.execute(sql.encode(), prepare=False)
        while cursor.nextset():
            pass
        return cursor

    @property
    def is_idle(self) -> bool:
        """Whether it is connected, as far as is known, and no transaction is open."""
        return not self.connection.closed and self.connection.info.transaction_status == 0

    def works(self) -> bool:
        """Return whether it can be used: a server that ended, or restarted, has said so by now."""
        if not self.is_idle:
            return False
        news = select.poll()
        news.register(self.connection.fileno(), select.POLLIN)
        return not news.poll(0)


def _rows(cursor: "psycopg.Cursor[Any]") -> Callable[[Sequence[Any]], Row]:
    places = {column.name: place for place, column in enumerate(cursor.description or ())}
    return lambda values: Row(places, values)


def _adapt(connection: "psycopg.Connection[Any]") -> None:
    """Keep truth as 0 and 1, and read the sum of whole numbers as one, both as SQLite does."""
    from psycopg.adapt import Dumper, Loader

    class Truth(Dumper):
        oid = BIGINT

        def dump(self, obj: Any) -> bytes:
            return b"1" if obj else b"0"

    class Number(Loader):
        def load(self, data: Any) -> int | float:
            text = bytes(data)
            return int(text) if text.lstrip(b"-").isdigit() else float(text)

    connection.adapters.register_dumper(bool, Truth)
    connection.adapters.register_loader("numeric", Number)
