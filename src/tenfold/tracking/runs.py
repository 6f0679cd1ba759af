"""The store of runs: parameters, metrics, data versions and code of everything that was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Row
from typing import Any

import msgspec

from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, NotFound
from tenfold.sources.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    params TEXT NOT NULL,
    metrics TEXT NOT NULL,
    data TEXT NOT NULL,
    code TEXT NOT NULL,
    artefact TEXT,
    error TEXT
);
CREATE INDEX IF NOT EXISTS run_subject ON run (subject, seq);
CREATE TRIGGER IF NOT EXISTS run_finished BEFORE UPDATE ON run WHEN OLD.status <> 'running'
BEGIN SELECT RAISE(ABORT, 'a finished run never changes'); END;
CREATE TRIGGER IF NOT EXISTS run_kept BEFORE DELETE ON run
BEGIN SELECT RAISE(ABORT, 'a run is never deleted'); END;
"""

# Runs are never deleted, so max(seq) + 1 is the seq SQLite is about to give.
START = """
INSERT INTO run (id, kind, subject, started, status, params, metrics, data, code)
SELECT printf('r%04d', coalesce(max(seq), 0) + 1), ?, ?, ?, 'running', ?, '{}', ?, ? FROM run
RETURNING *
"""
END = """
UPDATE run SET status = ?, finished = ?, metrics = ?, artefact = ?, error = ? WHERE id = ? AND status = 'running'
RETURNING *
"""
GET = "SELECT * FROM run WHERE id = ?"
LIST = "SELECT * FROM run ORDER BY seq DESC LIMIT ?"
LIST_SUBJECT = "SELECT * FROM run WHERE subject = ? ORDER BY seq DESC LIMIT ?"
NEWEST_IDS = "SELECT id FROM run ORDER BY seq DESC LIMIT 200"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a training pipeline and everything its result depends on.

    `started` and `finished` are microseconds since 1970 UTC. `status` is running, done or failed. `data` maps each
    table to the version that was read; `code` holds the commit or fingerprint and the library versions. `artefact`
    is the name of a blob. A metric that was not a finite number reads back as NaN.
    """

    id: str
    kind: str
    subject: str
    started: int
    finished: int | None
    status: str
    params: dict[str, Any]
    metrics: dict[str, float]
    data: dict[str, Any]
    code: dict[str, Any]
    artefact: str | None
    error: str | None


class Runs:
    """Every run of a project; durable when a method returns, usable from several processes.

    A run that is done or failed never changes, and no run is ever deleted; the database refuses both.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> with TemporaryDirectory() as folder:
    ...     database = Database(Path(folder) / "state.db", SCHEMA)
    ...     runs = Runs(database, VirtualClock(0))
    ...     run = runs.start(
    ...         "train", "fraud", params={"trees": 200}, data={"payments": 7}, code={"git": "1a2b3c"}
    ...     )
    ...     done = runs.finish(run.id, metrics={"auc": 0.91})
    ...     database.close()
    >>> done.id, done.status, done.metrics
    ('r0001', 'done', {'auc': 0.91})
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def start(
        self,
        kind: str,
        subject: str,
        *,
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        code: Mapping[str, Any],
    ) -> Run:
        """Record that a run has begun; `params`, `data` and `code` are made of JSON values."""
        values = (kind, subject, self._clock.now(), _json(params), _json(data), _json(code))
        with self._database.transaction() as tx:
            (row,) = tx.execute(START, values).fetchall()
        return _run(row)

    def finish(self, run_id: str, *, metrics: Mapping[str, float], artefact: str | None = None) -> Run:
        """Close a running run with its results.

        Raises
        ------
        NotFound
            When there is no such run.
        Conflict
            When it is already done or failed; nothing was changed.
        """
        numbers = {name: float(value) for name, value in metrics.items()}
        return self._end(run_id, "done", numbers, artefact, None)

    def fail(self, run_id: str, error: str) -> Run:
        """Close a running run with the reason it failed; raises as `finish` does."""
        return self._end(run_id, "failed", {}, None, error)

    def _end(
        self, run_id: str, status: str, metrics: dict[str, float], artefact: str | None, error: str | None
    ) -> Run:
        values = (status, self._clock.now(), _json(metrics), artefact, error, run_id)
        with self._database.transaction() as tx:
            rows = tx.execute(END, values).fetchall()
        if not rows:
            run = self.get(run_id)
            raise Conflict(
                f"run {run_id} is already {run.status}; a finished run never changes. Start a new run."
            )
        return _run(rows[0])

    def get(self, run_id: str) -> Run:
        """Return a run; NotFound names the nearest id of the newest 200."""
        rows = self._database.query(GET, run_id)
        if not rows:
            raise NotFound("run", run_id, (row["id"] for row in self._database.query(NEWEST_IDS)))
        return _run(rows[0])

    def list(self, subject: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Return the newest `limit` runs, of one subject or of all, newest first."""
        if subject is None:
            rows = self._database.query(LIST, limit)
        else:
            rows = self._database.query(LIST_SUBJECT, subject, limit)
        return [_run(row) for row in rows]


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _run(row: Row) -> Run:
    metrics = msgspec.json.decode(row["metrics"], type=dict[str, float | None])
    return Run(
        id=row["id"],
        kind=row["kind"],
        subject=row["subject"],
        started=row["started"],
        finished=row["finished"],
        status=row["status"],
        params=msgspec.json.decode(row["params"]),
        metrics={name: float("nan") if value is None else value for name, value in metrics.items()},
        data=msgspec.json.decode(row["data"]),
        code=msgspec.json.decode(row["code"]),
        artefact=row["artefact"],
        error=row["error"],
    )
