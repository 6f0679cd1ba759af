"""HTTP: rows in, predictions out, events in. The only place that is asynchronous.

    POST /predict                 {"model": ..., "row": {...}}, or the row itself when there is one model
    POST /events/{source}         one event or a list of them
    GET  /health

Errors are {"error": {"kind", "message"}} with a status that says who must act; no stack trace leaves the server.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tenfold.core.errors import Conflict, NotFound, SchemaError, TenfoldError, Unavailable
from tenfold.serving.service import Service, too_late
from tenfold.sources.declare import Events

logger = logging.getLogger(__name__)

MAX_BODY = 1_000_000
"""Bytes of a /predict body; events may be ten times as large."""
MAX_EVENTS = 10_000_000
POLL = 0.0005
KEY = "idempotency-key"
_STATUS = {SchemaError: 422, NotFound: 404, Conflict: 409, Unavailable: 503}

Endpoint = Callable[[Request], Awaitable[Any]]


class _TooLarge(TenfoldError):
    """A body is larger than the server reads."""


def application(
    services: Mapping[str, Service],
    sources: Mapping[str, Events],
    ingest: Callable[..., Any],
    *,
    wait: float,
) -> Starlette:
    """Return the ASGI application over services by model name.

    Parameters
    ----------
    wait
        Seconds a request waits for the worker to reach the newest acknowledged event, before it gets status 503.
    """

    async def predict(request: Request) -> Any:
        body = _decode(await _body(request, MAX_BODY))
        service, row = _chosen(services, body)
        await _caught_up(service, wait)
        return service.predict(row, key=request.headers.get(KEY))

    async def events(request: Request) -> Any:
        name = request.path_params["source"]
        if name not in sources:
            raise NotFound("source", name, sources)
        rows = _decode(await _body(request, MAX_EVENTS))
        done = ingest(name, rows if isinstance(rows, list) else [rows], key=request.headers.get(KEY))
        return {"stored": done.stored, "rejected": done.rejected, "message": done.message}

    async def health(_: Request) -> Any:
        return {"status": "ok", "models": {name: service.version() for name, service in services.items()}}

    return Starlette(
        routes=[
            Route("/predict", _guarded(predict), methods=["POST"]),
            Route("/events/{source}", _guarded(events), methods=["POST"]),
            Route("/health", _guarded(health), methods=["GET"]),
        ]
    )


def _chosen(services: Mapping[str, Service], body: Any) -> tuple[Service, Any]:
    if not isinstance(body, dict):
        raise SchemaError('the body is not an object. Send the row as {"field": value, ...}.')
    if "row" not in body and len(services) == 1:
        return next(iter(services.values())), body
    name = body.get("model", next(iter(services)) if len(services) == 1 else "")
    if name not in services:
        raise NotFound("model", str(name), services)
    if "row" not in body:
        raise SchemaError('the body has no "row". Send {"model": "' + str(name) + '", "row": {...}}.')
    return services[name], body["row"]


async def _caught_up(service: Service, wait: float) -> None:
    """Wait, without holding up other requests, until the states hold all that is acknowledged by now."""
    wanted = service.behind()
    for _ in range(max(1, int(wait / POLL))):
        if service.reached(wanted):
            return
        await asyncio.sleep(POLL)
    raise Unavailable(too_late(wait))


async def _body(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _TooLarge(f"the body is larger than {limit:,} bytes. Send fewer rows at a time.")
        parts.append(part)
    return b"".join(parts)


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"the body is not JSON: {error}.") from error


def _guarded(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """Turn errors into answers: those raised on purpose as they are, any other as a bare 500 and a line in the log."""

    async def answer(request: Request) -> Response:
        try:
            return _json(200, await endpoint(request))
        except _TooLarge as error:
            return _error(413, "TooLarge", str(error))
        except TenfoldError as error:
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
            return _error(status, type(error).__name__, str(error))
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            logger.exception("request failed path=%s", request.url.path)
            return _error(
                500, "InternalError", "the server failed; the reason is in its log. Nothing was answered."
            )

    return answer


def _error(status: int, kind: str, message: str) -> Response:
    return _json(status, {"error": {"kind": kind, "message": message}})


def _json(status: int, content: Any) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
