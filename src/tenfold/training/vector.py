"""From features to what an estimator takes: one float64 row per prediction, the same offline and online."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.processing.derive import apply
from tenfold.processing.evaluate import Made, evaluate
from tenfold.processing.frame import Column, Frame, types_of
from tenfold.processing.one_row import compile_columns
from tenfold.training.model import Model

Categories = Mapping[str, Sequence[str]]
BLOCK = 4_096
"""Rows that are put together at once, few enough to stay in the cache while every column is written to them."""


def assemble(model: Model, spine: Frame, stored: Mapping[str, Frame], at: np.ndarray) -> dict[str, Column]:
    """Return the model's columns, in its order, for rows of the spine.

    Parameters
    ----------
    spine
        The spine's fields, n rows.
    stored
        Features per stored view, n rows each.
    at
        The moment of each prediction: int64 microseconds UTC, shape (n,).
    """
    rows = len(at)
    frame, _ = apply(model.spine, spine, rows)
    frame[AS_OF] = Column("time", at, np.ones(rows, dtype=np.bool_))
    for view in model.stored:
        for name, item in stored[view.name].items():
            frame[f"{view.name}.{name}"] = item
    if rows == 1:
        frame.update(_compiled(model)(frame))
    else:
        made: Made = {}
        for name, expr in model.computed.items():
            frame[name] = evaluate(expr, frame, rows, made)
    return {name: frame[name] for name in model.columns}


@lru_cache(maxsize=64)
def _compiled(model: Model) -> Callable[[Frame], dict[str, Column]]:
    """Return the computed features of a request; a model is compiled once."""
    types = types_of(model.spine.fields) | {AS_OF: "time"}
    for view in model.stored:
        types |= {f"{view.name}.{name}": kind for name, kind in view.plan.types.items()}
    return compile_columns(model.computed, types)


def keys_of(model: Model, spine: Frame) -> Frame:
    """Return the columns that are keys of the model's views, for rows of the spine; a key may be a derived column."""
    names = {key for view in model.stored for key in view.keys}
    if not names <= spine.keys():
        spine, _ = apply(model.spine, spine, len(next(iter(spine.values()))))
    return {name: spine[name] for name in names}


def vocabulary(columns: Mapping[str, Column]) -> dict[str, list[str]]:
    """Return the sorted distinct values of every text column."""
    return {
        name: sorted({text for text in item.values.tolist() if text is not None})
        for name, item in columns.items()
        if item.type == "str"
    }


def encode(columns: Mapping[str, Column], categories: Categories) -> np.ndarray:
    """Return shape (n_rows, n_columns) float64: numbers as they are, text as its place in `categories`, null as NaN.

    Text that is not among the categories is NaN too.
    """
    parts = [_numbers(item, categories.get(name)) for name, item in columns.items()]
    out = np.empty((len(parts[0]), len(parts)))
    for start in range(0, len(out), BLOCK):
        for place, part in enumerate(parts):
            out[start : start + BLOCK, place] = part[start : start + BLOCK]
    return out


def _numbers(item: Column, categories: Sequence[str] | None) -> np.ndarray:
    if item.type == "float" and item.valid.all():
        return item.values
    if item.type != "str":
        return item.numbers()
    places = {text: float(place) for place, text in enumerate(categories or ())}
    codes, values = item.coded  # a value is looked up once, however many rows have it
    known = np.array([places.get(text, np.nan) for text in values.to_pylist()], dtype=np.float64)
    return known[codes]
