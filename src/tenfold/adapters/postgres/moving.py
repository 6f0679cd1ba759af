"""What a home on SQLite has recorded, brought to Postgres."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tenfold.adapters.postgres.database import PostgresDatabase
from tenfold.adapters.postgres.session import Session
from tenfold.core.errors import Conflict, NotFound, SchemaError
from tenfold.platform import LAYOUT, SCHEMA

TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
# Triggers guard what happens from now on; here they would refuse the rows of runs that are finished.
LOAD = 'ALTER TABLE "{table}" DISABLE TRIGGER USER'
LOADED = 'ALTER TABLE "{table}" ENABLE TRIGGER USER'
NUMBERED = "SELECT pg_get_serial_sequence(?, ?) AS name"
GO_ON = 'SELECT setval(?, (SELECT max("{column}") FROM "{table}"))'


def move(home: Path, to: PostgresDatabase) -> dict[str, int]:
    """Copy runs, versions, decisions and all else from a home's `state.db`, and return how many rows each table has.

    Everything or nothing is copied, and compared afterwards. Nobody may work on the home meanwhile; its file stays as it
    is. The database is opened by this.

    Raises
    ------
    NotFound
        When the home has no state.
    SchemaError
        When it was made by another version of tenfold.
    Conflict
        When there is something in the database already.
    """
    path = Path(home) / "state.db"
    if not path.exists():
        raise NotFound("state", str(path), (), hint=" Give the folder of a home, such as .tenfold.")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source:
        if source.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            raise SchemaError(
                f'the state in "{path}" was made by another version of tenfold. Move it with that one.'
            )
        to.prepare(SCHEMA, layout=LAYOUT)
        with to.transaction() as tx:
            return {table: _copy(source, tx, table) for (table,) in source.execute(TABLES).fetchall()}


def _copy(source: sqlite3.Connection, tx: Session, table: str) -> int:
    cursor = source.execute(f'SELECT * FROM "{table}"')
    columns = [column[0] for column in cursor.description]
    names = ", ".join(f'"{column}"' for column in columns)
    rows = cursor.fetchall()
    if tx.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone():
        raise Conflict(f'there is something in table "{table}" already. Name a schema that is empty.')
    tx.execute(LOAD.format(table=table))
    with tx.connection.cursor().copy(f'COPY "{table}" ({names}) FROM STDIN'.encode()) as target:
        for row in rows:
            target.write_row(row)
    tx.execute(LOADED.format(table=table))
    _compare(table, rows, tx.execute(f'SELECT {names} FROM "{table}"').fetchall())
    if rows:
        _go_on(tx, table, columns)
    return len(rows)


def _go_on(tx: Session, table: str, columns: Sequence[str]) -> None:
    """Let numbers that the database gives begin after those that were copied."""
    for column in columns:
        found = tx.execute(NUMBERED, (table, column)).fetchone()
        if found and found["name"]:
            tx.execute(GO_ON.format(column=column, table=table), (found["name"],))


def _compare(table: str, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    if sorted(map(repr, map(tuple, ours))) != sorted(map(repr, map(tuple, theirs))):
        raise SchemaError(f'table "{table}" does not read back as it was. Nothing was copied.')
