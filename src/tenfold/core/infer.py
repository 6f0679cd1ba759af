"""The type of an expression, found before any data is touched."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tenfold.core.decimals import PLACES, literal_type
from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import AS_OF, Expr, need
from tenfold.core.functions import FUNCTIONS

_INSTEAD = {
    ("add", "str", "str"): 'To join text, write .concat("-", col("b")).',
    ("sub", "time", "time"): 'For the time between two instants, write .since(other, "h").',
    ("add", "time", "int"): 'For a later instant, write .offset_by("90m").',
    ("sub", "time", "int"): 'For an earlier instant, write .offset_by("-90m").',
    ("mod", "str", "str"): "There is no formatting of text; join it with .concat(...).",
    ("to_int", "time"): 'For the seconds since 1970, write .epoch("s").',
    ("to_float", "time"): 'For the seconds since 1970, write .epoch("s").',
    ("to_str", "float"): "A float has no one text; make it whole first, with .cast('int').",
    (
        "hash_bucket",
        "float",
        "int",
    ): "Floats that look equal may differ; make it whole first, with .cast('int').",
    (
        "to_decimal",
        "float",
    ): "A float has no one decimal. Declare the field as a Decimal, or cast what it is made of.",
    ("to_bool", "str"): 'Write a comparison, such as col("flag") == "yes".',
}


def infer(expr: Expr, types: Mapping[str, str], where: str) -> str:
    """Return the type of an expression over columns of the given types.

    Raises
    ------
    DefinitionError
        Names the column that is not there or the function that does not take such a type; `where` says in which
        declaration.
    """
    need(expr, where)
    if expr.fn == "col":
        name = expr.args[0]
        if name not in types:
            known = [other for other in types if not other.startswith("_")]
            raise DefinitionError(f'{where} reads column "{name}", which is not there.{suggest(name, known)}')
        return types[name]
    if expr.fn == "lit":
        return literal(expr.args[0])
    if expr.fn not in FUNCTIONS and expr.fn not in ("apply", "item"):
        raise DefinitionError(
            f"{where} uses {expr.text} where rows are computed one by one. Use it in a feature view."
        )
    inputs = [infer(arg, types, where) for arg in expr.args if isinstance(arg, Expr)]
    if expr.fn == "apply":
        return str(expr.args[-1].returns)  # of a vector, what its items are
    if expr.fn == "item":
        return inputs[0]
    _check(expr, inputs, where)
    if expr.fn == "age" and AS_OF not in types:
        raise DefinitionError(
            f"{where}: {expr.text} depends on the moment a feature is asked for. Use age in a feature, on the result of "
            'an aggregate, for example col("at").last().age("d").'
        )
    return result_type(expr.fn, inputs)


def _check(expr: Expr, inputs: Sequence[str], where: str) -> None:
    function = FUNCTIONS[expr.fn]
    if function.fits(inputs):
        return
    kinds = function.kinds(len(inputs))
    if kinds is None:
        raise DefinitionError(
            f"{where}: {expr.text} has {len(inputs)} inputs, which {expr.fn} does not take."
        )
    shown = [item for item, kind in zip(inputs, kinds, strict=True) if kind[0] != "="]  # a zone is no column
    hint = _INSTEAD.get((expr.fn, *inputs), "") or _INSTEAD.get((expr.fn, *shown), "")
    if "str" in inputs and any(item in PLACES for item in inputs):
        hint = 'A decimal constant is written Decimal("12.30").'
    raise DefinitionError(
        f"{where}: {expr.text} does not fit columns of type {' and '.join(shown)}.{' ' if hint else ''}{hint}"
    )


def literal(value: object) -> str:
    """Return the type of a constant."""
    if isinstance(value, Decimal):
        return str(literal_type(value))
    return {bool: "bool", int: "int", str: "str"}.get(type(value), "float")


def result_type(fn: str, inputs: Sequence[str]) -> str:
    """Return the type of a function's result for inputs that fit it.

    Examples
    --------
    >>> result_type("add", ["int", "bool"]), result_type("fill_null", ["int", "float"])
    ('int', 'float')
    """
    return FUNCTIONS[fn].type_of(inputs)


def brought(fn: str, inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the types to which the inputs of a function are brought before it is computed."""
    return FUNCTIONS[fn].brought(inputs) if fn in FUNCTIONS else tuple(inputs)


def picks(fn: str) -> bool:
    """Return whether a function compares its inputs or picks one: they are brought with all their digits, the result counts."""
    return FUNCTIONS[fn].result in ("bool", "first", "same")
