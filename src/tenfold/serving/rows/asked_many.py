"""Rows that are asked about together: checked as columns, and one by one only where a column shows a row that may not fit."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

import numpy as np

from tenfold.core.errors import SchemaError
from tenfold.core.expr import LARGEST
from tenfold.processing.conform import EARLIEST, ID_BYTES, KNOWN, LATEST
from tenfold.processing.derive import Source, apply
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, column
from tenfold.serving.rows.asked import Asked, instant


class AskedMany:
    """Checks rows of a spine together; decides as `Asked` does of each of them.

    Parameters
    ----------
    one
        What checks one row.
    """

    def __init__(self, spine: Source, one: Asked) -> None:
        self._spine, self._fields, self._one = spine, spine.root.fields, one
        self._plain_columns = [
            (
                name,
                field.type,
                itemgetter(name),
                _timed if name in spine.root.timed else _PLAIN.get(field.type, _none),
            )
            for name, field in self._fields.items()
        ]

    def __call__(self, rows: Sequence[Any]) -> dict[str, Column]:
        """Return the fields of the rows as columns, and those that the spine derives.

        Raises
        ------
        SchemaError
            When a row does not fit the spine; says which row, which field and why.
        """
        frame = self._plain(rows) or self._careful(rows)
        for condition in self._spine.root.valid.values():
            holds = evaluate(condition, frame, len(rows))
            if (holds.valid & ~holds.values).any():
                self._careful(rows)
        found, keep = apply(self._spine, frame, len(rows))
        if keep is not None and not (keep.values & keep.valid).all():
            self._careful(rows)
        return found

    def _plain(self, rows: Sequence[Any]) -> dict[str, Column] | None:
        """Return the columns of rows that surely fit; None when they need a closer look."""
        if not rows or set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(self._fields)}:
            return None
        frame, valid = {}, np.ones(len(rows), dtype=np.bool_)
        try:
            for name, kind, get, array in self._plain_columns:
                found = array(list(map(get, rows)))
                if found is None:
                    return None
                frame[name] = Column(kind, found, valid)
        except KeyError:  # another field, or one left out
            return None
        return {**frame, KNOWN: Column("int", frame[self._spine.root.time].values, valid)}

    def _careful(self, rows: Sequence[Any]) -> dict[str, Column]:
        """Return the columns of rows that are checked one by one; raises for the first one that does not fit."""
        each = [self._checked(place, row) for place, row in enumerate(rows)]
        frame = {
            name: column(field.type, [values[name] for values in each])
            for name, field in self._fields.items()
        }
        return {**frame, KNOWN: column("int", [values[self._spine.root.time] for values in each])}

    def _checked(self, place: int, row: Any) -> Mapping[str, Any]:
        try:
            return self._one(row)
        except SchemaError as error:
            raise SchemaError(f"rows[{place}]: {error}") from error


def _none(_: Sequence[Any]) -> None:
    """Return None: of this type no value surely fits."""


def _whole(values: Sequence[Any]) -> np.ndarray | None:
    if set(map(type, values)) != {int}:
        return None
    return np.array(values, dtype=np.int64) if max(map(abs, values)) < LARGEST["int"] else None


def _real(values: Sequence[Any]) -> np.ndarray | None:
    if set(map(type, values)) != {float}:
        return None
    found = np.array(values, dtype=np.float64)
    return found if (np.abs(found) < LARGEST["float"]).all() else None


def _flags(values: Sequence[Any]) -> np.ndarray | None:
    return np.array(values, dtype=np.bool_) if set(map(type, values)) == {bool} else None


def _texts(values: Sequence[Any]) -> np.ndarray | None:
    if set(map(type, values)) != {str}:
        return None
    joined = "".join(values)
    if not joined.isascii() or not joined.isprintable() or max(map(len, values)) > ID_BYTES:
        return None
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _moments(values: Sequence[Any]) -> np.ndarray | None:
    if not set(map(type, values)) <= {str, datetime}:
        return None
    moments = {value: instant(value) for value in set(values)}
    if None in moments.values():
        return None
    return np.array([moments[value] for value in values], dtype=np.int64)


def _timed(values: Sequence[Any]) -> np.ndarray | None:
    found = _moments(values)
    return found if found is not None and found.min() >= EARLIEST and found.max() < LATEST else None


_PLAIN: Mapping[str, Callable[[Sequence[Any]], np.ndarray | None]] = {
    "int": _whole,
    "float": _real,
    "bool": _flags,
    "str": _texts,
    "time": _moments,
}
"""Per type what makes a column of values that surely fit, None when one may not."""
