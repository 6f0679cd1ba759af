"""Calling a user's function of arrays, with what it gets pinned and what it returns checked."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tenfold.core.applied import ArrayFunction
from tenfold.core.errors import SchemaError
from tenfold.processing.frame import DTYPES, Column
from tenfold.processing.meaning import LARGEST

PROBES = 8
"""Rows of many that are computed alone too, the first and the last among them."""


def call(spec: ArrayFunction, inputs: Sequence[Column], rows: int) -> Column:
    """Return what a function of arrays computes for columns of `rows` rows; of a vector, values of shape (size, rows).

    Raises
    ------
    SchemaError
        When the result is not an array of that shape and of the declared type, or when a row computed alone is not the
        same to the bit: then a request would get other features than the training set has.
    """
    if not rows:
        shape = (0,) if spec.size is None else (spec.size, 0)
        return Column(spec.returns, np.zeros(shape, dtype=DTYPES[spec.returns]), np.zeros(shape, np.bool_))
    if spec.row_by_row:
        each = [_alone(spec, inputs, place) for place in range(rows)]
        values = np.concatenate([item.values for item in each], axis=-1)
        found = Column(spec.returns, values, np.concatenate([item.valid for item in each], axis=-1))
    else:
        found = _called(spec, inputs, rows)
    for place in np.unique(np.linspace(0, rows - 1, PROBES).astype(np.int64)).tolist() if rows > 1 else ():
        _check(spec, found, _alone(spec, inputs, place), place)
    return found


def one(spec: ArrayFunction, inputs: Sequence[Column]) -> Any:
    """Return the value of a single row as plain Python; of a vector, a list."""
    found = call(spec, inputs, 1)
    if spec.size is None:
        return found.plain()[0]
    return Column(found.type, found.values[:, 0], found.valid[:, 0]).plain()


def _alone(spec: ArrayFunction, inputs: Sequence[Column], place: int) -> Column:
    row = np.arange(place, place + 1)
    return _called(spec, [item.take(row) for item in inputs], 1)


def _check(spec: ArrayFunction, found: Column, alone: Column, place: int) -> None:
    """Compare a row among others with the same row alone."""
    values, valid = found.values[..., place].ravel(), found.valid[..., place].ravel()
    if values.tobytes() == alone.values.tobytes() and (valid == alone.valid.ravel()).all():
        return
    among = Column(found.type, values, valid).plain()
    single = Column(alone.type, alone.values.ravel(), alone.valid.ravel()).plain()
    for item, (many, one_) in enumerate(zip(among, single, strict=True)):
        if many != one_ or str(many) != str(one_):  # -0.0 equals 0.0, and has other bits
            which = "" if spec.size is None else f" as number {item} of its vector"
            raise SchemaError(
                f'"{spec.function.__qualname__}" returned {many!r}{which} for row {place} of {found.values.shape[-1]:,}, and '
                f"{one_!r} when called again with this row alone. {_ADVICE[spec.row_by_row]}"
            )


_ADVICE = {
    False: "A request asks for one row, so a row must not depend on the others, to the bit. If it cannot, as where sums in "
    "products of matrices are ordered by size, write apply(..., row_by_row=True).",
    True: "The same row must give the same value again: no random numbers, no state that a call changes.",
}


def _called(spec: ArrayFunction, inputs: Sequence[Column], rows: int) -> Column:
    name = f'"{spec.function.__qualname__}"'
    given = spec.function(*_arguments(spec, inputs))
    try:
        result = np.asarray(given)
    except ValueError as error:
        raise SchemaError(f"{name} returned rows of different lengths.") from error
    wanted = (rows,) if spec.size is None else (rows, spec.size)
    if result.shape != wanted:
        each = "one value" if spec.size is None else f"{spec.size} numbers"
        told = f"an array of shape {result.shape}" if result.shape else f"a {type(given).__name__}"
        raise SchemaError(f"{name} returned {told} for {rows} rows. It must return {each} per row.")
    return _text(name, result) if spec.returns == "str" else _number(name, spec.returns, result.T)


def _arguments(spec: ArrayFunction, inputs: Sequence[Column]) -> Iterator[np.ndarray]:
    rest = iter(inputs)
    for width in spec.widths:
        if width:
            yield np.column_stack([next(rest).numbers() for _ in range(width)])
        else:
            yield _passed(next(rest))


def _passed(item: Column) -> np.ndarray:
    if item.type == "str":
        return item.values.copy()
    if item.type == "time":
        moments = item.values.astype("datetime64[us]")
        moments[~item.valid] = np.datetime64("NaT")
        return moments
    return item.numbers()


def _text(name: str, result: np.ndarray) -> Column:
    values = result.astype(object)
    for place, value in enumerate(values.tolist()):
        if value is not None and type(value) is not str:
            raise SchemaError(f'{name} returned {value!r} in row {place} and is declared with returns="str".')
    return Column("str", values, np.array([value is not None for value in values], dtype=np.bool_))


def _number(name: str, returns: str, result: np.ndarray) -> Column:
    said = f'is declared with returns="{returns}"'
    if result.dtype == object:
        plain = [np.nan if value is None else value for value in result.ravel().tolist()]
        result = np.array(plain).reshape(result.shape)
    if result.dtype.kind not in "biuf":
        raise SchemaError(f"{name} returned {result.dtype} and {said}.")
    numbers = np.ascontiguousarray(result, dtype=np.float64)
    valid = np.isfinite(numbers)
    _whole(name, returns, said, numbers[valid])
    if returns == "int":
        valid = valid & (np.abs(numbers) < LARGEST)
    values = np.where(valid, numbers, 0.0).astype(DTYPES[returns])
    return Column(returns, values, valid)


def _whole(name: str, returns: str, said: str, numbers: np.ndarray) -> None:
    wrong: Any = ()
    if returns == "int":
        wrong = numbers[numbers != np.trunc(numbers)]
    elif returns == "bool":
        wrong = numbers[(numbers != 0) & (numbers != 1)]
    if len(wrong):
        raise SchemaError(f"{name} returned {wrong[0].item()!r} and {said}.")
