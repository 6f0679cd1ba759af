"""Where rows that do not fit are kept, with the reason and a count."""

import json
import reprlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

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
_INSERT = (
    "INSERT INTO rejects (source, at, reason, row, digest) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_COUNTS = "SELECT source, reason, count(*) AS rows, min(row) AS example FROM rejects {} GROUP BY 1, 2 ORDER BY 3 DESC, 2"
_LIST = "SELECT * FROM rejects WHERE source = ? ORDER BY seq DESC LIMIT ?"


@dataclass(frozen=True, slots=True)
class Rejected:
    """How many rows of a source were set aside for one reason, with one of them."""

    source: str
    reason: str
    rows: int
    example: str


class Aside(NamedTuple):
    """Rows of a source that do not fit; `batch` identifies the input they came from."""

    source: str
    rejects: Sequence[Reject]
    batch: str


class Quarantine:
    """Rows that were set aside; idempotent by batch and place, so a repeated batch counts once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, *each: Aside, wait: float | None = None) -> None:
        """Keep the rejected rows of inputs in one transaction.

        With `wait`, `Locked` when others had the database for so many seconds; then none is kept.
        """
        now = self._clock.now()
        values = [
            (source, now, reject.reason, row, fingerprint(source, batch, reject.place, row))
            for source, rejects, batch in each
            for reject, row in ((reject, as_text(reject.row)) for reject in rejects)
        ]
        if wait is None:
            _insert(self._database, values)
            return
        with closing(self._database.hurried(max(int(wait * 1_000), 1))) as hurried:
            _insert(hurried, values)

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
        return [{"at": row["at"], "reason": row["reason"], "row": json.loads(row["row"])} for row in found]


def _insert(database: Database, values: Sequence[Sequence[Any]]) -> None:
    with database.transaction() as connection:
        connection.executemany(_INSERT, values)


def as_text(row: Any) -> str:
    r"""Return any row as JSON in ASCII, however odd its values; what JSON has no form for comes as Python shows it.

    Examples
    --------
    >>> as_text({"amount": float("nan"), "name": "\ud800"})
    '{"amount": NaN, "name": "\\ud800"}'
    """
    try:
        return json.dumps(row, default=_plain)
    except (TypeError, ValueError, RecursionError):  # odd keys, a row within itself, thousands of levels
        return json.dumps(_Shown().repr(row))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


class _Shown(reprlib.Repr):
    """Shows everything down to 20 levels."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 20
        for kind in ("tuple", "list", "dict", "set", "frozenset", "array", "deque", "string", "other"):
            setattr(self, f"max{kind}", 1_000_000)

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002 - the level is part of the interface
        return hex(x) if x.bit_length() > 10_000 else repr(x)
