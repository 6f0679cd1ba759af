"""API tokens: who may ask for what, until when, and how often; only hashes of the secrets are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex, token_urlsafe

from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, DefinitionError, NotFound, suggest
from tenfold.serving.door.web import ADMIN, INGEST, PREDICT
from tenfold.sources.database import Changes, Database, Row

SCHEMA = """
CREATE TABLE IF NOT EXISTS token (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    salt TEXT NOT NULL,
    hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    rate TEXT,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER,
    used INTEGER
);
"""
# A name whose token is no longer valid may be given again, so that a client can be given a new secret.
CREATE = """
INSERT INTO token (name, id, salt, hash, scopes, rate, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET id = excluded.id, salt = excluded.salt, hash = excluded.hash, scopes = excluded.scopes,
rate = excluded.rate, created = excluded.created, expires = excluded.expires, revoked = NULL, used = NULL
WHERE token.revoked IS NOT NULL OR token.expires <= excluded.created
"""
REVOKE = "UPDATE token SET revoked = ? WHERE name = ? AND revoked IS NULL"
USED = "UPDATE token SET used = ? WHERE id = ?"

SCOPES = (PREDICT, INGEST, ADMIN)
PREFIX = "tenfold"
"""How every secret begins, so that one that lies about is found by who looks for secrets."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is stored of a token; instants are in microseconds since 1970 UTC.

    Attributes
    ----------
    rate
        Such as "100/s"; None when the server's holds.
    used
        When it was last seen, to the minute; None for never.
    """

    name: str
    id: str
    salt: str
    hash: str
    scopes: tuple[str, ...]
    rate: str | None
    created: int
    expires: int | None
    revoked: int | None
    used: int | None

    def state(self, now: int) -> str:
        """Return "valid", "expired" or "revoked"."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


class Tokens:
    """The tokens of a home.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> with TemporaryDirectory() as folder:
    ...     tokens = Tokens(SQLiteDatabase(Path(folder) / "state.db", SCHEMA), VirtualClock(0))
    ...     secret = tokens.create("shop", ["predict"])
    ...     known = {token.id: token for token in tokens.list()}
    >>> found(known, secret).name, found(known, secret[:-1] + "?")
    ('shop', None)
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def create(
        self, name: str, scopes: Sequence[str], *, expires: int | None = None, rate: str | None = None
    ) -> str:
        """Store a token and return its secret, which is nowhere afterwards.

        Parameters
        ----------
        expires
            From this instant on it is not valid any more.

        Raises
        ------
        Conflict
            When there is a valid token of that name.
        """
        wrong = next((scope for scope in scopes if scope not in SCOPES), None)
        if wrong is not None or not scopes:
            raise DefinitionError(f'no scope "{wrong or ""}".{suggest(wrong or "", SCOPES)}')
        now, id_, salt = self._clock.now(), token_hex(6), token_hex(16)
        secret = f"{PREFIX}_{id_}_{token_urlsafe(32)}"
        kept = " ".join(scope for scope in SCOPES if scope in scopes)
        if not self._database.execute(CREATE, name, id_, salt, _hash(salt, secret), kept, rate, now, expires):
            raise Conflict(
                f'there is a valid token "{name}". Revoke it first: tenfold tokens revoke PROJECT.py {name}, '
                "or choose another name."
            )
        return secret

    def revoke(self, name: str) -> None:
        """Make a token invalid from the next request on; NotFound when no token of that name is valid."""
        if not self._database.execute(REVOKE, self._clock.now(), name):
            raise NotFound(
                "token to revoke", name, [token.name for token in self.list() if token.revoked is None]
            )

    def forget(self, name: str) -> None:
        """Remove a token from the list; a home with an empty list asks for no token, on this machine only."""
        if not self._database.execute("DELETE FROM token WHERE name = ?", name):
            raise NotFound("token", name, [token.name for token in self.list()])

    def list(self, by: Changes | None = None) -> "list[Token]":
        """Return all tokens, also those that are not valid any more, by name; read `by` what is quick to say that it cannot."""
        return [_token(row) for row in (by or self._database).query("SELECT * FROM token ORDER BY name")]

    def use(self, seen: "dict[str, int]") -> None:
        """Store when tokens were last seen, by id."""
        with self._database.transaction() as tx:
            tx.executemany(USED, [(at, id_) for id_, at in seen.items()])


def found(known: "dict[str, Token]", secret: str) -> Token | None:
    """Return the token of a secret, which is compared in a time that does not depend on what is stored.

    Parameters
    ----------
    known
        Tokens by id. The id is no secret: it says which hash to compare with.
    """
    parts = secret.split("_", 2)
    token = known.get(parts[1]) if len(parts) == 3 else None
    salt, stored = ("", "") if token is None else (token.salt, token.hash)
    return token if compare_digest(_hash(salt, secret), stored) else None


def _hash(salt: str, secret: str) -> str:
    # the secret is 256 random bits, so nothing slower than one round of SHA-256 is needed
    return sha256(f"{salt}{secret}".encode()).hexdigest()


def _token(row: Row) -> Token:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a row is no mapping
    return Token(**values | {"scopes": tuple(values["scopes"].split())})
