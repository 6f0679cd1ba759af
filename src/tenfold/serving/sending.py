"""What a client sends: requests with an id, and rows as JSON, also with numbers and times of numpy and pandas."""

import math
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import msgspec

from tenfold.core import errors
from tenfold.core.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Call:
    """One request, each time with the same id, so that a repetition is answered and not done again."""

    method: str
    path: str
    content: Any = None
    id: str = ""

    def given(self) -> dict[str, Any]:
        """Return what httpx is given."""
        if self.content is None:
            return {"method": self.method, "url": self.path}
        headers = {"content-type": "application/json", "idempotency-key": _key(self.id) or _new()}
        return {"method": self.method, "url": self.path, "content": body(self.content), "headers": headers}


def _new() -> str:
    """Return an id that nobody has. It begins with its time: a log keeps ids that come in their order with less work.

    Examples
    --------
    >>> first = _new()
    >>> len(first), first[:16] <= _new()[:16]
    (32, True)
    """
    return f"{SystemClock().now():016x}{token_hex(8)}"


def _key(given: object) -> str:
    """Return an id as a header can carry it."""
    if not isinstance(given, str) or not given.isascii() or not (given.isprintable() or not given):
        raise errors.SchemaError(
            f"id={given!r} is not a text of printable ASCII characters. Give such a one."
        )
    if given != given.strip():  # which a header does not keep
        raise errors.SchemaError(f"id={given!r} has a blank at an end. Give one without.")
    return given


def body(content: Any) -> bytes:
    """Return what is sent; also of numbers and times of numpy and pandas."""
    try:
        encoded = msgspec.json.encode(content, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.SchemaError(
            f"this cannot be sent as JSON: {error}. Send dicts of texts, numbers and times, several in a list."
        ) from error
    if b"null" in encoded and _has_infinity(
        msgspec.to_builtins(content, enc_hook=_plain)
    ):  # it would go unnoticed
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
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_infinity, value))
    return isinstance(value, float) and math.isinf(value)
