"""Decimals brought to what a function takes: more places, floats, whole numbers, text. One meaning, for columns and for one value."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from tenfold.core.decimals import LIMIT, PLACES, decimal_of, text_of, units_of
from tenfold.core.expr import Expr
from tenfold.core.infer import brought, literal, picks
from tenfold.core.times import iso
from tenfold.processing.frame import Column, column
from tenfold.processing.meaning import strip
from tenfold.processing.units import floats, scaled

FAR = 2**62
"""Stands for what has too many digits where that is compared: it is further than every decimal."""
TEXT = "[+-]?[0-9]{{1,18}}([.][0-9]{{0,{}}}0*)?"
"""The texts that are decimals of so many places, as every engine's regular expressions read it."""


def bring(item: Column, type_: str, *, limit: bool = True) -> Column:
    """Return a column as another type of numbers, or as text.

    Parameters
    ----------
    limit
        What has more than 18 digits is null; else it is FAR.
    """
    if item.type == type_ or not (item.type in PLACES or type_ in PLACES):
        return item
    places = PLACES.get(item.type, 0)
    if type_ == "float":
        return Column("float", floats(item.values, places), item.valid)
    if item.type == "str" or type_ == "str" or PLACES.get(type_, 0) < places:
        one = bringing(item.type, type_)
        return column(type_, [None if value is None else one(value) for value in item.plain()])
    values = item.values.astype(np.int64, copy=False)
    found, fits = scaled(values, 10 ** (PLACES[type_] - places))
    if limit:
        return Column(type_, found, item.valid & fits)
    return Column(type_, np.where(fits, found, np.sign(values) * FAR), item.valid)


def limited(item: Column) -> Column:
    """Return a column without the decimals that have too many digits."""
    if item.type not in PLACES:
        return item
    fits = item.valid & (item.values < LIMIT) & (item.values > -LIMIT)
    return Column(item.type, np.where(fits, item.values, 0), fits)


def bring_all(fn: str, inputs: Sequence[Column]) -> list[Column]:
    """Return the inputs of a function as it takes them."""
    types = brought(fn, [item.type for item in inputs])
    return [bring(item, type_, limit=not picks(fn)) for item, type_ in zip(inputs, types, strict=True)]


def taken(expr: Expr, kinds: Sequence[str]) -> list[str]:
    """Return the types to which the inputs of an expression are brought; what is no decimal and becomes none stays."""
    wanted = brought(expr.fn, kinds)
    if expr.fn == "is_in":
        wanted = (members(kinds[0], [arg.args[0] for arg in expr.args[1:]])[0], *kinds[1:])
    return [
        type_ if kind in PLACES or type_ in PLACES else kind
        for kind, type_ in zip(kinds, wanted, strict=True)
    ]


def bringing(kind: str, type_: str, *, limit: bool = True) -> Callable[[Any], Any]:
    """Return a function that brings one value that is not null from a type to another, None where it has none.

    Examples
    --------
    >>> (
    ...     bringing("decimal(2)", "str")(1230),
    ...     bringing("str", "decimal(2)")("12.3"),
    ...     bringing("decimal(2)", "int")(-199),
    ... )
    ('12.30', 1230, -1)
    """
    places, target = PLACES.get(kind, 0), PLACES.get(type_, 0)
    if kind == "str":
        return lambda text: _read(text, target)
    if type_ == "str":
        return lambda units: text_of(units, places)
    if type_ == "float":
        return lambda units: units / 10**places
    if type_ == "int":
        return lambda units: abs(units) // 10**places * (-1 if units < 0 else 1)
    if target < places:
        return lambda units: None if units % 10 ** (places - target) else units // 10 ** (places - target)

    def more(units: int) -> int | None:
        found = units * 10 ** (target - places)
        return found if not limit or -LIMIT < found < LIMIT else None

    return more


def _read(text: str, places: int) -> int | None:
    text = strip(text)
    if not re.fullmatch(TEXT.format(places), text, re.ASCII):
        return None
    units = units_of(Decimal(text), places)
    return None if units is None or abs(units) >= LIMIT else units


def members(type_: str, constants: Sequence[Any]) -> tuple[str, frozenset[Any]]:
    """Return what to bring a value to that is looked for among constants, and these as values of that type."""
    kinds = {type_, *map(literal, constants)}
    if not kinds & PLACES.keys():
        return type_, frozenset(constants)
    if "float" in kinds:
        return "float", frozenset(map(float, constants))
    found = [units_of(Decimal(value), PLACES.get(type_, 0)) for value in constants]
    return type_, frozenset(units for units in found if units is not None)


def plain(value: Any) -> Any:
    """Return a constant as columns hold it: a decimal as its units."""
    return units_of(value, PLACES[literal(value)]) if isinstance(value, Decimal) else value


def shown(value: Any, type_: str) -> Any:
    """Return a value of a column as it is shown: instants in ISO 8601, decimals as their exact text.

    Examples
    --------
    >>> shown(1230, "decimal(2)"), shown(0, "time"), shown(None, "time"), shown(7, "int")
    ('12.30', '1970-01-01T00:00:00+00:00', None, 7)
    """
    if value is None:
        return None
    if type_ == "time":
        return iso(value)
    return text_of(value, PLACES[type_]) if type_ in PLACES else value


def as_decimal(value: Any, type_: str) -> Any:
    """Return a value of a decimal column as a Decimal; others as they are."""
    return decimal_of(value, PLACES[type_]) if value is not None and type_ in PLACES else value
