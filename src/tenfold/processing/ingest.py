"""The way in: check rows, stamp from when they were known, append them to the log."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.fingerprint import fingerprint
from tenfold.processing.conform import KNOWN, complaint, conform
from tenfold.processing.frame import Column, to_arrow
from tenfold.processing.quarantine import Quarantine
from tenfold.sources.base import Batch, Log
from tenfold.sources.declare import Events

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH = 65_536


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

    Parameters
    ----------
    history
        True for a load of what is long known: records count as known from their declared time. False for what
        happens now: they count as known from their arrival when that is later.
    key
        Makes the call idempotent: the same key again stores nothing and counts nothing twice.
    """
    arrival = clock.now()
    conformed = conform(source, data)
    frame = dict(conformed.frame)
    if not history:
        known = np.maximum(frame[KNOWN].values, arrival)
        frame[KNOWN] = Column("int", known, frame[KNOWN].valid)
    total = conformed.rows + len(conformed.rejects)
    if conformed.rejects:
        batch = key or fingerprint(
            source.name, arrival, total, [repr(reject.row) for reject in conformed.rejects]
        )
        quarantine.add(source.name, conformed.rejects, batch=batch)
    for part, start in enumerate(range(0, conformed.rows, ROWS_PER_BATCH)):
        rows = slice(start, start + ROWS_PER_BATCH)
        table = to_arrow(
            {name: Column(item.type, item.values[rows], item.valid[rows]) for name, item in frame.items()}
        )
        log.append(
            source.name,
            to_bytes(table),
            table.num_rows,
            arrival=arrival,
            stamp=clock.elapsed(),
            key=None if key is None else f"{key}/{part}",
        )
    message = complaint(source.name, total, conformed.rejects) if conformed.rejects else ""
    return Ingested(source.name, conformed.rows, len(conformed.rejects), message)


def to_bytes(table: "pa.Table") -> bytes:
    """Return an Arrow table as an IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def to_table(batch: Batch) -> "pa.Table":
    """Return a log batch as an Arrow table with its offsets and arrival as `_offset` and `_arrival`."""
    import pyarrow as pa

    table = pa.ipc.open_stream(batch.data).read_all()
    offsets = pa.array(np.arange(batch.base, batch.end, dtype=np.int64))
    arrivals = pa.array(np.full(batch.count, batch.arrival, dtype=np.int64))
    return table.append_column("_offset", offsets).append_column("_arrival", arrivals)
