"""The way in: check rows, append them to the log; from when they were known follows from their arrival there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, SchemaError
from tenfold.processing.conform import KNOWN, complaint, conform
from tenfold.processing.frame import Frame, arrow_type, from_arrow, to_arrow, types_of
from tenfold.processing.quarantine import Quarantine
from tenfold.sources.base import Batch, Log
from tenfold.sources.declare import Events

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH = 65_536
HISTORY = {b"history": b"true"}
"""Marks, in the schema of a batch, rows that are long known."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the rows given: stored in the log, or set aside with reasons."""

    source: str
    stored: int
    rejected: int
    message: str


def ingest(
    source: Events,
    data: Any,
    *,
    log: Log,
    quarantine: Quarantine,
    clock: Clock,
    history: bool = False,
    key: str | None = None,
) -> Ingested:
    """Check rows and append those that fit to the log; returns when they are durable.

    Rows that do not fit are kept first, then the others are appended in parts: after a crash in between nothing that
    was acknowledged is lost, and the same call again, with its key, completes it. Without a key rows may then be in the
    log twice; equal record ids count once.

    Parameters
    ----------
    history
        True for a load of what is long known: records count as known from their declared time. False for what
        happens now: they count as known from their arrival when that is later.
    key
        Makes the call idempotent: the same key again stores nothing, counts nothing twice and answers the same.

    Raises
    ------
    Conflict
        When rows were stored under this key and they are others: the first call counts. A key under which nothing
        could be stored may be used again.
    """
    conformed = conform(source, data)
    message = ""
    if conformed.rejects:
        total = conformed.rows + len(conformed.rejects)
        message = complaint(source.name, total, conformed.rejects)
        batch = f"call {clock.now()} {clock.elapsed()}" if key is None else f"key {key}"
        quarantine.add(source.name, conformed.rejects, batch=batch)
    for part, start in enumerate(range(0, conformed.rows, ROWS_PER_BATCH)):
        rows = np.arange(start, min(start + ROWS_PER_BATCH, conformed.rows))
        frame = {name: item.take(rows) for name, item in conformed.frame.items()}
        if not _append(source, frame, log, history, None if key is None else f"{key}/{part}"):
            raise Conflict(
                f'key "{key}" of source "{source.name}" was already used for other rows. Those of the first call count; '
                "give other rows a new key."
            )
    return Ingested(source.name, conformed.rows, len(conformed.rejects), message)


def _append(source: Events, frame: Frame, log: Log, history: bool, key: str | None) -> bool:
    """Append rows and return whether the log holds them; it does not when other rows were first under this key."""
    table = to_arrow(frame).replace_schema_metadata(HISTORY if history else None)
    data = to_bytes(table)
    held = log.append(source.name, data, table.num_rows, key=key)
    return held.data == data or _same_rows(source, table, to_table(held))


def _same_rows(source: Events, one: "pa.Table", two: "pa.Table") -> bool:
    """Return whether the declared columns are equal: the same rows count as stored, as history or not."""
    return bool(_declared(source, one).equals(_declared(source, two)))


def to_frame(source: Events, table: "pa.Table", *marks: str) -> Frame:
    """Return stored rows of a source as it is declared now, with int columns that it does not declare.

    A field that was added after rows were stored is null in them; one that was removed is left out.

    Raises
    ------
    SchemaError
        When rows were stored without a field that may not be missing.
    """
    types = types_of(source.fields)
    frame = from_arrow(_declared(source, table), types) | from_arrow(table, dict.fromkeys(marks, "int"))
    for name, field in source.fields.items():
        if not field.nullable and not frame[name].valid.all():
            raise SchemaError(
                f'source "{source.name}" has rows that were stored without the field "{name}": declare it `| None`, '
                "or load the history again into a new home."
            )
    return frame


def _declared(source: Events, table: "pa.Table") -> "pa.Table":
    """Return the columns a source declares; one that the table does not have is null."""
    import pyarrow as pa

    held = set(table.column_names)
    columns = {
        name: table.column(name) if name in held else pa.nulls(table.num_rows, arrow_type(field.type))
        for name, field in source.fields.items()
    }
    return pa.table(columns)


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
    import pyarrow as pa

    table = pa.ipc.open_stream(batch.data).read_all()
    if KNOWN in table.column_names and table.schema.metadata != HISTORY:
        known = np.maximum(table[KNOWN].to_numpy(), batch.arrival)
        table = table.set_column(table.column_names.index(KNOWN), KNOWN, pa.array(known))
    table = table.replace_schema_metadata(None)
    offsets = pa.array(np.arange(batch.base, batch.end, dtype=np.int64))
    arrivals = pa.array(np.full(batch.count, batch.arrival, dtype=np.int64))
    return table.append_column("_offset", offsets).append_column("_arrival", arrivals)
