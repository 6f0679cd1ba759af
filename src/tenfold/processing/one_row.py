"""Expressions over a frame of one row, by the compiled form: `evaluate` spends more on arrays than on one value."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tenfold.core.expr import AS_OF, Expr
from tenfold.core.infer import infer
from tenfold.processing.compiled import compile_row
from tenfold.processing.frame import DTYPES, Column, Frame


def compile_columns(
    exprs: Mapping[str, Expr], types: Mapping[str, str]
) -> Callable[[Frame], dict[str, Column]]:
    """Return a function from a frame of one row to the columns of expressions: `evaluate` for one row, compiled.

    Examples
    --------
    >>> from tenfold import col
    >>> from tenfold.processing.frame import column
    >>> one = compile_columns({"sum": col("a") + 1}, {"a": "int"})
    >>> one({"a": column("int", [2])})["sum"].plain()
    [3]
    """
    used = {name for expr in exprs.values() for name in expr.columns()}
    used |= {AS_OF} if any(node.fn == "age" for expr in exprs.values() for node in expr.walk()) else set()
    read, known = [name for name in types if name in used], dict(types)
    for name, expr in exprs.items():
        known[name] = infer(expr, known, f'"{name}"')
    row, kinds = compile_row(exprs, types), [known[name] for name in exprs]

    def one_row(frame: Frame) -> dict[str, Column]:
        values = row({name: _only(frame[name]) for name in read})
        return {
            name: _single(*pair) for name, pair in zip(exprs, zip(kinds, values, strict=True), strict=True)
        }

    return one_row


def _only(item: Column) -> Any:
    return item.values.tolist()[0] if item.valid[0] else None


def _single(kind: str, value: Any) -> Column:
    blank = None if kind == "str" else 0
    values = np.array([blank if value is None else value], dtype=DTYPES[kind])
    return Column(kind, values, np.array([value is not None]))
