"""The store of runs: parameters, metrics over time, data versions, code and environment of everything that was tried."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tenfold.core.clock import Clock, SystemClock
from tenfold.core.errors import Conflict, DefinitionError, NotFound
from tenfold.core.times import UNITS, iso
from tenfold.sources.database import Database, Row, Transaction
from tenfold.sources.owner import Process
from tenfold.tracking.environment import environment
from tenfold.tracking.schema import SCHEMA as SCHEMA

NEXT = "SELECT coalesce(max(seq), 0) + 1 AS seq FROM run"
START = """
INSERT INTO run
(seq, id, kind, subject, title, started, status, params, data, samples, code, environment, host, pid, birth, alive)
VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?, '{}', ?, ?, ?, ?, ?, ?) RETURNING *
"""
ALIVE = "UPDATE run SET alive = ? WHERE id = ? AND status = 'running'"
OWNED = (
    "SELECT id, host, pid, birth, alive FROM run WHERE status = 'running' AND pid IS NOT NULL ORDER BY seq"
)
END = "UPDATE run SET status = ?, finished = ?, artefact = ?, error = ?, environment = ? WHERE seq = ? RETURNING *"
DESCRIBE = "UPDATE run SET params = ?, samples = ? WHERE seq = ?"
ADD_RESULT = "INSERT INTO run_result (run, place, name, value) VALUES (?, ?, ?, ?)"
LAST_LOGGED = """
SELECT name, value FROM run_metric AS m
WHERE run = ?1 AND step = (SELECT max(step) FROM run_metric WHERE run = ?1 AND name = m.name) ORDER BY at, name
"""
LOG = """
INSERT INTO run_metric (run, name, step, value, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (run, name, step) DO UPDATE SET value = excluded.value, at = excluded.at
"""
NEXT_STEP = "SELECT coalesce(max(step), -1) + 1 FROM run_metric WHERE run = ? AND name = ?"
ATTACH = """
INSERT INTO run_artefact (run, name, digest, size, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (run, name) DO UPDATE SET digest = excluded.digest, size = excluded.size, at = excluded.at
"""
ADD_NOTE = 'INSERT INTO run_note (run, at, "by", text) SELECT seq, ?, ?, ? FROM run WHERE id = ?'
SET_TAG = """
INSERT INTO run_tag (run, name, value) SELECT seq, ?, ? FROM run WHERE id = ?
ON CONFLICT (run, name) DO UPDATE SET value = excluded.value
"""
KEEP_DIFF = "INSERT INTO code_diff (digest, diff) VALUES (?, ?) ON CONFLICT DO NOTHING"
GET = "SELECT * FROM run WHERE id = ?"
LIST = "SELECT * FROM run ORDER BY seq DESC LIMIT ?"
LIST_SUBJECT = "SELECT * FROM run WHERE subject = ? ORDER BY seq DESC LIMIT ?"
NEWEST_IDS = "SELECT id FROM run ORDER BY seq DESC LIMIT 200"
# The bounds leave out what is not a finite number, and the index on (name, value) is read from one end.
BEST = """
SELECT run.* FROM run_result JOIN run ON run.seq = run_result.run
WHERE run_result.name = ?1 AND run_result.value > ?2 AND run_result.value < ?3
AND run.status = 'done' AND (run.subject = ?4 OR ?4 IS NULL)
ORDER BY run_result.value {0}, run_result.run {0} LIMIT ?5
"""
RESULTS = "SELECT run, name, value FROM run_result WHERE run IN ({}) ORDER BY run, place"
READERS = """
SELECT run.* FROM run, json_each(run.data) AS item
WHERE item.key = ?1 AND (CAST(item.value AS TEXT) = ?2 OR ?2 IS NULL) ORDER BY run.seq DESC LIMIT ?3
"""
PATIENCE = UNITS["h"]
"""Microseconds without a sign of life after which a process of another machine is given up."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a training, or of something that was tried, and everything its result depends on.

    `started` and `finished` are microseconds since 1970 UTC. `status` is running, done or failed. `data` maps each
    table to the version that was read, `samples` the rows ("train", "test") to their number and digest; `code` holds
    the commit, the fingerprint of the declaration, and the digest of what was not committed; `environment` the
    versions of Python and of the loaded packages. `artefact` is the name of a blob. `metrics` are final values, NaN
    and infinite ones as they were.
    """

    id: str
    kind: str
    subject: str
    title: str
    started: int
    finished: int | None
    status: str
    params: dict[str, Any]
    metrics: dict[str, float]
    data: dict[str, Any]
    samples: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]
    artefact: str | None
    error: str | None
    drawn: Callable[["Run"], str | None] | None = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str | None:
        """Return what is known of it, for a notebook; None leaves it at the text."""
        return None if self.drawn is None else self.drawn(self)


class Runs:
    """Every run of a project; durable when a method returns, usable from several processes and by several people.

    A run that is done or failed never changes, and no run is ever deleted; the database refuses both. Only notes and tags
    may be added at any time.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> with TemporaryDirectory() as folder:
    ...     database = SQLiteDatabase(Path(folder) / "state.db", SCHEMA)
    ...     runs = Runs(database, VirtualClock(0))
    ...     run = runs.start(
    ...         "train", "fraud", params={"trees": 200}, data={"payments": 7}, code={"git": "1a2b3c"}
    ...     )
    ...     step = runs.log(run.id, {"loss": 0.4})
    ...     done = runs.finish(run.id, metrics={"auc": 0.91})
    ...     best = runs.best("auc", 1)
    ...     database.close()
    >>> done.id, done.status, done.metrics, best == [done]
    ('r0001', 'done', {'auc': 0.91, 'loss': 0.4}, True)
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        environment: Callable[[], dict[str, Any]] = environment,
        wall: Clock | None = None,
        drawn: Callable[[Run], str | None] | None = None,
    ) -> None:
        self._database, self._drawn = database, drawn
        self._clock = clock
        self._environment = environment
        self._wall = wall or SystemClock()  # signs of life concern real processes

    def start(
        self,
        kind: str,
        subject: str,
        *,
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        code: Mapping[str, Any],
        title: str = "",
        process: Process | None = None,
    ) -> Run:
        """Record that a run has begun; `params`, `data` and `code` are made of JSON values.

        A "diff" in `code` is kept once per content; the run names its digest as "dirty". With a `process`, the run ends
        as failed when that is gone (see `settle`).
        """
        told = dict(code)
        diff = str(told.pop("diff", ""))
        with self._database.transaction() as tx:
            if diff:
                told["dirty"] = hashlib.sha256(diff.encode()).hexdigest()[:16]
                tx.execute(KEEP_DIFF, (told["dirty"], diff))
            seq = tx.execute(NEXT).fetchone()["seq"]
            values = (
                seq,
                f"r{seq:04}",
                kind,
                subject,
                title,
                self._clock.now(),
                _json(params),
                _json(data),
                _json(told),
            )
            owner = (process.host, process.pid, process.birth, self._wall.now()) if process else (None,) * 4
            (row,) = tx.execute(START, (*values, _json(self._environment()), *owner)).fetchall()
        return self._run(row, {})

    def alive(self, run_id: str) -> None:
        """Show a sign of life of the process that a run belongs to."""
        self._database.execute(ALIVE, self._wall.now(), run_id)

    def settle(self) -> Sequence[str]:
        """Close as failed the runs whose process is gone, and return their ids.

        Of this machine that is known at once; a process of another one is given up when it showed no sign of life for
        an hour, since a machine may sleep.
        """
        lost = {row["id"]: why for row in self._database.query(OWNED) if (why := self._lost(row))}
        for run_id, why in lost.items():
            with suppress(Conflict):  # it ended meanwhile
                self.fail(run_id, why)
        return list(lost)

    def _lost(self, row: Row) -> str:
        name = f"lost: process {row['pid']} on {row['host']}"
        if Process(row["host"], row["pid"], row["birth"]).is_dead():
            return f"{name} ended without closing it"
        if row["host"] != Process.current().host and row["alive"] < self._wall.now() - PATIENCE:
            return f"{name} showed no sign of life since {iso(row['alive'])}"
        return ""

    def describe(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        samples: Mapping[str, Any] | None = None,
    ) -> None:
        """Add parameters, or what is known of the rows, to a run that is under way; a name again replaces its value."""
        with self._database.transaction() as tx:
            row = self._running(tx, run_id)
            known = [msgspec.json.decode(row[column]) for column in ("params", "samples")]
            added = [_json(old | dict(new or {})) for old, new in zip(known, (params, samples), strict=True)]
            tx.execute(DESCRIBE, (*added, row["seq"]))

    def log(self, run_id: str, values: Mapping[str, float], *, step: int | None = None) -> int:
        """Record metrics of a running run at a step, by default the next one; return the step.

        The same step again replaces the value, so that work that is done again after a crash leaves no trace.
        """
        with self._database.transaction() as tx:
            seq = self._running(tx, run_id)["seq"]
            if step is None:
                step = max((tx.execute(NEXT_STEP, (seq, name)).fetchone()[0] for name in values), default=0)
            now = self._clock.now()
            rows = [(seq, name, step, _number(name, value), now) for name, value in values.items()]
            tx.executemany(LOG, rows)
        return step

    def log_curves(self, run_id: str, curves: Mapping[str, Iterable[float]]) -> None:
        """Record whole curves of a running run, from step 0 on, in one transaction."""
        with self._database.transaction() as tx:
            seq, now = self._running(tx, run_id)["seq"], self._clock.now()
            for name, values in curves.items():
                rows = ((seq, name, step, _number(name, value), now) for step, value in enumerate(values))
                tx.executemany(LOG, rows)

    def attach(self, run_id: str, name: str, *, digest: str, size: int) -> None:
        """Record that a blob of this sha256 belongs to a running run under a name; the same name again replaces it."""
        with self._database.transaction() as tx:
            seq = self._running(tx, run_id)["seq"]
            tx.execute(ATTACH, (seq, name, digest, size, self._clock.now()))

    def note(self, run_id: str, text: str, *, by: str = "user") -> None:
        """Write a note on a run, finished or not; NotFound when there is no such run."""
        if not self._database.execute(ADD_NOTE, self._clock.now(), by, text, run_id):
            raise self._missing(run_id)

    def tag(self, run_id: str, name: str, value: str) -> None:
        """Give a run a tag, finished or not; the same name again replaces its value. NotFound as in `note`."""
        if not self._database.execute(SET_TAG, name, value, run_id):
            raise self._missing(run_id)

    def finish(self, run_id: str, *, metrics: Mapping[str, float], artefact: str | None = None) -> Run:
        """Close a running run with its results; metrics that were only logged end with their last value.

        Raises
        ------
        NotFound
            When there is no such run.
        Conflict
            When it is already done or failed; nothing was changed.
        """
        return self._end(run_id, "done", metrics, artefact, None)

    def fail(self, run_id: str, error: str) -> Run:
        """Close a running run with the reason it failed; raises as `finish` does."""
        return self._end(run_id, "failed", {}, None, error)

    def _end(
        self, run_id: str, status: str, metrics: Mapping[str, float], artefact: str | None, error: str | None
    ) -> Run:
        with self._database.transaction() as tx:
            seq = self._running(tx, run_id)["seq"]
            logged = {row["name"]: row["value"] for row in tx.execute(LAST_LOGGED, (seq,))}
            found = {name: _number(name, value) for name, value in metrics.items()}
            results = found | {name: value for name, value in logged.items() if name not in found}
            tx.executemany(ADD_RESULT, [(seq, place, *item) for place, item in enumerate(results.items())])
            values = (status, self._clock.now(), artefact, error, _json(self._environment()), seq)
            (row,) = tx.execute(END, values).fetchall()
        return self._run(row, results)

    def get(self, run_id: str) -> Run:
        """Return a run; NotFound names the nearest id of the newest 200."""
        rows = self._database.query(GET, run_id)
        if not rows:
            raise self._missing(run_id)
        return self._runs(rows)[0]

    def list(self, subject: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Return the newest `limit` runs, of one subject or of all, newest first."""
        if subject is None:
            return self._runs(self._database.query(LIST, limit))
        return self._runs(self._database.query(LIST_SUBJECT, subject, limit))

    def best(
        self, metric: str, limit: int = 10, *, subject: str | None = None, lowest: bool = False
    ) -> Sequence[Run]:
        """Return the finished runs with the highest (or lowest) value of a metric, best first.

        Runs without the metric, or in which it is not a finite number, are left out.
        """
        sql = BEST.format("ASC" if lowest else "DESC")
        return self._runs(self._database.query(sql, metric, -math.inf, math.inf, subject, limit))

    def readers(self, table: str, version: int | None = None, limit: int = 100) -> Sequence[Run]:
        """Return the newest runs that read a table, in one version or in any: where a mistake in it has gone."""
        return self._runs(
            self._database.query(READERS, table, None if version is None else str(version), limit)
        )

    def _runs(self, rows: Sequence[Row]) -> Sequence[Run]:
        results: dict[int, dict[str, float | None]] = {row["seq"]: {} for row in rows}
        if not results:
            return []
        marks = ",".join("?" * len(results))
        for seq, name, value in self._database.query(RESULTS.format(marks), *results):
            results[seq][name] = value
        return [self._run(row, results[row["seq"]]) for row in rows]

    def _running(self, tx: Transaction, run_id: str) -> Row:
        row: Row | None = tx.execute(GET, (run_id,)).fetchone()
        if row is None:
            raise self._missing(run_id)
        if row["status"] != "running":
            raise Conflict(
                f"run {run_id} is already {row['status']}; a finished run never changes. Start a new run."
            )
        return row

    def _run(self, row: Row, metrics: Mapping[str, float | None]) -> Run:
        return Run(
            id=row["id"],
            kind=row["kind"],
            subject=row["subject"],
            title=row["title"],
            started=row["started"],
            finished=row["finished"],
            status=row["status"],
            params=msgspec.json.decode(row["params"]),
            metrics={name: math.nan if value is None else value for name, value in metrics.items()},
            data=msgspec.json.decode(row["data"]),
            samples=msgspec.json.decode(row["samples"]),
            code=msgspec.json.decode(row["code"]),
            environment=msgspec.json.decode(row["environment"]),
            artefact=row["artefact"],
            error=row["error"],
            drawn=self._drawn,
        )

    def _missing(self, run_id: str) -> NotFound:
        return NotFound("run", run_id, (row["id"] for row in self._database.query(NEWEST_IDS)))


def _number(name: str, value: Any) -> float | None:
    """Return a metric as the database holds it: NULL stands for NaN, which SQLite has not."""
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise DefinitionError(f'metric "{name}" is {value!r}, not a number.') from error
    return None if math.isnan(found) else found


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
