"""Checks on the way in: every row either fits its source's declaration or is set aside with a reason.

One function judges a row: `convert`. A table is checked column by column; the rows that are not surely fine are judged
as rows, so a table and a list of the same rows are decided alike.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from tenfold.core.decimals import LIMIT, PLACES, units_of
from tenfold.core.errors import DefinitionError, SchemaError, TenfoldError, suggest
from tenfold.core.expr import LARGEST
from tenfold.core.times import parsed, to_us
from tenfold.processing import calendar
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, Frame, column, concat, types_of
from tenfold.processing.tables import Given, cells, column_of, given
from tenfold.sources.declare import Events, Field

EARLIEST = to_us(datetime(1970, 1, 1, tzinfo=UTC))
LATEST = to_us(datetime(2200, 1, 1, tzinfo=UTC))
"""When records happen and are known; other instants, such as dates of birth, are any that the calendar has."""
ID_BYTES = 1_024
"""Bytes of UTF-8 an id may have: ids are kept in columns as wide as the longest."""
FLOAT_DIGITS = 15
"""Digits of which every decimal is another float, so that the float says which one was meant."""
_DIGITS = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", re.ASCII)

SHOWN = 4
"""Reasons a complaint spells out."""

KNOWN = "_known"
"""The column that says from when a record was known."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was set aside: its place in the input, the row as given, and why."""

    place: int
    row: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Conformed:
    """The rows that fit, as columns with KNOWN added, and the rows that do not."""

    frame: Frame
    rows: int
    rejects: Sequence[Reject]


class Misfit(TenfoldError):
    """A value does not fit its field: the reason of a reject. Reasons name fields and types, not values: few are many."""


def conform(source: Events, data: Any, *, arrival: int | None = None) -> Conformed:
    """Split data into the rows that fit a source and the rows that do not.

    NaN, NaT and NA are nulls; a float that is whole fits an int; digits of an instant below a microsecond are dropped.
    A decimal does not fit a float, as few decimals are floats. A decimal field takes decimals, whole numbers and text such
    as "12.30" that have no more places than it; and a float whose shortest text has up to 15 digits, as that text says.

    Parameters
    ----------
    data
        Rows (a list of dicts, or one dict), an Arrow table, any data frame with the Arrow interface (pandas, Polars,
        DuckDB), or a path to a .parquet, .csv, .json or .ndjson file. Lines of a file that cannot be split count as rows
        after its last one.
    arrival
        When the rows arrive (0: each when it was known), to set aside those that come later than the source's lateness;
        None lets all pass.

    Raises
    ------
    SchemaError
        When a table as a whole lacks a column or has one that is not declared; nothing is stored then.
    """
    if isinstance(source, Events) is False:
        raise DefinitionError(f'"{source.name}" is derived; ingest its source "{source.root.name}" instead.')
    if isinstance(data, Mapping):
        data = [data]
    if not isinstance(data, (list, tuple)):
        data = given(data, types_of(source.fields))
    if isinstance(data, Given):
        _check_columns(source, data.names)
        return _finish(source, *_from_table(source, data), data.row, arrival)
    return _finish(source, *_from_rows(source, data), data.__getitem__, arrival)


def _check_columns(source: Events, names: Sequence[str]) -> None:
    missing = sorted(set(source.fields) - set(names))
    extra = sorted(set(names) - set(source.fields))
    twice = sorted({name for name in names if names.count(name) > 1})
    if extra:
        raise SchemaError(
            f'source "{source.name}" has no column "{_clean(extra[0])[:100]}".{suggest(extra[0], source.fields)} '
            f"{_separator(names)}Nothing was stored."
        )
    if missing:
        raise SchemaError(f'source "{source.name}" misses column "{missing[0]}". Nothing was stored.')
    if twice:
        raise SchemaError(f'source "{source.name}" gets column "{twice[0]}" twice. Nothing was stored.')


def _separator(names: Sequence[str]) -> str:
    """Return a question when what came as one column looks like several."""
    if len(names) != 1:
        return ""
    signs = {";": "';'", "\t": "a tab"}
    found = [shown for sign, shown in signs.items() if sign in names[0]]
    return f"Is the separator {found[0]}? It must be a comma. " if found else ""


Split = tuple[dict[str, Column], np.ndarray, list[Reject]]
"""The rows that fit, as columns; their places in the input; the others."""


def _from_table(source: Events, table: Given) -> Split:
    frame: dict[str, Column] = {}
    sure = np.ones(len(table), dtype=np.bool_)
    for name, field in source.fields.items():
        item = table.column(name)
        frame[name], fits = column_of(item, field.type) or _one_by_one(name, field, item)
        sure &= fits & _within(frame[name], field, timed=name in source.timed)
    if sure.all() and not table.torn:
        return frame, np.arange(len(table)), []
    doubtful = np.flatnonzero(~sure)
    rows = [*(table.row(place) for place in doubtful.tolist()), *table.torn]
    found, places, rejects = _from_rows(source, rows)
    where = np.concatenate([doubtful, np.arange(len(table), len(table) + len(table.torn))])
    joined = np.concatenate([np.flatnonzero(sure), where[places]])
    order = np.argsort(joined)
    both = {name: concat([item.take(sure), found[name]]).take(order) for name, item in frame.items()}
    return both, joined[order], [Reject(int(where[item.place]), item.row, item.reason) for item in rejects]


def _within(item: Column, field: Field, *, timed: bool) -> np.ndarray:
    """Return which values are in range and not missing; `timed` when they say when records happened or were known."""
    fits = item.valid | field.nullable
    if field.type == "time":
        first, last = (EARLIEST, LATEST - 1) if timed else (calendar.EARLIEST, calendar.LATEST)
        fits &= ~item.valid | ((item.values >= first) & (item.values <= last))
    elif field.type in ("int", "float"):
        fits &= (item.values > -LARGEST[field.type]) & (item.values < LARGEST[field.type])
    return fits


def _one_by_one(name: str, field: Field, item: Any) -> tuple[Column, np.ndarray]:
    """Return a column whose values have to be looked at one by one, and which of them fit."""
    values: list[Any] = []
    fits = np.ones(len(item), dtype=np.bool_)
    for place, value in enumerate(cells(item)):
        try:
            values.append(converted(name, field, value))
        except Misfit:
            values.append(None)
            fits[place] = False
    return column(field.type, values), fits


def _from_rows(source: Events, rows: Sequence[Any]) -> Split:
    good: dict[str, list[Any]] = {name: [] for name in source.fields}
    places: list[int] = []
    rejects: list[Reject] = []
    for place, row in enumerate(rows):
        try:
            values = checked(source, row)
        except Misfit as misfit:
            rejects.append(Reject(place, row, str(misfit)))
            continue
        places.append(place)
        for name, value in values.items():
            good[name].append(value)
    frame = {name: column(field.type, good[name]) for name, field in source.fields.items()}
    return frame, np.array(places, dtype=np.int64), rejects


def convert(fields: Mapping[str, Field], row: Any) -> dict[str, Any]:
    """Return a row's values as columns hold them; raises with the reason when the row does not fit."""
    if isinstance(row, str) and "\n" in row and row.count('"') % 2:
        raise Misfit("a quote is not closed")
    if not isinstance(row, Mapping):
        raise Misfit(f"a row is {_kind(row)}, not an object with named fields")
    for name in row:
        if name not in fields:
            raise Misfit(f'unknown column "{_clean(name)[:100]}".{suggest(str(name), fields)}')
    return {name: converted(name, field, row.get(name)) for name, field in fields.items()}


def checked(source: Events, row: Any) -> dict[str, Any]:
    """Return the values of one row whose fields, times and ids fit; raises with the reason when they do not."""
    values = convert(source.fields, row)
    _check_record(source, values)
    return values


def _check_record(source: Events, values: Mapping[str, Any]) -> None:
    for name in source.timed:
        if not EARLIEST <= values[name] < LATEST:
            raise Misfit(f'"{name}" is not between 1970 and 2200')
    for name in source.ids:
        text = values[name]
        if isinstance(text, str) and len(text.encode()) > ID_BYTES:
            raise Misfit(f'"{name}" is longer than {ID_BYTES:,} bytes, too long for an id')
        if isinstance(text, str) and "\x1f" in text:
            raise Misfit(f'"{name}" contains the control character U+001F, which separates ids')


def converted(name: str, field: Field, value: Any) -> Any:
    """Return a value as columns hold it; raises with the reason when it does not fit its field."""
    if value is None or _is_blank(value):
        if not field.nullable:
            raise Misfit(f'"{name}" is missing')
        return None
    if field.type in PLACES:
        return _decimal(name, value, PLACES[field.type])
    return _CONVERT[field.type](name, value)


def _is_blank(value: Any) -> bool:
    """Return whether it is what data frames write for null: NaN, pandas.NaT, pandas.NA."""
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    return type(value).__name__ in ("NaTType", "NAType")


def _int(name: str, value: Any) -> int:
    whole = isinstance(value, (float, np.floating)) and value.is_integer()
    if isinstance(value, bool) or not (whole or isinstance(value, (int, np.integer))):
        raise Misfit(f'"{name}" is {_kind(value)}, not a whole number')
    return int(_in_range(name, value, "int"))


def _float(name: str, value: Any) -> float:
    if isinstance(value, Decimal):
        raise Misfit(f'"{name}" is a decimal, not a float; convert it first')
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise Misfit(f'"{name}" is {_kind(value)}, not a number')
    return float(_in_range(name, value, "float"))


def _in_range(name: str, value: Any, kind: str) -> Any:
    if not -LARGEST[kind] < value < LARGEST[kind]:
        raise Misfit(f'"{name}" is too large for exact sums ({"2^53" if kind == "int" else "2^43"})')
    return value


def _decimal(name: str, value: Any, places: int) -> int:
    """Return the units of a decimal field."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = Decimal(value)
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        value = Decimal(min(max(int(value), -LIMIT), LIMIT))
    elif isinstance(value, (float, np.floating)):
        value = Decimal(repr(float(value)))
        if len("".join(map(str, value.as_tuple().digits)).strip("0")) > FLOAT_DIGITS:
            raise Misfit(
                f'"{name}" is a float of more than {FLOAT_DIGITS} digits; send it as text such as "12.30"'
            )
    if not isinstance(value, Decimal):
        raise Misfit(f'"{name}" is {_kind(value)}, not a decimal such as "12.30"')
    units = units_of(value, places) if value.is_finite() else LIMIT
    if units is None:
        raise Misfit(f'"{name}" has more than {places} place{"" if places == 1 else "s"}')
    if abs(units) >= LIMIT:
        raise Misfit(f'"{name}" has more than 18 digits, {places} of them places')
    return units


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise Misfit(f'"{name}" is {_kind(value)}, not true or false')
    return bool(value)


def _str(name: str, value: Any) -> str:
    if isinstance(value, bytes) and value.decode(errors="ignore").encode() != value:
        raise Misfit(f'"{name}" is not UTF-8')
    if not isinstance(value, str):
        raise Misfit(f'"{name}" is {_kind(value)}, not text')
    if "\0" in value:
        raise Misfit(f'"{name}" contains a NUL character')
    if not value.isascii() and _clean(value) != value:
        raise Misfit(f'"{name}" contains half a surrogate pair, which is not text')
    return str.__str__(value)


def _time(name: str, value: Any) -> int:
    if isinstance(value, str):
        try:
            value = parsed(value)
        except ValueError as error:
            raise Misfit(f'"{name}" is not a time such as 2013-04-01T06:00:00+00:00') from error
    if not isinstance(value, datetime):
        raise Misfit(f'"{name}" is {_kind(value)}, not a time such as 2013-04-01T06:00:00+00:00')
    if value.utcoffset() is None:
        raise Misfit(f'"{name}" has no time zone; write for example 2013-04-01T06:00:00+00:00')
    moment = to_us(value)
    if not calendar.EARLIEST <= moment <= calendar.LATEST:
        raise Misfit(f'"{name}" is not in the years 1 to 9999')
    return moment


def _clean(name: Any) -> str:
    """Return text that can be stored and sent, however odd."""
    return str(name).encode(errors="backslashreplace").decode()


_KINDS = {
    "NoneType": "null",
    "str": "text",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "list": "a list",
    "dict": "an object",
    "datetime": "a time",
    "Timestamp": "a time",
    "date": "a date without a time",
}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value).__name__, type(value).__name__)


_CONVERT: Mapping[str, Callable[[str, Any], Any]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "str": _str,
    "time": _time,
}


def _finish(
    source: Events,
    frame: dict[str, Column],
    places: np.ndarray,
    rejects: list[Reject],
    originals: Callable[[int], Any],
    arrival: int | None,
) -> Conformed:
    rows = len(places)
    known = frame[source.known].values if source.known else frame[source.time].values + source.delay_us
    frame[KNOWN] = Column("int", known.astype(np.int64), np.ones(rows, dtype=np.bool_))
    keep = np.ones(rows, dtype=np.bool_)
    for reason, broken in _broken(source, frame, arrival):
        new = keep & broken
        rejects += [Reject(int(places[at]), originals(int(places[at])), reason) for at in np.flatnonzero(new)]
        keep &= ~broken
    if not keep.all():
        frame = {name: item.take(keep) for name, item in frame.items()}
        rows = int(keep.sum())
    return Conformed(frame, rows, sorted(rejects, key=lambda reject: reject.place))


def _broken(source: Events, frame: Frame, arrival: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the rules of a source that rows break: the reason, and which rows."""
    rows = len(frame[KNOWN])
    for reason, condition in source.valid.items():
        result = evaluate(condition, frame, rows)
        yield f"not true: {reason}", result.valid & ~result.values
    if arrival is not None and source.lateness_us is not None:
        due = frame[source.time].values + source.delay_us + source.lateness_us
        reason = f'arrived later than lateness="{source.lateness}" after "{source.time}"'
        yield reason, np.maximum(frame[KNOWN].values, arrival) > due


def count_reasons(rejects: Iterable[Reject]) -> dict[str, int]:
    """Return how many rows were set aside for each reason, the most frequent first."""
    return dict(Counter(reject.reason for reject in rejects).most_common())


def complaint(source: str, total: int, rejects: Iterable[Reject]) -> str:
    """Return what was set aside and why, in a few sentences."""
    reasons = count_reasons(rejects)
    shown = ", ".join(f"{reason} ({count})" for reason, count in list(reasons.items())[:SHOWN])
    if (more := len(reasons) - SHOWN) > 0:
        shown += f" and {more} more reason{'' if more == 1 else 's'}"
    aside = sum(reasons.values())
    rest = "The other rows were stored." if aside < total else "Nothing was stored."
    return (
        f'{aside:,} of {total:,} rows of source "{source}" were set aside: {shown}. '
        f"{rest} See: tenfold rejects PROJECT.py {source}"
    )
