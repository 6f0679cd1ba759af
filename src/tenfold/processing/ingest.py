"""The way in: check rows, append them to the log; from when they were known follows from their arrival there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict
from tenfold.processing.batches import Marks, declared, encode, marks, to_table
from tenfold.processing.conform import complaint, conform
from tenfold.processing.frame import Frame, to_arrow
from tenfold.processing.quarantine import Quarantine
from tenfold.sources.base import Log
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
    judged = 0 if history else _judged(source, log, key, clock)
    conformed = conform(source, data, arrival=judged)
    told = Marks(history, 0 if source.lateness is None else judged)
    message = ""
    if conformed.rejects:
        total = conformed.rows + len(conformed.rejects)
        message = complaint(source.name, total, conformed.rejects)
        batch = f"call {clock.now()} {clock.elapsed()}" if key is None else f"key {key}"
        quarantine.add(source.name, conformed.rejects, batch=batch)
    for part, start in enumerate(range(0, conformed.rows, ROWS_PER_BATCH)):
        rows = np.arange(start, min(start + ROWS_PER_BATCH, conformed.rows))
        frame = {name: item.take(rows) for name, item in conformed.frame.items()}
        if not _append(source, frame, len(rows), log, told, None if key is None else f"{key}/{part}"):
            raise Conflict(
                f'key "{key}" of source "{source.name}" was already used for other rows. Those of the first call count; '
                "give other rows a new key."
            )
    return Ingested(source.name, conformed.rows, len(conformed.rejects), message)


def _judged(source: Events, log: Log, key: str | None, clock: Clock) -> int:
    """Return the moment at which lateness is judged: of a call that is repeated, that of the first one."""
    held = None if key is None or source.lateness is None else log.find(source.name, f"{key}/0")
    return clock.now() if held is None else marks(held).judged


def _append(source: Events, frame: Frame, rows: int, log: Log, told: Marks, key: str | None) -> bool:
    """Append rows and return whether the log holds them; it does not when other rows were first under this key."""
    data = encode(frame, rows, told)
    held = log.append(source.name, data, rows, key=key)
    return held.data == data or _same_rows(source, to_arrow(frame), to_table(held))


def _same_rows(source: Events, one: "pa.Table", two: "pa.Table") -> bool:
    """Return whether the declared columns are equal: the same rows count as stored, as history or not."""
    return bool(declared(source, one).equals(declared(source, two)))
