"""POST /predict by the shortest way: no router, no request and no response object, and otherwise as every route is answered."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tenfold.core.errors import SchemaError
from tenfold.serving.answering import Answering
from tenfold.serving.gate import Gate, Gated
from tenfold.serving.predicting import PATH, asked_of
from tenfold.serving.web import KEY, MAX_KEY, PREDICT, guarded, refuse

PLAIN = 65_536
"""Bytes of a body that is taken here."""
_TYPE = (b"content-type", b"application/json")
_decode = msgspec.json.Decoder().decode


class Quick(Starlette):
    """An application that asks its models without a router where a request is plain; any other takes the usual way.

    Plain is what nearly all clients send: JSON of a small, known length, and a key or none.
    """

    def __init__(
        self, models: Mapping[str, Answering], *, middleware: Sequence[Middleware], **given: Any
    ) -> None:
        super().__init__(middleware=middleware, **given)
        self._route = next(route for route in self.routes if getattr(route, "path", "") == PATH)
        self._predict: ASGIApp = Predict(models)
        for kind, values, named in reversed(middleware):
            around: Any = Passing if kind is Gated else kind
            self._predict = around(self._predict, *values, **named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            key = _plain(scope["headers"])
            if key is not None:
                scope.update(app=self, route=self._route, plain=key)
                await self._predict(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


class Passing:
    """Lets through to /predict what the gate does not refuse."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._gate.refusal(scope, PREDICT)
        if refused is not None:
            await refuse(refused, scope, receive, send)
        else:
            await self._app(scope, receive, send)


class Predict:
    """Answers plain requests."""

    def __init__(self, models: Mapping[str, Answering]) -> None:
        self._models = models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            told = await self._told(body, scope["plain"] or None)
        except Exception as error:  # noqa: BLE001 - said, or logged, as it is of any other route
            response = await guarded(_raising(error))(Request(scope))
            await response(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(told)), _TYPE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    async def _told(self, body: bytes, key: str | None) -> bytes:
        if not body:
            raise SchemaError("the body is empty. Send JSON.")
        try:
            content = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SchemaError(f"the body is not JSON: {error}.") from error
        answering, question = asked_of(self._models, content, key)
        return await answering.told(question)


def _plain(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Return the key of a plain request, "" for none; None when it is not plain."""
    given = dict(headers)
    length = given.get(b"content-length", b"")
    key = given.get(KEY.encode(), b"")
    plain = (
        given.get(_TYPE[0]) == _TYPE[1]
        and length.isdigit()
        and int(length) <= PLAIN
        and b"expect" not in given
        and b"transfer-encoding" not in given
        and len(key) <= MAX_KEY
    )
    return key.decode("latin-1") if plain and len(given) == len(headers) else None


def _raising(error: Exception) -> Callable[[Request], Any]:
    async def endpoint(_: Request) -> Any:
        raise error

    return endpoint
