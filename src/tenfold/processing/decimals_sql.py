"""Decimals in SQL: brought to what a function takes, added and multiplied exactly, null beyond 18 digits."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tenfold.core.decimals import DIGITS, LIMIT, PLACES, text_of, units_of
from tenfold.core.errors import DefinitionError
from tenfold.processing.bring import TEXT
from tenfold.processing.dialects import Dialect
from tenfold.processing.meaning import LARGEST

SPARK_PLACES = 6
"""With more places Spark writes small decimals with an exponent."""


def sql_type(kind: str, dialect: Dialect) -> str:
    """Return what a type is called in a dialect.

    Examples
    --------
    >>> from tenfold.processing.dialects import DUCKDB
    >>> sql_type("decimal(2)", DUCKDB), sql_type("int", DUCKDB)
    ('DECIMAL(18, 2)', 'BIGINT')
    """
    return f"DECIMAL({DIGITS}, {PLACES[kind]})" if kind in PLACES else dialect.types[kind]


def literal(value: Any, kind: str, *, limited: bool = True) -> str:
    """Return a constant as a decimal of a type; NULL when it has too many digits and these count."""
    places = PLACES[kind]
    units = units_of(Decimal(value), places)
    if units is not None and abs(units) < LIMIT:
        return f"CAST('{text_of(units, places)}' AS DECIMAL({DIGITS}, {places}))"
    return (
        f"CAST(NULL AS DECIMAL({DIGITS}, {places}))"
        if limited
        else f"CAST('{value:f}' AS DECIMAL(38, {places}))"
    )


def fitted(kind: str) -> str:
    """Return a template that gives a number as a decimal of at most 18 digits, null where it has more."""
    places = PLACES[kind]
    return f"CASE WHEN abs({{0}}) < {10 ** (DIGITS - places)} THEN CAST({{0}} AS DECIMAL({DIGITS}, {places})) END"


def brought(own: str, kind: str, dialect: Dialect, *, limited: bool = True) -> tuple[str, str]:
    """Return two templates, of which the second takes what the first makes, that bring a value to another type.

    Raises
    ------
    DefinitionError
        When the dialect has no exact form.
    """
    places = PLACES.get(own, 0)
    if kind == "float":
        return "{0}", dialect.real
    if kind == "int":
        whole = "{0}" if dialect.name == "spark" else "trunc({0})"  # its cast rounds towards zero
        return "{0}", f"CASE WHEN abs({{0}}) < {LARGEST} THEN CAST({whole} AS BIGINT) END"
    if kind == "str":
        if dialect.name == "spark" and places > SPARK_PLACES:
            raise DefinitionError(
                f"a decimal with {places} places cannot be text in SQL for spark: it writes small ones with an exponent. "
                "Evaluate it in tenfold."
            )
        return "{0}", f"CAST(CAST({{0}} AS DECIMAL(38, {places})) AS {dialect.types['str']})"
    wide = f"DECIMAL(38, {PLACES[kind]})"
    if own == "str":
        pattern = TEXT.format(PLACES[kind]).replace("{", "{{").replace("}", "}}")
        matches = dialect.matches.format("{0}", pattern)
        return f"CASE WHEN {matches} THEN TRY_CAST({{0}} AS {wide}) END", fitted(kind)
    if own == "bool":
        return f"CAST(CAST({{0}} AS BIGINT) AS {wide})", fitted(kind) if limited else "{0}"
    if PLACES[kind] < places:
        exact = f"CASE WHEN CAST(CAST({{0}} AS {wide}) AS DECIMAL(38, {places})) = {{0}} THEN CAST({{0}} AS {wide}) END"
        return exact, fitted(kind)
    return f"CAST({{0}} AS {wide})", fitted(kind) if limited else "{0}"


def computed(fn: str, kinds: Sequence[str], kind: str) -> tuple[str, str]:
    """Return templates of the exact sum, difference or product, and of what fits of it."""
    if fn == "mul":
        left, right = (
            f"CAST({{{place}}} AS DECIMAL({DIGITS if item in PLACES else DIGITS + 1}, {PLACES.get(item, 0)}))"
            for place, item in enumerate(kinds)
        )
        return f"({left} * {right})", fitted(kind)
    wide = f"DECIMAL({DIGITS + 1}, {PLACES[kind]})"  # one digit more: a sum of two
    sign = "+" if fn == "add" else "-"
    return f"(CAST({{0}} AS {wide}) {sign} CAST({{1}} AS {wide}))", fitted(kind)
