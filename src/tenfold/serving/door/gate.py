"""Who may pass: a token with the scope that the route needs, and not more often than its rate allows."""

import math
import threading
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS, iso
from tenfold.serving.door.limits import Limits, Rate, network
from tenfold.serving.door.tokens import Token, Tokens, found
from tenfold.serving.door.web import ADMIN, OPEN, answer_of, failed, refuse
from tenfold.sources.database import Database
from tenfold.sources.later import Later

REALM = 'Bearer realm="tenfold"'
HOW = 'Send the header "authorization: Bearer TOKEN". To make a token: tenfold tokens create PROJECT.py NAME --scope SCOPE'
ANY = ""
"""What a path needs that no route takes: a token of any scope, so that only who has one learns which paths there are."""


class Gate:
    """Decides about requests; a token that is made, revoked or expires counts from the next request on, in every process.

    Parameters
    ----------
    rate
        How often a token without a rate of its own may ask, or without tokens an address; None for any number.
    always
        Ask for a token even when none was made yet, because others than this machine reach the server.
    """

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        limits: Limits,
        clock: Clock,
        *,
        rate: Rate | None = None,
        always: bool = False,
    ) -> None:
        self._tokens, self._changes, self._limits, self._clock = tokens, database.changes(), limits, clock
        self._rate, self._always = rate, always
        self._known: dict[str, Token] = {}
        self._unread = True
        self._seen: dict[str, int] = {}
        self._unstored: dict[str, int] = {}
        self._lock, self._later = threading.Lock(), Later("the use of tokens", self._store, 0)

    @classmethod
    def of(
        cls, database: Database, tokens: Tokens, home: Path, clock: Clock, *, rate: str | None, always: bool
    ) -> "Gate":
        """Return the gate of a home, whose server processes share their limits."""
        given = None if rate is None else Rate.of(rate)
        return cls(database, tokens, Limits(home / "limits", clock), clock, rate=given, always=always)

    def refusal(self, scope: Scope, needs: str, known: dict[str, Token] | None = None) -> Response | None:
        """Return the answer to a request that may not pass, None when it may.

        Parameters
        ----------
        known
            The tokens, looked at after the request came; they are looked at now unless given.
        """
        known = self.look() if known is None else known
        if not known and not self._always:
            if self._rate is None:
                return None
            host = (scope.get("client") or ("",))[0]
            return self._too_often(f"address {network(host)}", self._rate)
        token = found(known, _bearer(scope))
        if token is None:
            return _unknown(bool(_bearer(scope)))
        if (state := token.state(self._clock.now())) != "valid":
            when = iso(token.expires if state == "expired" else token.revoked)  # type: ignore[arg-type]
            told = "expired" if state == "expired" else "was revoked"
            return _unauthorized(f'token "{token.name}" {told} at {when}. Ask for a new one.', invalid=True)
        if needs not in (ANY, *token.scopes):
            return _forbidden(token, needs, scope)
        self._saw(token)
        return self._too_often(f"token {token.id}", self._rate if token.rate is None else Rate.of(token.rate))

    def knows(self, scope: Scope) -> bool:
        """Return whether who asks where everybody may has a token of any scope; True where nobody needs one."""
        known = self.look()
        if not known and not self._always:
            return True
        token = found(known, _bearer(scope))
        return token is not None and token.state(self._clock.now()) == "valid"

    def look(self) -> dict[str, Token]:
        """Return the tokens there are, by id; where they cannot be read, nobody may pass."""
        with self._lock:
            try:
                self._unread = self._changes.since_last() or self._unread
                if self._unread:
                    self._known = {token.id: token for token in self._tokens.list(self._changes)}
                    self._unread = False
            except Unavailable as error:
                if not self._known and not self._always:
                    raise
                # where the state is kept is not for everybody
                raise Unavailable("tokens cannot be looked up now, so nobody may pass. Try again.") from error
            return self._known

    def _too_often(self, caller: str, rate: Rate | None) -> Response | None:
        seconds = 0.0 if rate is None else self._limits.wait(caller, rate)
        if not seconds:
            return None
        again = str(math.ceil(seconds))
        message = f"more requests than this server takes from one caller. Ask again in {again} s."
        return failed(429, "TooOften", message, {"retry-after": again})

    def _saw(self, token: Token) -> None:
        """Have it stored that a token was used, once a minute, beside the answer."""
        now = self._clock.now()
        if now - self._seen.get(token.id, -UNITS["m"]) < UNITS["m"]:
            return
        with self._lock:
            self._seen[token.id] = self._unstored[token.id] = now
        self._later.soon()

    def _store(self) -> bool:
        with self._lock:
            seen, self._unstored = self._unstored, {}
        try:
            self._tokens.use(seen)
        except BaseException:
            with self._lock:
                self._unstored = seen | self._unstored
            raise
        return bool(self._unstored)


class Gated:
    """Lets through what the gate does not refuse."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = self._refusal(scope)
            if refused is not None:
                await refuse(refused, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        route = routed(scope["app"].routes, scope)
        needs = ANY if route is None else needed(route)
        try:
            refused = None if needs == OPEN else self._gate.refusal(scope, needs)
        except Exception as error:  # noqa: BLE001 - said, or logged
            refused = answer_of(error, scope["path"])
        if refused is not None and route is not None:
            scope["route"] = route  # for who counts it, as the route itself notes what it lets in
        return refused


def routed(routes: Sequence[BaseRoute], scope: Scope) -> BaseRoute | None:
    """Return the route that will answer, if only to say that it takes other methods; None where none does."""
    partial = None
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return route
        if match is Match.PARTIAL and partial is None:
            partial = route
    return partial


def needed(route: BaseRoute) -> str:
    """Return the scope that a route needs; ADMIN where it does not say."""
    needs: str = getattr(route, "needs", ADMIN)
    return needs


def _bearer(scope: Scope) -> str:
    """Return the token of a request, "" when there is not exactly one."""
    given = Headers(scope=scope).getlist("authorization")
    if len(given) != 1:
        return ""
    kind, _, secret = given[0].partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


def _unknown(given: bool) -> Response:
    if given:
        return _unauthorized("this is no token of this server. Ask who runs it for one.", invalid=True)
    return _unauthorized(f"this server answers only with a token. {HOW}", invalid=False)


def _unauthorized(message: str, *, invalid: bool) -> Response:
    challenge = f'{REALM}, error="invalid_token"' if invalid else REALM
    return failed(401, "Unauthorized", message, {"www-authenticate": challenge})


def _forbidden(token: Token, needs: str, scope: Scope) -> Response:
    message = (
        f'token "{token.name}" is for {", ".join(token.scopes)}; {scope["method"]} {scope["path"][:100]} needs one '
        f"with the scope {needs}."
    )
    challenge = f'{REALM}, error="insufficient_scope", scope="{needs}"'
    return failed(403, "Forbidden", message, {"www-authenticate": challenge})
