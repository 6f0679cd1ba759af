"""JSON schemas of what models take and give, made from the declaration: they say what the server takes, no more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenfold.core.decimals import DIGITS, PLACES
from tenfold.core.expr import LARGEST, Expr
from tenfold.processing.conform import FLOAT_DIGITS, ID_BYTES
from tenfold.sources.declare import Events, Field
from tenfold.training.model import Model

Schema = dict[str, Any]

_CHALLENGE = {
    "www-authenticate": {
        "description": "What is asked for, and what is wrong with the token that was sent.",
        "schema": {"type": "string"},
    }
}
AGAIN = {
    "retry-after": {
        "description": "After how many seconds to ask again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
HEADERS = {"401": _CHALLENGE, "403": _CHALLENGE, "429": AGAIN, "503": AGAIN}
"""The headers of answers that say what went wrong, by status."""


def _times(years: str, told: str) -> Schema:
    """Return the schema of an instant of some years with its zone, as RFC 3339 writes it."""
    pattern = (
        rf"^({years})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
        r"(\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    )
    return {
        "type": "string",
        "format": "date-time",
        "pattern": pattern,
        "description": f"With its zone; {told}.",
    }


_TIMED = _times("19[7-9][0-9]|2[01][0-9]{2}", "from 1970 to 2199")
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def row(source: Events) -> Schema:
    """Return the schema of a row of a source: its fields, which of them may be missing, and what must hold.

    Conditions between a number and a constant are bounds; the others stand in the description.
    """
    properties = {name: field(item, is_id=name in source.ids) for name, item in source.fields.items()}
    properties |= dict.fromkeys(source.timed, _TIMED)
    for name, bound, value in _bounds(source.valid.values()):
        if source.fields[name].type in ("int", "float"):
            properties[name][bound] = value
    told = f" What must hold: {'; '.join(source.valid)}." if source.valid else ""
    return {
        "type": "object",
        "description": f'A row of source "{source.name}".{told}',
        "properties": properties,
        "required": [name for name, item in source.fields.items() if not item.nullable],
        "additionalProperties": False,
    }


def field(item: Field, *, is_id: bool = False) -> Schema:
    """Return the schema of a field.

    Examples
    --------
    >>> field(Field("bool", nullable=True))
    {'type': ['boolean', 'null']}
    >>> field(Field("decimal(2)", nullable=False))["pattern"]
    '^[+-]?[0-9]{1,16}([.][0-9]{1,2})?$'
    """
    found = _decimal(PLACES[item.type]) if item.type in PLACES else dict(_TYPES[item.type])
    if is_id and item.type == "str":
        found |= {
            "pattern": r"^[^\u0000\u001f]*$",
            "maxLength": ID_BYTES,
            "description": f"At most {ID_BYTES:,} bytes of UTF-8.",
        }
    if item.nullable:
        kinds = found["type"]
        found["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
    return found


def _below(largest: float) -> Schema:
    return {"exclusiveMinimum": -int(largest), "exclusiveMaximum": int(largest)}


_TYPES: Mapping[str, Schema] = {
    "int": {"type": "integer"} | _below(LARGEST["int"]),
    "float": {"type": "number"} | _below(LARGEST["float"]),
    "bool": {"type": "boolean"},
    "str": {"type": "string", "pattern": r"^[^\u0000]*$"},
    "time": _times("[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9]", "of the years 1 to 9999"),
}


def _decimal(places: int) -> Schema:
    """Return the schema of a decimal: exact as text; whole numbers are exact as well, while they have no more digits than a float."""
    whole = DIGITS - places
    most = 10 ** min(whole, FLOAT_DIGITS)
    behind = f"([.][0-9]{{1,{places}}})?" if places else ""
    return {
        "type": ["string", "integer"],
        "pattern": f"^[+-]?{f'[0-9]{{1,{whole}}}' if whole else '0'}{behind}$",
        "exclusiveMinimum": -most,
        "exclusiveMaximum": most,
        "description": f"A decimal of {DIGITS} digits, {places} of them behind the point. A number of at most {FLOAT_DIGITS} "
        "digits is taken too.",
    }


def _bounds(conditions: Sequence[Expr] | Any) -> Iterator[tuple[str, str, Any]]:
    """Yield field, bound and value of the conditions that compare a field with a constant."""
    for condition in conditions:
        if condition.fn not in _BOUNDS or [arg.fn for arg in condition.args] != ["col", "lit"]:
            continue
        left, right = condition.args
        if type(right.args[0]) in (int, float):
            yield left.args[0], _BOUNDS[condition.fn], right.args[0]


def answer(model: Model) -> Schema:
    """Return the schema of what a row of a model is answered."""
    kinds: Schema = {
        "prediction_id": {"type": "string"},
        "model": {"const": model.name},
        "version": {"type": "integer"},
        **said(model),
        "as_of": {"type": "string", "format": "date-time"},
        "ages_s": {
            "type": "object",
            "description": "Per stored view how many seconds old its newest record is, null where a key is not known.",
            "properties": {view.name: {"type": ["number", "null"]} for view in model.stored},
        },
    }
    need = list(kinds)
    if model.outputs:
        told = ", ".join(f"{name} ({kind})" for name, kind in model.rules.types.items())
        kinds |= {
            "outputs": {"type": "object", "description": f"What the rules make of it: {told}."},
            "outputs_by": {"type": "string"},
        }
    kinds |= {
        "degraded": {"type": "string", "description": "How it was answered when there was no exact answer."},
        "behind": {"type": "object"},
        "answered_by": {"type": "string"},
    }
    return {"type": "object", "properties": kinds, "required": need}


def explanation(model: Model) -> Schema:
    """Return the schema of an answer that says why."""
    found = answer(model)
    number = {"type": "number"}
    feature = {
        "type": "object",
        "properties": {
            "feature": {"type": "string", "examples": list(model.columns)},
            "value": {},
            "contribution": number,
            "error": {**number, "description": "Its standard error, where it is approximate."},
            "age_s": {"type": ["number", "null"]},
        },
        "required": ["feature", "value", "contribution"],
    }
    more: Schema = {
        "raw_score": {
            **number,
            "description": "Before the link and the calibration; the score itself where it is approximate.",
        },
        "base": number,
        "approximate": {"type": "boolean"},
        "contributions": {
            "type": "array",
            "items": feature,
            "description": "With the base they add up to the raw score; the largest first.",
        },
    }
    kinds = {name: item for name, item in found["properties"].items() if name != "prediction_id"} | more
    need = [name for name in found["required"] if name != "prediction_id"]
    return {"type": "object", "properties": kinds, "required": [*need, *more]}


def said(model: Model) -> Schema:
    """Return the schemas of what a version says of a row, by the kind of the model."""
    number: Schema = {"type": ["number", "null"], "description": "null where the version gives no number."}
    if model.kind == "multiclass":
        return {
            "prediction": {"type": ["string", "integer", "null"], "description": "The likeliest class."},
            "score": {**number, "description": "Its probability."},
            "probabilities": {"type": "object", "additionalProperties": number},
        }
    if model.threshold is None:
        return {"prediction": number, "score": number}
    return {
        "prediction": {"type": ["boolean", "null"]},
        "score": number,
        "decision": {"type": ["boolean", "null"], "description": "Whether the score reaches the threshold."},
        "threshold": {"type": "number"},
    }
