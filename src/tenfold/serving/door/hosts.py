"""Refuses what a web page could send in a person's name, and paths that a proxy may read in another way."""

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tenfold.serving.door.listening import LOCAL
from tenfold.serving.door.web import failed, refuse

LONGEST_PATH = 4_096
_READ_ONLY = ("GET", "HEAD", "OPTIONS")
# Letters, digits, "-", ".", "_", "~" and "/" are not written as %XX but by who wants a rule for /metrics not to see it.
_HIDDEN = re.compile(rb"%(?:2[defDEF]|3\d|[46][1-9a-fA-F]|[57][\daA]|5[fF]|7[eE])")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/?#, ]*))(?::[0-9]*)?")
_TRICK = re.compile(r"//|/\.{1,2}(?:/|$)|[\x00-\x1f\\]")


class KnownHosts:
    """Refuses requests for another Host than one of `hosts`, or sent by a page of another one; all are known when there are none."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, names_of(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        if refused is not None:
            await refuse(refused, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        several, origin = _said(scope)
        if len(several) > 1:  # a proxy may have gone by another one
            return failed(400, "WrongHost", "the request names several hosts. Send one Host header.")
        host = several[0] if several else ""
        if not is_known(host, self._hosts):
            message = (
                f'host "{host[:100]}" is not served here. Ask for one of {", ".join(sorted(self._hosts))}, or start the server '
                "with --name and the name that is asked for."
            )
            return failed(400, "WrongHost", message)
        if origin is not None and scope["method"] not in _READ_ONLY and not self._own(origin, host):
            message = f'a page of "{origin[:100]}" may not send to this server.'
            return failed(403, "WrongOrigin", message)
        raw = scope.get("raw_path") or b""
        if len(raw) > LONGEST_PATH or _TRICK.search(scope["path"]) or _HIDDEN.search(raw):
            return failed(404, "NotFound", f'no path "{scope["path"][:100]}". Write it as it is documented.')
        return None

    def _own(self, origin: str, host: str) -> bool:
        """Return whether a page is of this server: of the very Host it asks for, or of a name that was given."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        named = self._hosts - frozenset(LOCAL)
        return bool(parts.netloc) and (parts.netloc.lower() == host.lower() or parts.hostname in named)


def names_of(hosts: Sequence[str]) -> frozenset[str]:
    """Return the names of hosts as `is_known` compares them."""
    return frozenset(map(_bare, map(str.lower, hosts)))


def is_known(host: str, hosts: frozenset[str]) -> bool:
    """Return whether a Host header names one of `hosts`; where there are none, each is known."""
    return not hosts or _hostname(host) in hosts


def _said(scope: Scope) -> tuple[list[str], str | None]:
    """Return each Host and the first Origin that a request names."""
    hosts, origin = [], None
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value.decode("latin-1"))
        elif name == b"origin" and origin is None:
            origin = value.decode("latin-1")
    return hosts, origin


@lru_cache(256)
def _hostname(given: str) -> str:
    """Return a Host header without its port and the dot that may end a name, and what is none as it is.

    Examples
    --------
    >>> _hostname("LOCALHOST:8000"), _hostname("[::1]:8000"), _hostname("localhost:80@evil.example")
    ('localhost', '::1', 'localhost:80@evil.example')
    >>> _hostname("localhost.:80"), _hostname("localhost..")
    ('localhost', 'localhost.')
    """
    name = given.lower()
    found = _HOST.fullmatch(name)
    return found[1] or _bare(found[2]) if found else name


def _bare(name: str) -> str:
    return name.removesuffix(".")
