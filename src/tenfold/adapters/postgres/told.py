"""What an error of Postgres means for who uses it: wait and try again, or what somebody must change first."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenfold.core.errors import DefinitionError, SchemaError, TenfoldError, Unavailable
from tenfold.sources.turn import Locked

if TYPE_CHECKING:
    import psycopg

LOCKED, FULL, READ_ONLY, TOO_LONG, CANCELLED = "55P03", "53100", "25006", "54000", "57014"
TIMED_OUT = {"25P03", "25P04"}
FORBIDDEN, GONE = "42501", {"3F000", "42P01"}
# While somebody connects there is no number, only text; what is not among these may be over soon.
NO_DATABASE = re.compile(r'database "[^"]*" does not exist')
NO_ENTRY = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|permission denied for database|"
    r'role "[^"]*" (does not exist|is not permitted)'
)
NO_ADDRESS = re.compile(
    r"invalid (\S+ )*(value|port number)|could not match|unrecognized configuration parameter"
)
NOT_PREPARED = {"26000", "42P05"}
SHARED = (
    "is behind a pooler that gives each transaction another session, so that it may be among the tables of another "
    "project. Let one be kept for each connection (PgBouncer: pool_mode = session), or name the server itself."
)
RETRY = "Nothing was changed; it is safe to retry."


@dataclass(frozen=True, slots=True)
class Place:
    """Which schema of which database an error is about, and what is to be typed for it."""

    name: str
    schema: str
    database: str
    user: str


def told(error: BaseException, place: Place, *, busy_ms: int, opening: bool) -> TenfoldError | None:
    """Return what to raise instead of an error; None when it is none of Postgres, or one that nobody foresaw.

    Parameters
    ----------
    opening
        Whether the declaration is to blame for what only a person can change; later that is no reason to end.
    """
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    text = _text(error, place)
    if text is not None:
        return SchemaError(text)
    lasting = _lasting(error, place, opening=opening)
    if lasting is not None:
        text = f'database "{place.name}" {lasting}'
        return DefinitionError(text) if opening else Unavailable(f"{text} Nothing was changed.")
    why = _why(error, place, busy_ms)
    kind = Locked if error.sqlstate == LOCKED else Unavailable
    return None if why is None else kind(f'database "{place.name}" {why}')


def _text(error: "psycopg.Error", place: Place) -> str | None:
    """Return why a text cannot be kept."""
    import psycopg

    if isinstance(error, psycopg.DataError) and "NUL" in str(error):
        return f'a text with the character NUL cannot be kept in database "{place.name}". Take it out.'
    if error.sqlstate == TOO_LONG:
        return f'a name is too long to be found again in database "{place.name}": {_line(error)}. Shorten it.'
    return None


def _lasting(error: "psycopg.Error", place: Place, *, opening: bool) -> str | None:
    """Return why a database cannot serve before somebody has changed something, and what."""
    import psycopg

    said = _line(error)
    if error.sqlstate == FORBIDDEN:
        return (
            f"does not let this user do what it must: {said}. Have its administrator type "
            f'CREATE SCHEMA "{place.schema}" AUTHORIZATION "{place.user}"; one that is there, with its tables, must belong to '
            "this user."
        )
    if error.sqlstate in NOT_PREPARED:
        return SHARED
    if error.sqlstate in GONE and not opening:
        return (
            f"has lost what was in it, or lets this user see it no more: {said}. "
            "Put it back, or restart all processes to begin anew."
        )
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return f"cannot be connected to: {said}. Change its address."
    if not isinstance(error, psycopg.OperationalError) or error.sqlstate is not None:
        return None
    if NO_DATABASE.search(said):
        return f'is not there: {said}. Make it, CREATE DATABASE "{place.database}", or change the address.'
    if NO_ENTRY.search(said):
        return (
            f"does not let this user in: {said}. Change user and password, in the address, ~/.pgpass or PGPASSWORD, "
            "or what the server allows."
        )
    return f"cannot be connected to: {said}. Change its address." if NO_ADDRESS.search(said) else None


def _why(error: "psycopg.Error", place: Place, busy_ms: int) -> str | None:
    """Return why a database cannot serve now; None for an error that a retry does not help."""
    import psycopg

    if error.sqlstate == LOCKED:
        return f"was locked by another writer for {busy_ms} ms. {RETRY}"
    if error.sqlstate == FULL:
        return f"cannot grow: the disk is full. {RETRY}"
    if error.sqlstate == READ_ONLY:
        return (
            f"takes no changes: it is a standby, or its default_transaction_read_only is on. {RETRY} When it is told again, "
            "name the server that takes them, or switch that off."
        )
    if error.sqlstate == CANCELLED and "statement timeout" in str(error):
        return (
            f"gave up a statement: {_line(error)}. Nothing was changed. When it is told again, let statements take longer: "
            f'ALTER ROLE "{place.user}" SET statement_timeout = 0.'
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or error.sqlstate in TIMED_OUT:
        return f"does not answer: {_line(error)}. {RETRY}"
    return None


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
