"""Refuses what a web page could send in a person's name: requests for a Host that is not served here."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tenfold.serving.web import failed

LOCAL = ("127.0.0.1", "localhost", "::1")
"""The names by which a server that is bound to this machine alone is asked for."""


class KnownHosts:
    """Refuses requests whose Host header is not one of `hosts`; answers all when there are none."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hosts and scope["type"] == "http":
            given = Request(scope).headers.get("host", "")
            if _hostname(given) not in self._hosts:
                message = f'host "{given[:100]}" is not served here. Ask for one of {", ".join(sorted(self._hosts))}.'
                await failed(400, "WrongHost", message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _hostname(given: str) -> str:
    """Return a Host header without its port.

    Examples
    --------
    >>> _hostname("LOCALHOST:8000"), _hostname("[::1]:8000")
    ('localhost', '::1')
    """
    name = given.lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]
