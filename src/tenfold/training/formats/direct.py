"""Learned preprocessing as plain arithmetic over the model's matrix: scikit-learn's bits without its data frames.

A ColumnTransformer needs some milliseconds for a row, whatever it does. The usual steps are a comparison, a subtraction or
a division for each value; here they are done with numpy from what the fitted steps have learned. What is not known
here is left to scikit-learn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.errors import SchemaError

WIDEST = 2000
"""With more columns than this after encoding, scikit-learn's sparse matrices are the better way."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some columns of all rows: numbers, or codes of texts; null is NaN."""

    values: np.ndarray
    texts: tuple[tuple[str, ...] | None, ...]


Step = Callable[[Part], Part]


class Unfit(Exception):
    """A step that is not known here, or a value that scikit-learn would refuse."""


def direct(
    step: Any, columns: Mapping[str, str], categories: Mapping[str, Sequence[str]]
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a fitted step as a function from the model's matrix to (n_rows, n_outputs) float64; None when it has unknown parts."""
    texts = tuple(
        tuple(categories.get(name, ())) if kind == "str" else None for name, kind in columns.items()
    )
    try:
        compiled = _compiled(step, texts, list(columns))
    except Unfit:
        return None

    def run(X: np.ndarray) -> np.ndarray:
        found = compiled(Part(X, texts))
        if any(known is not None for known in found.texts):
            raise Unfit("texts are left")
        return np.ascontiguousarray(found.values)

    return run


def _compiled(step: Any, texts: Sequence[Any], names: Sequence[str]) -> Step:
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return lambda part: part
    make = _KNOWN.get(type(step).__name__)
    if make is None or not type(step).__module__.startswith("sklearn."):
        raise Unfit(type(step).__name__)
    return make(step, texts, names)


def _pipeline(step: Any, texts: Sequence[Any], names: Sequence[str]) -> Step:
    parts = [_compiled(inner, texts, names) for _, inner in step.steps]

    def run(part: Part) -> Part:
        for one in parts:
            part = one(part)
        return part

    return run


def _column_transformer(step: Any, texts: Sequence[Any], names: Sequence[str]) -> Step:
    if step.transformer_weights:
        raise Unfit("transformer_weights")
    picked = [
        (_places(columns, names), _compiled(inner, texts, ()))
        for _, inner, columns in step.transformers_
        if not (isinstance(inner, str) and inner == "drop")
    ]
    picked = [(places, inner) for places, inner in picked if places]

    def run(part: Part) -> Part:
        made = [
            inner(Part(part.values[:, places], tuple(part.texts[place] for place in places)))
            for places, inner in picked
        ]
        return Part(
            np.hstack([one.values for one in made]), tuple(text for one in made for text in one.texts)
        )

    return run


def _places(columns: Any, names: Sequence[str]) -> list[int]:
    """Return the positions of columns given by name or by position; scalars select a column of another shape."""
    if isinstance(columns, (str, int, slice)) or callable(columns):
        raise Unfit("columns")
    found = [names.index(item) if isinstance(item, str) else item for item in list(columns)]
    if any(isinstance(item, (bool, np.bool_)) for item in found):
        found = np.flatnonzero(found).tolist()
    return [int(item) for item in found]


def _imputer(step: Any, _: Sequence[Any], __: Sequence[str]) -> Step:
    missing = step.missing_values
    if step.add_indicator or not (isinstance(missing, float) and np.isnan(missing)):
        raise Unfit("SimpleImputer")
    filled = list(step.statistics_)
    if any(isinstance(item, float) and np.isnan(item) for item in filled):
        raise Unfit("a column without values")

    def run(part: Part) -> Part:
        values, texts = part.values.copy(), list(part.texts)
        for place, (known, fill) in enumerate(zip(part.texts, filled, strict=True)):
            column = values[:, place]
            if known is None:
                column[np.isnan(column)] = fill
                continue
            texts[place] = known if fill in known else (*known, str(fill))
            column[np.isnan(column)] = texts[place].index(fill)  # type: ignore[union-attr]
        return Part(values, tuple(texts))

    return run


def _scaler(minus: str | None, by: str) -> Callable[[Any, Sequence[Any], Sequence[str]], Step]:
    def make(step: Any, _: Sequence[Any], __: Sequence[str]) -> Step:
        shift = getattr(step, minus) if minus else None
        scale = getattr(step, by)

        def run(part: Part) -> Part:
            _need_numbers(part)
            values = part.values if shift is None else part.values - shift
            return Part(values if scale is None else values / scale, part.texts)

        return run

    return make


def _min_max(step: Any, _: Sequence[Any], __: Sequence[str]) -> Step:
    if step.clip:
        raise Unfit("clip")

    def run(part: Part) -> Part:
        _need_numbers(part)
        return Part(part.values * step.scale_ + step.min_, part.texts)

    return run


def _standard(step: Any, texts: Sequence[Any], names: Sequence[str]) -> Step:
    shift, scale = ("mean_" if step.with_mean else None), "scale_"
    return _scaler(shift, scale)(step, texts, names)


def _identity(step: Any, _: Sequence[Any], __: Sequence[str]) -> Step:
    if step.func is not None:
        raise Unfit("a function")
    return lambda part: part


def _robust(step: Any, texts: Sequence[Any], names: Sequence[str]) -> Step:
    if not (step.with_centering and step.with_scaling):
        raise Unfit("RobustScaler")
    return _scaler("center_", "scale_")(step, texts, names)


def _one_hot(step: Any, _: Sequence[Any], __: Sequence[str]) -> Step:
    known = list(step.categories_)
    special = (step.drop, step.min_frequency, step.max_categories)
    width = sum(map(len, known))
    if special != (None, None, None) or step.dtype is not np.float64 or width > WIDEST:
        raise Unfit("OneHotEncoder")
    ignored = step.handle_unknown in ("ignore", "infrequent_if_exist")

    def run(part: Part) -> Part:
        made = []
        for place, items in enumerate(known):
            found = _among(part, place, items)
            if not ignored and (found < 0).any():
                raise Unfit("an unknown category")
            made.append((found[:, None] == np.arange(len(items))).astype(np.float64))
        return Part(np.hstack(made), (None,) * width)

    return run


def _ordinal(step: Any, _: Sequence[Any], __: Sequence[str]) -> Step:
    special = (step.min_frequency, step.max_categories, step.handle_unknown)
    if special != (None, None, "use_encoded_value") or step.dtype is not np.float64:
        raise Unfit("OrdinalEncoder")
    known = list(step.categories_)

    def run(part: Part) -> Part:
        made = []
        for place, items in enumerate(known):
            found = _among(part, place, items).astype(np.float64)
            blank = np.isnan(part.values[:, place]) & (found >= 0)
            found[found < 0] = step.unknown_value
            found[blank] = step.encoded_missing_value
            made.append(found)
        return Part(np.column_stack(made), (None,) * len(known))

    return run


def _among(part: Part, place: int, items: Any) -> np.ndarray:
    """Return the place of each value among an encoder's categories, -1 where it is none of them; null may be one."""
    column, known = part.values[:, place], part.texts[place]
    blank = next((at for at, item in enumerate(items) if item is None or item != item), -1)
    if known is None:
        numbers = np.array([np.nan if item is None else item for item in items], dtype=np.float64)
        hit = column[:, None] == numbers
        found = np.where(hit.any(axis=1), hit.argmax(axis=1), -1)
    else:
        places = {item: at for at, item in enumerate(items) if isinstance(item, str)}
        codes = np.array([*(places.get(text, -1) for text in known), -1])
        found = codes[np.where(np.isnan(column), len(known), column).astype(np.int64)]
    return np.where(np.isnan(column), blank, found)


def _need_numbers(part: Part) -> None:
    if any(known is not None for known in part.texts):
        raise SchemaError("a scaler gets a text column. Encode it first.")


_KNOWN: Mapping[str, Callable[[Any, Sequence[Any], Sequence[str]], Step]] = {
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _identity,  # what "passthrough" becomes when it is fitted
    "MaxAbsScaler": _scaler(None, "scale_"),
    "MinMaxScaler": _min_max,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "Pipeline": _pipeline,
    "RobustScaler": _robust,
    "SimpleImputer": _imputer,
    "StandardScaler": _standard,
}
