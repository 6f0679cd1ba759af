"""The Open Inference Protocol, version 2, over REST: models are asked with tensors that are named like the fields of a row.

    GET  /v2, /v2/health/live, /v2/health/ready
    GET  /v2/models/{model}, /v2/models/{model}/ready, and both under /versions/{version}
    POST /v2/models/{model}/infer, /v2/models/{model}/versions/{version}/infer

A version is answered when it is the one in Production: what others would say is what rollouts are for. The `id` of a
request makes it safe to repeat and comes back. Errors are {"error": ...}.
"""

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tenfold.core.errors import NotFound, SchemaError, suggest
from tenfold.serving.answer.answering import Answering
from tenfold.serving.door.web import (
    JSON,
    MAX_KEY,
    OPEN,
    PREDICT,
    Scoped,
    as_json,
    body_of,
    content_type,
    decoded,
    guarded,
    key_of,
    later,
    wrong_type,
)
from tenfold.serving.http.predicting import MAX_BODY, check_count, named
from tenfold.serving.http.tensors import described, outputs_of, rows_of, wanted_of

HEADER = "inference-header-content-length"
"""How many bytes of a body are JSON, when values follow it as bytes; no web page can send it without being asked first."""
_FIELDS = ("id", "parameters", "inputs", "outputs")


def routes(models: Mapping[str, Answering], why_not: Callable[[str | None], Awaitable[str]]) -> list[Scoped]:
    """Return the routes of the protocol.

    Parameters
    ----------
    why_not
        Gives the reason why no requests should be sent here, or why those for a model get no answer; "" when there is none.
    """

    async def server(_: Request) -> Response:
        return as_json(
            200,
            {"name": "tenfold", "version": version("tenfold"), "extensions": ["binary_tensor_data"]},
        )

    async def live(_: Request) -> Response:
        return as_json(200, {"live": True})

    async def ready(_: Request) -> Response:
        return _ready(not await why_not(None))

    async def model(request: Request) -> Response:
        answering = _chosen(models, request)
        number = _number(answering)
        names = {"name": answering.service.model.name, "versions": [] if number is None else [str(number)]}
        return as_json(200, {**names, "platform": "tenfold", **described(answering.service.model)})

    async def model_ready(request: Request) -> Response:
        answering = named(models, request.path_params["model"])
        wanted, number = request.path_params.get("version"), _number(answering)
        name = answering.service.model.name
        fits = number is not None and wanted in (None, str(number))
        return _ready(fits and not await why_not(name), name=name)

    async def infer(request: Request) -> Response:
        answering = _chosen(models, request)
        body, raw = await _asked(request)
        key = _id(body) or key_of(request)
        rows = rows_of(body.get("inputs"), answering.service.model.spine.root.fields, raw)
        check_count(len(rows))
        names = wanted_of(answering.service.model, body.get("outputs"))  # before anything is stored
        answers = await answering.many(rows, key=key) if rows else []
        number = answers[0]["version"] if answers else _number(answering)
        found: dict[str, Any] = {
            "model_name": answering.service.model.name,
            "model_version": str(number),
            "outputs": outputs_of(answering.service.model, answers, names),
        }
        if degraded := sorted({answer["degraded"] for answer in answers if "degraded" in answer}):
            found["parameters"] = {"degraded": ", ".join(degraded)}
        return as_json(200, found if body.get("id") is None else {"id": body["id"], **found})

    each = "/v2/models/{model}"
    one = each + "/versions/{version}"
    probes = {"/v2/health/live": live, "/v2/health/ready": ready}
    looks = {
        "/v2": server,
        each: model,
        one: model,
        f"{each}/ready": model_ready,
        f"{one}/ready": model_ready,
    }
    return [
        *(Scoped(path, guarded(act, told), methods=["GET"], needs=OPEN) for path, act in probes.items()),
        *(Scoped(path, guarded(act, told), methods=["GET"], needs=PREDICT) for path, act in looks.items()),
        *(
            Scoped(f"{path}/infer", guarded(infer, told), methods=["POST"], needs=PREDICT)
            for path in (each, one)
        ),
    ]


def told(status: int, _: str, message: str) -> Response:
    """Return an error as the protocol has it: what a client must change is a 400."""
    return as_json(400 if status == 422 else status, {"error": message}, later(status))


def _ready(holds: bool, **more: Any) -> Response:
    return as_json(200 if holds else 400, {**more, "ready": holds})


def _number(answering: Answering) -> int | None:
    return answering.service.version()


def _chosen(models: Mapping[str, Answering], request: Request) -> Answering:
    """Return what answers for the model in the path; a version there must be the one in Production."""
    answering = named(models, request.path_params["model"])
    wanted = request.path_params.get("version")
    number = _number(answering)
    if wanted is not None and wanted != str(number):
        known = [] if number is None else [str(number)]
        hint = "" if known else " None is in Production; promote one first."
        where = f'Production of model "{answering.service.model.name}"'
        raise NotFound("version", wanted[:100], known, within=where, hint=hint)
    return answering


async def _asked(request: Request) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of a request, and the bytes that follow it."""
    kind, length = content_type(request), request.headers.get(HEADER)
    # Triton's client names no type with JSON alone; a page could send none either, but not without its origin
    silent = not {"content-type", "origin"} & set(request.headers)
    if kind != JSON and length is None and not silent:
        raise wrong_type(kind, JSON)
    body = await body_of(request, MAX_BODY)
    if length is not None and not (length.isascii() and length.isdigit() and int(length) <= len(body)):
        raise SchemaError(f"the header {HEADER} is not a number of bytes of the body.")
    size = len(body) if length is None else int(length)
    found = decoded(body[:size])
    if not isinstance(found, dict):
        raise SchemaError('the body is not an object. Send {"inputs": [...]}.')
    for name in found:
        if name not in _FIELDS:
            raise SchemaError(f'the body has an unknown field "{name[:100]}".{suggest(name, _FIELDS)}')
    return found, body[size:]


def _id(body: Mapping[str, Any]) -> str | None:
    found = body.get("id")
    if found is not None and (not isinstance(found, str) or len(found) > MAX_KEY):
        raise SchemaError(f'"id" is not a text of at most {MAX_KEY} characters.')
    return found or None
