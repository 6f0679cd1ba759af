"""Durable runs: steps that survive kill -9, each committed once, with the effects it has on the state database."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from tenfold.automation.steps import Effect, Step, codes, first_edited, result_json
from tenfold.core.clock import Clock, SystemClock
from tenfold.core.errors import Conflict, NotFound, Unavailable
from tenfold.core.times import duration, iso
from tenfold.sources.database import Database, Row, Transaction
from tenfold.sources.owner import Process, at_work, heartbeat, is_at_work

SCHEMA = """
CREATE TABLE IF NOT EXISTS journal_run (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    cause TEXT NOT NULL,
    input TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('waiting', 'running', 'done', 'failed', 'superseded')),
    begun INTEGER NOT NULL,
    ended INTEGER,
    error TEXT,
    fence INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    host TEXT,
    pid INTEGER,
    birth INTEGER,
    lease_end INTEGER,
    codes TEXT NOT NULL DEFAULT '{}',
    note TEXT,
    successor TEXT REFERENCES journal_run (id),
    UNIQUE (kind, cause)
);
CREATE INDEX IF NOT EXISTS journal_run_open ON journal_run (seq) WHERE status IN ('waiting', 'running');
CREATE TABLE IF NOT EXISTS journal_step (
    run_id TEXT NOT NULL REFERENCES journal_run (id),
    name TEXT NOT NULL,
    place INTEGER NOT NULL,
    result TEXT NOT NULL,
    at INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS journal_step_fixed BEFORE UPDATE ON journal_step
BEGIN SELECT RAISE(ABORT, 'a committed step never changes'); END;
"""

BEGIN = """
INSERT INTO journal_run (seq, id, kind, cause, input, status, begun) VALUES (?, ?, ?, ?, ?, 'waiting', ?)
RETURNING *
"""
NEXT = "SELECT coalesce(max(seq), 0) + 1 AS seq FROM journal_run"
NAMED = "SELECT * FROM journal_run WHERE kind = ? AND cause = ?"
GET = "SELECT * FROM journal_run WHERE id = ?"
OPEN = "SELECT * FROM journal_run WHERE status IN ('waiting', 'running') ORDER BY seq"
NEWEST_IDS = "SELECT id FROM journal_run ORDER BY seq DESC LIMIT 200"
STEPS = "SELECT name, result, code FROM journal_step WHERE run_id = ? ORDER BY place"
CLAIM = """
UPDATE journal_run SET status = 'running', fence = fence + 1, error = NULL, ended = NULL,
    owner = ?, host = ?, pid = ?, birth = ?, lease_end = ?, codes = ?, note = coalesce(?, note)
WHERE id = ?
"""
WITHDRAW = """
UPDATE journal_run SET status = 'failed', ended = ?, error = ?, fence = fence + 1
WHERE id = ? AND fence = ? AND status IN ('waiting', 'running')
"""
FAILED = "SELECT * FROM journal_run WHERE kind = ? AND status = 'failed' ORDER BY seq"
SUPERSEDE = "UPDATE journal_run SET status = 'superseded', ended = ?, error = ?, successor = ?, fence = fence + 1 WHERE id = ?"
KEEP_STEP = """
INSERT INTO journal_step (run_id, name, place, result, at, fence, code)
SELECT ?, name, place, result, at, 0, code FROM journal_step WHERE run_id = ? AND name = ?
"""
# The fence is the whole story of takeovers: whoever was overtaken changes no row here and commits nothing.
RENEW = "UPDATE journal_run SET lease_end = ? WHERE id = ? AND fence = ? AND status = 'running'"
END = "UPDATE journal_run SET status = ?, ended = ?, error = ? WHERE id = ? AND fence = ? AND status = 'running'"
RELEASE = "UPDATE journal_run SET status = 'waiting', fence = fence + 1 WHERE id = ?"
HOLD = "UPDATE journal_run SET lease_end = ? WHERE id = ? AND owner = ? AND status = 'running'"
ADD_STEP = (
    "INSERT INTO journal_step (run_id, name, place, result, at, fence, code) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
TOLD = ("id", "kind", "cause", "status", "begun", "ended", "error", "owner", "fence", "note", "successor")
SILENT = "this process gave no sign of life for longer than its lease"


@dataclass(frozen=True, slots=True)
class JournalRun:
    """One durable run. `status` is waiting, running, done, failed or superseded; `results` holds its committed steps.

    `begun` and `ended` are microseconds since 1970 UTC by the project's clock; `fence` counts the claims so far. `note`
    says when it went on with other code than it began with; `successor` is the run that took the place of this one.
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
    note: str | None
    successor: str | None
    results: dict[str, Any]


class Journal:
    """The durable runs of a project; usable from several processes.

    A step that is committed is never executed again in its run. Its result, its effects and its row commit in one
    transaction. A step that was under way when its process died is executed again, so what it does outside the state
    database must be idempotent.

    One owner at a time executes a run, under a lease that it renews while it works, so a step may take any time.
    After a lease has ended, at once when its process is gone from this machine or its call of `run` came to an end, another
    owner may take the run over; from then on the old one commits nothing. Give each thread that calls `run` its own name.

    A run that is resumed with other code than it began with says so in its `note`. Where the code of a step that is
    committed was edited, it is superseded by a run that keeps the steps before that one and executes the others.

    Parameters
    ----------
    clock
        The project's clock, for the instants that are recorded.
    wall
        The clock that leases are measured by, the machine's unless given. Leases outlive restarts of the machine and
        concern real processes, so neither a monotonic count nor a clock of history will do.
    lease
        A duration such as "1m": how long after its last sign of life an owner on another machine is left alone.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> with TemporaryDirectory() as folder:
    ...     database = SQLiteDatabase(Path(folder) / "state.db", SCHEMA)
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
        self, database: Database, clock: Clock, *, wall: Clock | None = None, lease: str = "1m"
    ) -> None:
        self._database = database
        self._clock = clock
        self._wall = wall or SystemClock()
        self._lease = duration(lease, name="lease")

    def begin(self, kind: str, cause: str, input: Mapping[str, Any]) -> str:  # noqa: A002 - steps read results["input"]
        """Record that a run is to be done and return its id; one per (kind, cause), the first input counts."""
        with self._database.transaction() as tx:
            return str(self._begun(tx, kind, cause, _json(input))["id"])

    def run(
        self,
        run_id: str,
        steps: Sequence[Step],
        *,
        owner: str,
        declaration: str = "",
        edited: Literal["restart", "continue", "fail"] = "restart",
        apart: Callable[[Mapping[str, Any]], bool] = lambda other: False,  # noqa: ARG005
    ) -> dict[str, Any]:
        """Execute the steps that are not committed yet, in order, and return all results and the "input" by name.

        Every step sees earlier results as JSON gives them back (a tuple as a list, NaN as None), the first time and
        after a restart alike. A run that is done returns its results at once. A step that raises makes the run failed;
        calling `run` again resumes it at that step.

        Parameters
        ----------
        declaration
            A fingerprint of what the steps depend on beside their own code.
        edited
            What to do when a committed step is not the one that was committed: execute it and all after it again in a
            run that supersedes this one, go on with what was committed, or refuse.
        apart
            Whether this run must wait for another one of its kind that is being executed, by that one's input. One whose
            lease has ended is let go instead: its owner, should it wake up, commits nothing, and somebody runs it again.

        Raises
        ------
        NotFound
            When there is no such run.
        Conflict
            When another owner executes it or one that it must wait for, or has taken it over meanwhile, or an edited step
            is refused.
        """
        present = codes(steps, declaration)
        with at_work(owner):
            run_id, fence = self._claim(run_id, owner, present, edited, apart)
            return self._executed(run_id, fence, steps, present)

    def _executed(
        self, run_id: str, fence: int | None, steps: Sequence[Step], present: Mapping[str, str]
    ) -> dict[str, Any]:
        run = self.get(run_id)
        results = {"input": run.input, **run.results}
        if fence is None:
            return results
        left = [step for step in steps if step[0] not in results]
        try:
            with heartbeat(lambda: self._renew(run_id, fence), self._lease / 3e6):
                for name, step in left:
                    outcome = step(MappingProxyType(results))
                    place = run_id, fence, name, len(results)
                    is_last = name == left[-1][0]
                    results[name] = self._commit(place, outcome, present[name], is_last=is_last)
            if not left:
                self._end(run_id, fence, "done", None)
        except Exception as error:
            # Changes nothing when the run was taken over or is done already: the fence and the status are checked.
            with suppress(Unavailable):  # what went wrong first is told
                self._end(run_id, fence, "failed", f"{type(error).__name__}: {error}")
            raise
        return results

    def withdraw(self, run_id: str, why: str, *, fence: int = 0) -> None:
        """End a run, so that nobody executes it, unless somebody claimed it since it had that fence."""
        self._database.execute(WITHDRAW, self._clock.now(), why, run_id, fence)

    def hold(self, run_id: str, owner: str) -> None:
        """Renew the lease of an owner; Conflict when it holds the run no longer: then what it made is not to be stored."""
        with self._database.transaction() as tx:
            if not tx.execute(HOLD, (self._wall.now() + self._lease, run_id, owner)).rowcount:
                raise Conflict(
                    f"run {run_id} is another process's now, and nothing more is stored: {SILENT}."
                )

    def get(self, run_id: str) -> JournalRun:
        """Return a run with its committed results; NotFound names the nearest id of the newest 200."""
        rows = self._database.query(GET, run_id)
        if not rows:
            raise self._missing(run_id)
        return self._load(rows[0])

    def find(self, kind: str, cause: str) -> JournalRun | None:
        """Return the run of a cause, or the one that superseded it last; None when there is none."""
        rows = self._database.query(NAMED, kind, cause)
        while rows and rows[0]["successor"]:
            rows = self._database.query(GET, rows[0]["successor"])
        return self._load(rows[0]) if rows else None

    def unfinished(self) -> list[JournalRun]:
        """Return the runs that wait or are under way, oldest first; a controller runs them again when it starts."""
        return [self._load(row) for row in self._database.query(OPEN)]

    def failed(self, kind: str) -> list[JournalRun]:
        """Return the runs of a kind of which a step raised, oldest first: `run` goes on with it."""
        return [self._load(row) for row in self._database.query(FAILED, kind)]

    def stuck(self) -> list[JournalRun]:
        """Return the unfinished runs that no owner is working on: whoever can must call `run` for them."""
        me = Process.current()
        rows = self._database.query(OPEN)
        return [self._load(row) for row in rows if row["status"] == "waiting" or self._is_free(row, "", me)]

    def _claim(
        self,
        run_id: str,
        owner: str,
        present: Mapping[str, str],
        edited: str,
        apart: Callable[[Mapping[str, Any]], bool],
    ) -> tuple[str, int | None]:
        """Return the run to execute, which may be one that supersedes the other, and its new fence, None when it is done."""
        me = Process.current()
        with self._database.transaction() as tx:
            row = self._newest(tx, run_id)
            if row["status"] == "done":
                return row["id"], None
            for other in tx.execute(OPEN).fetchall():
                same = other["id"] == row["id"] or (other["kind"] == row["kind"] and apart(_input(other)))
                if same and other["status"] == "running" and not self._is_free(other, owner, me):
                    raise Conflict(
                        f'run {other["id"]} is being executed by "{other["owner"]}" (process {other["pid"]} on '
                        f"{other['host']}) until {iso(other['lease_end'])}. Wait for it, or stop that process and run it again."
                    )
                if same and other["id"] != row["id"]:
                    tx.execute(RELEASE, (other["id"],))  # whoever held it may only have been stopped
            row, note = self._with_code(tx, row, present, edited)
            pinned = row["codes"] if note and edited == "continue" else _json(present)
            holder = (owner, me.host, me.pid, me.birth, self._wall.now() + self._lease)
            tx.execute(CLAIM, (*holder, pinned, note, row["id"]))
            return row["id"], int(row["fence"]) + 1

    def _begun(self, tx: Transaction, kind: str, cause: str, text: str) -> Row:
        """Return the run of a cause, begun now if it is new."""
        row: Row | None = tx.execute(NAMED, (kind, cause)).fetchone()
        if row is None:
            seq = tx.execute(NEXT).fetchone()["seq"]
            values = (seq, f"j{seq:04}", kind, cause, text, self._clock.now())
            (row,) = tx.execute(BEGIN, values).fetchall()
        return row

    def _newest(self, tx: Transaction, run_id: str) -> Row:
        """Return a run, or the one that superseded it last."""
        row = tx.execute(GET, (run_id,)).fetchone()
        if row is None:
            raise self._missing(run_id)
        return self._newest(tx, row["successor"]) if row["successor"] else row

    def _with_code(
        self, tx: Transaction, row: Row, present: Mapping[str, str], edited: str
    ) -> tuple[Row, str | None]:
        """Return the run to execute with the present code, and what is to be said of code that was edited meanwhile."""
        committed = {step["name"]: step["code"] for step in tx.execute(STEPS, (row["id"],))}
        again = first_edited(committed, present)
        if again is None:
            begun = msgspec.json.decode(row["codes"])
            later = [name for name, code in present.items() if begun.get(name, code) != code]
            return row, f"went on with edited code of {', '.join(later)}" if later else None
        why = f'step "{again}" was edited after it was committed'
        if edited == "fail":
            raise Conflict(
                f'run {row["id"]}: {why}. Nothing was executed. Bring back its code, or run it with edited="restart".'
            )
        if edited == "continue":
            return row, f"{why}; its result was kept"
        kept = list(committed)[: list(committed).index(again)]
        return self._supersede(tx, row, kept, why), why

    def _supersede(self, tx: Transaction, row: Row, kept: Sequence[str], why: str) -> Row:
        """End a run in favour of a new one with the same input and some of its steps."""
        successor = self._begun(tx, row["kind"], f"{row['cause']}, after {row['id']}", row["input"])
        for name in kept:
            tx.execute(KEEP_STEP, (successor["id"], row["id"], name))
        tx.execute(SUPERSEDE, (self._clock.now(), why, successor["id"], row["id"]))
        return successor

    def _renew(self, run_id: str, fence: int) -> None:
        """Show a sign of life; one that the database is too busy for is left out."""
        with suppress(Unavailable):
            self._database.execute(RENEW, self._wall.now() + self._lease, run_id, fence)

    def _is_free(self, row: Row, owner: str, me: Process) -> bool:
        holder = Process(row["host"], row["pid"], row["birth"])
        is_mine = row["owner"] == owner or not is_at_work(row["owner"])
        return (holder == me and is_mine) or row["lease_end"] <= self._wall.now() or holder.is_dead()

    def _commit(self, step: tuple[str, int, str, int], outcome: Any, code: str, *, is_last: bool) -> Any:
        """Commit a step with its effect, the last one with the end of its run, and return its result as later steps will see it."""
        run_id, fence, name, place = step
        text = result_json(name, outcome.result if isinstance(outcome, Effect) else outcome)
        with self._database.transaction() as tx:
            if not tx.execute(RENEW, (self._wall.now() + self._lease, run_id, fence)).rowcount:
                raise Conflict(
                    f'run {run_id} was taken over while step "{name}" was under way; its result was not stored. '
                    f"The new owner goes on: {SILENT}."
                )
            if isinstance(outcome, Effect):
                outcome.apply(tx)
            now = self._clock.now()
            tx.execute(ADD_STEP, (run_id, name, place, text, now, fence, code))
            if is_last:
                tx.execute(END, ("done", now, None, run_id, fence))
        return msgspec.json.decode(text)

    def _end(self, run_id: str, fence: int, status: str, error: str | None) -> None:
        self._database.execute(END, status, self._clock.now(), error, run_id, fence)

    def _missing(self, run_id: str) -> NotFound:
        return NotFound("durable run", run_id, [row["id"] for row in self._database.query(NEWEST_IDS)])

    def _load(self, row: Row) -> JournalRun:
        steps = self._database.query(STEPS, row["id"])
        results = {step["name"]: msgspec.json.decode(step["result"]) for step in steps}
        return JournalRun(input=_input(row), results=results, **{name: row[name] for name in TOLD})


def _input(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(row["input"])
    return found


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
