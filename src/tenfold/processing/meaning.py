"""What functions mean for one row: plain Python over values that are not null; None is null.

Mathematics is the C library's, through `math`: numpy's own loops give other bits for some values. Both forms of
evaluation, for arrays and for a single row, call these functions, so they cannot differ.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tenfold.core.texts import WHITESPACE

LARGEST = 2**53
"""Integers from here on are not all exact as floats; a result that reaches it is null."""

WHOLE = 2.0**52
"""Floats from here on are whole numbers."""


def _guarded(function: Callable[..., float]) -> Callable[..., float | None]:
    def guarded(*values: float) -> float | None:
        try:
            result = function(*values)
        except (ValueError, OverflowError):  # outside of the domain, or too large
            return None
        return result if math.isfinite(result) else None

    return guarded


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) by the form that cannot overflow."""
    if x < 0:
        power = math.exp(x)
        return power / (1.0 + power)
    return 1.0 / (1.0 + math.exp(-x))


def degrees(x: float) -> float:
    """Return radians as degrees."""
    return x * (180.0 / math.pi)


def radians(x: float) -> float:
    """Return degrees as radians."""
    return x * (math.pi / 180.0)


MATHS: Mapping[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "expm1": math.expm1,
    "ln": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "log1p": math.log1p,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "atan2": math.atan2,
    "tanh": math.tanh,
    "pow": math.pow,
    "sigmoid": sigmoid,
    "degrees": degrees,
    "radians": radians,
}
"""Functions of floats; ValueError or OverflowError stands for null."""


def rounded(x: float, digits: int) -> float:
    """Return a float rounded to decimals, ties to even; floats that are whole at that scale stay."""
    scale = 10.0**digits
    scaled = x * scale
    return x if abs(scaled) >= WHOLE else round(scaled) / scale


def floor(x: float) -> float:
    """Return the whole number below; +0.0 for zero."""
    return x if abs(x) >= WHOLE else float(math.floor(x))


def ceil(x: float) -> float:
    """Return the whole number above; +0.0 for zero."""
    return x if abs(x) >= WHOLE else float(math.ceil(x))


def trunc(x: float) -> float:
    """Return the whole number towards zero; +0.0 for zero."""
    return x if abs(x) >= WHOLE else float(int(x))


def sign(x: float) -> int:
    """Return -1, 0 or 1."""
    return (x > 0) - (x < 0)


# Text -----------------------------------------------------------------------------------------------

_CAPITALS = {"ß": "ẞ"}
"""Where Unicode's simple mapping and its title case say nothing."""


def lower(text: str) -> str:
    """Return small letters, one for one."""
    return text.lower() if text.isascii() else "".join(map(_small, text))


def _small(character: str) -> str:
    return character.lower()[0]  # U+0130, the only one that becomes two, is a plain i and a dot


def upper(text: str) -> str:
    """Return capitals, one for one."""
    return text.upper() if text.isascii() else "".join(map(_capital, text))


def _capital(character: str) -> str:
    found = character.upper()
    if len(found) > 1:
        found = _CAPITALS.get(character, character.title())
    return found if len(found) == 1 else character


def contains(text: str, other: str) -> bool:
    """Return whether a text occurs in another."""
    return other in text


def strip(text: str) -> str:
    """Return the text without ASCII white space at the ends."""
    return text.strip(WHITESPACE)


def cut(text: str, offset: int, length: int | None = None) -> str:
    """Return `length` code points from an offset on, which counts from the end when negative."""
    start = max(len(text) + offset, 0) if offset < 0 else offset
    return text[start:] if length is None else text[start : start + length]


def split_part(text: str, separator: str, part: int) -> str:
    """Return one piece, counted from 1; "" when there is none."""
    pieces = text.split(separator)
    return pieces[part - 1] if part <= len(pieces) else ""


def concat(*texts: str) -> str:
    """Return the texts one after the other."""
    return "".join(texts)


def hash_bucket(value: object, buckets: int) -> int:
    """Return a bucket from the first 52 bits of the SHA-256 of the text."""
    return int(hashlib.sha256(to_str(value).encode()).hexdigest()[:13], 16) % buckets


# Types ----------------------------------------------------------------------------------------------

_INT = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?", re.ASCII)


def to_int(value: float | str) -> int | None:
    """Return the whole number towards zero, or the one a text of digits stands for."""
    if isinstance(value, str):
        value = strip(value)
        if not _INT.fullmatch(value):
            return None
    elif not abs(value) < LARGEST:
        return None
    number = int(value)
    return number if -LARGEST < number < LARGEST else None


def to_float(value: float | str) -> float | None:
    """Return a float, of text the one nearest to what its digits say."""
    if isinstance(value, str):
        value = strip(value)
        if not _FLOAT.fullmatch(value):
            return None
    number = float(value)
    return number if math.isfinite(number) else None


def to_bool(value: float) -> bool:
    """Return whether it is not zero."""
    return value != 0


def to_str(value: object) -> str:
    """Return a text, a whole number in digits, or "true" and "false"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


ROW: Mapping[str, Callable[..., Any]] = {
    **{name: _guarded(function) for name, function in MATHS.items()},
    "sign": sign,
    "lower": lower,
    "upper": upper,
    "length": len,
    "contains": contains,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "strip": strip,
    "replace": str.replace,
    "slice": cut,
    "split_part": split_part,
    "concat": concat,
    "hash_bucket": hash_bucket,
    "to_int": to_int,
    "to_float": to_float,
    "to_bool": to_bool,
    "to_str": to_str,
}
"""Functions for which null in means null out, one row at a time."""
