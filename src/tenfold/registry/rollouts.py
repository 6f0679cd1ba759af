"""Rollouts: which candidate is on its way beside which champion, and how far; at most one open per model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tenfold.core.errors import Conflict, NotFound
from tenfold.sources.database import Database, Row, Transaction

# The unique index is what makes two open rollouts of a model impossible, whatever the code above it does.
SCHEMA = """
CREATE TABLE IF NOT EXISTS rollout (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    candidate INTEGER NOT NULL,
    champion INTEGER NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('shadow', 'canary', 'done', 'undone')),
    step INTEGER NOT NULL,
    share REAL NOT NULL CHECK (share BETWEEN 0 AND 1),
    begun INTEGER NOT NULL,
    since INTEGER NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0,
    approved TEXT,
    held INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL DEFAULT 1,
    FOREIGN KEY (model, candidate) REFERENCES model_version (model, number),
    FOREIGN KEY (model, champion) REFERENCES model_version (model, number)
);
CREATE UNIQUE INDEX IF NOT EXISTS rollout_open ON rollout (model) WHERE phase IN ('shadow', 'canary');
CREATE INDEX IF NOT EXISTS rollout_model ON rollout (model, id);
CREATE TRIGGER IF NOT EXISTS rollout_kept BEFORE DELETE ON rollout
BEGIN SELECT RAISE(ABORT, 'a rollout is never deleted'); END;
CREATE TRIGGER IF NOT EXISTS rollout_fixed BEFORE UPDATE OF model, candidate, champion, begun ON rollout
BEGIN SELECT RAISE(ABORT, 'a rollout stays that of its two versions'); END;
CREATE TRIGGER IF NOT EXISTS rollout_ended BEFORE UPDATE ON rollout WHEN OLD.phase = 'undone'
BEGIN SELECT RAISE(ABORT, 'a rollout that was undone never changes'); END;
CREATE TABLE IF NOT EXISTS rollout_sticky (
    rollout INTEGER NOT NULL REFERENCES rollout (id),
    fields TEXT NOT NULL,
    PRIMARY KEY (rollout)
) WITHOUT ROWID;
"""

BEGIN = """
INSERT INTO rollout (model, candidate, champion, phase, step, share, begun, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
RETURNING *
"""
STICK = "INSERT INTO rollout_sticky (rollout, fields) VALUES (?, ?)"
NEWEST = "SELECT * FROM rollout WHERE model = ? ORDER BY id DESC LIMIT 1"
# The seq is the whole concurrency story: of two that decide on the same state, the second changes nothing.
CHANGE = """
UPDATE rollout SET phase = ?, step = ?, share = ?, since = ?, paused = ?, approved = ?, held = ?, seq = seq + 1
WHERE id = ? AND seq = ? RETURNING *
"""
SHADOW, CANARY, DONE, UNDONE = "shadow", "canary", "done", "undone"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One candidate on its way to Production.

    Attributes
    ----------
    phase
        "shadow", "canary", "done" or "undone".
    step
        The place of `share` among the steps of the canary; -1 in shadow.
    begun, since
        When it began, and when the present phase or step did, in microseconds UTC.
    approved
        Who approved, None while nobody did.
    held
        Whether its time is over and evidence is missing.
    """

    id: int
    model: str
    candidate: int
    champion: int
    phase: str
    step: int
    share: float
    begun: int
    since: int
    paused: bool
    approved: str | None
    held: bool
    seq: int

    @property
    def is_open(self) -> bool:
        """Whether it is still under way."""
        return self.phase in (SHADOW, CANARY)

    @property
    def where(self) -> str:
        """Where it stands, in words.

        Examples
        --------
        >>> from dataclasses import replace
        >>> step = Rollout(1, "fraud", 2, 1, CANARY, 0, 0.07, 0, 0, False, None, False, 1)
        >>> step.where, replace(step, share=0.0004).where, replace(step, share=0.996).where
        ('canary at 7%', 'canary at 0.04%', 'canary at 99.6%')
        """
        return f"canary at {100 * self.share:.6g}%" if self.phase == CANARY else self.phase


class Moved(Conflict):
    """A rollout is not any more as it was seen."""

    def __init__(self, seen: Rollout) -> None:
        super().__init__(
            f"the rollout of {seen.model} version {seen.candidate} moved on since you looked; nothing was changed. "
            f"Look again: tenfold rollout show PROJECT.py {seen.model}."
        )
        self.seen = seen


class Rollouts:
    """The rollouts of a project; durable when a method returns, usable from several processes.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> from tenfold.registry import versions
    >>> with TemporaryDirectory() as folder:
    ...     database = SQLiteDatabase(Path(folder) / "state.db", versions.SCHEMA + SCHEMA)
    ...     registry, rollouts = versions.Registry(database, VirtualClock(0)), Rollouts(database)
    ...     for run in ("r1", "r2"):
    ...         version = registry.register("fraud", run_id=run, digest="d", artefact=run, info={})
    ...     with database.transaction() as tx:
    ...         begun = rollouts.begin(tx, "fraud", candidate=2, champion=1, phase=SHADOW, at=0)
    ...     found = rollouts.newest("fraud").where
    ...     database.close()
    >>> found
    'shadow'
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, model: str) -> Rollout | None:
        """Return the newest rollout of a model, None when there was none yet."""
        rows = self._database.query(NEWEST, model)
        return _rollout(rows[0]) if rows else None

    def open(self, model: str) -> Rollout | None:
        """Return the rollout that is under way, None when there is none."""
        found = self.newest(model)
        return found if found is not None and found.is_open else None

    def the(self, model: str) -> Rollout:
        """Return the rollout that is under way; NotFound when there is none."""
        found = self.open(model)
        if found is None:
            newest = self.newest(model)
            last = (
                "" if newest is None else f" The last one, of version {newest.candidate}, is {newest.phase}."
            )
            hint = (
                f"{last} One begins when a version passes the gates of a release that has shadow= or canary=."
            )
            raise NotFound("open rollout of model", model, (), hint=hint)
        return found

    def begin(
        self,
        tx: Transaction,
        model: str,
        *,
        candidate: int,
        champion: int,
        phase: str,
        at: int,
        share: float = 0.0,
        sticky: Sequence[str] = (),
    ) -> Rollout:
        """Begin one in an open transaction; `sticky` are the fields by which its canary tells entities apart to its end."""
        step = -1 if phase == SHADOW else 0
        (row,) = tx.execute(BEGIN, (model, candidate, champion, phase, step, share, at, at)).fetchall()
        if sticky:
            tx.execute(STICK, (row["id"], msgspec.json.encode(list(sticky)).decode()))
        return _rollout(row)

    def change(self, tx: Transaction, seen: Rollout, **changes: Any) -> Rollout:
        """Change one in an open transaction, if it still is what was seen.

        Raises
        ------
        Moved
            When it changed meanwhile. Nothing was changed.
        """
        names = ("phase", "step", "share", "since", "paused", "approved", "held")
        values = [changes.get(name, getattr(seen, name)) for name in names]
        rows = tx.execute(CHANGE, (*values, seen.id, seen.seq)).fetchall()
        if not rows:
            raise Moved(seen)
        return _rollout(rows[0])


def _rollout(row: Row) -> Rollout:
    values = dict(row)
    return Rollout(**{**values, "paused": bool(values["paused"]), "held": bool(values["held"])})
