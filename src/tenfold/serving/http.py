"""HTTP: rows in, predictions out, events in. The only place that is asynchronous.

    POST /predict                 {"model": ..., "row": {...}}, or the row itself when there is one model; with "rows" and a
                                  list, the answers are a list too
    POST /events/{source}         one event or a list of them
    GET  /health

A POST carries JSON with `content-type: application/json`; without that header a web page could send it. The header
`idempotency-key` makes it safe to repeat.

Every error is {"error": {"kind", "message"}} with a status that says who must act; no stack trace leaves the server.
An events call of which no row fits is answered 422, with the counts beside the error.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tenfold.core.errors import Conflict, NotFound, SchemaError, TenfoldError, Unavailable, suggest
from tenfold.serving.service import Service
from tenfold.sources.base import Ends
from tenfold.sources.declare import Events

logger = logging.getLogger(__name__)

LOCAL = ("127.0.0.1", "localhost", "::1")
"""The names by which a server that is bound to this machine alone is asked for."""
MAX_BODY = 1_000_000
"""Bytes of a /predict body; events may be ten times as large."""
MAX_EVENTS = 10_000_000
MAX_ROWS = 100_000
MAX_ASKED = 1_000
"""Rows of a /predict body: other requests wait for their answers."""
MAX_KEY = 200
_FIELDS = ("model", "row", "rows")
DRAIN = 20_000_000
"""Bytes read and dropped of a body that is too large: a client hears the answer only when it may finish sending."""
POLL = 0.0005
KEY = "idempotency-key"


class _TooLarge(TenfoldError):
    """A body is larger than the server reads."""


class _WrongType(TenfoldError):
    """A body is not sent as JSON."""


_STATUS: Mapping[type[TenfoldError], tuple[int, str]] = {
    SchemaError: (422, "SchemaError"),
    NotFound: (404, "NotFound"),
    Conflict: (409, "Conflict"),
    Unavailable: (503, "Unavailable"),
    _TooLarge: (413, "TooLarge"),
    _WrongType: (415, "WrongType"),
}

Endpoint = Callable[[Request], Awaitable[Response]]


def application(
    services: Mapping[str, Service],
    sources: Mapping[str, Events],
    ingest: Callable[..., Any],
    *,
    wait: float,
    hosts: Sequence[str] = (),
) -> Starlette:
    """Return the ASGI application over services by model name.

    Parameters
    ----------
    wait
        Seconds a request waits for the worker to reach the newest acknowledged event, before it gets status 503.
    hosts
        The Host names that are answered; all when empty. A server on this machine alone takes LOCAL, so that no web page
        can reach it under a name of its own.
    """

    async def predict(request: Request) -> Response:
        service, asked = _chosen(services, await _content(request, MAX_BODY))
        key, mark = _key(request), service.mark()
        await _caught_up(service, mark, wait)
        if "rows" in asked:
            return _json(200, service.predict_many(asked["rows"], key=key, at=mark.at))
        return _json(200, service.predict(asked["row"], key=key, at=mark.at))

    async def events(request: Request) -> Response:
        name = request.path_params["source"]
        if name not in sources:
            raise NotFound("source", name[:100], sources)
        rows = await _content(request, MAX_EVENTS)
        rows = rows if isinstance(rows, list) else [rows]
        if len(rows) > MAX_ROWS:
            raise _TooLarge(
                f"the body has {len(rows):,} rows, more than {MAX_ROWS:,}. Send fewer rows at a time."
            )
        done = await run_in_threadpool(ingest, name, rows, key=_key(request))
        answer = {"stored": done.stored, "rejected": done.rejected, "message": done.message}
        if done.rejected and not done.stored:
            return _json(422, {**answer, "error": {"kind": "SchemaError", "message": done.message}})
        return _json(200, answer)

    async def health(_: Request) -> Response:
        return _json(
            200, {"status": "ok", "models": {name: service.version() for name, service in services.items()}}
        )

    app = Starlette(
        routes=[
            Route("/predict", _guarded(predict), methods=["POST"]),
            Route("/events/{source}", _guarded(events), methods=["POST"]),
            Route("/health", _guarded(health), methods=["GET"]),
        ],
        middleware=[Middleware(_KnownHosts, hosts=hosts)],
        exception_handlers={HTTPException: _unrouted},
    )
    app.router.redirect_slashes = False
    return app


def _chosen(services: Mapping[str, Service], body: Any) -> tuple[Service, dict[str, Any]]:
    """Return the service that is asked, and the row or the rows."""
    if not isinstance(body, dict):
        raise SchemaError('the body is not an object. Send the row as {"field": value, ...}.')
    if len(services) == 1 and not body.keys() & set(_FIELDS):
        return next(iter(services.values())), {"row": body}
    for name in body:
        if name not in _FIELDS:
            raise SchemaError(f'the body has an unknown field "{name[:100]}".{suggest(name, _FIELDS)}')
    model = body.get("model", next(iter(services)) if len(services) == 1 else "")
    if not isinstance(model, str) or model not in services:
        raise NotFound("model", str(model)[:100], services)
    asked = {name: body[name] for name in ("row", "rows") if name in body}
    if len(asked) != 1:
        raise SchemaError(
            f'the body has {"both" if asked else "no"} "row"{" and " if asked else " or "}"rows". '
            'Send {"model": "' + model + '", "row": {...}}, or "rows": [{...}, ...].'
        )
    rows = asked.get("rows", [])
    if not isinstance(rows, list):
        raise SchemaError('"rows" is not a list. Send "rows": [{...}, ...], or one row as "row": {...}.')
    if len(rows) > MAX_ASKED:
        raise _TooLarge(
            f"the body has {len(rows):,} rows, more than {MAX_ASKED:,}. Send fewer rows at a time."
        )
    return services[model], asked


async def _caught_up(service: Service, mark: Ends, wait: float) -> None:
    """Wait, without holding up other requests, until the states have reached a mark."""
    try:
        async with asyncio.timeout(wait):
            while not service.reached(mark):
                await asyncio.sleep(POLL)
    except TimeoutError as error:
        raise Unavailable(service.why_late(mark, wait)) from error


def _key(request: Request) -> str | None:
    key = request.headers.get(KEY) or None
    if key is not None and len(key) > MAX_KEY:
        raise SchemaError(f"the header {KEY} is longer than {MAX_KEY} characters. Send a shorter one.")
    return key


async def _content(request: Request, limit: int) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _WrongType(
            f'the content type is "{kind[:100]}". Send the header "content-type: application/json".'
        )
    body = await _body(request, limit)
    if not body:
        raise SchemaError("the body is empty. Send JSON.")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"the body is not JSON: {error}.") from error


async def _body(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > limit + DRAIN:
            break
    if size > limit:
        raise _TooLarge(f"the body is larger than {limit:,} bytes. Send fewer rows at a time.")
    return b"".join(parts)


def _guarded(endpoint: Endpoint) -> Endpoint:
    """Turn errors into answers: those raised on purpose as they are, any other as a bare 500 and a line in the log."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TenfoldError as error:
            found = (answer for kind, answer in _STATUS.items() if isinstance(error, kind))
            return _error(*next(found, (400, type(error).__name__)), str(error))
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            logger.exception("request failed path=%s", request.url.path)
            return _error(
                500, "InternalError", "the server failed; the reason is in its log. Nothing was answered."
            )

    return answer


async def _unrouted(request: Request, error: Exception) -> Response:
    """Answer what no route takes: an unknown path, a wrong method."""
    path = request.url.path[:100]
    allowed = (getattr(error, "headers", None) or {}).get("Allow")
    if allowed is None:
        known = ["/predict", "/events/SOURCE", "/health"]
        return _error(404, "NotFound", str(NotFound("path", path, known)))
    return _error(
        405, "WrongMethod", f"{request.method} {path} is not answered. Use {allowed}.", {"Allow": allowed}
    )


class _KnownHosts:
    """Refuses requests whose Host header is not one of `hosts`; answers all when there are none."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hosts and scope["type"] == "http":
            given = Request(scope).headers.get("host", "")
            if _hostname(given) not in self._hosts:
                message = f'host "{given[:100]}" is not served here. Ask for one of {", ".join(sorted(self._hosts))}.'
                await _error(400, "WrongHost", message)(scope, receive, send)
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


def _error(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json(status, {"error": {"kind": kind, "message": message}}, headers)


def _json(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers=headers, media_type="application/json")
