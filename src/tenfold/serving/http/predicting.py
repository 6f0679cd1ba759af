"""POST /predict: which model is asked, and for what."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tenfold.core.errors import NotFound, SchemaError, suggest
from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.questions import Question
from tenfold.serving.door.web import PREDICT, Scoped, TooLarge, content, guarded, key_of

PATH = "/predict"
MAX_BODY = 1_000_000
"""Bytes of a /predict body; events may be ten times as large."""
MAX_ASKED = 1_000
"""Rows of a /predict body: other requests wait for their answers."""
SEND = 'send {"model": ..., "row": {...}}, or "rows": [{...}, ...]'
"""How a request names its model."""
_FIELDS = ("model", "row", "rows")
_SHOWN = 8
"""Names of models that an error tells at most."""


def routes(models: Mapping[str, Answering]) -> list[Scoped]:
    """Return the routes that predict."""

    async def predict(request: Request) -> Response:
        answering, question = asked_of(models, await content(request, MAX_BODY), key_of(request))
        told = await answering.told(question)
        return Response(told, media_type="application/json")

    return [Scoped(PATH, guarded(predict), methods=["POST"], needs=PREDICT)]


def asked_of(models: Mapping[str, Answering], body: Any, key: str | None) -> tuple[Answering, Question]:
    """Return who is asked, and what."""
    answering, asked = chosen(models, body)
    if "rows" in asked:
        return answering, Question(asked["rows"], key)
    return answering, Question([asked["row"]], key, alone=True)


def chosen(models: Mapping[str, Answering], body: Any) -> tuple[Answering, dict[str, Any]]:
    """Return the service that is asked, and the row or the rows."""
    if not isinstance(body, dict) and len(models) > 1:
        raise SchemaError(f"the body is not an object. {_which(models, SEND)}")
    if not isinstance(body, dict):
        several = ' Several rows are sent as {"rows": [{...}, ...]}.' if isinstance(body, list) else ""
        raise SchemaError(f'the body is not an object. Send the row as {{"field": value, ...}}.{several}')
    if not body.keys() & set(_FIELDS):  # a bare row
        return named(models, None), {"row": body}
    for name in body:
        if name not in _FIELDS:
            raise SchemaError(f'the body has an unknown field "{name[:100]}".{suggest(name, _FIELDS)}')
    answering = named(models, body.get("model"))
    model = answering.service.model.name
    asked = {name: body[name] for name in ("row", "rows") if name in body}
    if len(asked) != 1:
        raise SchemaError(
            f'the body has {"both" if asked else "no"} "row"{" and " if asked else " or "}"rows". '
            'Send {"model": "' + model + '", "row": {...}}, or "rows": [{...}, ...].'
        )
    rows = asked.get("rows", [])
    if not isinstance(rows, list):
        raise SchemaError('"rows" is not a list. Send "rows": [{...}, ...], or one row as "row": {...}.')
    check_count(len(rows))
    return answering, asked


def named(models: Mapping[str, Answering], name: Any, send: str = SEND) -> Answering:
    """Return what answers for a model; without a name the only one there is, SchemaError with what to `send` when there are several."""
    if name is None and len(models) > 1:
        raise SchemaError(f"no model is named. {_which(models, send)}")
    if name is None and models:
        return next(iter(models.values()))
    if not isinstance(name, str) or name not in models:
        raise NotFound("model", "" if name is None else str(name)[:100], models)
    return models[name]


def _which(models: Mapping[str, Answering], send: str) -> str:
    names = sorted(models)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"This project has several models ({', '.join(names[:_SHOWN])}{more}): {send}."


def check_count(rows: int) -> None:
    """Refuse more rows than are answered together."""
    if rows > MAX_ASKED:
        raise TooLarge(f"the body has {rows:,} rows, more than {MAX_ASKED:,}. Send fewer rows at a time.")
