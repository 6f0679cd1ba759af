"""What people have - data frames, Arrow tables, files - as columns that can be checked all rows at once."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tenfold.core.decimals import LIMIT, PLACES
from tenfold.core.errors import SchemaError
from tenfold.processing import units
from tenfold.processing.frame import Column

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN_BYTES = 1_024
"""Text up to this size, without control characters that join ids, needs no closer look."""
_ODD = ("\0", "\x1f")
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}
_NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_FORMS = {
    "int": (_NUMBER, "float64"),
    "float": (_NUMBER, "float64"),
    "bool": (r"^(?i:true|false|1|0)$", "bool"),
}
_UNIQUE = 10.0**15
"""Decimals of up to 15 digits are different floats: what is nearest to one of them is none other."""
_BLANK = ("NA", "NaN", "nan", "null", "NULL", "None")


@dataclass(frozen=True, slots=True)
class Given:
    """Columns as they were given.

    A column is an Arrow array, or a list of Python values where Arrow has no one type for them. `torn` are the lines of
    a file that do not split into these columns.
    """

    names: Sequence[str]
    columns: Sequence[Any]
    torn: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def column(self, name: str) -> Any:
        """Return a column by name."""
        return self.columns[self.names.index(name)]

    def row(self, place: int) -> dict[str, Any]:
        """Return one row as Python values."""
        return {name: cell(item, place) for name, item in zip(self.names, self.columns, strict=True)}


def cell(item: Any, place: int) -> Any:
    """Return one value of a column; what Python cannot hold comes as bytes or as a number, which fit no field."""
    if isinstance(item, list):
        return item[place]
    scalar = item[place]
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        if hasattr(scalar, "as_buffer"):
            return scalar.as_buffer().to_pybytes()
        return getattr(scalar, "value", str(scalar.type).encode())


def cells(item: Any) -> list[Any]:
    """Return all values of a column."""
    if isinstance(item, list):
        return item
    try:
        return list(item.to_pylist())
    except (ValueError, OverflowError):
        return [cell(item, place) for place in range(len(item))]


def given(data: Any, types: Mapping[str, str]) -> Given | list[Any]:
    """Return data as columns, or as rows when it is a file of rows.

    Parameters
    ----------
    data
        A pandas data frame, an Arrow table, anything with the Arrow interface (Polars, DuckDB), or a path to a .parquet,
        .csv, .json or .ndjson file.
    types
        The declared types by column: a CSV file holds only text, which is read as what is declared.

    Raises
    ------
    SchemaError
        When the data as a whole cannot be read.
    """
    import pyarrow as pa

    if isinstance(data, (str, Path)):
        return _file(Path(data), types)
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _pandas(data)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        try:
            return _arrow(pa.table(data))
        except pa.ArrowException as error:
            raise SchemaError(
                f"{type(data).__name__} cannot be read as an Arrow table: {error}. Nothing was stored."
            ) from error
    raise SchemaError(
        f"{type(data).__name__} cannot be ingested. Give a list of dicts, an Arrow table, a data frame or a path to a file."
    )


def _arrow(table: "pa.Table", torn: Sequence[str] = ()) -> Given:
    return Given(table.column_names, [_whole(item) for item in table.columns], torn)


def _whole(item: "pa.ChunkedArray") -> "pa.Array":
    """Return chunks as one plain array."""
    import pyarrow as pa

    array = pa.concat_arrays(item.chunks) if item.num_chunks else pa.array([], item.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.large_string()) if pa.types.is_string_view(array.type) else array


def _pandas(frame: Any) -> Given:
    columns = [_series(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return Given([str(name) for name in frame.columns], columns)


def _series(series: Any) -> Any:
    """Return a pandas column as an Arrow array; a column of objects only when all are text, because Arrow would guess."""
    import pyarrow as pa

    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError, ValueError):
        return series.tolist()
    if series.dtype == object and not pa.types.is_string(array.type):
        return series.tolist()
    return _whole(array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array]))


def _file(path: Path, types: Mapping[str, str]) -> Given | list[Any]:
    import pyarrow as pa

    readers: Mapping[str, Callable[[Path, Mapping[str, str]], Given | list[Any]]] = {
        ".csv": _csv,
        ".json": _json,
        ".ndjson": _json,
        ".parquet": _parquet,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise SchemaError(f'"{path}" cannot be ingested. Known file types: {", ".join(readers)}.')
    if not path.exists():
        raise SchemaError(f'there is no file "{path}".')
    try:
        return readers[suffix](path, types)
    except (pa.ArrowException, msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise SchemaError(f'"{path}" cannot be read: {_why(error)}. Nothing was stored.') from error


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if "straddling" in str(error):  # Arrow's word for a row that does not end within a block of 1 MB
        return "a quote is not closed, or a row is longer than 1 MB"
    return str(error)


def _parquet(path: Path, _: Mapping[str, str]) -> Given:
    from pyarrow import parquet

    return _arrow(parquet.read_table(path))


def _json(path: Path, _: Mapping[str, str]) -> list[Any]:
    """Return the rows of a JSON list, or of one JSON value a line; a line that is not JSON comes as text."""
    content = path.read_bytes()
    if content.lstrip()[:1] == b"[":
        try:
            return msgspec.json.decode(content, type=list[Any])
        except msgspec.DecodeError as error:
            raise msgspec.DecodeError(f"line {_line_of(content, str(error))}: {error}") from error
    return [_line(line) for line in content.splitlines() if line.strip()]


def _line_of(content: bytes, message: str) -> int:
    """Return the line an error of the decoder is in: that of the byte it names, or the last one."""
    place = re.search(r"\(byte (\d+)\)", message)
    return content.count(b"\n", 0, int(place[1]) if place else len(content)) + 1


def _line(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line.decode(errors="backslashreplace")


def csv_rows(content: bytes, types: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a CSV text whose first line names the columns, read as what is declared; SchemaError when it is none."""
    import pyarrow as pa

    try:
        found = _csv(pa.BufferReader(content), types)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SchemaError(f"the body is not CSV: {_why(error)}.") from error
    if found.torn:
        raise SchemaError(
            f"the body is not CSV: a line has other columns than the first one: {found.torn[0][:100]}."
        )
    columns = [cells(item) for item in found.columns]
    return [dict(zip(found.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _csv(path: "Path | pa.BufferReader", types: Mapping[str, str]) -> Given:
    import pyarrow as pa
    from pyarrow import csv

    torn: list[str] = []

    def tear(row: Any) -> str:
        torn.append(row.text)
        return "skip"

    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False),  # so that torn lines come in order
        parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=tear),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(types, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    found = _arrow(table, torn)
    columns = [
        _read(item, types.get(name, "str")) for name, item in zip(found.names, found.columns, strict=True)
    ]
    return Given(found.names, columns, torn)


def _read(array: "pa.Array", type_: str) -> Any:
    """Return text as what is declared; where it does not read as that, the text stays."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if type_ not in _FORMS and type_ not in PLACES:
        return array
    pattern, target = _FORMS.get(type_) or _form(PLACES[type_])
    blank = pc.is_in(array, pa.array(_BLANK))
    array = pc.if_else(blank, pa.scalar(None, pa.string()), array)
    reads = pc.match_substring_regex(array, pattern)
    typed = pc.if_else(reads, array, pa.scalar(None, pa.string())).cast(target)
    if typed.null_count == array.null_count:
        return typed
    both = zip(cells(array), typed.to_pylist(), strict=True)
    return [text if value is None else value for text, value in both]


def _form(places: int) -> "tuple[str, pa.DataType]":
    import pyarrow as pa

    return rf"^[+-]?[0-9]{{1,18}}(\.[0-9]{{0,{places}}})?$", pa.decimal128(38, places)


def column_of(item: Any, type_: str) -> tuple[Column, np.ndarray] | None:
    """Return a column and a mask of the rows that need no closer look; None when its type is another.

    Instants are rounded down to microseconds; NaN is null.
    """
    import pyarrow as pa

    if isinstance(item, list):
        return None
    if type_ in PLACES:
        return _decimals(item, type_)
    is_ = pa.types
    readers: Mapping[str, tuple[tuple[Callable[[Any], bool], ...], Callable[[Any], Any]]] = {
        "float": ((is_.is_floating, is_.is_integer), _floats),
        "int": ((is_.is_integer, is_.is_floating), _ints),
        "bool": ((is_.is_boolean,), _bools),
        "str": ((is_.is_string, is_.is_large_string), _texts),
        "time": ((lambda kind: is_.is_timestamp(kind) and kind.tz is not None,), _times),
    }
    kinds, reader = readers[type_]
    return reader(item) if any(fits(item.type) for fits in kinds) else None


def _decimals(item: "pa.Array", type_: str) -> tuple[Column, np.ndarray] | None:
    import pyarrow as pa

    is_, places = pa.types, PLACES[type_]
    valid = np.asarray(item.is_valid())
    if is_.is_decimal(item.type):
        found, sure = units.from_arrow(item, places)
    elif is_.is_integer(item.type):
        whole, valid = _filled(item, 0)
        small = np.where(whole < LIMIT, whole, 0).astype(np.int64)  # a uint64 may be larger than an int64
        found, sure = units.scaled(small, 10**places)
        sure &= whole < LIMIT
    elif is_.is_floating(item.type):
        reals, valid = _filled(item.cast(pa.float64()), 0)
        valid = valid & ~np.isnan(reals)
        with np.errstate(over="ignore"):
            near = np.rint(np.where(valid, reals, 0) * 10.0**places)
        sure = np.abs(near) < _UNIQUE
        found = np.where(sure, near, 0).astype(np.int64)
        sure &= units.floats(found, places) == reals
    else:
        return None
    sure |= ~valid
    return Column(type_, np.where(valid & sure, found, 0), valid), sure


def _sure(type_: str, values: np.ndarray, valid: np.ndarray) -> tuple[Column, np.ndarray]:
    return Column(type_, values, valid), np.ones(len(values), dtype=np.bool_)


def _filled(item: "pa.Array", blank: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return values with `blank` for null, and which are not null."""
    values = np.asarray(item.fill_null(blank).to_numpy(zero_copy_only=False))
    return values, np.asarray(item.is_valid())


def _floats(item: "pa.Array") -> tuple[Column, np.ndarray]:
    values, valid = _filled(item, 0)
    values = values.astype(np.float64)
    valid = valid & ~np.isnan(values)
    return _sure("float", np.where(valid, values, 0.0), valid)


def _ints(item: "pa.Array") -> tuple[Column, np.ndarray]:
    values, valid = _filled(item, 0)
    if values.dtype.kind != "f":
        sure = values <= np.iinfo(np.int64).max
        return Column("int", values.astype(np.int64), valid), sure
    found, _ = _floats(item)  # data frames without nullable integers hold whole numbers as floats
    sure = (found.values == np.floor(found.values)) & (np.abs(found.values) < 2.0**62)
    return Column("int", np.where(sure, found.values, 0.0).astype(np.int64), found.valid), sure


def _bools(item: "pa.Array") -> tuple[Column, np.ndarray]:
    return _sure("bool", *_filled(item, False))


def _times(item: "pa.Array") -> tuple[Column, np.ndarray]:
    import pyarrow as pa

    raw, valid = _filled(item.cast(pa.int64()), 0)
    if item.type.unit == "ns":
        return _sure("time", raw // 1_000, valid)
    factor = _UNITS[item.type.unit]
    return Column("time", raw * factor, valid), np.abs(raw) <= np.iinfo(np.int64).max // factor


def _texts(item: "pa.Array") -> tuple[Column, np.ndarray] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        item.validate(full=True)
    except pa.ArrowInvalid:  # not UTF-8
        return None
    odd = pc.greater(pc.binary_length(item), PLAIN_BYTES)
    for sign in _ODD:
        odd = pc.or_(odd, pc.match_substring(item, sign))
    values = item.to_numpy(zero_copy_only=False)
    sure = ~np.asarray(odd.fill_null(False).to_numpy(zero_copy_only=False))
    return Column("str", values, np.asarray(item.is_valid())), sure
