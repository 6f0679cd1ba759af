"""Expressions as SQL text that computes the same bits in DuckDB or Spark, or is refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.core.decimals import PLACES, joint
from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import AS_OF, Expr
from tenfold.core.functions import NUMERIC
from tenfold.core.infer import infer
from tenfold.core.times import DAY, UNITS
from tenfold.processing import decimals_sql
from tenfold.processing.calendar import EARLIEST, LATEST, PARTS, changes, offset
from tenfold.processing.dialects import DIALECTS, Dialect
from tenfold.processing.meaning import LARGEST

FAR = 130 * 365 * DAY  # to the end of 2099, about
SHORT = 60
"""Text up to this length is repeated where a value is needed twice; longer text gets a name."""


def to_sql(expr: Expr, types: Mapping[str, str], dialect: str = "duckdb") -> str:
    """Return an expression as SQL over columns of these types.

    Parameters
    ----------
    types
        The type of each column: "int" is BIGINT, "float" DOUBLE, "bool" BOOLEAN, "str" VARCHAR or STRING, "decimal(2)"
        DECIMAL(18, 2), "time" TIMESTAMP WITH TIME ZONE in DuckDB and TIMESTAMP in Spark.
    dialect
        "duckdb" or "spark".

    Raises
    ------
    DefinitionError
        When the dialect has no form of a function that gives the same bits; the message names the function.

    Examples
    --------
    >>> from tenfold import col
    >>> to_sql((col("a") > 2) & col("b").is_null(), {"a": "float", "b": "str"})
    '(("a" > 2e0) AND ("b" IS NULL))'
    >>> to_sql(col("a").log1p(), {"a": "float"})
    Traceback (most recent call last):
    tenfold.core.errors.DefinitionError: log1p(a) cannot be SQL for duckdb: the engine has no such function, and ln(1 + x) ...
    """
    writer = _Writer(_dialect(dialect), types)
    return writer.clean(expr, infer(expr, types, "SQL"))


def _dialect(name: str) -> Dialect:
    if name not in DIALECTS:
        raise DefinitionError(
            f'"{name}" is not a kind of SQL that is written here.{suggest(str(name), DIALECTS)}'
        )
    return DIALECTS[name]


def zone_check(zone: str, dialect: str = "duckdb") -> str:
    """Return a query that counts where an engine's rules of a zone differ from Python's, around every change 1970 to 2100.

    Engines bring their own release of the time zone database. Where the count is 0, dates of the zone are exact in SQL.
    """
    sql = _dialect(dialect)
    asked = [near for edge in changes(zone, 0, FAR) for near in (edge - 1, edge)] or [0]
    pairs = ", ".join(f"({moment}, {moment + offset(zone, moment)})" for moment in asked)
    local = sql.local_us.format("_at", "'" + zone + "'")
    return f"SELECT count(*) FROM (VALUES {pairs}) AS _moments(_at, _local) WHERE {local} <> _local"


class _Writer:
    """Writes SQL bottom up; `_names` counts the names given to values that are used more than once."""

    def __init__(self, dialect: Dialect, types: Mapping[str, str]) -> None:
        self._dialect, self._types, self._names = dialect, types, 0

    def clean(self, expr: Expr, kind: str) -> str:
        """Return SQL of a type, null where the value cannot be represented."""
        text = self.raw(expr, kind)
        unsafe = expr.fn in self._dialect.maths or expr.fn in ("add", "sub", "mul", "neg", "abs")
        if expr.fn in ("lit", "col") or not unsafe or self._type(expr) != "float":
            return text
        return self.named([text], f"CASE WHEN {self._dialect.finite} THEN {{0}} END")

    def compared(self, expr: Expr, kind: str) -> str:
        """Return SQL of a type for a comparison: a decimal of more than 18 digits is none the less one."""
        return self.raw(expr, kind, limited=False) if kind in PLACES else self.clean(expr, kind)

    def raw(self, expr: Expr, kind: str, *, limited: bool = True) -> str:
        """Return SQL of a type that may be an infinity or NaN instead of null, when it is a float."""
        if expr.fn == "lit" and kind in PLACES:
            return decimals_sql.literal(expr.args[0], kind, limited=limited)
        if expr.fn == "lit":
            return self._literal(expr.args[0], kind)
        own = self._type(expr)
        text = self._identifier(expr.args[0]) if expr.fn == "col" else self._compute(expr, own)
        if own != kind and (own in PLACES or kind in PLACES):
            return self._brought(text, own, kind, limited=limited)
        return text if kind == own or own not in NUMERIC else f"CAST({text} AS {self._dialect.types[kind]})"

    def _brought(self, text: str, own: str, kind: str, *, limited: bool = True) -> str:
        for template in decimals_sql.brought(own, kind, self._dialect, limited=limited):
            text = self.named([text], template)
        return text

    def named(self, inputs: Sequence[str], template: str) -> str:
        """Return a template with its inputs, those that are long and used more than once by name."""
        short, wraps = [], []
        for place, text in enumerate(inputs):
            once = template.count(f"{{{place}}}") < 2
            if once or len(text) <= SHORT:
                short.append(text)
                continue
            self._names += 1
            short.append(f"_v{self._names}")
            wraps.append((text, f"_v{self._names}"))
        result = template.format(*short)
        for text, name in reversed(wraps):
            result = self._dialect.let.format(text, name, result)
        return result

    def _type(self, expr: Expr) -> str:
        return infer(expr, self._types, "SQL")

    def _literal(self, value: Any, kind: str) -> str:
        if isinstance(value, str):
            return self._text(value)
        if kind == "bool":
            return "TRUE" if value else "FALSE"
        if kind == "float":
            text = repr(float(value))
            text = text if "e" in text else f"{text}e0".replace(".0e0", "e0")
            return f"({text})" if text[0] == "-" else text
        return f"CAST({int(value)} AS BIGINT)"

    def _text(self, value: str) -> str:
        if "\0" in value:
            raise DefinitionError(f"{value!r} has a NUL character, which SQL text cannot have.")
        return "'" + "".join(self._dialect.escapes.get(letter, letter) for letter in value) + "'"

    def _identifier(self, name: str) -> str:
        quote = self._dialect.quote
        return quote + name.replace(quote, quote * 2) + quote

    def _compute(self, expr: Expr, kind: str) -> str:
        fn = expr.fn
        if fn in ("apply", "item"):
            raise DefinitionError(f"{expr.text} is Python code, which has no SQL. Evaluate it in tenfold.")
        if fn in self._dialect.refused:
            raise DefinitionError(
                f"{expr.text} cannot be SQL for {self._dialect.name}: {self._dialect.refused[fn]}. Evaluate it in tenfold."
            )
        if fn in ("add", "sub", "mul"):
            return self._arithmetic(fn, expr.args, kind)
        if fn in self._dialect.maths:
            inputs = [self.raw(expr.args[0], "float") if fn == "div" else self.clean(expr.args[0], "float")]
            inputs += [self.clean(arg, "float") for arg in expr.args[1:]]
            return self.named(inputs, self._dialect.maths[fn])
        for special in (self._choose, self._whole, self._cast, self._cut, self._time):
            text = special(expr, kind)
            if text is not None:
                return text
        return self._plain(expr, kind)

    def _arithmetic(self, fn: str, args: Sequence[Expr], kind: str) -> str:
        sign = {"add": "+", "sub": "-", "mul": "*"}[fn]
        if kind == "float":
            return f"({self.raw(args[0], kind)} {sign} {self.raw(args[1], kind)})"
        if kind in PLACES:
            own = [self._type(arg).replace("bool", "int") for arg in args]
            wanted = own if fn == "mul" else [kind, kind]
            made, fits = decimals_sql.computed(fn, own, kind)
            inputs = [self.clean(arg, item) for arg, item in zip(args, wanted, strict=True)]
            return self.named([self.named(inputs, made)], fits)
        left, right = self.clean(args[0], kind), self.clean(args[1], kind)
        text = self._dialect.multiply.format(left, right) if fn == "mul" else f"({left} {sign} {right})"
        kept = self.named([text], f"CASE WHEN abs({{0}}) < {LARGEST} THEN {{0}} END")
        return f"CAST({kept} AS BIGINT)" if fn == "mul" else kept

    def _plain(self, expr: Expr, kind: str) -> str:
        kinds = [self._type(arg) for arg in expr.args]
        both = _joint(kinds) if expr.fn in ("eq", "ne", "lt", "le", "gt", "ge", "null_if") else ""
        wanted = kind if expr.fn in ("neg", "abs") else ""
        inputs = [
            (self.raw if expr.fn in ("neg", "abs") else self.compared if both else self.clean)(
                arg, wanted or both or own
            )
            for arg, own in zip(expr.args, kinds, strict=True)
        ]
        if expr.fn == "null_if" and any(item in PLACES for item in kinds):
            own = self.clean(expr.args[0], kind)
            return self.named([own, *inputs], "CASE WHEN {1} = {2} THEN NULL ELSE {0} END")
        if expr.fn in ("sign", "to_bool"):
            inputs = [self.clean(expr.args[0], "int" if kinds[0] == "bool" else kinds[0])]
        if expr.fn == "hash_bucket":
            text = f"CAST({inputs[0]} AS {self._dialect.types['str']})"
            inputs[0] = self._brought(inputs[0], kinds[0], "str") if kinds[0] in PLACES else text
        text = self.named(inputs, self._dialect.templates[expr.fn])
        return f"CAST({text} AS BIGINT)" if expr.fn == "null_if" and both != kind == "int" else text

    def _choose(self, expr: Expr, kind: str) -> str | None:
        fn, args = expr.fn, expr.args
        if fn in ("coalesce", "fill_null", "least", "greatest"):
            name = "coalesce" if fn == "fill_null" else fn
            return self._fitted(args, kind, f"{name}({', '.join(self.compared(arg, kind) for arg in args)})")
        if fn == "when":
            other = f" ELSE {self.compared(args[2], kind)}" if len(args) == 3 else ""
            text = f"CASE WHEN {self.clean(args[0], 'bool')} THEN {self.compared(args[1], kind)}{other} END"
            return self._fitted(args[1:], kind, text)
        if fn == "is_in":
            both = _joint([self._type(arg) for arg in args])
            first, *rest = (self.compared(arg, both) for arg in args)
            return f"({first} IN ({', '.join(rest)}))"
        if fn == "clip":
            bounds = "WHEN {0} < {1} THEN {1} WHEN {0} > {2} THEN {2} ELSE {0} END"
            return self.named(
                [self.clean(arg, kind) for arg in args],
                f"CASE WHEN {{1}} IS NULL OR {{2}} IS NULL THEN NULL {bounds}",
            )
        return f"({' || '.join(self.clean(arg, kind) for arg in args)})" if fn == "concat" else None

    def _fitted(self, args: Sequence[Expr], kind: str, text: str) -> str:
        """Return what was picked of decimals without one that has too many digits."""
        if kind not in PLACES or all(self._type(arg) == kind for arg in args):
            return text
        return self.named([text], decimals_sql.fitted(kind))

    def _whole(self, expr: Expr, kind: str) -> str | None:
        fn, args = expr.fn, expr.args
        if fn not in ("floor", "ceil", "trunc", "round", "floordiv", "mod"):
            return None
        if fn in ("floor", "ceil", "trunc", "round") and kind == "int":
            return self.clean(args[0], "int")
        if fn == "round":
            scale = self._literal(10.0 ** args[1].args[0], "float")
            return self.named([self.clean(args[0], "float"), scale], self._dialect.templates["float.round"])
        if fn == "floordiv" and kind == "float":
            return self.named(
                [self.clean(args[0] / args[1], "float")], self._dialect.templates["float.floor"]
            )
        return self.named([self.clean(arg, kind) for arg in args], self._dialect.templates[f"{kind}.{fn}"])

    def _cast(self, expr: Expr, kind: str) -> str | None:
        if expr.fn not in ("to_int", "to_float", "to_str", "to_decimal"):
            return None
        own = self._type(expr.args[0])
        text = self.clean(expr.args[0], own)
        if own == "str" and kind in PLACES:
            text = self._dialect.templates["strip"].format(text)
        if own != kind and (own in PLACES or kind in PLACES):
            return self._brought(text, own, kind)
        template = self._dialect.templates.get(f"{own}.{expr.fn}")
        if template is None:
            return text if own == kind else f"CAST({text} AS {self._dialect.types[kind]})"
        if own == "str":
            text = self._dialect.templates["strip"].format(text)
        kept = self.named([text], template)
        test = {"int": f"abs({{0}}) < {LARGEST}", "float": self._dialect.finite}[kind]
        return self.named([kept], f"CASE WHEN {test} THEN {{0}} END") if own == "str" else kept

    def _cut(self, expr: Expr, kind: str) -> str | None:
        if expr.fn != "slice":
            return None
        offset, *length = (arg.args[0] for arg in expr.args[1:])
        start = f"greatest(length({{0}}) + {offset}, 0) + 1" if offset < 0 else str(offset + 1)
        cut = "".join(f", {size}" for size in length)
        return self.named([self.clean(expr.args[0], kind)], f"substring({{0}}, {start}{cut})")

    def _time(self, expr: Expr, _kind: str) -> str | None:
        fn, sql = expr.fn, self._dialect
        if fn in PARTS:
            return self.named(
                [self.clean(expr.args[0], "time"), self._text(expr.args[1].args[0])], sql.templates[fn]
            )
        if fn == "date_trunc":
            return self._truncate(expr)
        if fn in ("since", "age"):
            late, early = (Expr("col", (AS_OF,)), expr.args[0]) if fn == "age" else expr.args[:2]
            gap = " - ".join(sql.micros.format(self.clean(item, "time")) for item in (late, early))
            return f"(CAST({gap} AS DOUBLE) / {self._literal(expr.args[-1].args[0], 'float')})"
        if fn == "epoch":
            unit = expr.args[1].args[0]
            us = sql.micros.format(self.clean(expr.args[0], "time"))
            return self.named([us], sql.int_div.format(f"{{0}} - {sql.floor_mod.format('{0}', unit)}", unit))
        if fn not in ("offset_by", "from_epoch"):
            return None
        size = expr.args[1].args[0]
        if fn == "offset_by":
            us, low, high = (
                sql.micros.format(self.clean(expr.args[0], "time")),
                EARLIEST - size,
                LATEST - size,
            )
            made = sql.instant.format(f"{{0}} + ({size})")
        else:
            us, low, high = self.clean(expr.args[0], "int"), -(-EARLIEST // size), LATEST // size
            made = sql.instant.format(f"{{0}} * {size}")
        return self.named([us], f"CASE WHEN {{0}} BETWEEN {low} AND {high} THEN {made} END")

    def _truncate(self, expr: Expr) -> str:
        sql, (moment, unit, zone) = self._dialect, expr.args
        unit, zone = unit.args[0], self._text(zone.args[0])
        us = self.clean(moment, "time")
        if unit in ("minute", "hour"):
            local = sql.local_us.format(sql.micros.format("{0}"), zone)
            past = sql.floor_mod.format(local, UNITS[unit[0]])
            return self.named([us], sql.instant.format(f"{sql.micros.format('{0}')} - ({past})"))
        start = self.named([us, zone], sql.first_day[unit])
        if zone == "'UTC'":
            return sql.instant.format(start)
        early = f"(2 * {{0}} - {DAY} - {sql.local_us.format(f'{{0}} - {DAY}', zone)})"
        late = f"(2 * {{0}} + {DAY} - {sql.local_us.format(f'{{0}} + {DAY}', zone)})"
        met, met_late = sql.local_us.format(early, zone), sql.local_us.format(late, zone)
        chosen = f"CASE WHEN {met} = {{0}} OR {met_late} <> {{0}} THEN {early} ELSE {late} END"
        return sql.instant.format(self.named([start], chosen))


def _joint(kinds: Sequence[str]) -> str:
    return kinds[0] if len(set(kinds)) == 1 else joint(kinds)
