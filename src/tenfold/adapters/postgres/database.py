"""The state database on Postgres."""

import hashlib
import re
import secrets
import threading
from contextlib import closing, suppress
from functools import partial
from typing import Any, Self

from tenfold.adapters.postgres.address import joined, parts
from tenfold.adapters.postgres.session import Session
from tenfold.adapters.postgres.sql import JSON_EACH, statements
from tenfold.adapters.postgres.told import SHARED, Place, told
from tenfold.core.clock import SystemClock
from tenfold.core.errors import DefinitionError, SchemaError, Unavailable
from tenfold.core.times import UNITS
from tenfold.sources.pooled import Pooled

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
OF_POSTGRES = re.compile(r"pg_|information_schema$")
IDLE = 8
"""Most connections that are kept for later."""
REST = UNITS["m"]
"""Microseconds after which one that nobody needed is closed, when another one is given back."""
CLOCK = SystemClock()
# A commit is on the disk when it returns, whatever the server is set to. A machine that vanished within a transaction
# must not keep all others waiting for ever. Numbers come as text, and with fewer digits they are others.
SETTINGS = """
SET search_path TO "{schema}";
SET synchronous_commit TO on;
SET default_transaction_isolation TO 'read committed';
SET extra_float_digits TO 1;
SET lock_timeout TO {busy_ms};
SET idle_in_transaction_session_timeout TO {idle_ms};
SELECT {who}
"""
# Behind a pooler a transaction may be in a session that another client, of another project, left as it liked.
WHO = "pg_backend_pid() AS server, current_setting('search_path') AS path"
IDLE_IN_TRANSACTION_MS = 60_000
PATIENCE = 30.0
"""Seconds without a word after which a server is taken to hang, beside those in which it waits for another writer."""
GLANCE = 2
"""The same where others wait for who looks, a server's event loop above all."""
POLL = 0.1
"""Seconds between two tries to reach a server that hung."""

# One row: to change it is a writer's turn, and how often it was changed tells readers that there is something new.
STATE = """
CREATE TABLE IF NOT EXISTS tenfold_state (
    one bigint PRIMARY KEY CHECK (one = 1),
    layout bigint NOT NULL,
    digest text NOT NULL,
    commits bigint NOT NULL
) WITH (fillfactor = 10)
"""
# Which commits there were, by marks of our own: the number of a transaction that a crash took is given to another one.
RECENT = 128
"""So many marks are kept, each in place of the one as many before."""
MARKS = "ALTER TABLE tenfold_state ADD COLUMN IF NOT EXISTS marks bigint[] NOT NULL DEFAULT '{}'"
BEGIN = f"""
BEGIN;
UPDATE "{{schema}}".tenfold_state SET commits = commits + 1, marks[commits % {RECENT}] = {{mark}}
RETURNING commits, {WHO}
"""
# A standby that is promoted may lack the last ones, and give their numbers to others.
COMMITS = f"SELECT commits, marks[(commits - 1) % {RECENT}] AS mark FROM tenfold_state"
STORED = "SELECT 1 FROM tenfold_state WHERE ? = ANY(marks)"
ALONE = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tenfold {schema}', 0))"
KNOWN = f"""
SELECT {WHO}, to_regnamespace(?1) IS NOT NULL AS schema, to_regclass(?2) IS NOT NULL AS state,
    EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(?2) AND attname = 'marks') AS marks
"""
FOUND = "SELECT layout, digest FROM tenfold_state"
KEEP = """
INSERT INTO tenfold_state (one, layout, digest, commits) VALUES (1, ?, ?, 0)
ON CONFLICT (one) DO UPDATE SET layout = excluded.layout, digest = excluded.digest
"""


class PostgresDatabase(Pooled[Session]):
    """The state of a project in a schema of its own in a Postgres database (14 or later), for processes on many machines.

    Nothing is connected before a project is opened on it: `Platform(state=PostgresDatabase(address))`. Readers never
    wait. Writers take turns, as they do on SQLite: each transaction first changes one row that all of them share, so
    what it reads holds until it commits, and nothing has to be repeated as under SERIALIZABLE. Who waits longer than
    `busy_ms` milliseconds, or finds the server away, or hears nothing of it for half a minute more than that, gets
    `Unavailable`; after a restart of the server work goes on.

    Parameters
    ----------
    address
        "postgresql://user@host:5432/database"; a password is better kept in ~/.pgpass or PGPASSWORD. What it leaves out
        comes from the variables PGHOST, PGUSER and so on.
    schema
        The schema with the tables of this project: lower-case letters, digits and "_". Made when it is missing.
    busy_ms
        Milliseconds a writer waits for another one.

    Examples
    --------
    >>> from tenfold import Platform
    >>> Platform(state=PostgresDatabase("postgresql://ann:secret@db.example:5432/ml", schema="fraud")).state
    PostgresDatabase(schema fraud of ml at db.example:5432)
    """

    def __init__(self, address: str, *, schema: str = "tenfold", busy_ms: int = 30_000) -> None:
        if not NAME.fullmatch(schema) or OF_POSTGRES.match(schema):
            raise DefinitionError(
                f'schema "{schema}" is not a name. Use lower-case letters, digits and "_", such as "fraud_2"; names that '
                'begin with "pg_" are those of Postgres itself.'
            )
        said = parts(address)
        self._address, self._schema = joined(said), schema
        database = said.get("dbname") or said.get("user", "")
        server = f"{said.get('host', 'localhost')}:{said.get('port', 5432)}"
        super().__init__(f"schema {schema} of {database} at {server}", busy_ms)
        self._place = Place(self._name, schema, database, said.get("user") or "USER")
        self._patience = busy_ms / 1_000 + PATIENCE
        self._watches: list[PostgresChanges] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name})"

    def prepare(self, schema: str, *, layout: int = 0) -> None:
        """Make what is missing of a schema, whole or not at all."""
        try:
            session = self._connected()
            try:
                self._look_beside(session)
                self._make(session, schema, layout)
            except BaseException:
                session.connection.close()
                raise
        except Exception as error:
            self._tell(error, opening=True)
            raise
        self._closed = False
        self._give_back(session)

    def changes(self) -> "PostgresChanges":
        """Return what tells in one round trip whether anybody wrote; closed with the database."""
        found = PostgresChanges(self._glancing())
        self._watches.append(found)
        return found

    def _glancing(self) -> Self:
        """Return the same for who cannot wait; it is to be closed too."""
        # a lock is told of before it looks like silence
        quick = self.hurried(min(self._busy_ms, GLANCE * 500))
        quick._address, quick._patience = joined(parts(self._address) | {"connect_timeout": GLANCE}), GLANCE
        quick._closed = False
        return quick

    def hurried(self, busy_ms: int) -> Self:
        """Return the same for writers who get `Locked` after that many milliseconds; it is to be closed too."""
        found = super().hurried(busy_ms)
        found._patience, found._watches = busy_ms / 1_000 + PATIENCE, []
        return found

    def close(self) -> None:
        """Release what is held; may be called twice. A thread inside a transaction finishes it first."""
        while self._watches:
            self._watches.pop().close()
        super().close()

    def _look_beside(self, session: Session) -> None:
        """Refuse a pooler that lets a second connection have the session of the first."""
        if session.who[0] == session.connection.info.backend_pid:
            return  # the server itself
        with suppress(Unavailable), closing(self._glancing()) as beside, beside._connection() as other:
            if other.who[0] == session.who[0]:
                raise DefinitionError(f'database "{self._name}" {SHARED}')

    def _make(self, session: Session, schema: str, layout: int) -> None:
        session.several(ALONE.format(schema=self._schema))
        known = session.execute(KNOWN, (self._schema, f"{self._schema}.tenfold_state")).fetchall()[0]
        *who, there, state, marks = known
        if who != session.who:
            raise DefinitionError(f'database "{self._name}" {SHARED}')
        found = session.execute(FOUND).fetchone() if state else None
        kept = found["layout"] if found else 0
        if layout and found and kept != layout:
            other = "an earlier" if kept < layout else "a later"
            raise SchemaError(
                f"the state in {self._name} was made by {other} version of tenfold. "
                f'Name another schema, PostgresDatabase(..., schema="{self._schema}_{layout}"), '
                "and load the history again."
            )
        digest = hashlib.sha256(schema.encode()).hexdigest()
        if not found or found["digest"] != digest or not marks:
            made = [] if there else [f'CREATE SCHEMA "{self._schema}"']
            session.several(";\n".join([*made, STATE, MARKS, JSON_EACH, *statements(schema)]))
            session.execute(KEEP, (layout or kept, digest))
        session.several("COMMIT")

    def _connected(self) -> Session:
        settings = SETTINGS.format(
            schema=self._schema,
            busy_ms=self._busy_ms,
            idle_ms=max(IDLE_IN_TRANSACTION_MS, self._busy_ms),
            who=WHO,
        )
        return Session(self._address, settings, self._patience)

    def _open(self) -> Session:
        try:
            return self._connected()
        except Exception as error:
            self._tell(error)
            raise

    def _works(self, connection: Session) -> bool:
        return connection.works()

    def _quit(self, connection: Session) -> None:
        connection.connection.close()

    def _give_back(self, connection: Session) -> None:
        if connection.is_idle and len(self._idle) < IDLE:
            connection.rests_since = CLOCK.elapsed()
            super()._give_back(connection)
            self._close_rested()
        else:
            self._quit(connection)

    def _close_rested(self) -> None:
        """Close what nobody needed for a while: the first of them, as who needs one takes the last."""
        with suppress(IndexError, ValueError):  # another thread was first
            while (first := self._idle[0]).rests_since < CLOCK.elapsed() - REST:
                self._idle.remove(first)
                self._quit(first)

    def _begin(self, connection: Session) -> None:
        try:
            connection.mark = secrets.randbits(63)
            begin = BEGIN.format(schema=self._schema, mark=connection.mark)
            row = connection.several(begin).fetchone()
            if row and [row["server"], row["path"]] != connection.who:
                connection.connection.close()
                raise Unavailable(f'database "{self._name}" {SHARED} Nothing was changed.')
        except BaseException:
            self._roll_back(connection)
            raise
        connection.turn = row["commits"] if row else 0

    def _commit(self, connection: Session) -> None:
        import psycopg

        try:
            said = connection.several("COMMIT").statusmessage
        except psycopg.OperationalError as error:
            if not connection.connection.closed:
                raise
            self._settle(connection, error)
        else:
            if said != "COMMIT":
                raise RuntimeError(
                    "a statement of this transaction failed and its error was swallowed. Nothing was changed."
                )

    def _settle(self, lost: Session, error: Exception) -> None:
        """Find out what became of a commit whose answer was lost; return when it was stored."""
        try:
            session = self._open()
            try:
                self._begin(session)  # its turn comes when the lost transaction has ended
                stored = session.execute(STORED, (lost.mark,)).fetchone()
                if not stored and session.turn >= lost.turn + RECENT:
                    raise LookupError("its mark may have been there, and replaced since")
            finally:
                session.connection.close()
        except Exception as later:
            raise Unavailable(
                f'database "{self._name}" went away during a commit, and it is not known whether that was stored. '
                "Look before you do it again."
            ) from later
        if not stored:
            self._tell(error)
            raise error

    def _roll_back(self, connection: Session) -> None:
        import psycopg

        if connection.connection.closed or connection.is_idle:
            return
        try:
            connection.several("ROLLBACK")
        except psycopg.Error:
            connection.connection.close()  # which rolls back, too

    def _tell(self, error: BaseException, *, opening: bool = False) -> None:
        found = told(error, self._place, busy_ms=self._busy_ms, opening=opening)
        if found is not None:
            raise found from error


class PostgresChanges:
    """Tells whether anybody, in any process, committed to a database since it was last asked; one thread at a time.

    Where the server hangs, or somebody locks a table for long, who asks first waits for some seconds, and who asks later gets `Unavailable` at once, until a
    thread that goes on trying is answered.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._seen: tuple[int, int] | None = None
        self._trying: threading.Thread | None = None
        self._closed, self._why = threading.Event(), ""

    def since_last(self) -> bool:
        """Return whether there was a commit since the last call; True the first time."""
        before, self._seen = self._seen, tuple(self.query(COMMITS)[0])
        return before != self._seen

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return all rows of a statement that reads."""
        if self._trying is not None and self._trying.is_alive():
            raise Unavailable(self._why)
        try:
            return self._database.query(sql, *values)
        except Unavailable as error:
            if _has_waited(error.__cause__):
                self._why = str(error)
                again = partial(self._try, sql, *values)
                self._trying = threading.Thread(target=again, name="postgres", daemon=True)
                self._trying.start()
            raise

    def close(self) -> None:
        """Release the connection; may be called twice."""
        self._closed.set()
        self._database.close()

    def _try(self, sql: str, *values: object) -> None:
        """Ask until there is an answer."""
        while not self._closed.wait(POLL):
            with suppress(Unavailable):
                self._database.query(sql, *values)
                return


def _has_waited(error: BaseException | None) -> bool:
    """Return whether somebody waited before this error came; a server that is away says so at once."""
    from psycopg.errors import ConnectionTimeout, LockNotAvailable

    from tenfold.adapters.postgres.bounded import Silent

    return isinstance(error, Silent | ConnectionTimeout | LockNotAvailable)
