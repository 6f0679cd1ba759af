"""Expressions compiled to one Python function of a row: the form for a single request.

The source is one assignment per distinct part of the expressions, with a test for null where null is possible. It means
what `evaluate` means for a frame of one row, bit by bit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenfold.core.decimals import LIMIT, PLACES
from tenfold.core.expr import AS_OF, Expr
from tenfold.core.functions import FUNCTIONS
from tenfold.core.infer import infer, picks
from tenfold.core.times import UNITS
from tenfold.processing import meaning
from tenfold.processing.applied import one
from tenfold.processing.bring import bringing, members, plain, taken
from tenfold.processing.calendar import EARLIEST, LATEST, PARTS, offset, part_of_one, truncate_one
from tenfold.processing.frame import column

Row = Callable[..., tuple[Any, ...]]


def compile_row(
    exprs: Mapping[str, Expr],
    types: Mapping[str, str],
    lists: Sequence[Sequence[str]] = (),
    order: Sequence[str] | None = None,
) -> Row:
    """Return a function from a row to the values of expressions, in their order.

    Parameters
    ----------
    exprs
        Expressions by name; one may read the columns and the expressions before it.
    types
        The type of every column that there is.
    lists
        Names of columns that a row does not have: the function takes their values as lists behind it.
    order
        What the function returns: names of expressions and of columns in the lists; without it the expressions.

    The function takes a mapping with plain Python values of these types (times in microseconds, None for null); what it
    returns is plain Python too.

    Examples
    --------
    >>> from tenfold import col
    >>> row = compile_row({"ratio": col("amount") / col("mean")}, {"amount": "float", "mean": "float"})
    >>> row({"amount": 3.0, "mean": 2.0}), row({"amount": 3.0, "mean": 0.0})
    ((1.5,), (None,))
    >>> scaled = {"scaled": col("amount") / col("mean")}
    >>> compile_row(scaled, {"amount": "float", "mean": "float"}, [["mean"]], ["mean", "scaled"])(
    ...     {"amount": 3.0}, [2.0]
    ... )
    (2.0, 1.5)
    """
    where = {name: f"l{at}[{place}]" for at, names in enumerate(lists) for place, name in enumerate(names)}
    writer = _Writer(types, where)
    made = {name: writer.add(name, expr) for name, expr in exprs.items()}
    results = list(made.values()) if order is None else _results(order, lists, where | made)
    head = ", ".join(["r", *(f"l{at}" for at in range(len(lists)))])
    lines = [f"def row({head}):", *(f"    {line}" for line in writer.lines)]
    source = "\n".join([*lines, f"    return ({', '.join(results)}{',' if results else ''})"])
    space: dict[str, Any] = dict(writer.space)
    exec(compile(source, "<expressions>", "exec"), space)  # noqa: S102 - the source is made here, values are bound
    found: Row = space["row"]
    return found


def _results(order: Sequence[str], lists: Sequence[Sequence[str]], where: Mapping[str, str]) -> Sequence[str]:
    """Return the text of each result; a list whose values stand together, in its order, goes in whole."""
    found, place = [], 0
    while place < len(order):
        whole = [
            at
            for at, names in enumerate(lists)
            if names and list(order[place : place + len(names)]) == list(names)
        ]
        found.append(f"*l{whole[0]}" if whole else where[order[place]])
        place += len(lists[whole[0]]) if whole else 1
    return found


class _Writer:
    """Writes one statement after the other; `lines` and the names they use, `space`."""

    def __init__(self, types: Mapping[str, str], where: Mapping[str, str]) -> None:
        self._where = where
        self.lines: list[str] = []
        self.space: dict[str, Any] = dict(_SPACE)
        self.types = dict(types)
        self._count = 0
        self._made: dict[str, str] = {}  # the variable that holds a part, by its text
        self._sure: set[str] = set()  # variables and constants that are never null

    def add(self, name: str, expr: Expr) -> str:
        """Write what computes an expression; return the name of the variable that holds it."""
        kind = infer(expr, self.types, f'"{name}"')
        found = self._node(expr)
        if name in self.types:  # what was made of the column of that name is not what it is made of now
            self._made = {key: value for key, value in self._made.items() if key.startswith(_COLUMN)}
        self.types[name], self._made[_column(name)] = kind, found
        return found

    def bind(self, value: object) -> str:
        """Return a name for a value."""
        name = f"k{len(self.space)}"
        self.space[name] = value
        return name

    def _node(self, expr: Expr) -> str:
        if expr.fn == "lit":
            return self._literal(expr.args[0])
        key = _column(expr.args[0]) if expr.fn == "col" else expr.text
        if key not in self._made:
            self._made[key] = self._load(expr.args[0]) if expr.fn == "col" else self._compute(expr)
        return self._made[key]

    def _variable(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _literal(self, value: object) -> str:
        text = f"({plain(value)!r})"
        self._sure.add(text)
        return text

    def _load(self, name: str) -> str:
        variable = self._variable()
        self.lines.append(f"{variable} = {self._where.get(name, f'r[{name!r}]')}")
        return variable

    def _compute(self, expr: Expr) -> str:
        values = [arg for arg in expr.args if isinstance(arg, Expr)]
        names, kinds = [self._node(arg) for arg in values], [infer(arg, self.types, "") for arg in values]
        if expr.fn == "age":
            names.append(self._node(Expr("col", (AS_OF,))))
        result, own = infer(expr, self.types, ""), names[:1]
        names, kinds = self._brought(expr, names, kinds)
        if expr.fn == "to_decimal":
            return names[0]
        if expr.fn == "null_if":
            names += own
        out = self._variable()
        part = _Part(expr, out, result, names, kinds, self)
        if expr.fn in _NULLS:
            self.lines += part.choose()
            if result in PLACES:
                self.lines += [f"if {out} is not None:", f"    {_LONG.format(out)}"]
        else:
            self._strict(part)
        return out

    def _strict(self, part: "_Part") -> None:
        tests = [f"{name} is None" for name in dict.fromkeys(part.names) if name not in self._sure]
        tests += part.tests()
        body, sure = part.body()
        if tests:
            self.lines += [f"if {' or '.join(tests)}:", f"    {part.out} = None", "else:"]
            self.lines += [f"    {line}" for line in body]
        else:
            self.lines += body
            self._sure |= {part.out} if sure else set()

    def _brought(self, expr: Expr, names: list[str], kinds: list[str]) -> tuple[list[str], list[str]]:
        """Return the variables of inputs, decimals among them as the function takes them, and their types."""
        if not any(kind in PLACES for kind in kinds):
            return names, kinds
        wanted = taken(expr, kinds)
        limited = expr.fn not in FUNCTIONS or not picks(expr.fn)
        found = [self._bring(*each, limited) for each in zip(names, kinds, wanted, strict=False)]
        return found, wanted

    def _bring(self, name: str, kind: str, type_: str, limited: bool) -> str:
        if kind == type_:
            return name
        key = f"{name} {type_} {limited}"
        if key not in self._made:
            self._made[key] = out = self._variable()
            value = f"{self.bind(bringing(kind, type_, limit=limited))}({name})"
            if type_ == "float":
                value = f"{name} / {10 ** PLACES[kind]}"
            sure = name in self._sure
            self.lines.append(f"{out} = {value if sure else f'None if {name} is None else {value}'}")
        return self._made[key]


_COLUMN = "\0column "


def _column(name: str) -> str:
    return _COLUMN + name


class _Part:
    """One function call: its output variable, its inputs as variables or literals, and their types."""

    def __init__(
        self, expr: Expr, out: str, result: str, names: list[str], kinds: list[str], writer: _Writer
    ) -> None:
        self.expr, self.fn, self.out, self.result = expr, expr.fn, out, result
        self.names, self.kinds, self._writer = names, kinds, writer

    def tests(self) -> list[str]:
        """Return conditions, beside null inputs, that make the result null."""
        return [f"{self.names[1]} == 0"] if self.fn in ("div", "floordiv", "mod") else []

    def body(self) -> tuple[list[str], bool]:
        """Return the statements for inputs that are not null, and whether the result never is."""
        fn, out, args = self.fn, self.out, ", ".join(self.names)
        floats = "float" in self.kinds
        if fn in _GUARDED:
            lines = ["try:", f"    {out} = {fn}({args})", f"except ({_ERRORS}):", f"    {out} = None"]
            return lines, False
        if fn in _INLINE:
            written = _INLINE[fn].format(*self.names)
            limit = _LIMITS.get(fn, {}).get(self.result)
            return [f"{out} = {written}", *([limit.format(out)] if limit else [])], limit is None
        if fn in ("floordiv", "mod", "floor", "ceil", "trunc", "round"):
            return self._whole(floats)
        if fn in ("clip", "is_in", "epoch", "offset_by", "from_epoch", "since", "age", "date_trunc", *PARTS):
            return self._other()
        return [f"{out} = {self._writer.bind(meaning.ROW[fn])}({args})"], False

    def _whole(self, floats: bool) -> tuple[list[str], bool]:
        fn, out, value = self.fn, self.out, self.names[0]
        if fn == "mod":
            return [f"{out} = {value} % {self.names[1]}{' + 0.0' if floats else ''}"], True
        if fn == "floordiv" and floats:
            lines = [f"{out} = {value} / {self.names[1]}"]
            return [*lines, f"{out} = floor({out}) if {out} - {out} == 0.0 else None"], False
        if fn == "floordiv":
            return [f"{out} = {value} // {self.names[1]}"], True
        return [f"{out} = {fn}({', '.join(self.names)})" if floats else f"{out} = +{value}"], True

    def _other(self) -> tuple[list[str], bool]:
        fn, out, (value, *rest) = self.fn, self.out, self.names
        if fn == "clip":
            low, high = (self._as(place) for place in (1, 2))
            return [
                f"{out} = {low} if {value} < {rest[0]} else {high} if {value} > {rest[1]} else {self._as(0)}"
            ], True
        if fn == "is_in":
            kind = infer(self.expr.args[0], self._writer.types, "")
            wanted = members(kind, [arg.args[0] for arg in self.expr.args[1:]])[1]
            return [f"{out} = {value} in {self._writer.bind(wanted)}"], True
        if fn in ("since", "age"):
            late, early, unit = (rest[1], value, rest[0]) if fn == "age" else (value, *rest)
            return [f"{out} = float({late} - {early}) / {unit}"], True
        if fn in ("offset_by", "from_epoch"):
            sign = "+" if fn == "offset_by" else "*"
            return [
                f"{out} = {value} {sign} {rest[0]}",
                f"if not {EARLIEST} <= {out} <= {LATEST}: {out} = None",
            ], False
        if fn == "epoch":
            return [f"{out} = {value} // {rest[0]}"], True
        if fn == "date_trunc":
            return [f"{out} = truncate({value}, {', '.join(rest)})"], True
        return [f"{out} = {self._calendar(value, rest[0])}"], True

    def _calendar(self, value: str, zone: str) -> str:
        local = value if zone == "('UTC')" else f"({value} + offset({zone}, {value}))"
        if self.fn in _CLOCK:
            return _CLOCK[self.fn].format(local)
        return f"part({self.fn!r}, {value}, {zone})"

    def choose(self) -> list[str]:
        """Return the statements of a function for which null in does not mean null out."""
        fn, out = self.fn, self.out
        names = [self._bound(place) for place in range(len(self.names))]
        if fn in ("least", "greatest"):
            sign = "<" if fn == "least" else ">"
            lines = [f"{out} = {self._as(0)}"]
            for place in range(1, len(names)):
                other = names[place]
                test = f"{other} is not None and ({out} is None or {other} {sign} {out})"
                lines.append(f"if {test}: {out} = {self._as(place)}")
            return lines
        if fn in ("fill_null", "coalesce"):
            lines = [f"{out} = {self._as(0)}"]
            return lines + [f"if {out} is None: {out} = {self._as(place)}" for place in range(1, len(names))]
        if fn == "when":
            other = self._as(2) if len(names) == 3 else "None"
            return [f"{out} = {self._as(1)} if {names[0]} else {other}"]
        if fn == "apply":
            return [
                f"{out} = {self._writer.bind(_one_row(self.expr.args[-1], self.kinds))}({', '.join(names)})"
            ]
        return [f"{out} = {_NULLS[fn].format(*names)}"]

    def _bound(self, place: int) -> str:
        """Return a name for an input: Python warns of a constant that is compared with None."""
        name = self.names[place]
        return (
            name
            if name[0] == "v"
            else self._writer.bind(plain(self.expr.args[place % len(self.expr.args)].args[0]))
        )

    def _as(self, place: int) -> str:
        """Return an input as the type of the result."""
        name, kind = self.names[place], self.kinds[place]
        if kind == self.result or self.result not in ("int", "float"):
            return name
        return (
            f"(None if {name} is None else {self.result}({name}))"
            if name[0] == "v"
            else f"{self.result}{name}"
        )


def _one_row(spec: Any, kinds: list[str]) -> Callable[..., Any]:
    def one_row(*values: object) -> object:
        inputs = [column(kind, [value]) for kind, value in zip(kinds, values, strict=True)]
        return one(spec, inputs)

    return one_row


_NULLS = {
    "and": "False if {0} is False or {1} is False else None if {0} is None or {1} is None else True",
    "or": "True if {0} is True or {1} is True else None if {0} is None or {1} is None else False",
    "is_null": "{0} is None",
    "is_not_null": "{0} is not None",
    "null_if": "None if {0} == {1} else {2}",
    "fill_null": "",
    "coalesce": "",
    "least": "",
    "greatest": "",
    "when": "",
    "apply": "",
    "item": "{0}[{1}]",
}
_FINITE = "if {0} - {0} != 0.0: {0} = None"
_LARGE = f"if not -{meaning.LARGEST} < {{0}} < {meaning.LARGEST}: {{0}} = None"
_LONG = f"if not -{LIMIT} < {{0}} < {LIMIT}: {{0}} = None"
_BOTH = {"float": _FINITE, "int": _LARGE, **dict.fromkeys(PLACES, _LONG)}
_LIMITS = {"add": _BOTH, "sub": _BOTH, "mul": _BOTH, "div": _BOTH, "degrees": _BOTH}
_INLINE = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "abs": "abs({0})",
    "sign": "({0} > 0) - ({0} < 0)",
    "degrees": f"{{0}} * {180.0 / math.pi!r}",
    "radians": f"{{0}} * {math.pi / 180.0!r}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "not": "not {0}",
    "length": "len({0})",
    "contains": "{1} in {0}",
    "starts_with": "{0}.startswith({1})",
    "ends_with": "{0}.endswith({1})",
    "replace": "{0}.replace({1}, {2})",
}
_CLOCK = {
    "hour": f"{{0}} // {UNITS['h']} % 24",
    "minute": f"{{0}} // {UNITS['m']} % 60",
    "second": f"{{0}} // {UNITS['s']} % 60",
    "minute_of_day": f"{{0}} // {UNITS['m']} % 1440",
    "weekday": f"({{0}} // {UNITS['d']} + 3) % 7",
    "is_weekend": f"({{0}} // {UNITS['d']} + 3) % 7 >= 5",
}
_GUARDED = {name: function for name, function in meaning.MATHS.items() if name not in _INLINE}
_ERRORS = "ValueError, OverflowError"
_SPACE: dict[str, Any] = {
    **_GUARDED,
    "floor": meaning.floor,
    "ceil": meaning.ceil,
    "trunc": meaning.trunc,
    "round": meaning.rounded,
    "offset": offset,
    "part": part_of_one,
    "truncate": truncate_one,
}
