"""Tokens given and taken back by a person, each with a row in the audit log, in one transaction."""

from collections.abc import Sequence

from tenfold.automation.audit import Audit, check_by
from tenfold.core.times import iso
from tenfold.serving.door.tokens import Tokens
from tenfold.sources.database import Database


class Granting:
    """What a person may do with the tokens of a home."""

    def __init__(self, database: Database, tokens: Tokens, audit: Audit) -> None:
        self._database, self._tokens, self._audit = database, tokens, audit

    def create(
        self, name: str, scopes: Sequence[str], *, expires: int | None, rate: str | None, by: str
    ) -> str:
        """Store a token and return its secret, which is shown this once."""
        check_by(by)
        until = "never" if expires is None else iso(expires)
        with self._database.transaction() as tx:
            secret = self._tokens.create(name, scopes, expires=expires, rate=rate)
            evidence = {"scopes": list(scopes), "expires": until, "rate": rate}
            self._audit.record(
                "token", name, "created", f"for {', '.join(scopes)}", by=by, evidence=evidence, tx=tx
            )
        return secret

    def revoke(self, name: str, *, by: str, why: str, forget: bool = False) -> None:
        """Make a token invalid; with `forget`, remove it from the list too."""
        check_by(by)
        with self._database.transaction() as tx:
            act = self._tokens.forget if forget else self._tokens.revoke
            act(name)
            decision = "forgotten" if forget else "revoked"
            self._audit.record("token", name, decision, why, by=by, evidence={}, tx=tx)
