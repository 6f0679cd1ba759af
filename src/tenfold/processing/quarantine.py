"""Where rows that do not fit are kept, with the reason and a count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tenfold.core.clock import Clock
from tenfold.core.fingerprint import fingerprint
from tenfold.processing.conform import Reject
from tenfold.sources.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS rejects (
    seq INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    row TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE
);
CREATE INDEX IF NOT EXISTS rejects_source ON rejects (source, reason);
"""
_INSERT = "INSERT OR IGNORE INTO rejects (source, at, reason, row, digest) VALUES (?, ?, ?, ?, ?)"
_COUNTS = "SELECT source, reason, count(*) AS rows, min(row) AS example FROM rejects {} GROUP BY 1, 2 ORDER BY 3 DESC, 2"
_LIST = "SELECT * FROM rejects WHERE source = ? ORDER BY seq DESC LIMIT ?"


@dataclass(frozen=True, slots=True)
class Rejected:
    """How many rows of a source were set aside for one reason, with one of them."""

    source: str
    reason: str
    rows: int
    example: str


class Quarantine:
    """Rows that were set aside; idempotent by batch and place, so a repeated batch counts once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, source: str, rejects: Sequence[Reject], *, batch: str) -> None:
        """Keep rejected rows in one transaction; `batch` identifies the input they came from."""
        now = self._clock.now()
        with self._database.transaction() as connection:
            for reject in rejects:
                row = msgspec.json.encode(reject.row, enc_hook=_plain).decode()
                digest = fingerprint(source, batch, reject.place, row)
                connection.execute(_INSERT, (source, now, reject.reason, row, digest))

    def counts(self, source: str | None = None) -> list[Rejected]:
        """Return the reasons with their counts, most frequent first."""
        if source is None:
            rows = self._database.query(_COUNTS.format(""))
        else:
            rows = self._database.query(_COUNTS.format("WHERE source = ?"), source)
        return [Rejected(row["source"], row["reason"], row["rows"], row["example"]) for row in rows]

    def rows(self, source: str, limit: int = 20) -> list[dict[str, Any]]:
        """Return rejected rows as they were given, newest first."""
        found = self._database.query(_LIST, source, limit)
        return [
            {"at": row["at"], "reason": row["reason"], "row": msgspec.json.decode(row["row"])}
            for row in found
        ]


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    return item() if callable(item) else repr(value)
