"""Batches of the log: how rows become bytes and how bytes become columns again.

Many rows are an Arrow IPC stream. Few rows are MessagePack: for one row, opening a stream costs more than all else.
Answers are MessagePack too, column by column (`packed`).
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tenfold.core.errors import SchemaError
from tenfold.processing.changed import mixed, spelled, without
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import (
    DTYPES,
    Column,
    Frame,
    arrow_type,
    column,
    concat,
    from_arrow,
    to_arrow,
    types_of,
)
from tenfold.processing.packed import ARRAYS, MARK, unknown, unpack
from tenfold.sources.base import Batch
from tenfold.sources.declare import Events, field_name

if TYPE_CHECKING:
    import pyarrow as pa

OFFSET = "_offset"
ARRIVAL = "_arrival"
FEW = 64
"""Up to this many rows are MessagePack."""
HISTORY = {b"history": b"true"}
"""Marks, in the schema of a stream, rows that are long known."""
_JUDGED = b"judged"
_STREAM = 0xFF
"""The first byte of an Arrow IPC stream; no MessagePack array begins with it."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode
_OWN = 3
"""How many values of few rows stand before the cells, which come row by row."""

_NAMED = re.compile(f"(.*?):({'|'.join(map(re.escape, DTYPES))})(?: |\\Z)", re.DOTALL)
"""A column of few rows: its name and type."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a batch says of all its rows: whether they are history, and the moment their lateness was judged at."""

    history: bool = False
    judged: int = 0


def encode(frame: Frame, rows: int, told: Marks) -> bytes:
    """Return the bytes of a batch."""
    if rows <= FEW:
        cells = [
            value for row in zip(*(item.plain() for item in frame.values()), strict=True) for value in row
        ]
        names = " ".join(f"{name}:{item.type}" for name, item in frame.items())
        return _encode([told.history, told.judged, names, *cells])
    meta = (HISTORY if told.history else {}) | ({_JUDGED: b"%d" % told.judged} if told.judged else {})
    return to_bytes(to_arrow(frame).replace_schema_metadata(meta or None))


def marks(batch: Batch) -> Marks:
    """Return what a batch says of all its rows."""
    import pyarrow as pa

    if batch.data[0] != _STREAM:
        history, judged, *_ = _opened(batch)
        return Marks(history, judged)
    meta = pa.ipc.open_stream(batch.data).schema.metadata or {}
    return Marks(b"history" in meta, int(meta.get(_JUDGED, 0)))


def to_bytes(table: "pa.Table") -> bytes:
    """Return an Arrow table as an IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def to_table(batch: Batch) -> "pa.Table":
    """Return a log batch as an Arrow table with its offsets and arrival as `_offset` and `_arrival`.

    The log holds from when a row was declared known; here `_known` is from when it counts as known: that for history,
    and its arrival, if later, for what is live.
    """
    if batch.data[0] == MARK:
        return _placed(unpack([batch.data]), [batch])
    if batch.data[0] != _STREAM:
        return to_arrow(_few([batch], [_opened(batch)]))
    import pyarrow as pa

    table = pa.ipc.open_stream(batch.data).read_all()
    if KNOWN in table.column_names and b"history" not in (table.schema.metadata or {}):
        known = np.maximum(table[KNOWN].to_numpy(), batch.arrival)
        table = table.set_column(table.column_names.index(KNOWN), KNOWN, pa.array(known))
    return _placed(table.replace_schema_metadata(None), [batch])


def to_tables(batches: Sequence[Batch]) -> "pa.Table":
    """Return log batches of a topic as one table; a column that some of them lack is null there."""
    return joined([table for part in _parts(batches) for table in _tables(*part)], batches[0].topic)


def joined(tables: "Sequence[pa.Table]", topic: str) -> "pa.Table":
    """Return tables of a topic as one; a column that some of them lack is null there.

    Raises
    ------
    SchemaError
        When a column has another type in one of them than in one before.
    """
    import pyarrow as pa

    try:
        return pa.concat_tables(tables, promote_options="default").combine_chunks()
    except pa.ArrowTypeError as error:
        types: dict[str, pa.DataType] = {}
        for item in itertools.chain.from_iterable(table.schema for table in tables):
            if types.setdefault(item.name, item.type) != item.type:
                both = spelled(item.type), spelled(types[item.name])
                raise SchemaError(mixed(topic, item.name, *both)) from error
        raise


def _tables(batches: list[Batch], rows: list[list[Any]]) -> list["pa.Table"]:
    if batches[0].data[0] == MARK:
        return [_placed(unpack([batch.data for batch in batches]), batches)]
    return [to_arrow(_few(batches, rows))] if rows else [to_table(batch) for batch in batches]


def _placed(table: "pa.Table", batches: Sequence[Batch]) -> "pa.Table":
    """Return the rows of batches with their offsets and arrivals."""
    import pyarrow as pa

    offsets, arrivals = _places(batches)
    return table.append_column(OFFSET, pa.array(offsets)).append_column(ARRIVAL, pa.array(arrivals))


def _places(batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset and the arrival of each row of batches: (n,) int64 each."""
    if len(batches) == 1:
        batch = batches[0]
        return np.arange(batch.base, batch.end), np.full(batch.count, batch.arrival)
    counts = np.array([batch.count for batch in batches])
    arrival = np.repeat(np.array([batch.arrival for batch in batches], dtype=np.int64), counts)
    base = np.repeat(np.array([batch.base for batch in batches], dtype=np.int64), counts)
    return base + np.arange(len(base)) - np.repeat(np.cumsum(counts) - counts, counts), arrival


def read_frame(source: Events, batches: Sequence[Batch]) -> Frame:
    """Return log batches of a source as columns, with known times, offsets and arrivals."""
    frames = [_frame(source, *part) for part in _parts(batches)]
    if len(frames) == 1:
        return frames[0]
    return {name: concat([frame[name] for frame in frames]) for name in frames[0]}


def _frame(source: Events, batches: list[Batch], rows: list[list[Any]]) -> Frame:
    if rows:
        return _as_declared(source, _few(batches, rows))
    return to_frame(source, to_tables(batches), KNOWN, OFFSET, ARRIVAL)


def to_frame(source: Events, table: "pa.Table", *marked: str) -> Frame:
    """Return stored rows of a source as it is declared now, with int columns that it does not declare.

    A field that was added after rows were stored is null in them; one that was removed is left out.

    Raises
    ------
    SchemaError
        When rows were stored without a field that may not be missing, or with another type.
    """
    types = types_of(source.fields)
    frame = from_arrow(declared(source, table), types) | from_arrow(table, dict.fromkeys(marked, "int"))
    check_present(source, frame)
    return frame


def declared(source: Events, table: "pa.Table") -> "pa.Table":
    """Return the columns a source declares; one that the table does not have is null.

    Raises
    ------
    SchemaError
        When one has another type in the table.
    """
    import pyarrow as pa

    held = set(table.column_names)
    for name, field in source.fields.items():
        if name in held and (found := table.schema.field(name).type) != arrow_type(field.type):
            raise SchemaError(mixed(source.name, name, spelled(found), spelled(field.type)))
    columns = {
        name: table.column(name) if name in held else pa.nulls(table.num_rows, arrow_type(field.type))
        for name, field in source.fields.items()
    }
    return pa.table(columns)


def check_present(source: Events, frame: Frame) -> None:
    """Raise SchemaError when a column of a source lacks values that may not be missing."""
    for name, field in source.fields.items():
        if name in frame and not field.nullable and np.count_nonzero(valid := frame[name].valid) < len(valid):
            raise SchemaError(without(source.name, name))


def _parts(batches: Sequence[Batch]) -> Iterator[tuple[list[Batch], list[list[Any]]]]:
    """Yield runs of batches of one form: of few rows those with the same columns, together with their values."""
    for first_byte, run in itertools.groupby(batches, key=_form):
        held = list(run)
        if first_byte:
            yield held, []
            continue
        rows = [_opened(batch) for batch in held]
        first = 0
        for place in range(1, len(held) + 1):
            if place == len(held) or rows[place][_OWN - 1] != rows[first][_OWN - 1]:
                yield held[first:place], rows[first:place]
                first = place


def _form(batch: Batch) -> int:
    """Return the first byte of a stream or of what is packed; 0 for few rows."""
    return batch.data[0] if batch.data[0] in (_STREAM, MARK) else 0


def _opened(batch: Batch) -> list[Any]:
    """Return the values of a batch of few rows."""
    if batch.data[0] not in ARRAYS:
        raise unknown(f"first byte {batch.data[0]}")
    return _decode(batch.data)


def _few(batches: Sequence[Batch], rows: Sequence[list[Any]]) -> dict[str, Column]:
    """Return batches of few rows as columns, with offsets, arrivals and from when each row counts as known."""
    names = _named(rows[0][_OWN - 1], (len(rows[0]) - _OWN) // batches[0].count)
    cells = list(itertools.chain.from_iterable([values[_OWN:] for values in rows]))
    frame = {name: column(type_, cells[place :: len(names)]) for place, (name, type_) in enumerate(names)}
    offset, arrival = _places(batches)
    if KNOWN in frame:
        known, history = frame[KNOWN], [values[0] for values in rows]
        moved = np.maximum(known.values, arrival)
        if any(history):
            moved = np.where(np.repeat(history, [batch.count for batch in batches]), known.values, moved)
        frame[KNOWN] = Column("int", moved, known.valid)
    sure = np.ones(len(offset), dtype=np.bool_)
    return frame | {OFFSET: Column("int", offset, sure), ARRIVAL: Column("int", arrival, sure)}


@cache
def _named(header: str, width: int) -> Sequence[tuple[str, str]]:
    """Return the names of so many columns with their types, from how they are written: "id:str at:time".

    A name with a space or a colon, which could be declared once, is the nearest one that can be declared now.
    """
    found = [(name, type_) for name, type_ in _NAMED.findall(header)]
    names = [field_name(name) for name, _ in found]
    if len(found) != width or len(set(names)) < width:
        raise SchemaError(
            f'the log holds rows whose columns cannot be told apart, "{header[:200]}": names of fields could have spaces and '
            "colons once. Rename those fields, and load the history again into a new home."
        )
    return tuple((name, type_) for name, (_, type_) in zip(names, found, strict=True))


def _as_declared(source: Events, frame: Frame) -> Frame:
    rows = len(frame[OFFSET])
    own = {
        name: _typed(source, name, frame[name]) if name in frame else column(field.type, [None] * rows)
        for name, field in source.fields.items()
    }
    check_present(source, own)
    return own | {name: frame[name] for name in (KNOWN, OFFSET, ARRIVAL)}


def _typed(source: Events, name: str, item: Column) -> Column:
    """Return a stored column, which must have the type that its field is declared with now."""
    declared_as = source.fields[name].type
    if item.type != declared_as:
        raise SchemaError(mixed(source.name, name, spelled(item.type), spelled(declared_as)))
    return item
