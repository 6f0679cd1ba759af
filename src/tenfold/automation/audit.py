"""The append-only record of every decision: what was decided, by whom or what, why, and on which numbers."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import msgspec

from tenfold.core.clock import Clock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import FOREVER
from tenfold.sources.database import Database, Row, Transaction

KINDS = ("gate", "monitor", "rollback", "rollout", "score", "token", "training")
"""What tenfold itself decides about."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS decision (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    decision TEXT NOT NULL,
    why TEXT NOT NULL,
    "by" TEXT NOT NULL,
    evidence TEXT NOT NULL,
    cause TEXT,
    UNIQUE (kind, subject, cause)
);
CREATE INDEX IF NOT EXISTS decision_subject ON decision (subject, seq);
CREATE TRIGGER IF NOT EXISTS decision_fixed BEFORE UPDATE ON decision
BEGIN SELECT RAISE(ABORT, 'the record of decisions is append-only'); END;
CREATE TRIGGER IF NOT EXISTS decision_kept BEFORE DELETE ON decision
BEGIN SELECT RAISE(ABORT, 'the record of decisions is append-only'); END;
"""

# Causes that are NULL are distinct from each other, so only a given cause finds an earlier decision.
FIND = "SELECT * FROM decision WHERE kind = ? AND subject = ? AND cause = ?"
RECORD = """
INSERT INTO decision (at, kind, subject, decision, why, "by", evidence, cause) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
RETURNING *
"""
LIST = """
SELECT * FROM (
    SELECT * FROM decision WHERE (subject = ?1 OR ?1 IS NULL) AND (kind = ?2 OR ?2 IS NULL)
    ORDER BY seq DESC LIMIT ?3
) AS newest ORDER BY seq
"""

# A part of a subject lies between "/" and the character after it.
NEWEST = """
SELECT * FROM decision
WHERE kind = ?1 AND (subject = ?2 OR (subject > ?2 || '/' AND subject < ?2 || '0')) AND "by" = ?3
AND (decision = ?4 OR ?4 IS NULL) AND at <= ?5
ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision; `at` is in microseconds since 1970 UTC and `by` names the person or the rule."""

    seq: int
    at: int
    kind: str
    subject: str
    decision: str
    why: str
    by: str
    evidence: dict[str, Any]


class Audit:
    """Every decision of a project; durable when a method returns, never changed or deleted afterwards.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> with TemporaryDirectory() as folder:
    ...     database = SQLiteDatabase(Path(folder) / "state.db", SCHEMA)
    ...     audit = Audit(database, VirtualClock(0))
    ...     for _ in range(2):
    ...         decision = audit.record(
    ...             "gate",
    ...             "fraud 8",
    ...             "refused",
    ...             "auc fell",
    ...             by="gate auc",
    ...             evidence={"auc": 0.58},
    ...             cause="j0001",
    ...         )
    ...     decisions = audit.list(subject="fraud 8")
    ...     database.close()
    >>> len(decisions), decisions[0].decision
    (1, 'refused')
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(
        self,
        kind: str,
        subject: str,
        decision: str,
        why: str,
        *,
        by: str,
        evidence: Mapping[str, Any],
        cause: str | None = None,
        tx: Transaction | None = None,
    ) -> Decision:
        """Append a decision.

        With a `cause`, one decision per (kind, subject, cause): a later call returns the one recorded first, whatever
        it says itself. `tx` is an open transaction to commit with, instead of an own one.
        """
        text = msgspec.json.encode(evidence).decode()
        with self._transaction(tx) as tx:
            rows = tx.execute(FIND, (kind, subject, cause)).fetchall()
            if not rows:
                values = (self._clock.now(), kind, subject, decision, why, by, text, cause)
                rows = tx.execute(RECORD, values).fetchall()
        return _decision(rows[0])

    def list(
        self, subject: str | None = None, kind: str | None = None, limit: int = 100
    ) -> Sequence[Decision]:
        """Return the newest `limit` decisions on a subject, of a kind or of all, oldest of them first."""
        return [_decision(row) for row in self._database.query(LIST, subject, kind, limit)]

    def newest(
        self, kind: str, subject: str, by: str, decision: str | None = None, *, until: int = FOREVER
    ) -> Decision | None:
        """Return the newest decision of a kind that `by` took on a subject or a part of it ("model/3" of "model"), or that one.

        `until` leaves out what was decided later: by a clock that was ahead.
        """
        rows = self._database.query(NEWEST, kind, subject, by, decision, until)
        return _decision(rows[0]) if rows else None

    def _transaction(self, tx: Transaction | None) -> AbstractContextManager[Transaction]:
        return self._database.transaction() if tx is None else nullcontext(tx)


def check_by(by: str) -> None:
    """Refuse a decision of nobody, before anything is done.

    Raises
    ------
    DefinitionError
        When the name is empty or blank.
    """
    if not by.strip():
        raise DefinitionError(
            f'by="{by}" names nobody. Nothing was changed. Say who decides, such as by="ann".'
        )


def _decision(row: Row) -> Decision:
    return Decision(
        seq=row["seq"],
        at=row["at"],
        kind=row["kind"],
        subject=row["subject"],
        decision=row["decision"],
        why=row["why"],
        by=row["by"],
        evidence=msgspec.json.decode(row["evidence"]),
    )
