"""Expressions written as SQL text: the same tree that `col` and operators make."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tenfold.core.decimals import DIGITS, PLACES, decimal_type
from tenfold.core.errors import DefinitionError, MissingExtra, suggest
from tenfold.core.expr import Expr, col, lit
from tenfold.core.functions import FUNCTIONS
from tenfold.core.windows import AGGREGATES
from tenfold.processing.bring import as_decimal, bringing
from tenfold.processing.sql_names import AMBIGUOUS, BINARY, CASTS, NAMES, OPERATORS, PARTS, TO, UNITS


def sql(text: str, **named: object) -> Expr:
    """Return the expression that SQL text describes: columns, operators, CASE, CAST and the functions of the closed list.

    Parameters
    ----------
    text
        One expression. Functions are written by their name here or the usual one in SQL (`nullif`, `length`, `ifnull`), and
        mean what docs/expressions.md says; `/` divides to floats.
    named
        Expressions or constants that stand for names in the text: aggregates, features of views, parts that repeat.

    Raises
    ------
    DefinitionError
        When the text is not one such expression; an unknown function comes with the nearest one.
    MissingExtra
        When the package that reads SQL is not installed.

    Examples
    --------
    >>> sql("amount / nullif(mean_30d, 0) > 2").text
    '((amount / null_if(mean_30d, 0)) > 2)'
    >>> sql("amount / total", total=col("amount").sum(window="7d")).text
    '(amount / sum(amount, window=604800s))'
    """
    if type(text) is not str or not text.strip():
        raise DefinitionError(
            f'sql({text!r}) is not text. Write for example sql("amount / nullif(mean, 0)").'
        )
    reader = _Reader(text, named)
    found = reader.read(_parse(text))
    for name in sorted(named.keys() - reader.used):
        raise DefinitionError(
            f'sql("{text}") reads no "{name}".{suggest(name, found.columns() | reader.used)}'
        )
    return found


@lru_cache(maxsize=1)
def _parser() -> Callable[[str], Any]:
    """Return a parser that keeps every function as it is written."""
    try:
        from sqlglot.dialects.duckdb import DuckDB
    except ImportError as error:
        raise MissingExtra("SQL text", "sql") from error
    base = DuckDB.parser_class
    kept = ("CAST", "TRY_CAST", "EXTRACT")
    changed = {
        "FUNCTIONS": {},
        "FUNCTION_PARSERS": {name: base.FUNCTION_PARSERS[name] for name in kept},
        "NO_PAREN_FUNCTIONS": {},
    }
    parser, dialect = type("Parser", (base,), changed), DuckDB()
    return lambda text: parser(dialect=dialect).parse(dialect.tokenize(text), text)


def _parse(text: str) -> Any:
    parser = _parser()
    from sqlglot.errors import SqlglotError

    try:
        found = parser(text)
    except SqlglotError as error:
        said = getattr(error, "errors", None) or [{}]
        what, near = said[0].get("description", str(error)), said[0].get("highlight")
        place = f" near {near!r}" if near else ""
        raise DefinitionError(f'sql("{text}") cannot be read{place}: {what}') from error
    if len(found) != 1 or found[0] is None:
        raise DefinitionError(f'sql("{text}") is not one expression.')
    return found[0]


class _Reader:
    """Turns the nodes of one parsed text into expressions."""

    def __init__(self, text: str, named: Mapping[str, object]) -> None:
        self._text, self._named = text, named
        self.used: set[str] = set()

    def read(self, node: Any) -> Expr:
        """Return a node as an expression."""
        value = self._value(node)
        return value if isinstance(value, Expr) else lit(value)

    def _value(self, node: Any) -> Any:
        """Return a constant as a Python value, anything else as an expression."""
        kind = type(node).__name__
        if kind in _PLAIN:
            return _PLAIN[kind](self, node)
        if kind in BINARY:
            return self._binary(BINARY[kind], node)
        if kind in _READ:
            return _READ[kind](self, node)
        raise self._refused(node, "is nothing a row-by-row expression is made of")

    def _refused(self, node: Any, why: str) -> DefinitionError:
        return DefinitionError(
            f'sql("{self._text}"): {node.sql(dialect="duckdb", normalize_functions=False)} {why}'
        )

    def _column(self, node: Any) -> Expr:
        name = node.name
        if node.table:
            raise self._refused(
                node, f"names a table. Write {name}, or pass {name}=... to sql for another expression."
            )
        self.used.add(name)
        return lit(self._named[name]) if name in self._named else col(name)

    def _literal(self, node: Any) -> Any:
        if node.is_string:
            return node.this
        return int(node.this) if node.this.isdigit() else float(node.this)

    def _negative(self, node: Any) -> Any:
        value = self._value(node.this)
        if isinstance(value, str):
            raise self._refused(node, "is no number")
        return -value

    def _binary(self, fn: str, node: Any) -> Expr:
        if fn in ("add", "sub") and type(node.expression).__name__ == "Interval":
            return self._shifted(node, "-" if fn == "sub" else "")
        return Expr(fn, (self.read(node.this), self.read(node.expression)))

    def _shifted(self, node: Any, sign: str) -> Expr:
        unit = str(node.expression.unit or "").lower().rstrip("s")
        if unit not in UNITS:
            units = ", ".join(UNITS)
            raise self._refused(node.expression, f"is no fixed time. Intervals are whole numbers of {units}.")
        return self.read(node.this).offset_by(f"{sign}{node.expression.this.name}{UNITS[unit]}")

    def _is(self, node: Any) -> Expr:
        what = type(node.expression).__name__
        value = self.read(node.this)
        if what == "Null":
            return value.is_null()
        if what == "Boolean":
            return (value if node.expression.this else ~value).fill_null(False)
        raise self._refused(node, "is neither IS NULL nor IS TRUE")

    def _not(self, node: Any) -> Expr:
        inner = node.this
        if type(inner).__name__ == "Is" and type(inner.expression).__name__ == "Null":
            return self.read(inner.this).is_not_null()
        return ~self.read(inner)

    def _in(self, node: Any) -> Expr:
        values = [self._value(item) for item in node.expressions]
        if not values or any(isinstance(value, Expr) for value in values):
            raise self._refused(node, "does not ask for one of a list of constants")
        return self.read(node.this).is_in(values)

    def _between(self, node: Any) -> Expr:
        return self.read(node.this).between(self.read(node.args["low"]), self.read(node.args["high"]))

    def _like(self, node: Any) -> Expr:
        pattern = self._value(node.expression)
        body = pattern.strip("%") if isinstance(pattern, str) else "%"
        if "%" in body or "_" in body:
            raise self._refused(node, "is a pattern; only 'text%', '%text' and '%text%' are, and without _.")
        value = self.read(node.this)
        ends = (pattern.endswith("%"), pattern.startswith("%") and len(pattern) > 1)
        return {
            (True, True): value.contains(body),
            (True, False): value.starts_with(body),
            (False, True): value.ends_with(body),
            (False, False): value == body,
        }[ends]

    def _case(self, node: Any) -> Expr:
        base = node.args.get("this")
        branches = [
            (
                self.read(item.this) if base is None else self.read(base) == self.read(item.this),
                item.args["true"],
            )
            for item in node.args["ifs"]
        ]
        return self._when(branches, node.args.get("default"))

    def _if(self, node: Any) -> Expr:
        return self._when([(self.read(node.this), node.args["true"])], node.args.get("false"))

    def _when(self, branches: Sequence[tuple[Expr, Any]], default: Any) -> Expr:
        other = None if default is None or type(default).__name__ == "Null" else self.read(default)
        for condition, value in reversed(branches):
            if type(value).__name__ != "Null":
                other = condition.then(self.read(value), other)
            elif other is not None:
                other = (~condition.fill_null(False)).then(other)
        if other is None:
            raise DefinitionError(f'sql("{self._text}"): CASE has null in every branch.')
        return other

    def _cast(self, node: Any) -> Expr:
        wanted, sizes = node.args["to"].this.name, [size.name for size in node.args["to"].expressions]
        if wanted == "DECIMAL":
            return self._decimal(node, sizes)
        found = next((kind for kind, names in CASTS.items() if wanted in names), None)
        if found is None or sizes:
            raise self._refused(
                node, "casts to none of BIGINT, DOUBLE, BOOLEAN, VARCHAR and DECIMAL(18, places)"
            )
        return self.read(node.this).cast(found)

    def _decimal(self, node: Any, sizes: Sequence[str]) -> Expr:
        kind = decimal_type(int(sizes[1])) if len(sizes) == 2 and sizes[1].isdigit() else ""
        if sizes[:1] != [str(DIGITS)] or kind not in PLACES:
            raise self._refused(
                node, f"is no decimal of {DIGITS} digits. Write for example DECIMAL({DIGITS}, 2)."
            )
        value = self._value(node.this)
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            return self.read(node.this).cast(kind)
        units = bringing("str", kind)(str(value))
        if units is None:
            raise self._refused(
                node, f"does not cast a number of at most {DIGITS} digits, {sizes[1]} of them places"
            )
        return lit(as_decimal(units, kind))

    def _extract(self, node: Any) -> Expr:
        return self._date_part(node, node.this.name.lower(), node.expression)

    def _date_part(self, node: Any, part: str, moment: Any) -> Expr:
        name = PARTS.get(part, part)
        zone: tuple[str, ...] = ()
        if type(moment).__name__ == "AtTimeZone":
            zone, moment = (moment.args["zone"].name,), moment.this
        if name not in FUNCTIONS or FUNCTIONS[name].takes[1:] != ("=zone",):
            known = [other for other, item in FUNCTIONS.items() if item.takes[1:] == ("=zone",)]
            raise self._refused(node, f'has an unknown part "{part}".{suggest(part, known)}')
        made: Expr = getattr(self.read(moment), name)(*zone)
        return made + 1 if part in ("isodow", "dayofweek_iso") else made

    def _call(self, node: Any) -> Expr:
        written = str(node.this).lower()
        if written in AMBIGUOUS:
            raise self._refused(node, AMBIGUOUS[written])
        if written in _SPECIAL:
            return self._special(written, node)
        name = NAMES.get(written, written)
        if name in AGGREGATES:
            raise self._refused(
                node,
                f"aggregates. Pass it by name: sql(\"... total ...\", total=col(...).{name}(window='7d')).",
            )
        if name not in FUNCTIONS:
            raise self._refused(node, f"has an unknown function.{suggest(written, [*FUNCTIONS, *NAMES])}")
        return self._of(node, name, [self._value(item) for item in node.expressions])

    def _special(self, written: str, node: Any) -> Expr:
        try:
            return _SPECIAL[written](self, node)
        except (IndexError, ValueError) as error:
            if isinstance(error, DefinitionError):
                raise
            raise self._refused(
                node, f"has {len(node.expressions)} inputs, which it does not take"
            ) from error

    def _of(self, node: Any, name: str, values: Sequence[Any]) -> Expr:
        if not values:
            raise self._refused(node, "has no input")
        first = values[0] if isinstance(values[0], Expr) else lit(values[0])
        wrong = self._refused(node, f"has {len(values)} inputs, which {name} does not take")
        if name in OPERATORS and FUNCTIONS[name].kinds(len(values)) is None:
            raise wrong
        if name in OPERATORS:
            return Expr(name, (first, *map(lit, values[1:])))
        if name == "is_in":
            return first.is_in(list(values[1:]))
        if name in TO:
            return first.cast(name.removeprefix("to_"))
        method = getattr(first, "then" if name == "when" else name)
        try:
            made: Expr = method(*values[1:])
        except TypeError as error:
            raise wrong from error
        return made

    def _whole(self, node: Any, item: Any) -> int:
        value = self._value(item)
        if type(value) is not int:
            raise self._refused(node, "needs whole numbers for positions and lengths")
        return value

    def _substring(self, node: Any) -> Expr:
        args = node.expressions
        start, *length = (self._whole(node, item) for item in args[1:])
        if start == 0:
            raise self._refused(node, "counts from 1, as SQL does, or from the end when negative")
        return self.read(args[0]).slice(start - 1 if start > 0 else start, *length)

    def _left(self, node: Any) -> Expr:
        args = node.expressions
        return self.read(args[0]).slice(0, self._whole(node, args[1]))

    def _right(self, node: Any) -> Expr:
        args = node.expressions
        return self.read(args[0]).slice(-self._whole(node, args[1]))

    def _part_call(self, node: Any) -> Expr:
        args = node.expressions
        return self._date_part(node, str(self._value(args[0])).lower(), args[1])

    def _truncated(self, node: Any) -> Expr:
        unit, moment, *zone = node.expressions
        if type(moment).__name__ == "Literal":  # the order of the method: instant, unit
            unit, moment = moment, unit
        return self.read(moment).date_trunc(self._value(unit), *(self._value(item) for item in zone))


_READ: Mapping[str, Callable[[_Reader, Any], Any]] = {
    "Is": _Reader._is,
    "Not": _Reader._not,
    "In": _Reader._in,
    "Between": _Reader._between,
    "Like": _Reader._like,
    "Case": _Reader._case,
    "If": _Reader._if,
    "Cast": _Reader._cast,
    "TryCast": _Reader._cast,
    "Extract": _Reader._extract,
    "Anonymous": _Reader._call,
}
_PLAIN: Mapping[str, Callable[[_Reader, Any], Any]] = {
    "Column": _Reader._column,
    "Literal": _Reader._literal,
    "Boolean": lambda _, node: bool(node.this),
    "Neg": _Reader._negative,
    "Paren": lambda reader, node: reader._value(node.this),
}
_SPECIAL: Mapping[str, Callable[[_Reader, Any], Expr]] = {
    "substring": _Reader._substring,
    "substr": _Reader._substring,
    "left": _Reader._left,
    "right": _Reader._right,
    "date_part": _Reader._part_call,
    "datepart": _Reader._part_call,
    "date_trunc": _Reader._truncated,
}
