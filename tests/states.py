"""State databases by address, a path or that of a schema on Postgres, which a process can be given as text."""

import sqlite3
import uuid
from contextlib import closing, contextmanager
from pathlib import Path

from tenfold.sources.sqlite import SQLiteDatabase


def fresh(url):
    """Return the address of a schema that nobody has used."""
    return f"{url}#t{uuid.uuid4().hex}"


class Folder:
    """Empty places in a folder; `stride` is how many of the points of a crash test are worth their time."""

    stride = 1

    def __init__(self, path):
        self._path = path

    def __call__(self):
        return str(self._path / uuid.uuid4().hex / "state.db")


class Schemas:
    """Empty schemas on a server; each takes a while to make."""

    stride = 9

    def __init__(self, url):
        self._url = url

    def __call__(self):
        return fresh(self._url)


def state(address, **how):
    """Return a database on Postgres that nobody has opened."""
    from tenfold.adapters.postgres import PostgresDatabase

    url, _, schema = address.partition("#")
    return PostgresDatabase(url, schema=schema, **how)


def opened(address, schema, *, layout=0, **how):
    """Return the database at an address, with a schema."""
    if not address.startswith("postgresql:"):
        return SQLiteDatabase(Path(address), schema, layout=layout, **how)
    database = state(address, **how)
    database.prepare(schema, layout=layout)
    return database


def refused():
    """Return the errors of a statement that a database refuses for good."""
    try:
        import psycopg  # not by every process that opens a database
    except ImportError:
        return (sqlite3.IntegrityError,)
    return (sqlite3.IntegrityError, psycopg.IntegrityError)


@contextmanager
def locked(path):
    """Hold the lock for writers to a file of SQLite, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
