"""The row that is asked about: checked like a row that is stored, by one function prepared once."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tenfold.core.decimals import PLACES
from tenfold.core.errors import SchemaError
from tenfold.core.expr import LARGEST, Expr
from tenfold.core.times import EPOCH, MICROSECOND, parsed
from tenfold.processing import calendar
from tenfold.processing.compiled import compile_row
from tenfold.processing.conform import (
    EARLIEST,
    ID_BYTES,
    KNOWN,
    LATEST,
    Misfit,
    checked,
    converted,
)
from tenfold.processing.derive import Derived, Source
from tenfold.processing.frame import Column, column, types_of
from tenfold.sources.declare import Events

_FITS: Mapping[str, str] = {
    "int": f"type({{0}}) is int and -{LARGEST['int']} < {{0}} < {LARGEST['int']}",
    "float": f"type({{0}}) is float and -{LARGEST['float']} < {{0}} < {LARGEST['float']}",
    "bool": "type({0}) is bool",
    "str": f"type({{0}}) is str and len({{0}}) <= {ID_BYTES} and {{0}}.isascii() and {{0}}.isprintable()",
}
"""Per type what a value that surely fits is like; those of the other types are converted."""
BLANKS: Mapping[str, Any] = {
    "str": "",
    "bool": False,
    "float": 0.0,
    "int": 0,
    "time": 0,
    **dict.fromkeys(PLACES, 0),
}
"""A value of each type, as a checked row has it."""


class Asked:
    """Checks rows of a spine, one at a time; decides as `conform` and `apply` do."""

    def __init__(self, spine: Source) -> None:
        self._spine, self._root = spine, spine.root
        types = types_of(self._root.fields)
        self._plain = _plain(self._root, self._closer)
        self._reasons = list(self._root.valid)
        self._valid = compile_row(self._root.valid, types)
        self._kept = _conditions(spine, types)
        self._ruled = bool(self._reasons or self._kept or self._root.deleted)

    def __call__(self, row: Any) -> dict[str, Any]:
        """Return the values of a row's fields, times in microseconds.

        Raises
        ------
        SchemaError
            When the row does not fit the spine; says which field and why.
        """
        try:
            values = self._plain(row)
        except Misfit:
            values = self._careful(row)
        if self._ruled:
            self._check(values)
        return values

    def _check(self, values: Mapping[str, Any]) -> None:
        """Refuse a row that breaks a rule of the source, or that is none of the spine."""
        for reason, holds in zip(self._reasons, self._valid(values), strict=True):
            if holds is False:
                raise self._misfit(f"not true: {reason}")
        gone = self._root.deleted is not None and values[self._root.deleted]
        if gone or (self._kept and not all(holds is True for holds in self._kept(values))):
            raise SchemaError(f'the row is none of source "{self._spine.name}": it does not meet its where.')

    def _closer(self, name: str, value: Any, row: Mapping[str, Any]) -> Any:
        """Return a value of a row that does not surely fit; Misfit when the whole row needs a closer look."""
        field = self._root.fields[name]
        if not row.keys() <= self._root.fields.keys() or (field.type == "str" and value is not None):
            raise Misfit("for the whole row to say")
        return converted(name, field, value)

    def _careful(self, row: Any) -> dict[str, Any]:
        try:
            return checked(self._root, row)
        except Misfit as misfit:
            raise self._misfit(str(misfit)) from misfit

    def columns(self, values: Mapping[str, Any]) -> dict[str, Column]:
        """Return checked values as columns of one row."""
        found = {name: column(item.type, [values[name]]) for name, item in self._root.fields.items()}
        return {**found, KNOWN: column("int", [values[self._root.time]])}

    def _misfit(self, reason: str) -> SchemaError:
        return SchemaError(f'the row does not fit source "{self._root.name}": {reason.rstrip(".")}.')


def instant(value: Any) -> int | None:
    """Return the microseconds of a time, or of its text, that surely is one; None when it needs a closer look.

    Examples
    --------
    >>> instant("1970-01-01T00:00:01+00:00"), instant("1970-01-01T00:00:01"), instant(None)
    (1000000, None, None)
    """
    try:
        moment = parsed(value) if type(value) is str else value
        found = (moment - EPOCH) // MICROSECOND if type(moment) is datetime else None
    except (TypeError, ValueError):  # no time, or one without a zone
        return None
    return found if found is not None and calendar.EARLIEST <= found <= calendar.LATEST else None


def _plain(root: Events, closer: Callable[..., Any]) -> Callable[[Any], dict[str, Any]]:
    """Return a function from a row to its values, written for its fields; Misfit when the row needs a closer look."""
    fields = root.fields
    lines = [
        "def plain(row):",
        f"    if type(row) is not dict or len(row) > {len(fields)}:",
        "        raise Misfit('for the whole row to say')",
        "    get = row.get",
    ]
    for place, (name, field) in enumerate(fields.items()):
        value = f"v{place}"
        lines.append(f"    {value} = get({name!r})")
        if field.type == "time":
            lines += [f"    {value}, given = instant({value}), {value}", f"    if {value} is None:"]
            lines.append(f"        {value} = closer({name!r}, given, row)")
            if name in root.timed:
                lines.append(f"    if not {EARLIEST} <= {value} < {LATEST}:")
                lines.append("        raise Misfit('for the whole row to say')")
            continue
        fits = _FITS.get(field.type)
        lines += [f"    if not ({fits.format(value)}):"] if fits else ["    if True:"]
        lines.append(f"        {value} = closer({name!r}, {value}, row)")
    pairs = ", ".join(f"{name!r}: v{place}" for place, name in enumerate(fields))
    space: dict[str, Any] = {"Misfit": Misfit, "instant": instant, "closer": closer}
    exec("\n".join([*lines, f"    return {{{pairs}}}"]), space)  # noqa: S102 - made of names of fields, as literals
    found: Callable[[Any], dict[str, Any]] = space["plain"]
    return found


def _conditions(spine: Source, types: Mapping[str, str]) -> Callable[[Mapping[str, Any]], list[Any]] | None:
    """Return a function of a row that says which of the conditions of derived sources hold; None where there are none."""
    exprs: dict[str, Expr] = {}
    chain = [spine]
    while isinstance(chain[0], Derived):
        chain.insert(0, chain[0].source)
    for place, source in enumerate(chain[1:]):
        assert isinstance(source, Derived)  # noqa: S101 - for the type checker; only the first is none
        exprs |= source.computed
        if source.condition is not None:
            exprs[f"{place} where"] = source.condition
    places = [place for place, name in enumerate(exprs) if name.endswith(" where")]
    compiled = compile_row(exprs, types)

    def holds(values: Mapping[str, Any]) -> list[Any]:
        found = compiled(values)
        return [found[place] for place in places]

    return holds if places else None
