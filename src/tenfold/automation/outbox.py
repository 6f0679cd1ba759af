"""What a mirror was not yet shown: it follows from the tables of runs and versions and a cursor, so nothing waits for a mirror."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.automation.copies import Copies
from tenfold.automation.mirror import Mirror, Origin
from tenfold.core.clock import Clock
from tenfold.core.errors import SchemaError, TenfoldError, Unavailable
from tenfold.core.times import UNITS
from tenfold.sources.database import Database
from tenfold.sources.locked import alone

# A tag has no sequence of its own, so its changes get one here.
SCHEMA = """
CREATE TABLE IF NOT EXISTS mirror_home (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mirror_cursor (
    mirror TEXT NOT NULL,
    stream TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (mirror, stream)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mirror_open (
    mirror TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES run (seq),
    PRIMARY KEY (mirror, run)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mirror_refused (
    mirror TEXT NOT NULL,
    item TEXT NOT NULL,
    at INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (mirror, item)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mirror_tried (
    mirror TEXT NOT NULL,
    item TEXT NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (mirror, item)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run_tag_change (seq INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS run_tag_added AFTER INSERT ON run_tag
BEGIN INSERT INTO run_tag_change (run) VALUES (NEW.run); END;
CREATE TRIGGER IF NOT EXISTS run_tag_changed AFTER UPDATE ON run_tag WHEN OLD.value <> NEW.value
BEGIN INSERT INTO run_tag_change (run) VALUES (NEW.run); END;
"""
MAKE_HOME = "INSERT INTO mirror_home (one, id) VALUES (1, ?) ON CONFLICT DO NOTHING"
HOME = "SELECT id FROM mirror_home"
CURSORS = "SELECT stream, position FROM mirror_cursor WHERE mirror = ?"
MOVE = """
INSERT INTO mirror_cursor (mirror, stream, position) VALUES (?, ?, ?)
ON CONFLICT (mirror, stream) DO UPDATE SET position = excluded.position
"""
NEW_RUNS = "SELECT seq, id, status FROM run WHERE seq > ? ORDER BY seq LIMIT ?"
OPEN = "INSERT INTO mirror_open (mirror, run) VALUES (?, ?) ON CONFLICT DO NOTHING"
FINISHED = """
SELECT run.seq, run.id FROM mirror_open JOIN run ON run.seq = mirror_open.run
WHERE mirror = ? AND run.status <> 'running' ORDER BY run.seq
"""
CLOSE = "DELETE FROM mirror_open WHERE mirror = ? AND run = ?"
# Of a run that is not shown yet, what was added is shown with it.
ADDED = {
    "notes": "SELECT max(n.seq) AS seq, run.id FROM run_note AS n JOIN run ON run.seq = n.run"
    " WHERE n.seq > ? AND run.seq <= ? AND run.status <> 'running' GROUP BY run.seq ORDER BY 1",
    "tags": "SELECT max(t.seq) AS seq, run.id FROM run_tag_change AS t JOIN run ON run.seq = t.run"
    " WHERE t.seq > ? AND run.seq <= ? AND run.status <> 'running' GROUP BY run.seq ORDER BY 1",
}
NEWEST = {
    "notes": "SELECT coalesce(max(seq), 0) AS seq FROM run_note",
    "tags": "SELECT coalesce(max(seq), 0) AS seq FROM run_tag_change",
}
MODELS = """
SELECT model, max(number) AS number,
coalesce((SELECT max(seq) FROM stage_event AS e WHERE e.model = v.model), 0) AS event
FROM model_version AS v GROUP BY model ORDER BY min(created), model
"""
REFUSE = """
INSERT INTO mirror_refused (mirror, item, at, why) VALUES (?, ?, ?, ?)
ON CONFLICT (mirror, item) DO UPDATE SET at = excluded.at, why = excluded.why
"""
ACCEPT = "DELETE FROM mirror_refused WHERE mirror = ? AND item = ?"
REFUSED = "SELECT item, why FROM mirror_refused WHERE mirror = ? ORDER BY at, item"
TRY = """
INSERT INTO mirror_tried (mirror, item, times) VALUES (?, ?, 1)
ON CONFLICT (mirror, item) DO UPDATE SET times = mirror_tried.times + 1
"""
TRIED = "SELECT times FROM mirror_tried WHERE mirror = ? AND item = ?"
SUCCEED = "DELETE FROM mirror_tried WHERE mirror = ? AND item = ?"
GIVEN_UP = """
SELECT r.item FROM mirror_refused AS r JOIN mirror_tried AS t ON t.mirror = r.mirror AND t.item = r.item
WHERE r.mirror = ? ORDER BY r.at, r.item
"""
COUNT_RUNS = """
SELECT (SELECT count(*) FROM run WHERE seq > ?2)
+ (SELECT count(*) FROM mirror_open JOIN run ON run.seq = mirror_open.run WHERE mirror = ?1 AND status <> 'running') AS n
"""
BATCH = 100
"""After so many runs the mirror is told how far it is."""
TRIES = 5
"""A thing at which a mirror fails so many times, though it says where it stands, is left for later: it would hold up the rest."""

Write = tuple[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Behind:
    """What a mirror was not shown yet; `refused` says of each thing that it did not take why."""

    mirror: str
    runs: int
    versions: int
    models: int
    notes: int
    refused: dict[str, str]

    def __bool__(self) -> bool:
        return any((self.runs, self.versions, self.models, self.notes))


@dataclass(slots=True)
class Outbox:
    """What is to be shown in one mirror, sent when it answers. Nothing that works on runs or versions waits for it.

    The cursor moves after the mirror has taken a thing, so a crash between the two sends it once more, which changes
    nothing there.

    Parameters
    ----------
    folder
        Where the lock lies that keeps two processes from sending at once.
    """

    database: Database
    clock: Clock
    copies: Copies
    mirror: Mirror
    folder: Path
    _cursors: dict[str, int] = field(default_factory=dict)

    def behind(self) -> Behind:
        """Return what is not shown yet; it looks only at this side."""
        cursors, name = self._read_cursors(), self.mirror.name
        runs = self.database.query(COUNT_RUNS, name, cursors.get("runs", 0))[0]["n"]
        models = self.database.query(MODELS)
        added = (
            self.database.query(sql, cursors.get(stream, 0), cursors.get("runs", 0))
            for stream, sql in ADDED.items()
        )
        return Behind(
            name,
            runs,
            sum(row["number"] - cursors.get(f"versions/{row['model']}", 0) for row in models),
            sum(row["event"] > cursors.get(f"stages/{row['model']}", 0) for row in models),
            len({row["id"] for rows in added for row in rows}),
            self._refused(),
        )

    def send(self, *, again: bool = False) -> int:
        """Show everything that is not shown yet and return how many things that were.

        Parameters
        ----------
        again
            Try once more what the mirror refused.

        Raises
        ------
        Unavailable
            When the mirror does not answer, or another process sends to it: what was sent stays sent.
        """
        with self._alone():
            self._cursors = self._read_cursors()
            self._compare()
            sent = self._send_runs()
            sent += sum(self._send_added(stream) for stream in ADDED)
            sent += self._send_models()
            sent += self._send_late()
            return sent + (self._send_again() if again else 0)

    @property
    def _origin(self) -> Origin:
        return self.copies.origin

    def _compare(self) -> None:
        """Go back to where the mirror says it is, when that is less: it was emptied, or restored from a backup."""
        models = [row["model"] for row in self.database.query(MODELS)]
        theirs = self.mirror.positions(self._origin, models)
        back: list[Write] = []
        if (runs := theirs.get("runs", 0)) < self._at("runs"):
            back += [self._move("runs", runs), self._move("notes", 0), self._move("tags", 0)]
        refused = {item.partition(" ")[2].rpartition("/")[0] for item in self._refused()}
        for model in models:
            seq, ours = theirs.get(f"stages/{model}"), self._at(f"stages/{model}")
            if model in refused or seq == ours:
                continue
            if seq is None or seq < ours:
                back.append(self._move(f"versions/{model}", 0))
            back.append(self._move(f"stages/{model}", 0))
        self._write(back)

    def _send_runs(self) -> int:
        sent = 0
        for row in self.database.query(FINISHED, self.mirror.name):
            self._show(f"run {row['id']}", [(CLOSE, (self.mirror.name, row["seq"]))])
            sent += 1
        while rows := self.database.query(NEW_RUNS, self._at("runs"), BATCH):
            for row in rows:
                opened = [(OPEN, (self.mirror.name, row["seq"]))] if row["status"] == "running" else []
                self._show(f"run {row['id']}", [self._move("runs", row["seq"]), *opened])
            sent += len(rows)
            self.mirror.settle(self._origin, self._at("runs"))
        return sent

    def _send_added(self, stream: str) -> int:
        newest = self.database.query(NEWEST[stream])[0]["seq"]
        rows = self.database.query(ADDED[stream], self._at(stream), self._at("runs"))
        for row in rows:
            self._show(f"run {row['id']}", [])
        if newest > self._at(stream):
            self._write([self._move(stream, newest)])
        return len(rows)

    def _send_models(self) -> int:
        sent = 0
        for row in self.database.query(MODELS):
            model = row["model"]
            for number in range(self._at(f"versions/{model}") + 1, row["number"] + 1):
                self._show(f"version {model}/{number}", [self._move(f"versions/{model}", number)])
                sent += 1
            if row["event"] > self._at(f"stages/{model}"):
                self._show(f"stages {model}", [])
                sent += 1
        return sent

    def _send_late(self) -> int:
        """Try once what was left for later."""
        items = [row["item"] for row in self.database.query(GIVEN_UP, self.mirror.name)]
        for sent, item in enumerate(items):
            try:
                self._write([*self._act(item), *self._accept(item)])
            except (SchemaError, Unavailable):
                return sent
        return len(items)

    def _send_again(self) -> int:
        refused = sorted(self._refused(), key=lambda item: item.partition(" ")[0] != "run")
        for item in refused:
            self._show(item, [])
        return len(refused)

    def _show(self, item: str, writes: Sequence[Write]) -> None:
        """Show one thing, then note that it was shown, or why the mirror does not take it."""
        writes = list(writes)
        try:
            writes += self._act(item)
        except SchemaError as error:
            writes += self._refuse(item, str(error))
        except Unavailable as error:
            if self._try(item) < TRIES:
                raise
            writes += self._refuse(item, f"tried {TRIES} times, and later again: {error}")
        else:
            writes += self._accept(item)
        self._write(writes)

    def _try(self, item: str) -> int:
        """Count one more time at which the mirror failed."""
        self._write([(TRY, (self.mirror.name, item))])
        return int(self.database.query(TRIED, self.mirror.name, item)[0]["times"])

    def _accept(self, item: str) -> list[Write]:
        return [(sql, (self.mirror.name, item)) for sql in (ACCEPT, SUCCEED)]

    def _refuse(self, item: str, why: str) -> list[Write]:
        refused: list[Write] = [(REFUSE, (self.mirror.name, item, self.clock.now(), why))]
        kind, _, name = item.partition(" ")
        return refused + ([self._move(f"stages/{name}", self._last_event(name))] if kind == "stages" else [])

    def _act(self, item: str) -> list[Write]:
        kind, _, name = item.partition(" ")
        if kind == "run":
            self.mirror.run(self.copies.run(name))
            return []
        if kind == "version":
            model, _, number = name.rpartition("/")
            self.mirror.version(self.copies.version(model, int(number)))
            return []
        copy = self.copies.stages(name)
        self.mirror.stages(copy)
        return [self._move(f"stages/{name}", copy.seq)]

    def _last_event(self, model: str) -> int:
        return next(row["event"] for row in self.database.query(MODELS) if row["model"] == model)

    def _refused(self) -> dict[str, str]:
        return {row["item"]: row["why"] for row in self.database.query(REFUSED, self.mirror.name)}

    def _read_cursors(self) -> dict[str, int]:
        return {row["stream"]: row["position"] for row in self.database.query(CURSORS, self.mirror.name)}

    def _at(self, stream: str) -> int:
        return self._cursors.get(stream, 0)

    def _move(self, stream: str, position: int) -> Write:
        return MOVE, (self.mirror.name, stream, position)

    def _write(self, writes: Sequence[Write]) -> None:
        if not writes:
            return
        with self.database.transaction() as tx:
            for sql, values in writes:
                tx.execute(sql, values)
        self._cursors = self._read_cursors()

    def _alone(self) -> AbstractContextManager[None]:
        name = hashlib.sha256(self.mirror.name.encode()).hexdigest()[:12]
        return alone(self.folder / f"mirror-{name}.lock", f"sending to {self.mirror.name}")


def home_id(database: Database) -> str:
    """Return the id of a home, made when it is first asked for."""
    database.execute(MAKE_HOME, uuid.uuid4().hex)
    return str(database.query(HOME)[0]["id"])


FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a mirror that did not answer is tried again; doubled each time."""
LOOK = UNITS["s"]
"""Microseconds between two looks whether there is something new."""
POLL = 0.05
"""Seconds between two looks whether it should stop."""


def follow(
    outboxes: Sequence[Outbox], clock: Clock, stopped: Callable[[], bool], *, tell: Callable[[str], object]
) -> None:
    """Send what is new until `stopped`; a mirror that does not answer is tried again after ever longer pauses."""
    due = dict.fromkeys(range(len(outboxes)), clock.elapsed())
    pauses = dict.fromkeys(due, FIRST_PAUSE)
    first = set(due)  # at the start each is asked once where it stands
    while not stopped():
        for place, outbox in enumerate(outboxes):
            if clock.elapsed() < due[place]:
                continue
            try:
                if place in first or outbox.behind():
                    tell(f"{outbox.mirror.name}: sent {outbox.send()}")
            except TenfoldError as error:
                tell(f"{outbox.mirror.name}: {error} Next try in {pauses[place]:g} s.")
                due[place] = clock.elapsed() + int(pauses[place] * 1e6)
                pauses[place] = min(2 * pauses[place], LONGEST_PAUSE)
            else:
                first.discard(place)
                due[place], pauses[place] = clock.elapsed() + LOOK, FIRST_PAUSE
        clock.sleep(POLL)
