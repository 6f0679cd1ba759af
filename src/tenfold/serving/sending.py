"""What a client sends: rows as JSON, also those with numbers and times of numpy and pandas."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tenfold.core import errors


def body(content: Any) -> bytes:
    """Return what is sent; also of numbers and times of numpy and pandas."""
    try:
        encoded = msgspec.json.encode(content, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.SchemaError(
            f"this cannot be sent as JSON: {error}. Send dicts of texts, numbers and times, several in a list."
        ) from error
    if b"null" in encoded and _has_infinity(content):  # as which it would go unnoticed
        raise errors.SchemaError("a number is infinite. Send a finite one, or None where it is not known.")
    return encoded


def _plain(value: Any) -> Any:
    kind = type(value)
    called = kind.__name__  # not by its type: a program without numpy or pandas does not load them
    if called in ("NaTType", "NAType") and kind.__module__.startswith("pandas."):
        return None
    if called in ("datetime64", "ndarray") and kind.__module__ == "numpy" and value.dtype.kind == "M":
        return _utc(value)
    for name in ("tolist", "isoformat"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"a value is of type {kind.__module__}.{kind.__qualname__}")


def _utc(value: Any) -> Any:
    """Return a time of numpy, which has no time zone and is UTC, as text that says so; of an array its items."""
    if value.ndim:
        return list(value)
    moment = value.astype("datetime64[us]").item()
    if isinstance(moment, int):  # what a datetime cannot hold
        raise TypeError(f"the time {value} is not in the years 1 to 9999")
    return None if moment is None else f"{moment.isoformat(timespec='microseconds')}+00:00"


def _has_infinity(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_infinity, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_infinity, value))
    if hasattr(value, "tolist"):
        return _has_infinity(value.tolist())
    return isinstance(value, float) and math.isinf(value)
