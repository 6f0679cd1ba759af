"""Durable runs: steps that survive kill -9, each committed once, with the effects it has on the state database."""

import os
import platform
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from tenfold.core.clock import Clock, SystemClock
from tenfold.core.errors import Conflict, DefinitionError, NotFound
from tenfold.core.times import duration, iso
from tenfold.sources.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS journal_run (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    cause TEXT NOT NULL,
    input TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('waiting', 'running', 'done', 'failed')),
    begun INTEGER NOT NULL,
    ended INTEGER,
    error TEXT,
    fence INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    host TEXT,
    pid INTEGER,
    birth INTEGER,
    lease_end INTEGER,
    UNIQUE (kind, cause)
);
CREATE INDEX IF NOT EXISTS journal_run_open ON journal_run (seq) WHERE status IN ('waiting', 'running');
CREATE TABLE IF NOT EXISTS journal_step (
    run_id TEXT NOT NULL REFERENCES journal_run (id),
    name TEXT NOT NULL,
    result TEXT NOT NULL,
    at INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    PRIMARY KEY (run_id, name)
);
CREATE TRIGGER IF NOT EXISTS journal_step_fixed BEFORE UPDATE ON journal_step
BEGIN SELECT RAISE(ABORT, 'a committed step never changes'); END;
"""

BEGIN = """
INSERT INTO journal_run (id, kind, cause, input, status, begun)
SELECT printf('j%04d', coalesce(max(seq), 0) + 1), ?, ?, ?, 'waiting', ? FROM journal_run WHERE true
ON CONFLICT (kind, cause) DO NOTHING
"""
BY_CAUSE = "SELECT id FROM journal_run WHERE kind = ? AND cause = ?"
GET = "SELECT * FROM journal_run WHERE id = ?"
OPEN = "SELECT * FROM journal_run WHERE status IN ('waiting', 'running') ORDER BY seq"
NEWEST_IDS = "SELECT id FROM journal_run ORDER BY seq DESC LIMIT 200"
STEPS = "SELECT name, result FROM journal_step WHERE run_id = ? ORDER BY rowid"
CLAIM = """
UPDATE journal_run SET status = 'running', fence = fence + 1, error = NULL, ended = NULL,
    owner = ?, host = ?, pid = ?, birth = ?, lease_end = ?
WHERE id = ?
"""
# The fence is the whole story of takeovers: whoever was overtaken changes no row here and commits nothing.
RENEW = "UPDATE journal_run SET lease_end = ? WHERE id = ? AND fence = ? AND status = 'running'"
END = "UPDATE journal_run SET status = ?, ended = ?, error = ? WHERE id = ? AND fence = ? AND status = 'running'"
ADD_STEP = "INSERT INTO journal_step (run_id, name, result, at, fence) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a step returns to change the state database together with its own commit: exactly once.

    `apply` receives the open transaction. It must not commit, roll back or open another one.
    """

    result: Any
    apply: Callable[[sqlite3.Connection], object]


Step = tuple[str, Callable[[Mapping[str, Any]], Any]]
"""A name and a function from the results so far to a JSON value or an `Effect`."""


@dataclass(frozen=True, slots=True)
class JournalRun:
    """One durable run. `status` is waiting, running, done or failed; `results` holds its committed steps.

    `begun` and `ended` are microseconds since 1970 UTC by the project's clock; `fence` counts the claims so far.
    """

    id: str
    kind: str
    cause: str
    input: dict[str, Any]
    status: str
    begun: int
    ended: int | None
    error: str | None
    owner: str | None
    fence: int
    results: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a machine; `birth` tells it from a later process with the same number."""

    host: str
    pid: int
    birth: int

    @classmethod
    def current(cls) -> "Process":
        """Return this process."""
        return cls(platform.node(), os.getpid(), _birth(os.getpid()))

    def is_dead(self) -> bool:
        """Return whether it surely no longer runs; of another machine nothing is sure."""
        if self.host != platform.node():
            return False
        if self.birth:
            return _birth(self.pid) != self.birth
        return os.name == "posix" and not _exists(self.pid)


class Journal:
    """The durable runs of a project; usable from several processes.

    A step that is committed is never executed again in its run. Its result, its effects and its row commit in one
    transaction. A step that was under way when its process died is executed again, so what it does outside the state
    database must be idempotent.

    One owner at a time executes a run, under a lease that every committed step renews. After a lease has ended, at
    once when its process is gone from this machine, another owner may take the run over; from then on the old one
    commits nothing. Give each thread that calls `run` its own owner name, and make the lease longer than the longest
    step: one that outlasts it may be executed twice, though committed once.

    Parameters
    ----------
    clock
        The project's clock, for the instants that are recorded.
    wall
        The clock that leases are measured by, the machine's unless given. Leases outlive restarts of the machine and
        concern real processes, so neither a monotonic count nor a clock of history will do.
    lease
        A duration such as "1h".

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> with TemporaryDirectory() as folder:
    ...     database = Database(Path(folder) / "state.db", SCHEMA)
    ...     journal = Journal(database, VirtualClock(0))
    ...     run_id = journal.begin("retrain", "drift of 2024-03-01", {"model": "fraud"})
    ...     steps = [
    ...         ("train", lambda results: results["input"]["model"] + " trained"),
    ...         ("report", lambda results: len(results["train"])),
    ...     ]
    ...     results = journal.run(run_id, steps, owner="controller")
    ...     database.close()
    >>> results
    {'input': {'model': 'fraud'}, 'train': 'fraud trained', 'report': 13}
    """

    def __init__(
        self, database: Database, clock: Clock, *, wall: Clock | None = None, lease: str = "1h"
    ) -> None:
        self._database = database
        self._clock = clock
        self._wall = wall or SystemClock()
        self._lease = duration(lease, name="lease")

    def begin(self, kind: str, cause: str, input: Mapping[str, Any]) -> str:  # noqa: A002 - steps read results["input"]
        """Record that a run is to be done and return its id; one per (kind, cause), the first input counts."""
        with self._database.transaction() as tx:
            tx.execute(BEGIN, (kind, cause, _json(input), self._clock.now()))
            return str(tx.execute(BY_CAUSE, (kind, cause)).fetchone()["id"])

    def run(self, run_id: str, steps: Sequence[Step], *, owner: str) -> dict[str, Any]:
        """Execute the steps that are not committed yet, in order, and return all results and the "input" by name.

        Every step sees earlier results as JSON gives them back (a tuple as a list, NaN as None), the first time and
        after a restart alike. A run that is done returns its results at once. A step that raises makes the run failed;
        calling `run` again resumes it at that step.

        Raises
        ------
        NotFound
            When there is no such run.
        Conflict
            When another owner executes it, or has taken it over meanwhile.
        """
        _check_names([name for name, _ in steps])
        fence = self._claim(run_id, owner)
        run = self.get(run_id)
        results = {"input": run.input, **run.results}
        if fence is None:
            return results
        try:
            for name, step in steps:
                if name not in results:
                    outcome = step(MappingProxyType(results))
                    results[name] = self._commit(run_id, fence, name, outcome)
            self._end(run_id, fence, "done", None)
        except Exception as error:
            # Changes nothing when the run was taken over or is done already: the fence and the status are checked.
            self._end(run_id, fence, "failed", f"{type(error).__name__}: {error}")
            raise
        return results

    def get(self, run_id: str) -> JournalRun:
        """Return a run with its committed results; NotFound names the nearest id of the newest 200."""
        rows = self._database.query(GET, run_id)
        if not rows:
            raise self._missing(run_id)
        return self._load(rows[0])

    def unfinished(self) -> list[JournalRun]:
        """Return the runs that wait or are under way, oldest first; a controller runs them again when it starts."""
        return [self._load(row) for row in self._database.query(OPEN)]

    def _claim(self, run_id: str, owner: str) -> int | None:
        """Return the new fence, None when the run is done."""
        me = Process.current()
        with self._database.transaction() as tx:
            row = tx.execute(GET, (run_id,)).fetchone()
            if row is None:
                raise self._missing(run_id)
            if row["status"] == "done":
                return None
            if row["status"] == "running" and not self._is_free(row, owner, me):
                raise Conflict(
                    f'run {run_id} is being executed by "{row["owner"]}" (process {row["pid"]} on {row["host"]}) '
                    f"until {iso(row['lease_end'])}. Wait for it, or stop that process and run it again."
                )
            tx.execute(CLAIM, (owner, me.host, me.pid, me.birth, self._wall.now() + self._lease, run_id))
            return int(row["fence"]) + 1

    def _is_free(self, row: sqlite3.Row, owner: str, me: Process) -> bool:
        holder = Process(row["host"], row["pid"], row["birth"])
        is_mine = row["owner"] == owner and holder == me
        return is_mine or row["lease_end"] <= self._wall.now() or holder.is_dead()

    def _commit(self, run_id: str, fence: int, name: str, outcome: Any) -> Any:
        """Commit a step with its effect and return its result as later steps will see it."""
        text = _result_json(name, outcome.result if isinstance(outcome, Effect) else outcome)
        with self._database.transaction() as tx:
            if not tx.execute(RENEW, (self._wall.now() + self._lease, run_id, fence)).rowcount:
                raise Conflict(
                    f'run {run_id} was taken over while step "{name}" was under way; its result was not stored. '
                    "The new owner goes on. Leases must be longer than the longest step: Journal(..., lease=...)."
                )
            if isinstance(outcome, Effect):
                outcome.apply(tx)
            tx.execute(ADD_STEP, (run_id, name, text, self._clock.now(), fence))
        return msgspec.json.decode(text)

    def _end(self, run_id: str, fence: int, status: str, error: str | None) -> None:
        self._database.execute(END, status, self._clock.now(), error, run_id, fence)

    def _missing(self, run_id: str) -> NotFound:
        return NotFound("durable run", run_id, [row["id"] for row in self._database.query(NEWEST_IDS)])

    def _load(self, row: sqlite3.Row) -> JournalRun:
        steps = self._database.query(STEPS, row["id"])
        return JournalRun(
            id=row["id"],
            kind=row["kind"],
            cause=row["cause"],
            input=msgspec.json.decode(row["input"]),
            status=row["status"],
            begun=row["begun"],
            ended=row["ended"],
            error=row["error"],
            owner=row["owner"],
            fence=row["fence"],
            results={step["name"]: msgspec.json.decode(step["result"]) for step in steps},
        )


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) < len(names) or "input" in names:
        raise DefinitionError(
            f'steps {", ".join(names)}: each needs its own name, and "input" is taken by the input of the run. '
            "Rename the step that repeats a name."
        )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _result_json(name: str, result: Any) -> str:
    try:
        return _json(result)
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            f'step "{name}" returned what JSON cannot hold: {error}. '
            "Return numbers, text, lists and dicts; store anything larger elsewhere and return its name."
        ) from error


def _birth(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when it is gone or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # A zombie has ended and only waits for its parent to ask.
    return 0 if fields[0] in "ZX" else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
