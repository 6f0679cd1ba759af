"""State databases by address, a path or that of a schema on Postgres, which a process can be given as text."""

import uuid
from pathlib import Path

from tenfold.sources.sqlite import SQLiteDatabase


def fresh(url):
    """Return the address of a schema that nobody has used."""
    return f"{url}#t{uuid.uuid4().hex}"


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
