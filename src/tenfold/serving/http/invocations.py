"""MLflow's scoring protocol, so that its clients point at this server unchanged.

    POST /invocations             dataframe_split, dataframe_records, instances or inputs, with params; or text/csv with a header
    POST /invocations/{model}     the same where there are several models; params may name one too
    GET  /ping, /version

The answer is {"predictions": [...]}, of each row its prediction, or what `params.returns` asks for. Errors are
{"error_code", "message"}.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tenfold.core.errors import SchemaError, suggest
from tenfold.processing.frame import types_of
from tenfold.processing.tables import csv_rows
from tenfold.serving.answer.answering import Answering
from tenfold.serving.door.web import (
    JSON,
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
from tenfold.training.model import Model

CSV = "text/csv"
PARAMS = ("model", "returns")
RETURNS = ("prediction", "score", "probabilities", "answer")
"""What may be asked for of a row: a part of its answer, or all of it."""
SEND = 'ask at POST /invocations/MODEL, or send "params": {"model": ...}'
"""How a request names its model; the parameters of a CSV are in its address."""
_CODES: Mapping[int, str] = {
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
Rows = list[Any]
Read = Callable[[Any, Mapping[str, str]], Rows]
"""Gives rows of what was sent and the types of the fields by name."""


def routes(models: Mapping[str, Answering]) -> list[Scoped]:
    """Return the routes of the protocol."""

    async def invocations(request: Request) -> Response:
        read, given, params = await _asked(request)
        name = request.path_params.get("model", params.get("model"))
        answering = named(models, name, SEND)
        returns = _returns(params, answering.service.model)
        rows = read(given, types_of(answering.service.model.spine.root.fields))
        check_count(len(rows))
        answers = await answering.many(rows, key=key_of(request))
        return as_json(
            200, {"predictions": [answer if returns == "answer" else answer[returns] for answer in answers]}
        )

    async def ping(_: Request) -> Response:
        return Response("\n", media_type="text/plain")

    async def version_(_: Request) -> Response:
        return Response(version("tenfold"), media_type="text/plain")

    return [
        Scoped("/invocations", guarded(invocations, told), methods=["POST"], needs=PREDICT),
        Scoped("/invocations/{model}", guarded(invocations, told), methods=["POST"], needs=PREDICT),
        Scoped("/ping", guarded(ping, told), methods=["GET"], needs=OPEN),
        Scoped("/version", guarded(version_, told), methods=["GET"], needs=PREDICT),
    ]


def told(status: int, _: str, message: str) -> Response:
    """Return an error as MLflow's server gives it: what a client must change is a 400."""
    status = 400 if status == 422 else status
    return as_json(
        status, {"error_code": _CODES.get(status, "BAD_REQUEST"), "message": message}, later(status)
    )


async def _asked(request: Request) -> tuple[Read, Any, Mapping[str, Any]]:
    """Return what reads the rows, what to read them from, and the parameters."""
    kind = content_type(request)
    if kind not in (JSON, CSV):
        raise wrong_type(kind, JSON, CSV)
    body = await body_of(request, MAX_BODY)
    if kind == CSV:
        return csv_rows, body, request.query_params
    found = _loose(body)
    if not isinstance(found, dict):
        raise SchemaError(f"the body is not an object. Send one of {', '.join(FORMS)} in it.")
    params = found.get("params") or {}
    if not isinstance(params, dict):
        raise SchemaError('"params" is not an object. Send "params": {"model": ...}.')
    forms = [name for name in found if name in FORMS]
    for name in found:
        if name not in FORMS and name != "params":
            raise SchemaError(
                f'the body has an unknown field "{name[:100]}".{suggest(name, [*FORMS, "params"])}'
            )
    if len(forms) != 1:
        raise SchemaError(f"the body must have exactly one of {', '.join(FORMS)}; it has {len(forms)}.")
    return FORMS[forms[0]], found[forms[0]], params


def _loose(body: bytes) -> Any:
    """Return the value of a body in JSON, in which NaN may stand for null: that is what pandas sends."""
    try:
        return decoded(body)
    except SchemaError:
        if b"NaN" not in body:
            raise
        try:
            found = json.loads(body, parse_constant=_blank, parse_float=_finite)
            return decoded(
                msgspec.json.encode(found)
            )  # which refuses what else json takes, such as half a surrogate
        except (ValueError, OverflowError, RecursionError):
            pass
        raise


def _blank(text: str) -> None:
    if text != "NaN":
        raise ValueError(text)


def _finite(text: str) -> float:
    if math.isinf(found := float(text)):
        raise ValueError(text)
    return found


def _returns(params: Mapping[str, Any], model: Model) -> str:
    """Return what is asked for of a row, which the model must give: what is refused is not answered before."""
    for name in params:
        if name not in PARAMS:
            raise SchemaError(f'params has an unknown field "{str(name)[:100]}".{suggest(str(name), PARAMS)}')
    returns = params.get("returns", "prediction")
    if returns not in RETURNS:
        raise SchemaError(f'params: no returns "{str(returns)[:100]}".{suggest(str(returns), RETURNS)}')
    if returns == "probabilities" and model.kind != "multiclass":
        raise SchemaError(
            f'params: the model "{model.name}" gives no {returns}. Ask for prediction, score or answer.'
        )
    return str(returns)


def _split(given: Any, _: Mapping[str, str]) -> Rows:
    columns = given.get("columns") if isinstance(given, dict) else None
    data = given.get("data") if isinstance(given, dict) else None
    if not isinstance(columns, list) or not isinstance(data, list):
        raise SchemaError('"dataframe_split" is not {"columns": [...], "data": [[...], ...]}.')
    if not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
        raise SchemaError('"dataframe_split": columns must be names, each once.')
    return _zipped(columns, data)


def _zipped(columns: Sequence[str], data: Sequence[Any]) -> Rows:
    for place, values in enumerate(data):
        if not isinstance(values, list) or len(values) != len(columns):
            raise SchemaError(f"data[{place}] is not a list of {len(columns)} values: {', '.join(columns)}.")
    return [dict(zip(columns, values, strict=True)) for values in data]


def _listed(given: Any, fields: Mapping[str, str]) -> Rows:
    """Return rows that are objects, or lists of values in the order of the declaration."""
    if not isinstance(given, list):
        raise SchemaError("the rows are not a list. Send a list of objects.")
    return _zipped(list(fields), given) if given and isinstance(given[0], list) else given


def _inputs(given: Any, fields: Mapping[str, str]) -> Rows:
    """Return rows from columns, which are an object of lists, or from a list; an object without lists is one row."""
    if not isinstance(given, dict):
        return _listed(given, fields)
    lists = [value for value in given.values() if isinstance(value, list)]
    if not lists:
        return [given]
    if len(lists) < len(given) or len({len(values) for values in lists}) > 1:
        raise SchemaError('"inputs": every column must be a list, and all of one length.')
    return [dict(zip(given, values, strict=True)) for values in zip(*lists, strict=True)]


FORMS: Mapping[str, Read] = {
    "dataframe_split": _split,
    "dataframe_records": _listed,
    "instances": _listed,
    "inputs": _inputs,
}
"""The forms in which rows may come, and what reads each."""
