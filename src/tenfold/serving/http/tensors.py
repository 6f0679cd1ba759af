"""Tensors of the Open Inference Protocol: the columns of rows as they are sent, and answers as they are given back."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from tenfold.core.errors import SchemaError, suggest
from tenfold.sources.declare import Field
from tenfold.training.model import Model

WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
REAL = ("FP16", "FP32", "FP64")
_SIZES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "?"} | {
    name: f"<{name[0].lower()}{int(name.lstrip('UINT')) // 8}" for name in WHOLE
}
"""How the values of a tensor lie in bytes, as numpy says it."""


def datatypes(kind: str) -> Sequence[str]:
    """Return the data types in which a field may come; the first is the one it is declared with.

    Examples
    --------
    >>> datatypes("bool"), datatypes("time"), datatypes("decimal(2)")[:2]
    (('BOOL',), ('BYTES',), ('BYTES', 'INT64'))
    """
    whole = ("INT64", *WHOLE)
    known = {"int": whole, "float": ("FP64", *REAL, *WHOLE), "bool": ("BOOL",)}
    return known.get(kind, ("BYTES", *whole) if kind.startswith("decimal") else ("BYTES",))


def rows_of(tensors: Any, fields: Mapping[str, Field], raw: bytes) -> list[dict[str, Any]]:
    """Return the rows that tensors hold, one for each field.

    Parameters
    ----------
    raw
        What follows the JSON: the values of the tensors that say how many bytes of it are theirs, in their order.

    Raises
    ------
    SchemaError
        When a tensor is none, is of no field, or its shape, data type and values do not fit each other.
    """
    if not isinstance(tensors, list) or not tensors:
        raise SchemaError('"inputs" is not a list of tensors. Send one for each field, named like it.')
    columns: dict[str, list[Any]] = {}
    count = None
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, dict):
            raise SchemaError(f"inputs[{place}] is not an object.")
        name = tensor.get("name")
        if not isinstance(name, str) or name not in fields:
            raise SchemaError(f'inputs[{place}]: no field "{str(name)[:100]}".{suggest(str(name), fields)}')
        if name in columns:
            raise SchemaError(f'inputs[{place}]: "{name}" comes twice.')
        rows = _length(tensor)
        if count not in (None, rows):
            raise SchemaError(f'inputs[{place}]: "{name}" has {rows} rows, the first input has {count}.')
        count = rows
        columns[name], raw = _values(tensor, fields[name], rows, raw)
    if raw:
        raise SchemaError(
            f"{len(raw):,} bytes after the JSON belong to no tensor: say so by binary_data_size."
        )
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _length(tensor: Mapping[str, Any]) -> int:
    """Return how many rows a tensor has; its shape must be [n] or [n, 1]."""
    shape = tensor.get("shape")
    fits = (
        isinstance(shape, list)
        and len(shape) in (1, 2)
        and all(type(size) is int and size >= 0 for size in shape)
    )
    if not fits or shape[1:] not in ([], [1]):  # type: ignore[index]
        raise SchemaError(f'"{tensor["name"]}" has shape {str(shape)[:100]}. Send [rows] or [rows, 1].')
    return int(shape[0])  # type: ignore[index]


def _values(tensor: Mapping[str, Any], field: Field, rows: int, raw: bytes) -> tuple[list[Any], bytes]:
    """Return the values of a tensor, and the bytes that follow them."""
    name, kind, known = tensor["name"], tensor.get("datatype"), datatypes(field.type)
    if kind not in known:
        told = ", ".join(dict.fromkeys(known))
        raise SchemaError(f'"{name}" has datatype {str(kind)[:100]}, and its field takes {told}.')
    parameters = tensor.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(raw):
            raise SchemaError(f'"{name}": binary_data_size is not a number of the bytes after the JSON.')
        return _unpacked(name, str(kind), rows, raw[:size]), raw[size:]
    data = tensor.get("data")
    if isinstance(data, list) and all(isinstance(item, list) and len(item) == 1 for item in data):
        data = [item[0] for item in data]
    if not isinstance(data, list) or len(data) != rows:
        raise SchemaError(f'"{name}": data is not a list of {rows} values, as its shape says.')
    return data, raw


def _unpacked(name: str, kind: str, rows: int, raw: bytes) -> list[Any]:
    """Return values from bytes, little end first; texts each after their length in four bytes."""
    if kind == "BYTES":
        values, place = [], 0
        while place + 4 <= len(raw):
            (size,) = struct.unpack_from("<I", raw, place)
            values.append(raw[place + 4 : place + 4 + size])
            place += 4 + size
        fits = place == len(raw) and len(values) == rows
        try:
            found: list[Any] = [value.decode() for value in values]
        except UnicodeDecodeError as error:
            raise SchemaError(f'"{name}" holds bytes that are no UTF-8.') from error
    else:
        dtype = np.dtype(_SIZES[kind])
        fits = len(raw) == rows * dtype.itemsize
        found = np.frombuffer(raw, dtype).tolist() if fits else []
    if not fits:
        raise SchemaError(f'"{name}": {len(raw):,} bytes are not {rows} values of {kind}.')
    return found


def described(model: Model) -> dict[str, Any]:
    """Return which tensors a model takes and gives."""
    fields = model.spine.root.fields.items()
    inputs = [
        {
            "name": name,
            "datatype": datatypes(field.type)[0],
            "shape": [-1],
            "parameters": {"type": field.type, "nullable": field.nullable},
        }
        for name, field in fields
    ]
    outputs = [
        {"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in _given(model).items()
    ]
    return {"inputs": inputs, "outputs": outputs}


def _given(model: Model) -> dict[str, tuple[str, list[int]]]:
    """Return the outputs of a model: data type and shape."""
    found = {"score": ("FP64", [-1])}
    if model.kind == "multiclass":
        label = "BYTES" if model.label.type == "str" else "INT64"
        found |= {
            "prediction": (label, [-1]),
            "probabilities": ("FP64", [-1, -1]),
            "classes": ("BYTES", [-1]),
        }
    elif model.threshold is not None:
        found["decision"] = ("BOOL", [-1])
    if model.outputs:
        found["outputs"] = ("BYTES", [-1])
    return found | {"version": ("INT64", [-1]), "prediction_id": ("BYTES", [-1])}


def outputs_of(
    model: Model, answers: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return answers as tensors, those of some names in their order."""
    known = _given(model)
    found = []
    for name in names:
        kind, shape = known[name]
        data = _column(name, answers)
        size = [len(data)] if len(shape) == 1 else [len(answers), len(data) // max(len(answers), 1)]
        found.append({"name": name, "datatype": kind, "shape": size, "data": data})
    return found


def wanted_of(model: Model, asked: Any) -> Sequence[str]:
    """Return the names of the outputs that are asked for, in that order: all that the model gives, unless some are named.

    Raises
    ------
    SchemaError
        When one is asked for that there is none of.
    """
    known = _given(model)
    if not asked:
        return list(known)
    if not isinstance(asked, list) or not all(isinstance(item, dict) for item in asked):
        raise SchemaError('"outputs" is not a list of objects with a name.')
    names = [str(item.get("name")) for item in asked]
    for name in names:
        if name not in known:
            raise SchemaError(f'outputs: no output "{name[:100]}".{suggest(name, known)}')
    return list(dict.fromkeys(names))


def _column(name: str, answers: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the values of an output, row after row."""
    if name == "probabilities":
        known = _classes(answers)
        return [answer[name].get(one, 0.0) for answer in answers for one in known]
    if name == "classes":
        return _classes(answers)
    if name == "outputs":  # as JSON, since each may be missing, which few clients can tell of a tensor
        return [msgspec.json.encode(answer.get(name, {})).decode() for answer in answers]
    return [answer.get(name) for answer in answers]


def _classes(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the classes that versions know which answered, in the order of the one that knows the most."""
    widest = sorted((answer["probabilities"] for answer in answers), key=len, reverse=True)
    return list(dict.fromkeys(name for each in widest for name in each))
