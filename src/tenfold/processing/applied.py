"""Calling a user's function of arrays, with what it gets pinned and what it returns checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.applied import ArrayFunction
from tenfold.core.errors import SchemaError
from tenfold.processing.frame import DTYPES, Column
from tenfold.processing.meaning import LARGEST


def call(spec: ArrayFunction, inputs: Sequence[Column], rows: int) -> Column:
    """Return what a function of arrays computes for columns of `rows` rows.

    Raises
    ------
    SchemaError
        When the result is not an array of that length and of the declared type.
    """
    if not rows:
        return Column(spec.returns, np.zeros(0, dtype=DTYPES[spec.returns]), np.zeros(0, dtype=np.bool_))
    result = np.asarray(spec.function(*map(_passed, inputs)))
    name = f'"{spec.function.__qualname__}"'
    if result.shape != (rows,):
        raise SchemaError(
            f"{name} returned an array of shape {result.shape} for {rows} rows. It must return one value per row."
        )
    return _text(name, result) if spec.returns == "str" else _number(name, spec.returns, result)


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
        result = np.array([np.nan if value is None else value for value in result.tolist()])
    if result.dtype.kind not in "biuf":
        raise SchemaError(f"{name} returned {result.dtype} and {said}.")
    numbers = result.astype(np.float64)
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
