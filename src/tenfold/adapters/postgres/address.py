"""Addresses of Postgres databases, and which are refused: those that would be told with a part of the password."""

from typing import Any

from tenfold.core.errors import DefinitionError, MissingExtra

DEFAULTS = {
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "application_name": "tenfold",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""What an address that says otherwise may change."""
MOST = 65_535
"""The last port."""


def parts(address: str) -> dict[str, Any]:
    """Return what an address says, and what it leaves out.

    Raises
    ------
    DefinitionError
        When it is none, or cannot be told apart from a password in it. Nothing of it is told.
    """
    try:
        import psycopg
        from psycopg import conninfo
    except ImportError as error:
        raise MissingExtra("a state database on Postgres", "postgres") from error
    try:
        found = DEFAULTS | conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        found = {}  # and not what psycopg says: that may hold a part of the password
    if not found or _is_torn(address) or not _is_plain(found):
        raise DefinitionError(
            'the address of a Postgres database is not one. Write "postgresql://user@host:5432/database", '
            'and in a password, or any other part, %40 for "@", %2F for "/", %3A for ":", %3F for "?" and %25 for "%".'
        )
    if "," in str(found.get("host", "")):  # after a promotion the first of them may be a standby
        found.setdefault("target_session_attrs", "read-write")
    return found


def joined(parts: dict[str, Any]) -> str:
    """Return the address that says so."""
    from psycopg import conninfo

    return conninfo.make_conninfo(**parts)


def _is_torn(address: str) -> bool:
    """Return whether a URL has an "@" or "/" that was not escaped, so that it is read as something else.

    Examples
    --------
    >>> _is_torn("postgresql://ann:a%40b@db/ml?host=/tmp"), _is_torn("postgresql:///ml?host=/tmp&user=ann")
    (False, False)
    >>> (
    ...     _is_torn("postgresql://ann:a@b@db/ml"),
    ...     _is_torn("postgresql://ann:a/b@db/ml"),
    ...     _is_torn("postgresql://db/m/l"),
    ... )
    (True, True, True)
    """
    kind, _, rest = address.partition("://")
    if not rest or not kind.isalpha():
        return False
    before, _, behind = rest.partition("/")
    return before.count("@") > 1 or "@" in behind or "/" in behind.partition("?")[0]


def _is_plain(parts: dict[str, Any]) -> bool:
    """Return whether host, port and database can be what they are called."""
    host, database = parts.get("host") or "", parts.get("dbname") or ""
    ports = [port for port in str(parts.get("port") or "").split(",") if port]
    return (
        "@" not in host[1:]  # a socket's name may begin with it
        and "://" not in database
        and all(port.isdecimal() and 0 < int(port) <= MOST for port in ports)
    )
