"""The type of an expression, found before any data is touched."""

from collections.abc import Mapping, Sequence

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import AS_OF, NUMERIC, Expr, need
from tenfold.core.functions import FUNCTIONS


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
    if expr.fn not in FUNCTIONS:
        raise DefinitionError(
            f"{where} uses {expr.text} where rows are computed one by one. Use it in a feature view."
        )
    inputs = [infer(arg, types, where) for arg in expr.args if isinstance(arg, Expr)]
    shown = inputs[:1] if inputs[1:] == ["str"] else inputs  # a time zone is no column
    if not _fits(expr.fn, inputs):
        raise DefinitionError(f"{where}: {expr.text} does not fit columns of type {' and '.join(shown)}.")
    if expr.fn == "age" and AS_OF not in types:
        raise DefinitionError(
            f"{where}: {expr.text} depends on the moment a feature is asked for. Use age in a feature, on the result of "
            'an aggregate, for example col("at").last().age("d").'
        )
    return result_type(expr.fn, inputs)


def literal(value: object) -> str:
    """Return the type of a constant."""
    return {bool: "bool", int: "int", str: "str"}.get(type(value), "float")


def result_type(fn: str, inputs: Sequence[str]) -> str:
    """Return the type of a function's result for inputs that fit it.

    Examples
    --------
    >>> result_type("add", ["int", "bool"]), result_type("fill_null", ["int", "float"])
    ('int', 'float')
    """
    kind = FUNCTIONS[fn]
    if kind == "same" and len(set(inputs)) == 1:
        return inputs[0]
    if kind in ("same", "number"):
        return "float" if "float" in inputs else "int"
    return kind


def _fits(fn: str, inputs: Sequence[str]) -> bool:
    both = set(inputs)
    if fn in ("eq", "ne", "lt", "le", "gt", "ge", "fill_null"):
        return len(both) == 1 or both <= set(NUMERIC)
    if fn in ("and", "or", "not"):
        return both == {"bool"}
    if fn in ("hour", "minute_of_day", "weekday", "month"):
        return inputs[0] == "time"
    if fn == "age":
        return inputs[0] == "time"
    return fn == "is_null" or both <= set(NUMERIC)
