"""The expression language: a small syntax tree of a closed list of functions.

An expression is a value. It is written with `col("amount") > 10`, knows its name and its inputs, and computes nothing
by itself: `tenfold.processing.evaluate` gives it one meaning for arrays of any length, one row included.

Null rules: a null input makes a null result, except for what asks about null (`is_null`, `is_not_null`, `fill_null`,
`coalesce`, `then`), `least` and `greatest`, which leave nulls out, and the three-valued `&` and `|` (false & null is
false, true | null is true). What cannot be represented is null: a division by zero, a float that is not finite, an
integer of 2^53 or more in magnitude, a decimal of more than 18 digits. So integers are exact as floats too, and nothing
wraps around. Integers divide to floats; true and false count as 1 and 0 in arithmetic; text compares by code point.
docs/expressions.md has every function.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Unpack

from tenfold.core.applied import ArrayFunction
from tenfold.core.decimals import literal_type
from tenfold.core.errors import DefinitionError
from tenfold.core.functions import NUMERIC
from tenfold.core.scalar import Scalar
from tenfold.core.times import UNITS, to_us
from tenfold.core.vector import INSTEAD, Vector
from tenfold.core.windows import AGGREGATES, Aggregates, Over, Window, window_of

__all__ = ["AS_OF", "LARGEST", "NUMERIC", "Expr", "col", "count", "exists", "feature", "lit", "need"]

LARGEST = {"int": 2**53, "float": 2.0**43}
"""Numbers from here on cannot be summed exactly, by their type: records and constants keep below."""

AS_OF = "_as_of"
"""The column that holds the moment a feature is asked for; `age` reads it."""


@dataclass(frozen=True, eq=False, slots=True)
class Expr(Scalar, Aggregates):
    """A column expression; build it with `col`, `count`, `exists` and operators.

    Examples
    --------
    >>> from tenfold import col
    >>> (col("amount") / col("mean") > 2).text
    '((amount / mean) > 2)'
    """

    fn: str
    args: tuple[Any, ...] = ()
    where: "Expr | None" = None
    window: Window | None = None
    n: Any = 0

    def __bool__(self) -> bool:
        raise DefinitionError(
            "an expression has no truth value while it is being declared. Combine conditions with &, | and ~ "
            "instead of and, or and not."
        )

    __hash__ = object.__hash__

    def __add__(self, other: object) -> "Expr":
        return _call("add", self, other)

    def __sub__(self, other: object) -> "Expr":
        return _call("sub", self, other)

    def __mul__(self, other: object) -> "Expr":
        return _call("mul", self, other)

    def __truediv__(self, other: object) -> "Expr":
        return _call("div", self, other)

    def __floordiv__(self, other: object) -> "Expr":
        return _call("floordiv", self, other)

    def __mod__(self, other: object) -> "Expr":
        return _call("mod", self, other)

    def __pow__(self, other: object) -> "Expr":
        return _call("pow", self, other)

    def __radd__(self, other: object) -> "Expr":
        return _call("add", other, self)

    def __rsub__(self, other: object) -> "Expr":
        return _call("sub", other, self)

    def __rmul__(self, other: object) -> "Expr":
        return _call("mul", other, self)

    def __rtruediv__(self, other: object) -> "Expr":
        return _call("div", other, self)

    def __rfloordiv__(self, other: object) -> "Expr":
        return _call("floordiv", other, self)

    def __rmod__(self, other: object) -> "Expr":
        return _call("mod", other, self)

    def __rpow__(self, other: object) -> "Expr":
        return _call("pow", other, self)

    def __neg__(self) -> "Expr":
        return _call("neg", self)

    def __eq__(self, other: object) -> "Expr":  # type: ignore[override]
        return _call("eq", self, other)

    def __ne__(self, other: object) -> "Expr":  # type: ignore[override]
        return _call("ne", self, other)

    def __lt__(self, other: object) -> "Expr":
        return _call("lt", self, other)

    def __le__(self, other: object) -> "Expr":
        return _call("le", self, other)

    def __gt__(self, other: object) -> "Expr":
        return _call("gt", self, other)

    def __ge__(self, other: object) -> "Expr":
        return _call("ge", self, other)

    def __and__(self, other: object) -> "Expr":
        return _call("and", self, other)

    def __or__(self, other: object) -> "Expr":
        return _call("or", self, other)

    def __invert__(self) -> "Expr":
        return _call("not", self)

    def __rand__(self, other: object) -> "Expr":
        return _call("and", other, self)

    def __ror__(self, other: object) -> "Expr":
        return _call("or", other, self)

    def _call(self, fn: str, *args: object, constants: tuple[object, ...] = ()) -> "Expr":
        made = _call(fn, self, *args)
        return replace(made, args=made.args + tuple(Expr("lit", (value,)) for value in constants))

    def _apply(self, function: ArrayFunction, *others: object) -> "Expr":
        return Expr("apply", (self, *map(lit, others), function))

    def _over(self, aggregate: str, over: Over, n: int = 0) -> "Expr":
        return _aggregate(aggregate, self, over, n)

    @property
    def text(self) -> str:
        """The expression as it reads, one text for one meaning; part of every fingerprint."""
        return _text(self)

    def walk(self) -> Iterator["Expr"]:
        """Yield this expression and all it is made of."""
        yield self
        parts = (*self.args, self.where)
        for part in parts:
            if isinstance(part, Expr):
                yield from part.walk()

    def columns(self) -> set[str]:
        """Return the names of the columns it reads."""
        return {node.args[0] for node in self.walk() if node.fn == "col"}

    def aggregates(self) -> list["Expr"]:
        """Return the aggregates in it, outermost first."""
        return [node for node in self.walk() if node.fn in AGGREGATES]

    def replace_leaves(self, names: dict[str, str]) -> "Expr":
        """Return the expression with the aggregates and features named in `names` (by text) as columns."""
        if self.text in names:
            return col(names[self.text])
        args = tuple(arg.replace_leaves(names) if isinstance(arg, Expr) else arg for arg in self.args)
        return replace(self, args=args)


def col(name: str) -> Expr:
    """Return the column of a source, or of the row that is being predicted, by name.

    Examples
    --------
    >>> from tenfold import col
    >>> col("delay").mean(window="3h").text
    'mean(delay, window=10800s)'
    """
    if type(name) is not str or not name:
        raise DefinitionError(f'col({name!r}) is not a column name. Write for example col("amount").')
    return Expr("col", (name,))


def count(**over: Unpack[Over]) -> Expr:
    """Return the number of records, 0 when there is none."""
    return _aggregate("count", lit(1), over)


def exists() -> Expr:
    """Return, as a label's value, whether an event came within the horizon: 1 if so, 0 once the horizon has passed.

    Examples
    --------
    >>> from tenfold import exists
    >>> exists().text
    'exists()'
    """
    return Expr("exists")


def lit(value: Any) -> Expr:
    """Return a constant as an expression."""
    if isinstance(value, Expr):
        return value
    if value is None:
        raise DefinitionError(
            "None cannot be part of an expression. To ask whether a value is missing, write .is_null()."
        )
    if type(value) is int and not abs(value) < LARGEST["int"]:
        raise DefinitionError(
            f"{value!r} cannot be part of an expression. Whole numbers are smaller than 2^53."
        )
    if isinstance(value, float) and not (math.isfinite(value) and abs(value) < LARGEST["float"]):
        raise DefinitionError(f"{value!r} cannot be part of an expression. Numbers are smaller than 2^43.")
    if isinstance(value, Decimal) and literal_type(value) is None:
        raise DefinitionError(f"{value!r} cannot be part of an expression. Decimals have up to 18 digits.")
    if isinstance(value, (bool, int, float, str, Decimal)):
        return Expr("lit", (value,))
    instead = INSTEAD if isinstance(value, Vector) else "Use a number, text, True or False, or col(...)."
    if isinstance(value, datetime):
        instead = f'Compare seconds since 1970, .epoch("s"), with {to_us(value) // UNITS["s"]}.'
    raise DefinitionError(f"{value!r} cannot be part of an expression. {instead}")


def feature(view: Any, name: str) -> Expr:
    """Return a reference to a feature of a view; written `view["name"]`."""
    return Expr("feature", (view.name, name, view))


def _call(fn: str, *args: object) -> Expr:
    return Expr(fn, tuple(lit(arg) for arg in args))


def _aggregate(fn: str, value: Expr, over: Over, n: Any = 0) -> Expr:
    where = over.get("where")
    if where is not None:
        need(where, f"where of {fn}")
    window = window_of(fn, over)
    inner = [*value.aggregates(), *(where.aggregates() if where is not None else ())]
    if inner:
        raise DefinitionError(
            f"{fn} of {inner[0].text} aggregates an aggregate. Compute the inner one in a feature view of its own."
        )
    return Expr(fn, (value,), where, window, n)


def need(value: object, where: str) -> None:
    """Raise DefinitionError unless a value is an expression."""
    if not isinstance(value, Expr):
        instead = INSTEAD if isinstance(value, Vector) else 'Write for example col("amount").'
        raise DefinitionError(f"{where} is {value!r}, not an expression. {instead}")


_SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "and": "&",
    "or": "|",
}


def _text(node: object) -> str:
    if not isinstance(node, Expr):
        return repr(node)
    if node.fn == "col":
        return str(node.args[0])
    if node.fn == "lit":
        return repr(node.args[0])
    if node.fn == "feature":
        return f"{node.args[0]}[{node.args[1]!r}]"
    if node.fn in _SIGNS:
        return f"({_text(node.args[0])} {_SIGNS[node.fn]} {_text(node.args[1])})"
    if node.fn == "item":
        return f"{_text(node.args[0])}[{_text(node.args[1])}]"
    inner = [_text(arg) for arg in node.args]
    if node.n:
        inner.append(repr(node.n))
    if node.window is not None and node.window.text:
        inner.append(node.window.text)
    if node.where is not None:
        inner.append(f"where={_text(node.where)}")
    return f"{node.fn}({', '.join(inner)})"
