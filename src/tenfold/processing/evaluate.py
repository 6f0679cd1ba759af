"""The meaning of an expression over columns: any number of rows, none and one included.

Arithmetic that IEEE 754 fixes is numpy's, which gives one value and a million the same bits; everything else calls the
functions of `meaning` row by row. `compiled` is the same meaning for a single row of Python values.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial, reduce
from typing import Any

import numpy as np

from tenfold.core.decimals import LIMIT, PLACES
from tenfold.core.expr import AS_OF, Expr
from tenfold.core.infer import brought, literal, result_type
from tenfold.processing.applied import call
from tenfold.processing.bring import bring, bring_all, limited, members, plain, taken
from tenfold.processing.calendar import EARLIEST, LATEST, PARTS, part, truncate
from tenfold.processing.frame import DTYPES, Column, Frame, constant
from tenfold.processing.meaning import LARGEST, MATHS, ROW, WHOLE, degrees, radians

_NULL = np.array(None, dtype=object)
_SURE = 2.0**62
"""Where floats say that a whole number is below this, it has not wrapped around."""


Made = dict[Any, Column]
"""Vectors that were computed for a frame, by their function: the items of one share it."""


def evaluate(expr: Expr, frame: Frame, rows: int, made: Made | None = None) -> Column:
    """Return the values of an expression for every row of a frame.

    Parameters
    ----------
    frame
        Columns of `rows` rows; `age` also reads the column named by AS_OF.
    made
        Shared by several expressions over one frame: a vector is computed for the first of its items.
    """
    made = {} if made is None else made
    if expr.fn == "col":
        return frame[expr.args[0]]
    if expr.fn == "lit":
        value = expr.args[0]
        return constant(literal(value), plain(value), rows)
    if expr.fn in ("apply", "item"):
        return _applied(expr, frame, rows, made)
    if expr.fn in _WITH_CONSTANTS:
        return _with_constants(expr, evaluate(expr.args[0], frame, rows, made))
    inputs = [
        evaluate(arg, frame, rows, made) for arg in expr.args if arg.fn != "lit" or expr.fn not in _SPANS
    ]
    if expr.fn in _SPANS:
        other = frame[AS_OF] if expr.fn == "age" else inputs[1]
        late, early = (other, inputs[0]) if expr.fn == "age" else (inputs[0], other)
        return _span(late, early, expr.args[-1].args[0])
    if expr.fn in _SPECIAL:
        return _SPECIAL[expr.fn](*inputs)
    kinds = tuple([item.type for item in inputs])
    taken_as, result = _resolved(expr.fn, kinds)
    if taken_as != kinds:
        inputs = bring_all(expr.fn, inputs)
    if expr.fn in _CHOICE:
        return limited(_CHOICE[expr.fn](result, inputs))
    return _strict(expr.fn, result, inputs)


@lru_cache(maxsize=10_000)
def _resolved(fn: str, kinds: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return the types to which the inputs of a function are brought, and that of its result."""
    types = brought(fn, kinds)
    return types, result_type(fn, types)


def _applied(expr: Expr, frame: Frame, rows: int, made: Made) -> Column:
    if expr.fn == "apply":
        return call(expr.args[-1], [evaluate(arg, frame, rows, made) for arg in expr.args[:-1]], rows)
    vector, place = expr.args[0], expr.args[1].args[0]
    function = vector.args[-1]
    if function not in made:
        made[function] = evaluate(vector, frame, rows, made)
    every = made[function]
    return Column(every.type, every.values[place], every.valid[place])


def _with_constants(expr: Expr, item: Column) -> Column:
    constants = [arg.args[0] for arg in expr.args[1:]]
    item = bring(item, taken(expr, [item.type, *map(literal, constants)])[0])
    return _WITH_CONSTANTS[expr.fn](item, *constants)


def _strict(fn: str, result: str, inputs: Sequence[Column]) -> Column:
    masks = {id(item.valid): item.valid for item in inputs}
    valid = reduce(np.logical_and, masks.values())
    if fn in _ARITHMETIC:
        values, fits = _compute(_ARITHMETIC[fn], [item.values for item in inputs], result)
        valid = valid if _all(fits) else valid & fits
    elif fn in _LOGIC:
        values = _LOGIC[fn](*(item.values for item in inputs)).astype(np.bool_)
    elif fn in MATHS:
        return _maths(fn, [item.values.astype(np.float64) for item in inputs], valid)
    else:
        return _by_row(fn, result, inputs, valid)
    if not _all(valid):
        values[~valid] = 0
    return Column(result, values, valid)


def _all(mask: np.ndarray) -> bool:
    """Return whether a mask holds everywhere: counting takes a tenth of `all` where rows are few."""
    return int(np.count_nonzero(mask)) == len(mask)


def _compute(
    function: Callable[..., Any], arrays: list[np.ndarray], result: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of an arithmetic function and which of them can be represented."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        values = function(*[array.astype(np.float64, copy=False) for array in arrays])
        if result == "float":
            return values, np.isfinite(values)
    # Floats are exact below the limit and round to at least the limit above it, so they say which integers fit.
    with np.errstate(divide="ignore"):
        exact = function(*[array.astype(np.int64) for array in arrays])
    if result in PLACES:
        return exact, (np.abs(values) < _SURE) & (np.abs(exact) < LIMIT)
    return exact.astype(np.int64), np.abs(values) < LARGEST


def _maths(fn: str, arrays: Sequence[np.ndarray], valid: np.ndarray) -> Column:
    if fn in _DOMAIN:
        valid = valid & _DOMAIN[fn](arrays[0])
    chosen = [array[valid].tolist() for array in arrays]
    try:
        found = np.fromiter(map(MATHS[fn], *chosen), np.float64, len(chosen[0]))
    except (ValueError, OverflowError):  # some result is null: ask for each
        results = [np.nan if value is None else value for value in map(ROW[fn], *chosen)]
        found = np.array(results, dtype=np.float64)
    values = np.zeros(len(valid), dtype=np.float64)
    values[valid] = found
    fits = np.isfinite(values) & valid
    values[~fits] = 0
    return Column("float", values, fits)


def _by_row(
    fn: str, result: str, inputs: Sequence[Column], valid: np.ndarray, constants: Sequence[Any] = ()
) -> Column:
    function, places = ROW[fn], np.flatnonzero(valid)
    chosen = [item.values[places].tolist() for item in inputs]
    found = [function(*row, *constants) for row in zip(*chosen, strict=True)]
    there = np.array([value is not None for value in found], dtype=np.bool_)
    values = np.full(len(valid), None if result == "str" else 0, dtype=DTYPES[result])
    values[places[there]] = [value for value in found if value is not None]
    fits = np.zeros(len(valid), dtype=np.bool_)
    fits[places] = there
    return Column(result, values, fits)


# Choosing between values: null in does not mean null out ----------------------------------------------


def _as(result: str, item: Column) -> np.ndarray:
    return item.values.astype(DTYPES[result], copy=False)


def _pick(result: str, mask: np.ndarray, one: Column, other: Column) -> Column:
    values = np.where(mask, _as(result, one), _as(result, other))
    return Column(result, values, np.where(mask, one.valid, other.valid))


def _coalesce(result: str, inputs: Sequence[Column]) -> Column:
    found = Column(result, _as(result, inputs[0]), inputs[0].valid)
    for item in inputs[1:]:
        found = _pick(result, found.valid, found, item)
    return found


def _extreme(better: Callable[..., Any]) -> Callable[[str, Sequence[Column]], Column]:
    def extreme(result: str, inputs: Sequence[Column]) -> Column:
        found = Column(result, _as(result, inputs[0]), inputs[0].valid)
        for item in inputs[1:]:
            won = _compare(better)(_as(result, item), found.values).astype(np.bool_)
            found = _pick(result, item.valid & (won | ~found.valid), item, found)
        return found

    return extreme


def _when(result: str, inputs: Sequence[Column]) -> Column:
    condition, value, *rest = inputs
    rows = len(condition)
    other = rest[0] if rest else constant(result, None, rows)
    return _pick(result, condition.values & condition.valid, value, other)


def _sign(item: Column) -> Column:
    return Column("int", np.sign(item.values.astype(np.float64)).astype(np.int64), item.valid)


def _null_if(item: Column, other: Column) -> Column:
    one, two = bring_all("null_if", [item, other])
    same = _compare(np.equal)(one.values, two.values).astype(np.bool_) & item.valid & other.valid
    return _pick(item.type, same, constant(item.type, None, len(item)), item)


def _and(left: Column, right: Column) -> Column:
    values = left.values & right.values & left.valid & right.valid
    known_false = (left.valid & ~left.values) | (right.valid & ~right.values)
    return Column("bool", values, (left.valid & right.valid) | known_false)


def _or(left: Column, right: Column) -> Column:
    values = (left.values & left.valid) | (right.values & right.valid)
    return Column("bool", values, (left.valid & right.valid) | values)


def _is_null(item: Column) -> Column:
    return Column("bool", ~item.valid, np.ones(len(item), dtype=np.bool_))


def _is_not_null(item: Column) -> Column:
    return Column("bool", item.valid.copy(), np.ones(len(item), dtype=np.bool_))


# Functions with constants, and time -------------------------------------------------------------------


def _round(item: Column, digits: int) -> Column:
    if item.type != "float":
        return Column("int", _as("int", item), item.valid)
    scale = 10.0**digits
    with np.errstate(over="ignore"):
        scaled = item.values * scale
    values = np.where(np.abs(scaled) >= WHOLE, item.values, np.rint(scaled) / scale + 0.0)
    return Column("float", values, item.valid)


def _is_in(item: Column, *constants: Any) -> Column:
    _, wanted = members(item.type, constants)
    values = np.array([value in wanted for value in item.values.tolist()], dtype=np.bool_)
    return Column("bool", values & item.valid, item.valid)


def _rows(fn: str, item: Column, *constants: Any) -> Column:
    return _by_row(fn, result_type(fn, [item.type] + [""] * len(constants)), [item], item.valid, constants)


def _part(fn: str, item: Column, zone: str) -> Column:
    kind = result_type(fn, ["time", "str"])
    values = np.where(item.valid, part(fn, item.values, zone), 0)
    return Column(kind, values.astype(DTYPES[kind]), item.valid)


def _truncate(item: Column, unit: str, zone: str) -> Column:
    return Column("time", np.where(item.valid, truncate(item.values, unit, zone), 0), item.valid)


def _epoch(item: Column, unit: int) -> Column:
    return Column("int", np.where(item.valid, item.values // unit, 0), item.valid)


def _shift(item: Column, by: int) -> Column:
    return _instants(item.values + by, item.valid)


def _from_epoch(item: Column, unit: int) -> Column:
    units = _as("int", item)
    near = np.abs(units) <= LATEST // unit + 1  # anything further would wrap around
    return _instants(np.where(near, units, 0) * unit, item.valid & near)


def _instants(values: np.ndarray, valid: np.ndarray) -> Column:
    fits = valid & (values >= EARLIEST) & (values <= LATEST)
    return Column("time", np.where(fits, values, 0), fits)


def _span(late: Column, early: Column, unit: int) -> Column:
    valid = late.valid & early.valid
    values = (late.values - early.values).astype(np.float64) / unit
    return Column("float", np.where(valid, values, 0.0), valid)


def _compare(op: Callable[..., Any]) -> Callable[..., Any]:
    def compare(left: np.ndarray, right: np.ndarray) -> Any:
        if left.dtype != object:
            return op(left, right)
        blank = np.equal(left, _NULL) | np.equal(right, _NULL)
        return op(np.where(blank, "", left), np.where(blank, "", right))

    return compare


def _floordiv(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    if left.dtype == np.int64:
        return np.floor_divide(left, right)
    return np.where(right == 0, np.nan, np.floor(left / right) + 0.0)


def _mod(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.mod(left, right) + np.zeros(1, dtype=left.dtype)


_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "floordiv": _floordiv,
    "mod": _mod,
    "sqrt": np.sqrt,
    "degrees": degrees,
    "radians": radians,
    "neg": np.negative,
    "abs": np.absolute,
    "floor": lambda x: np.floor(x) + np.zeros(1, dtype=x.dtype),
    "ceil": lambda x: np.ceil(x) + np.zeros(1, dtype=x.dtype),
    "trunc": lambda x: np.trunc(x) + np.zeros(1, dtype=x.dtype),
    "clip": lambda x, low, high: np.where(x < low, low, np.where(x > high, high, x)),
}
_LOGIC: Mapping[str, Callable[..., Any]] = {
    "not": np.logical_not,
    "to_bool": lambda x: x != 0,
    "eq": _compare(np.equal),
    "ne": _compare(np.not_equal),
    "lt": _compare(np.less),
    "le": _compare(np.less_equal),
    "gt": _compare(np.greater),
    "ge": _compare(np.greater_equal),
}
_DOMAIN: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(("ln", "log2", "log10"), lambda x: x > 0),
    **dict.fromkeys(("asin", "acos"), lambda x: np.abs(x) <= 1),
    "log1p": lambda x: x > -1,
}
"""Outside of these the result is null, and asking for it would be slow."""

_SPECIAL: Mapping[str, Callable[..., Column]] = {
    "and": _and,
    "or": _or,
    "is_null": _is_null,
    "is_not_null": _is_not_null,
    "null_if": _null_if,
    "sign": _sign,
}
_CHOICE: Mapping[str, Callable[[str, Sequence[Column]], Column]] = {
    "fill_null": _coalesce,
    "coalesce": _coalesce,
    "least": _extreme(np.less),
    "greatest": _extreme(np.greater),
    "when": _when,
    "to_decimal": lambda _, inputs: inputs[0],
}
_SPANS = ("age", "since")
_WITH_CONSTANTS: Mapping[str, Callable[..., Column]] = {
    "round": _round,
    "is_in": _is_in,
    **{fn: partial(_rows, fn) for fn in ("replace", "slice", "split_part", "hash_bucket")},
    **{fn: partial(_part, fn) for fn in PARTS},
    "date_trunc": _truncate,
    "offset_by": _shift,
    "epoch": _epoch,
    "from_epoch": _from_epoch,
}
