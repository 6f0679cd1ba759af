"""GET /openapi.json: every route of this server, made from the declaration."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tenfold.serving.door.web import JSON, KEY, MAX_KEY, OPEN, PREDICT, Scoped, guarded
from tenfold.serving.http import schemas
from tenfold.serving.http.invocations import CSV, FORMS, RETURNS
from tenfold.serving.http.predicting import MAX_ASKED
from tenfold.serving.http.schemas import Schema
from tenfold.serving.http.tensors import datatypes
from tenfold.sources.declare import Events, Field
from tenfold.training.model import Model

PATH = "/openapi.json"
_KEYED = {
    "name": KEY,
    "in": "header",
    "description": "The same key again gives the answer that was given first, so that a request may be repeated.",
    "schema": {"type": "string", "maxLength": MAX_KEY},
}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
_WHY = {
    "404": "No such model, source or version in Production.",
    "409": "The key was used for another row; the first answer counts.",
    "413": "The body is too large.",
    "415": "The content type is not one that is taken, or the body is compressed.",
    "422": "The body does not fit; says which field and why.",
    "503": "No exact answer can be given in time; nothing was stored, repeat it later.",
}
_BEFORE = {
    "408": "The request did not come in within the time.",
    "431": "The head of the request is too long.",
}
"""What a connection says before a path is known."""
_DOOR = {
    "401": "No token, or one that does not count.",
    "403": "A token for something else.",
    "429": "More often than the rate allows.",
}
"""What is said before a route that needs a token is asked."""
_FORMS = {"error": "422", "mlflow_error": "400", "inference_error": "400"}
"""Per form of errors the status of what a client must change."""


def routes(
    models: Mapping[str, Model], sources: Mapping[str, Events], others: Callable[[], Sequence[Any]]
) -> list[Scoped]:
    """Return the route of the document, which is made when it is first asked for.

    Parameters
    ----------
    others
        Gives all routes of the application.
    """
    made: list[bytes] = []

    async def openapi(_: Request) -> Response:
        if not made:
            made.append(msgspec.json.encode(document(models, sources, others())))
        return Response(made[0], media_type=JSON)

    return [Scoped(PATH, guarded(openapi), methods=["GET"], needs=PREDICT)]


def document(models: Mapping[str, Model], sources: Mapping[str, Events], served: Sequence[Any]) -> Schema:
    """Return what the routes of an application take and give, as OpenAPI 3.1."""
    paths: dict[str, dict[str, Schema]] = {}
    for method, path, operation in _operations(models, sources):
        route = _route(served, method, path)
        if route is not None:
            found = paths.setdefault(path, {})
            found[method] = _guarded(operation, path, route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"tenfold: {', '.join(models)}",
            "version": version("tenfold"),
            "description": "Rows in, predictions out, events in. Errors say what is wrong, where, and what to do.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(_components(models, sources)),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Asked for once the server has tokens.",
                }
            },
        },
    }


def _route(served: Sequence[Any], method: str, path: str) -> Any:
    """Return the route that takes a method and a path, None when it is not served."""
    return next(
        (route for route in served if method.upper() in route.methods and route.path_regex.match(path)), None
    )


def _guarded(operation: Schema, path: str, route: Any) -> Schema:
    """Return an operation with the scope that it needs, and what the door says where it is not met."""
    needs = getattr(route, "needs", OPEN)
    if needs == OPEN:
        return operation
    form = "inference_error" if f"{path}/".startswith("/v2/") else "error"
    responses = {**operation["responses"], **_errors(_DOOR, form)}
    return {**operation, "responses": responses, "security": [{"token": []}, {}], "x-scope": str(needs)}


def _components(models: Mapping[str, Model], sources: Mapping[str, Events]) -> Iterator[tuple[str, Schema]]:
    """Yield schemas by name: the rows of sources, the answers of models, and errors in each form."""
    for name, source in sources.items():
        yield f"{name}.row", schemas.row(source)
    for name, model in models.items():
        yield f"{name}.answer", schemas.answer(model)
    text = {"type": "string"}
    yield "error", _object({"error": _object({"kind": text, "message": text})})
    yield "mlflow_error", _object({"error_code": text, "message": text})
    yield "inference_error", _object({"error": text})
    yield "stored", _object({"stored": {"type": "integer"}, "rejected": {"type": "integer"}, "message": text})
    yield "ready", _object({"ready": {"type": "boolean"}})


Operations = Iterator[tuple[str, str, Schema]]


def _operations(models: Mapping[str, Model], sources: Mapping[str, Events]) -> Operations:
    """Yield method, path and what is said of them, of every route that may be served."""
    yield (
        "post",
        "/predict",
        _post("Predict a row, or rows as of one moment", _asked(models), _answers(models)),
    )
    yield (
        "post",
        "/explain",
        _post("Why a row gets its answer", _asked(models, many=False), _explained(models)),
    )
    for name in sources:
        yield (
            "post",
            f"/events/{name}",
            _post(
                f'Append events to source "{name}"; rows that do not fit are set aside',
                _events(name),
                _ref("stored"),
            ),
        )
    yield from _mlflow(models)
    yield from _inference(models)
    yield "get", "/health", _get("Whether the server lives", {"type": "object"})
    yield "get", "/ready", _get("Whether the server can answer", {"type": "object"})
    yield "get", "/metrics", _get("What Prometheus collects", {"type": "string"}, media="text/plain")
    yield "get", PATH, _get("This document", {"type": "object"})


def _mlflow(models: Mapping[str, Model]) -> Operations:
    form = "mlflow_error"
    if len(models) == 1:
        yield (
            "post",
            "/invocations",
            _post("Predict rows, as MLflow's server does", *_invoked(*models.values()), form=form),
        )
    else:
        several = {"anyOf": [_invoked(model)[0] for model in models.values()]}
        yield (
            "post",
            "/invocations",
            _post(
                "Predict rows, as MLflow's server does",
                several,
                _object({"predictions": {"type": "array"}}),
                form=form,
            ),
        )
    for name, model in models.items():
        yield (
            "post",
            f"/invocations/{name}",
            _post("Predict rows, as MLflow's server does", *_invoked(model), form=form),
        )
    yield "get", "/ping", _get("Whether the server lives", {"type": "string"}, media="text/plain", form=form)
    yield "get", "/version", _get("The version of tenfold", {"type": "string"}, media="text/plain", form=form)


def _inference(models: Mapping[str, Model]) -> Operations:
    ready = _get("Whether it can be asked", _ref("ready"), form="inference_error")
    ready["responses"]["400"] = _told("It cannot be asked yet.", _ref("ready"))
    yield "get", "/v2", _get("The server", {"type": "object"}, form="inference_error")
    yield (
        "get",
        "/v2/health/live",
        _get("Whether the server lives", _object({"live": {"const": True}}), form="inference_error"),
    )
    yield "get", "/v2/health/ready", ready
    for name, model in models.items():
        asked, told = _tensors(model)
        for path, more in (
            (f"/v2/models/{name}", ()),
            (f"/v2/models/{name}/versions/{{version}}", (_VERSION,)),
        ):
            yield (
                "get",
                path,
                _get("The model and its tensors", {"type": "object"}, *more, form="inference_error"),
            )
            yield "get", f"{path}/ready", ready | {"parameters": list(more)}
            yield (
                "post",
                f"{path}/infer",
                _post("Predict rows that come as tensors", asked, told, *more, form="inference_error"),
            )


def _asked(models: Mapping[str, Model], *, many: bool = True) -> Schema:
    """Return what POST /predict takes: a model with a row or with rows, or the row itself when there is one model."""
    found = []
    for name, model in models.items():
        one = _ref(f"{model.spine.root.name}.row")
        wanted = {"model": {"const": name}}
        need = ["model"] if len(models) > 1 else []
        found.append(_object({**wanted, "row": one}, required=[*need, "row"], only=True))
        if many:
            found.append(_object({**wanted, "rows": _list(one)}, required=[*need, "rows"], only=True))
        if len(models) == 1:
            found.append(one)
    return {"anyOf": found}


def _explained(models: Mapping[str, Model]) -> Schema:
    return {"anyOf": [schemas.explanation(model) for model in models.values()]}


def _answers(models: Mapping[str, Model]) -> Schema:
    each = [_ref(f"{name}.answer") for name in models]
    return {"anyOf": [*each, *({"type": "array", "items": one} for one in each)]}


def _events(source: str) -> Schema:
    one = _ref(f"{source}.row")
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _invoked(model: Model) -> tuple[Schema, Schema]:
    """Return what /invocations takes and gives for a model."""
    one = _ref(f"{model.spine.root.name}.row")
    fields = schemas.row(model.spine.root)["properties"]
    params = _object(
        {"model": {"const": model.name}, "returns": {"enum": list(RETURNS)}}, required=[], only=True
    )
    table = _object(
        {
            "columns": {"type": "array", "items": {"enum": list(fields)}, "uniqueItems": True},
            "data": {"type": "array", "items": {"type": "array"}},
        }
    )
    named = {name: {"type": "array", "items": schema} for name, schema in fields.items()}
    columns = _object(named, required=list(named), only=True) | {"description": "Columns, all of one length."}
    given = {name: _list(one) for name in FORMS} | {"dataframe_split": table}
    given["inputs"] = {"anyOf": [one, _list(one), columns]}
    bodies = [
        _object({form: schema, "params": params}, required=[form], only=True)
        for form, schema in given.items()
    ]
    return {"anyOf": bodies}, _object({"predictions": {"type": "array"}})


def _tensors(model: Model) -> tuple[Schema, Schema]:
    """Return what /infer takes and gives for a model."""
    inputs = [_tensor(name, item) for name, item in model.spine.root.fields.items()]
    text = {"type": "string", "maxLength": MAX_KEY}
    asked = _object(
        {
            "id": text | {"description": "Comes back, and makes the request safe to repeat."},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "minItems": 1, "items": {"anyOf": inputs}},
            "outputs": {"type": "array", "items": _object({"name": {"type": "string"}})},
        },
        required=["inputs"],
        only=True,
    )
    tensor = _object(
        {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array"},
        }
    )
    told = _object(
        {
            "model_name": {"const": model.name},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": _object({"degraded": {"type": "string"}}),
            "outputs": {"type": "array", "items": tensor},
        },
        required=["model_name", "model_version", "outputs"],
    )
    return asked, told


def _tensor(name: str, item: Field) -> Schema:
    size = {"type": "integer", "minimum": 0, "maximum": MAX_ASKED}
    return _object(
        {
            "name": {"const": name},
            "datatype": {"enum": list(dict.fromkeys(datatypes(item.type)))},
            "shape": {
                "type": "array",
                "items": size,
                "minItems": 1,
                "maxItems": 2,
                "description": "[rows] or [rows, 1]",
            },
            "data": {"type": "array", "items": schemas.field(item)},
            "parameters": {"type": "object"},
        },
        required=["name", "datatype", "shape", "data"],
    )


def _post(summary: str, body: Schema, answer: Schema, *more: Schema, form: str = "error") -> Schema:
    content = {JSON: {"schema": body}}
    if form == "mlflow_error":
        content[CSV] = {
            "schema": {"type": "string", "description": "Rows after a line with the names of the fields."}
        }
    return {
        "summary": summary,
        "parameters": [_KEYED, *more],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": _told("The answer.", answer), **_errors(_WHY, form), **_other(form)},
    }


def _get(summary: str, answer: Schema, *more: Schema, media: str = JSON, form: str = "error") -> Schema:
    return {
        "summary": summary,
        "parameters": list(more),
        "responses": {"200": _told("The answer.", answer, media), **_other(form)},
    }


def _other(form: str) -> Schema:
    """Return what else may go wrong: under /v2 the door keeps to the form, and the connection, which knows no path, does not."""
    other = _told("Any other error.", _any(form)) | {"headers": schemas.AGAIN}
    return {"default": other, **(_errors(_BEFORE, "error") if form == "inference_error" else {})}


def _any(form: str) -> Schema:
    """Return the schema of an error that a route or the door says, which has no form of MLflow's."""
    forms = [form, "error"] if form == "mlflow_error" else [form]
    return {"anyOf": [_ref(name) for name in forms]}


def _errors(whys: Mapping[str, str], form: str) -> Schema:
    """Return what is said of errors by status, with the headers that they have."""
    found = {}
    for status, why in whys.items():
        told = _told(why, _any(form) if status == "503" else _ref(form))  # which the door says too
        if status in schemas.HEADERS:
            told["headers"] = schemas.HEADERS[status]
        found[_FORMS[form] if status == "422" else status] = told
    return found


def _told(why: str, schema: Schema, media: str = JSON) -> Schema:
    return {"description": why, "content": {media: {"schema": schema}}}


def _object(properties: Schema, *, required: Sequence[str] | None = None, only: bool = False) -> Schema:
    found = {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }
    return {**found, "additionalProperties": False} if only else found


def _list(one: Schema) -> Schema:
    return {"type": "array", "items": one, "maxItems": MAX_ASKED}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
