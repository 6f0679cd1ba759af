"""POST /predict: which service is asked, and for what; then the wait for its states, and the answer."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tenfold.core.errors import NotFound, SchemaError, Unavailable, suggest
from tenfold.serving.service import Service
from tenfold.serving.web import TooLarge, as_json, content, guarded, key_of
from tenfold.sources.base import Ends

MAX_BODY = 1_000_000
"""Bytes of a /predict body; events may be ten times as large."""
MAX_ASKED = 1_000
"""Rows of a /predict body: other requests wait for their answers."""
_FIELDS = ("model", "row", "rows")
POLL = 0.0005


def routes(services: Mapping[str, Service], wait: float) -> list[Route]:
    """Return the routes that predict; a request waits up to `wait` seconds for the states."""

    async def predict(request: Request) -> Response:
        service, asked = _chosen(services, await content(request, MAX_BODY))
        key, mark = key_of(request), service.mark()
        await _caught_up(service, mark, wait)
        if "rows" in asked:
            return as_json(200, service.predict_many(asked["rows"], key=key, at=mark.at))
        return as_json(200, service.predict(asked["row"], key=key, at=mark.at))

    return [Route("/predict", guarded(predict), methods=["POST"])]


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
        raise TooLarge(
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
