"""GET /health and GET /ready: who has no token where one is needed learns the status, and neither names nor reasons."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.serving.answer.service import Service
from tenfold.serving.door.gate import Gate
from tenfold.serving.door.ready import Ready
from tenfold.serving.door.web import OPEN, Scoped, as_json, guarded

WHY = "the server should be sent no requests now. Ask with a token to be told why."


def routes(services: Mapping[str, Service], ready: Ready, gate: Gate | None) -> list[Scoped]:
    """Return the routes that tell how the server is."""

    def is_known(request: Request) -> bool:
        with suppress(TenfoldError):  # where tokens cannot be read, nobody is known
            return gate is None or gate.knows(request.scope)
        return False

    async def health(request: Request) -> Response:
        told: dict[str, Any] = {"status": "ok"}
        with suppress(TenfoldError):  # the process lives, whatever its database does
            if is_known(request):
                told["models"] = {name: service.version() for name, service in services.items()}
        return as_json(200, told)

    async def is_ready(request: Request) -> Response:
        if reason := await ready.reason():
            raise Unavailable(reason if is_known(request) else WHY)
        return as_json(200, {"status": "ready"})

    return [
        Scoped("/health", guarded(health), methods=["GET"], needs=OPEN),
        Scoped("/ready", guarded(is_ready), methods=["GET"], needs=OPEN),
    ]
