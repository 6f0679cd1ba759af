"""Checks on the way in: every row either fits its source's declaration or is set aside with a reason."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.errors import DefinitionError, SchemaError, TenfoldError, suggest
from tenfold.core.times import to_us
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, Frame, column, from_arrow, types_of
from tenfold.sources.declare import Events, Field

if TYPE_CHECKING:
    import pyarrow as pa

EARLIEST = to_us(datetime(1970, 1, 1, tzinfo=UTC))
LATEST = to_us(datetime(2200, 1, 1, tzinfo=UTC))
LARGEST = 2.0**43
"""Numbers from here on cannot be summed exactly."""

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
    """A value does not fit its field: the reason of a reject."""


def conform(source: Events, data: Any) -> Conformed:
    """Split data into the rows that fit a source and the rows that do not.

    Parameters
    ----------
    data
        Rows (a list of dicts), an Arrow table, any data frame with the Arrow interface (pandas, Polars, DuckDB), or a
        path to a .parquet, .csv, .json or .ndjson file.

    Raises
    ------
    SchemaError
        When a table as a whole lacks a column or has one that is not declared; nothing is stored then.
    """
    if isinstance(source, Events) is False:
        raise DefinitionError(f'"{source.name}" is derived; ingest its source "{source.root.name}" instead.')
    if isinstance(data, Mapping):
        data = [data]
    if isinstance(data, list):
        frame, places, rejects = _from_rows(source, data)
        originals: Callable[[int], Any] = data.__getitem__
    else:
        table = _table(data)
        _check_columns(source, table.column_names)
        frame, places, rejects, originals = _from_table(source, table)
    return _finish(source, frame, places, rejects, originals)


def _table(data: Any) -> "pa.Table":
    import pyarrow as pa

    if isinstance(data, (str, Path)):
        return _file(Path(data))
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise SchemaError(
        f"{type(data).__name__} cannot be ingested. Give a list of dicts, an Arrow table, a data frame or a path to a file."
    )


def _file(path: Path) -> "pa.Table":
    from pyarrow import csv, json, parquet

    readers = {
        ".parquet": parquet.read_table,
        ".csv": csv.read_csv,
        ".json": json.read_json,
        ".ndjson": json.read_json,
    }
    if path.suffix not in readers:
        raise SchemaError(f'"{path}" cannot be ingested. Known file types: {", ".join(sorted(readers))}.')
    if not path.exists():
        raise SchemaError(f'there is no file "{path}".')
    return readers[path.suffix](path)


def _check_columns(source: Events, names: Sequence[str]) -> None:
    missing = sorted(set(source.fields) - set(names))
    extra = sorted(set(names) - set(source.fields))
    if extra:
        raise SchemaError(
            f'source "{source.name}" has no column "{extra[0]}".{suggest(extra[0], source.fields)} Nothing was stored.'
        )
    if missing:
        raise SchemaError(f'source "{source.name}" misses column "{missing[0]}". Nothing was stored.')


def _from_table(
    source: Events, table: "pa.Table"
) -> tuple[dict[str, Column], np.ndarray, list[Reject], Callable[[int], Any]]:
    import pyarrow as pa

    def original(place: int) -> Any:
        return table.slice(place, 1).to_pylist()[0]

    try:
        frame = from_arrow(_aware(source, table), types_of(source.fields))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, Misfit):
        rows = table.to_pylist()
        frame, places, rejects = _from_rows(source, rows)
        return frame, places, rejects, rows.__getitem__
    bad: dict[int, str] = {}
    for name, field in source.fields.items():
        _note(bad, _blank_nan(frame, name, field), f'"{name}" is missing')
        if field.type in ("float", "int"):
            _note(
                bad,
                np.abs(frame[name].values.astype(np.float64)) >= LARGEST,
                f'"{name}" is too large for exact sums (2^43)',
            )
        if field.type == "time":
            values, valid = frame[name].values, frame[name].valid
            _note(
                bad,
                valid & ((values < EARLIEST) | (values >= LATEST)),
                f'"{name}" is not between 1970 and 2200',
            )
    keep = np.ones(table.num_rows, dtype=np.bool_)
    keep[list(bad)] = False
    rejects = [Reject(place, original(place), reason) for place, reason in sorted(bad.items())]
    return {name: item.take(keep) for name, item in frame.items()}, np.flatnonzero(keep), rejects, original


def _blank_nan(frame: dict[str, Column], name: str, field: Field) -> np.ndarray:
    """Turn NaN into null, as data frames use it, and return where a needed value is missing."""
    item = frame[name]
    if field.type == "float":
        blank = np.isnan(item.values)
        item = Column("float", np.where(blank, 0.0, item.values), item.valid & ~blank)
        frame[name] = item
    return ~item.valid if not field.nullable else np.zeros(len(item), dtype=np.bool_)


def _note(bad: dict[int, str], rows: np.ndarray, reason: str) -> None:
    for place in np.flatnonzero(rows).tolist():
        bad.setdefault(place, reason)


def _aware(source: Events, table: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    for name, field in source.fields.items():
        kind = table.schema.field(name).type
        aware = pa.types.is_timestamp(kind) and kind.tz is not None
        if field.type == "time" and not aware:
            raise Misfit(f'"{name}" has no time zone')
        if field.type == "str" and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise Misfit(f'"{name}" is not text')
        if field.type in ("int", "float", "bool") and pa.types.is_string(kind):
            raise Misfit(f'"{name}" is text')
    return table


def _from_rows(source: Events, rows: Sequence[Any]) -> tuple[dict[str, Column], np.ndarray, list[Reject]]:
    good: dict[str, list[Any]] = {name: [] for name in source.fields}
    places: list[int] = []
    rejects: list[Reject] = []
    for place, row in enumerate(rows):
        try:
            values = convert(source.fields, row)
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
    if not isinstance(row, Mapping):
        raise Misfit(f"a row is {type(row).__name__}, not an object with named fields")
    for name in row:
        if name not in fields:
            raise Misfit(f'unknown column "{name}".{suggest(str(name), fields)}')
    return {name: _value(name, field, row.get(name)) for name, field in fields.items()}


def _value(name: str, field: Field, value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        if not field.nullable:
            raise Misfit(f'"{name}" is missing')
        return None
    return _CONVERT[field.type](name, value)


def _int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise Misfit(f'"{name}" is {_shown(value)}, not a whole number')
    return int(_in_range(name, value))


def _float(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise Misfit(f'"{name}" is {_shown(value)}, not a number')
    return float(_in_range(name, value))


def _in_range(name: str, value: Any) -> Any:
    if not abs(value) < LARGEST:
        raise Misfit(f'"{name}" is too large for exact sums (2^43)')
    return value


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise Misfit(f'"{name}" is {_shown(value)}, not true or false')
    return bool(value)


def _str(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Misfit(f'"{name}" is {_shown(value)}, not text')
    return value


def _time(name: str, value: Any) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise Misfit(
                f'"{name}" is {_shown(value)}, not a time such as 2013-04-01T06:00:00+00:00'
            ) from error
    if not isinstance(value, date) or not isinstance(value, datetime):
        raise Misfit(f'"{name}" is {_shown(value)}, not a time such as 2013-04-01T06:00:00+00:00')
    if value.tzinfo is None:
        raise Misfit(
            f'"{name}" is {value.isoformat()}, which has no time zone. Write {value.isoformat()}+00:00'
        )
    moment = to_us(value)
    if not EARLIEST <= moment < LATEST:
        raise Misfit(f'"{name}" is {value.isoformat()}, not between 1970 and 2200')
    return moment


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


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
) -> Conformed:
    rows = len(places)
    keep = np.ones(rows, dtype=np.bool_)
    for reason, condition in source.valid.items():
        result = evaluate(condition, frame, rows)
        broken = keep & result.valid & ~result.values
        rejects += [
            Reject(int(places[at]), originals(int(places[at])), f"not true: {reason}")
            for at in np.flatnonzero(broken)
        ]
        keep &= ~broken
    if not keep.all():
        frame = {name: item.take(keep) for name, item in frame.items()}
        rows = int(keep.sum())
    known = frame[source.known].values if source.known else frame[source.time].values + source.delay_us
    frame[KNOWN] = Column("int", known.astype(np.int64), np.ones(rows, dtype=np.bool_))
    return Conformed(frame, rows, sorted(rejects, key=lambda reject: reject.place))


def complaint(source: str, total: int, rejects: Iterable[Reject]) -> str:
    """Return one sentence that says what was set aside and why."""
    reasons: dict[str, int] = {}
    for reject in rejects:
        reasons[reject.reason] = reasons.get(reject.reason, 0) + 1
    shown = ", ".join(
        f"{reason} ({count})" for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:4]
    )
    return (
        f'{sum(reasons.values()):,} of {total:,} rows of source "{source}" were set aside: {shown}. '
        f"The other rows were stored. See: tenfold rejects {source}"
    )
