"""What every endpoint needs: bodies within limits, answers as JSON, errors with the status that says who must act."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tenfold.core.errors import (
    Conflict,
    DiskFailed,
    MissingExtra,
    NotFound,
    SchemaError,
    TenfoldError,
    Unavailable,
)

logger = logging.getLogger(__name__)

MAX_KEY = 200
KEY = "idempotency-key"
JSON = "application/json"
_NO_NUMBER = re.compile(rb"\b(NaN|Infinity)\b")
DRAIN = 20_000_000
"""Bytes read and dropped of a body that is too large: a client hears the answer only when it may finish sending."""


class TooLarge(TenfoldError):
    """A body is larger than the server reads."""


class WrongType(TenfoldError):
    """A body is not sent as JSON."""


_STATUS: Mapping[type[TenfoldError], tuple[int, str]] = {
    SchemaError: (422, "SchemaError"),
    NotFound: (404, "NotFound"),
    Conflict: (409, "Conflict"),
    Unavailable: (503, "Unavailable"),
    TooLarge: (413, "TooLarge"),
    WrongType: (415, "WrongType"),
    MissingExtra: (501, "MissingExtra"),
}

Endpoint = Callable[[Request], Awaitable[Response]]
Told = Callable[[int, str, str], Response]

OPEN, PREDICT, INGEST, ADMIN = "open", "predict", "ingest", "admin"
"""What a token must be for before a route answers; OPEN needs none."""


class Scoped(Route):
    """A route that says which scope it needs, so that none is forgotten.

    Examples
    --------
    >>> Scoped("/health", lambda _: Response(), methods=["GET"], needs=OPEN).needs
    'open'
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, methods: Sequence[str], needs: str
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.needs = needs


def key_of(request: Request) -> str | None:
    """Return the key that makes a request safe to repeat, None when it has none."""
    given = request.headers.getlist(KEY)
    if len(given) > 1:
        raise SchemaError(f"the request has {len(given)} headers {KEY}. Send one.")
    key = (given[0] if given else "") or None
    if key is not None and len(key) > MAX_KEY:
        raise SchemaError(f"the header {KEY} is longer than {MAX_KEY} characters. Send a shorter one.")
    return key


async def content(request: Request, limit: int) -> Any:
    """Return the JSON of a body of at most `limit` bytes."""
    kind = content_type(request)
    if kind != JSON:
        raise wrong_type(kind, JSON)
    return decoded(await body_of(request, limit))


def content_type(request: Request) -> str:
    """Return the content type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def wrong_type(kind: str, *known: str) -> WrongType:
    """Return the error that says which content types are taken."""
    told = " or ".join(f'"content-type: {name}"' for name in known)
    return WrongType(f'the content type is "{kind[:100]}". Send the header {told}.')


def decoded(body: bytes) -> Any:
    """Return the value of a body in JSON."""
    if not body:
        raise SchemaError("the body is empty. Send JSON.")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = " JSON has no NaN and no Infinity: send null." if _NO_NUMBER.search(body) else ""
        raise SchemaError(f"the body is not JSON: {error}.{hint}") from error


async def body_of(request: Request, limit: int) -> bytes:
    """Return a body; TooLarge when it is longer than `limit` bytes, WrongType when it is compressed."""
    coding = request.headers.get("content-encoding", "")
    if coding.lower() not in ("", "identity"):
        raise WrongType(
            f'the body is sent with "content-encoding: {coding[:100]}". Send it as it is, without that header.'
        )
    if _length(request.headers) > limit + DRAIN:
        raise too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > limit + DRAIN:
            break
    if size > limit:
        raise too_large(limit)
    return b"".join(parts)


def too_large(limit: int) -> TooLarge:
    """Return the error of a body that is longer than a limit."""
    return TooLarge(f"the body is larger than {limit:,} bytes. Send fewer rows at a time.")


def guarded(endpoint: Endpoint, told: Told | None = None) -> Endpoint:
    """Turn errors into answers: those raised on purpose as they are, any other as a bare 500 and a line in the log.

    Parameters
    ----------
    told
        Makes the answer of status, kind and message, where a protocol has a form of its own; `failed` unless given.
    """

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - said, or logged
            return answer_of(error, request.url.path, told)

    return answer


def answer_of(error: Exception, path: str, told: Told | None = None) -> Response:
    """Return the answer to a request that failed; `told` as `guarded` takes it."""
    told = told or failed
    if isinstance(error, TenfoldError):
        if isinstance(error, DiskFailed):
            logger.error("request failed path=%s: %s", path, error)
        found = (status for kind, status in _STATUS.items() if isinstance(error, kind))
        return told(*next(found, (400, type(error).__name__)), str(error))
    logger.error("request failed path=%s", path, exc_info=error)
    return told(500, "InternalError", "the server failed; the reason is in its log. Nothing was answered.")


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request whose body nobody reads; a small one is dropped first, because a client listens when it has sent."""
    response, headers = in_form(response, scope["path"]), Headers(scope=scope)
    if "expect" in headers:  # the client waits to be told to go on, and is not
        response.headers["connection"] = "close"
    elif _length(headers) <= DRAIN:
        size, more = 0, True
        while more and size <= DRAIN:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
    await response(scope, receive, send)


def _length(headers: Headers) -> int:
    given = headers.get("content-length", "")
    return int(given) if given.isascii() and given.isdecimal() else 0


class Failed(Response):
    """The answer that says what went wrong."""

    media_type = JSON

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(msgspec.json.encode({"error": {"kind": kind, "message": message}}), status, headers)
        self.message, self.given = message, headers


def failed(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that says what went wrong."""
    return Failed(status, kind, message, {**later(status), **(headers or {})})


def later(status: int) -> dict[str, str]:
    """Return the headers that say when to ask again, where that may help."""
    return {"retry-after": "1"} if status == 503 else {}


def in_form(response: Response, path: str) -> Response:
    """Return what went wrong before a route was asked as the protocol of its path has it: under /v2, an error is a text."""
    if isinstance(response, Failed) and f"{path}/".startswith("/v2/"):
        return as_json(response.status_code, {"error": response.message}, response.given)
    return response


def as_json(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as the answer."""
    return Response(msgspec.json.encode(content), status, headers=headers, media_type="application/json")
