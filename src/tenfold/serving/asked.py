"""The row that is asked about: checked like a row that is stored, by one function prepared once."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tenfold.core.decimals import PLACES
from tenfold.core.errors import SchemaError
from tenfold.core.expr import Expr
from tenfold.core.times import EPOCH, MICROSECOND
from tenfold.processing.compiled import compile_row
from tenfold.processing.conform import (
    EARLIEST,
    ID_BYTES,
    KNOWN,
    LARGEST,
    LATEST,
    Misfit,
    checked,
    converted,
)
from tenfold.processing.derive import Derived, Source
from tenfold.processing.frame import Column, column, types_of

_FITS: Mapping[str, tuple[type, Callable[[Any], bool]]] = {
    "int": (int, lambda value: -LARGEST < value < LARGEST),
    "float": (float, lambda value: -LARGEST < value < LARGEST),
    "bool": (bool, lambda _: True),
    "str": (str, lambda value: len(value) <= ID_BYTES and value.isascii() and value.isprintable()),
    "time": (datetime, lambda _: False),
    **dict.fromkeys(PLACES, (Decimal, lambda _: False)),
}
"""Per type what a value that surely fits is like."""


class Asked:
    """Checks rows of a spine, one at a time; decides as `conform` and `apply` do."""

    def __init__(self, spine: Source) -> None:
        self._spine, self._root = spine, spine.root
        types = types_of(self._root.fields)
        self._fits = {name: _FITS[item.type] for name, item in self._root.fields.items()}
        self._reasons = list(self._root.valid)
        self._valid = compile_row(self._root.valid, types)
        self._kept = _conditions(spine, types)

    def __call__(self, row: Any) -> dict[str, Any]:
        """Return the values of a row's fields, times in microseconds.

        Raises
        ------
        SchemaError
            When the row does not fit the spine; says which field and why.
        """
        values = self._plain(row) or self._careful(row)
        for reason, holds in zip(self._reasons, self._valid(values), strict=True):
            if holds is False:
                raise self._misfit(f"not true: {reason}")
        gone = self._root.deleted is not None and values[self._root.deleted]
        if gone or not all(holds is True for holds in self._kept(values)):
            raise SchemaError(f'the row is none of source "{self._spine.name}": it does not meet its where.')
        return values

    def _plain(self, row: Any) -> dict[str, Any] | None:
        """Return the values of a row that surely fits; None when it needs a closer look."""
        if type(row) is not dict or not row.keys() <= self._fits.keys():
            return None
        values = {}
        for name, (kind, fits) in self._fits.items():
            value = row.get(name)
            if type(value) is not kind or not fits(value):
                moment = instant(value) if kind is datetime else None
                if moment is None and kind is str:
                    return None
                try:
                    value = converted(name, self._root.fields[name], value) if moment is None else moment
                except Misfit:
                    return None
            values[name] = value
        return values

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
    """Return the microseconds of a time, or of its text, that surely fits; None when it needs a closer look.

    Examples
    --------
    >>> instant("1970-01-01T00:00:01+00:00"), instant("1970-01-01T00:00:01"), instant(None)
    (1000000, None, None)
    """
    try:
        moment = datetime.fromisoformat(value) if type(value) is str else value
        found = (moment - EPOCH) // MICROSECOND if type(moment) is datetime else LATEST
    except (TypeError, ValueError):  # no time, or one without a zone
        return None
    return found if EARLIEST <= found < LATEST else None


def _conditions(spine: Source, types: Mapping[str, str]) -> Callable[[Mapping[str, Any]], list[Any]]:
    """Return a function of a row that says which of the conditions of derived sources hold."""
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

    return holds if places else lambda _: []
