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

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import FUNCTIONS, NUMERIC, Expr
from tenfold.core.times import UNITS, to_datetime
from tenfold.processing.frame import Column, Frame, constant

AS_OF = "_as_of"
"""The column that holds the moment a feature is asked for; `age` reads it."""

_QUARTER = 900_000_000  # every offset change of the last hundred years falls on a quarter of an hour


def infer(expr: Expr, types: Mapping[str, str], where: str) -> str:
    """Return the type of an expression over columns of the given types.

    Raises
    ------
    DefinitionError
        Names the column that is not there or the function that does not take such a type; `where` says in which
        declaration.
    """
    if expr.fn == "col":
        name = expr.args[0]
        if name not in types:
            raise DefinitionError(f'{where} reads column "{name}", which is not there.{suggest(name, types)}')
        return types[name]
    if expr.fn == "lit":
        return _literal(expr.args[0])
    inputs = [infer(arg, types, where) for arg in expr.args if isinstance(arg, Expr)]
    _check(expr, inputs, where)
    result = FUNCTIONS[expr.fn]
    if result == "number":
        return "float" if "float" in inputs else "int"
    return inputs[0] if result == "same" else result


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "float", str: "str"}.get(type(value), "str")


def _check(expr: Expr, inputs: list[str], where: str) -> None:
    if expr.fn not in FUNCTIONS:
        raise DefinitionError(
            f"{where} uses {expr.fn} where rows are computed one by one; it needs a feature view with an entity."
        )
    fn, both = expr.fn, set(inputs)
    if fn in ("eq", "ne", "lt", "le", "gt", "ge", "fill_null"):
        ok = len(both) == 1 or both <= set(NUMERIC)
    elif fn in ("and", "or", "not"):
        ok = both == {"bool"}
    elif fn in ("hour", "minute_of_day", "weekday", "month"):
        ok = both == {"time"}
    elif fn == "age":
        ok = inputs[0] == "time"
    else:
        ok = fn == "is_null" or both <= set(NUMERIC)
    if not ok:
        raise DefinitionError(f"{where}: {expr.text} does not fit columns of type {' and '.join(inputs)}.")


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
        return constant(_literal(value), value, rows)
    if expr.fn in _CALENDAR:
        return _calendar(expr.fn, evaluate(expr.args[0], frame, rows), expr.args[1])
    if expr.fn == "age":
        return _age(frame[AS_OF], evaluate(expr.args[0], frame, rows), expr.args[1].args[0])
    inputs = [evaluate(arg, frame, rows) for arg in expr.args]
    if expr.fn in _SPECIAL:
        return _SPECIAL[expr.fn](*inputs)
    return _strict(expr.fn, inputs)


def _strict(fn: str, inputs: list[Column]) -> Column:
    valid = inputs[0].valid if len(inputs) == 1 else inputs[0].valid & inputs[1].valid
    types = [item.type for item in inputs]
    result = FUNCTIONS[fn]
    if result == "number":
        result = "float" if "float" in types else "int"
        arrays = [item.values.astype(np.float64 if result == "float" else np.int64) for item in inputs]
    else:
        arrays = [item.values for item in inputs]
    values = _NUMPY[fn](*arrays)
    if values.dtype == object:
        values = values.astype(np.bool_)
    values[~valid] = 0
    return Column(result, values, valid)


def _div(left: Column, right: Column) -> Column:
    over = right.values.astype(np.float64)
    valid = left.valid & right.valid & (over != 0)
    values = np.zeros(len(over))
    np.divide(left.values.astype(np.float64), over, out=values, where=valid)
    return Column("float", values, valid)


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
    values = np.where(item.valid, item.values, other.values.astype(item.values.dtype))
    return Column(item.type, values, item.valid | other.valid)


def _age(as_of: Column, moment: Column, unit: int) -> Column:
    valid = as_of.valid & moment.valid
    values = (as_of.values - moment.values).astype(np.float64) / unit
    return Column("float", np.where(valid, values, 0.0), valid)


def _compare(op: Callable[..., Any]) -> Callable[..., Any]:
    def compare(left: np.ndarray, right: np.ndarray) -> Any:
        if left.dtype != object:
            return op(left, right)
        blank = np.equal(left, None) | np.equal(right, None)
        return op(np.where(blank, "", left), np.where(blank, "", right))

    return compare


_NUMPY: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "abs": np.abs,
    "not": np.logical_not,
    "eq": _compare(np.equal),
    "ne": _compare(np.not_equal),
    "lt": _compare(np.less),
    "le": _compare(np.less_equal),
    "gt": _compare(np.greater),
    "ge": _compare(np.greater_equal),
}
_SPECIAL: Mapping[str, Callable[..., Column]] = {
    "div": _div,
    "and": _and,
    "or": _or,
    "is_null": _is_null,
    "fill_null": _fill_null,
}
_CALENDAR = ("hour", "minute_of_day", "weekday", "month")


def _calendar(fn: str, item: Column, zone: str) -> Column:
    quarters, place = np.unique(item.values // _QUARTER, return_inverse=True)
    offsets = np.array([_offset(zone, int(quarter)) for quarter in quarters], dtype=np.int64)
    local = item.values + offsets[place]
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


@lru_cache(maxsize=1 << 17)
def _offset(zone: str, quarter: int) -> int:
    moment = to_datetime(quarter * _QUARTER).astimezone(ZoneInfo(zone))
    return (moment.utcoffset() or timedelta()) // timedelta(microseconds=1)
