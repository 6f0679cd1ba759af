"""The meaning of an expression: one vectorised form for any number of rows, a request's single row included.

numpy gives the same bits for an array of one value and of a million for every function in the list, so batch, stream
and request agree by construction.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tenfold.core.expr import AS_OF, Expr
from tenfold.core.infer import literal, result_type
from tenfold.core.times import UNITS, to_datetime
from tenfold.processing.frame import DTYPES, Column, Frame, constant

_NULL = np.array(None, dtype=object)

LARGEST = 2.0**53
"""Integers from here on are not all exact as floats; a result that reaches it is null."""


def evaluate(expr: Expr, frame: Frame, rows: int) -> Column:
    """Return the values of an expression for every row of a frame.

    Parameters
    ----------
    frame
        Columns of `rows` rows; `age` also reads the column named by AS_OF.
    """
    if expr.fn == "col":
        return frame[expr.args[0]]
    if expr.fn == "lit":
        value = expr.args[0]
        return constant(literal(value), value, rows)
    if expr.fn in _CALENDAR:
        return _calendar(expr.fn, evaluate(expr.args[0], frame, rows), expr.args[1].args[0])
    if expr.fn == "age":
        return _age(frame[AS_OF], evaluate(expr.args[0], frame, rows), expr.args[1].args[0])
    inputs = [evaluate(arg, frame, rows) for arg in expr.args]
    if expr.fn in _SPECIAL:
        return _SPECIAL[expr.fn](*inputs)
    return _strict(expr.fn, inputs)


def _strict(fn: str, inputs: list[Column]) -> Column:
    valid = inputs[0].valid if len(inputs) == 1 else inputs[0].valid & inputs[1].valid
    result = result_type(fn, [item.type for item in inputs])
    if fn in _ARITHMETIC:
        values, fits = _compute(_ARITHMETIC[fn], [item.values for item in inputs], result)
        valid = valid & fits
    else:
        values = _LOGIC[fn](*(item.values for item in inputs)).astype(np.bool_)
    values[~valid] = 0
    return Column(result, values, valid)


def _compute(
    function: Callable[..., Any], arrays: list[np.ndarray], result: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of an arithmetic function and which of them can be represented."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        values = function(*(array.astype(np.float64) for array in arrays))
    if result == "float":
        return values, np.isfinite(values)
    # Floats are exact below the limit and round to at least the limit above it, so they say which integers fit.
    return function(*(array.astype(np.int64) for array in arrays)), np.abs(values) < LARGEST


def _and(left: Column, right: Column) -> Column:
    values = left.values & right.values & left.valid & right.valid
    known_false = (left.valid & ~left.values) | (right.valid & ~right.values)
    return Column("bool", values, (left.valid & right.valid) | known_false)


def _or(left: Column, right: Column) -> Column:
    values = (left.values & left.valid) | (right.values & right.valid)
    return Column("bool", values, (left.valid & right.valid) | values)


def _is_null(item: Column) -> Column:
    return Column("bool", ~item.valid, np.ones(len(item), dtype=np.bool_))


def _fill_null(item: Column, other: Column) -> Column:
    result = result_type("fill_null", [item.type, other.type])
    values = np.where(item.valid, item.values, other.values).astype(DTYPES[result])
    return Column(result, values, item.valid | other.valid)


def _age(as_of: Column, moment: Column, unit: int) -> Column:
    valid = as_of.valid & moment.valid
    values = (as_of.values - moment.values).astype(np.float64) / unit
    return Column("float", np.where(valid, values, 0.0), valid)


def _compare(op: Callable[..., Any]) -> Callable[..., Any]:
    def compare(left: np.ndarray, right: np.ndarray) -> Any:
        if left.dtype != object:
            return op(left, right)
        blank = np.equal(left, _NULL) | np.equal(right, _NULL)
        return op(np.where(blank, "", left), np.where(blank, "", right))

    return compare


_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.absolute,
}
_LOGIC: Mapping[str, Callable[..., Any]] = {
    "not": np.logical_not,
    "eq": _compare(np.equal),
    "ne": _compare(np.not_equal),
    "lt": _compare(np.less),
    "le": _compare(np.less_equal),
    "gt": _compare(np.greater),
    "ge": _compare(np.greater_equal),
}
_SPECIAL: Mapping[str, Callable[..., Column]] = {
    "and": _and,
    "or": _or,
    "is_null": _is_null,
    "fill_null": _fill_null,
}
_CALENDAR = ("hour", "minute_of_day", "weekday", "month")


def _calendar(fn: str, item: Column, zone: str) -> Column:
    local = item.values + offsets(zone, item.values)
    if fn == "hour":
        values = local // UNITS["h"] % 24
    elif fn == "minute_of_day":
        values = local // UNITS["m"] % 1440
    elif fn == "weekday":
        values = (local // UNITS["d"] + 3) % 7  # 1970-01-01 was a Thursday
    else:
        months = local.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        values = months % 12 + 1
    return Column("int", np.where(item.valid, values, 0), item.valid)


def offsets(zone: str, moments: np.ndarray) -> np.ndarray:
    """Return how far local time is ahead of UTC at each moment, in microseconds."""
    hours, place = np.unique(moments // UNITS["h"], return_inverse=True)
    edges = [(hour, hour + UNITS["h"] - 1) for hour in (hours * UNITS["h"]).tolist()]
    first, last = (
        np.array([[_offset(zone, edge) for edge in pair] for pair in edges], dtype=np.int64).reshape(-1, 2).T
    )
    offsets = first[place]
    changing = np.flatnonzero((first != last)[place])  # not every zone changes its clocks on the hour
    offsets[changing] = [_offset(zone, moment) for moment in moments[changing].tolist()]
    return offsets


@lru_cache(maxsize=1 << 17)
def _offset(zone: str, moment: int) -> int:
    return (to_datetime(moment).astimezone(ZoneInfo(zone)).utcoffset() or timedelta()) // timedelta(
        microseconds=1
    )
