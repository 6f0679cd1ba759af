"""Functions of one row: numbers, conditions, missing values, types; text and dates in the two modules beside it.

The closed list with the type of each is in FUNCTIONS; docs/expressions.md says what each means.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn, Protocol, Self, overload

from tenfold.core.dates import Dates
from tenfold.core.decimals import PLACES, text_of
from tenfold.core.errors import DefinitionError, UnknownFunction, suggest
from tenfold.core.texts import Texts
from tenfold.core.vector import Vector, applied

MOST_DIGITS = 15
CASTS = ("int", "float", "bool", "str")
_NO_FUNCTIONS = (
    "aggregates",
    "args",
    "columns",
    "fn",
    "n",
    "replace_leaves",
    "text",
    "walk",
    "where",
    "window",
)
"""What an expression consists of, for who reads it."""
_RATIO = "a quotient of two aggregates, such as count(where=...) / count()"
_SINCE = 'the age of the last one, such as col("at").last().age("h")'
_DECAYED = '.decayed_sum(half_life="1d")'
_INSTEAD = {
    "avg": ".mean()",
    "average": ".mean()",
    "median": ".approx_quantile(0.5)",
    "quantile": ".approx_quantile(0.5)",
    "percentile": ".approx_quantile(0.5)",
    "count": "count(), or count(where=...)",
    "count_if": "count(where=...)",
    "count_distinct": ".n_unique()",
    "ratio": _RATIO,
    "rate": _RATIO,
    "time_since": _SINCE,
    "time_since_last": _SINCE,
    "ewm": _DECAYED,
    "ewma": _DECAYED,
    "ewm_mean": _DECAYED,
    "shift": ".lag(1)",
    "log": ".ln(), or .log10()",
    "fillna": ".fill_null(0)",
    "astype": '.cast("int")',
    "isin": ".is_in([...])",
}
"""What is written instead of functions that others have; the nearest name would mislead."""


class Scalar(Texts, Dates, Protocol):
    """The functions of an expression that are computed row by row."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _INSTEAD:
            raise UnknownFunction(f'an expression has no function "{name}". Write {_INSTEAD[name]}.')
        known = [
            other for other in dir(type(self)) if not other.startswith("_") and other not in _NO_FUNCTIONS
        ]
        raise UnknownFunction(f'an expression has no function "{name}".{suggest(name, known)}')

    # Numbers ------------------------------------------------------------------------------------------

    def abs(self) -> Self:
        """Return the absolute value."""
        return self._call("abs")

    def sign(self) -> Self:
        """Return -1, 0 or 1."""
        return self._call("sign")

    def floor(self) -> Self:
        """Return the largest whole number that is not greater; a zero is never negative."""
        return self._call("floor")

    def ceil(self) -> Self:
        """Return the smallest whole number that is not less; a zero is never negative."""
        return self._call("ceil")

    def trunc(self) -> Self:
        """Return the whole number next to it towards zero; a zero is never negative."""
        return self._call("trunc")

    def round(self, digits: int = 0) -> Self:
        """Return the value rounded to so many decimals (0 to 15), a tie to the even neighbour.

        That is rint(x * 10^digits) / 10^digits, as numpy and polars compute it, and x itself where it has no more
        decimals to lose; a zero is never negative.
        """
        if type(digits) is not int or not 0 <= digits <= MOST_DIGITS:
            raise DefinitionError(f"round({digits!r}): write how many decimals, 0 to {MOST_DIGITS}.")
        return self._call("round", digits)

    def clip(self, lower: object = None, upper: object = None) -> Self:
        """Return the value, `lower` where it is less, `upper` where it is greater; either may be left out."""
        if lower is None and upper is None:
            raise DefinitionError("clip() has no bound. Write for example .clip(0, 100) or .clip(upper=100).")
        if lower is None:
            return self._call("gt", upper)._call("when", upper, self)
        if upper is None:
            return self._call("lt", lower)._call("when", lower, self)
        return self._call("clip", lower, upper)

    def least(self, *others: object) -> Self:
        """Return the smallest of several values, nulls left out, as SQL's `least`; null when all are null."""
        return self._call("least", *_several("least", others))

    def greatest(self, *others: object) -> Self:
        """Return the largest of several values, nulls left out, as SQL's `greatest`; null when all are null."""
        return self._call("greatest", *_several("greatest", others))

    # Mathematics: the C library's double ----------------------------------------------------------------

    def sqrt(self) -> Self:
        """Return the square root; null for a negative value."""
        return self._call("sqrt")

    def exp(self) -> Self:
        """Return e to the power of the value."""
        return self._call("exp")

    def expm1(self) -> Self:
        """Return exp(x) - 1, exact for small x."""
        return self._call("expm1")

    def ln(self) -> Self:
        """Return the natural logarithm; null unless the value is positive."""
        return self._call("ln")

    def log2(self) -> Self:
        """Return the logarithm to base 2; null unless the value is positive."""
        return self._call("log2")

    def log10(self) -> Self:
        """Return the logarithm to base 10; null unless the value is positive."""
        return self._call("log10")

    def log1p(self) -> Self:
        """Return ln(1 + x), exact for small x; null unless x is greater than -1."""
        return self._call("log1p")

    def sin(self) -> Self:
        """Return the sine of an angle in radians."""
        return self._call("sin")

    def cos(self) -> Self:
        """Return the cosine of an angle in radians."""
        return self._call("cos")

    def tan(self) -> Self:
        """Return the tangent of an angle in radians."""
        return self._call("tan")

    def asin(self) -> Self:
        """Return the arc sine in radians; null outside of [-1, 1]."""
        return self._call("asin")

    def acos(self) -> Self:
        """Return the arc cosine in radians; null outside of [-1, 1]."""
        return self._call("acos")

    def atan(self) -> Self:
        """Return the arc tangent in radians."""
        return self._call("atan")

    def atan2(self, x: object) -> Self:
        """Return the angle in radians of the point (x, self)."""
        return self._call("atan2", x)

    def tanh(self) -> Self:
        """Return the hyperbolic tangent."""
        return self._call("tanh")

    def sigmoid(self) -> Self:
        """Return 1 / (1 + exp(-x)), for negative x as exp(x) / (1 + exp(x))."""
        return self._call("sigmoid")

    def degrees(self) -> Self:
        """Return radians as degrees."""
        return self._call("degrees")

    def radians(self) -> Self:
        """Return degrees as radians."""
        return self._call("radians")

    # Conditions -----------------------------------------------------------------------------------------

    def between(self, lower: object, upper: object) -> Self:
        """Return whether lower <= value <= upper: short for two comparisons and `&`."""
        return self._call("ge", lower)._call("and", self._call("le", upper))

    def is_in(self, values: object) -> Self:
        """Return whether the value equals one of a list of constants."""
        items = (
            list(values)
            if isinstance(values, (list, tuple, range))
            else sorted(values)
            if isinstance(values, (set, frozenset))
            else []
        )
        if not items:
            raise DefinitionError(f'is_in({values!r}): write a list of constants, such as ["a", "b"].')
        return self._call("is_in", *items)

    def then(self, value: object, otherwise: object = None) -> Self:
        """Return `value` where this condition is true, else `otherwise` (null when left out), as CASE WHEN in SQL.

        A null condition is not true.

        Examples
        --------
        >>> from tenfold import col
        >>> (col("amount") > 100).then("large", (col("amount") > 10).then("medium", "small")).text
        "when((amount > 100), 'large', when((amount > 10), 'medium', 'small'))"
        """
        return self._call("when", value, *(() if otherwise is None else (otherwise,)))

    # Missing values -------------------------------------------------------------------------------------

    def is_null(self) -> Self:
        """Return whether the value is missing; never null itself."""
        return self._call("is_null")

    def is_not_null(self) -> Self:
        """Return whether the value is there; never null itself."""
        return self._call("is_not_null")

    def fill_null(self, value: object) -> Self:
        """Return the value, or `value` where it is missing."""
        return self._call("fill_null", value)

    def coalesce(self, *others: object) -> Self:
        """Return the first of several values that is not missing."""
        return self._call("coalesce", *_several("coalesce", others))

    def null_if(self, value: object) -> Self:
        """Return the value, or null where it equals `value`, such as a code for "not known"."""
        return self._call("null_if", value)

    # Types, and the way out -----------------------------------------------------------------------------

    def cast(self, to: str) -> Self:
        """Return the value as another type: "int", "float", "bool", "str" or "decimal(2)"; null when it does not stand for one.

        The number of a decimal is that of its places, 0 to 18.

        Examples
        --------
        >>> from tenfold import col
        >>> col("price").cast("decimal(2)").text
        "to_decimal(price, Decimal('0.00'))"
        """
        if to in PLACES:
            return self._call("to_decimal", Decimal(text_of(0, PLACES[to])))
        if to not in CASTS:
            known = (*CASTS, "decimal(2)")
            raise DefinitionError(f"cast({to!r}) is not a type to cast to.{suggest(str(to), known)}")
        return self._call(f"to_{to}")

    @overload
    def apply(
        self, function: Callable[..., Any], *others: object, returns: str, row_by_row: bool = False
    ) -> Self: ...

    @overload
    def apply(
        self,
        function: Callable[..., Any],
        *others: object,
        returns: str,
        size: int,
        row_by_row: bool = False,
    ) -> Vector[Self]: ...

    def apply(
        self,
        function: Callable[..., Any],
        *others: object,
        returns: str,
        size: int | None = None,
        row_by_row: bool = False,
    ) -> Any:
        """Return what a Python function of numpy arrays computes, row by row, for what the list does not have.

        Parameters
        ----------
        function
            A function defined with `def`. It takes one array per expression, of the same length, and returns an array
            of that length. Numbers and booleans come as float64 with NaN for null, text as object with None, times as
            datetime64[us] with NaT. A row's result must not depend on the other rows, to the bit: online there is one
            row. Some rows of many are computed alone too, and a difference is an error.
        others
            More expressions, vectors or constants, to pass; a vector comes as one array of shape (n, its size).
        returns
            "int", "float", "bool" or "str". NaN, infinity and None come out as null.
        size
            How many numbers the function returns per row, in an array of shape (n, size): the result is a vector, whose
            items are expressions.
        row_by_row
            Call the function with one row at a time, everywhere: slow for many rows, and the same bits also where they
            depend on how many rows there are, as in products of matrices.

        The source of the function, and of what it calls in its own module, is part of the fingerprint. There is no SQL
        for it.
        """
        return applied(function, [self, *others], returns, size=size, row_by_row=row_by_row)


def _several(fn: str, others: tuple[object, ...]) -> tuple[object, ...]:
    if not others:
        raise DefinitionError(f'{fn}() compares several values. Write for example col("a").{fn}(col("b")).')
    return others
