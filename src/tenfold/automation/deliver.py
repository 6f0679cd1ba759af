"""Answers sent downstream: what a sink was not sent follows from the prediction log and a cursor, so no request waits for one."""

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.automation.answers import Answers, Cursor
from tenfold.automation.homes import FILE, Home, identify
from tenfold.automation.sinks import NotNow, Part, Refused, Sink, TableSink, TopicSink, shown
from tenfold.automation.webhook import Webhook
from tenfold.core.clock import Clock
from tenfold.core.errors import SchemaError, Unavailable
from tenfold.core.fingerprint import fingerprint
from tenfold.features.records import OFFSET
from tenfold.serving.answer.predictions import TOPIC
from tenfold.sources.base import Lake, Log
from tenfold.sources.database import Database
from tenfold.sources.locked import in_turn

if TYPE_CHECKING:
    import pyarrow as pa

# `first` and `upto` are the part under way: after a crash it is sent again with the same rows under the same name.
# `sink` is the address, behind the id of the home where that is not the first of the state (`Home.key`).
SCHEMA = """
CREATE TABLE IF NOT EXISTS sink_cursor (
    sink TEXT PRIMARY KEY,
    base INTEGER NOT NULL,
    first INTEGER NOT NULL,
    upto INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sink_refused (
    sink TEXT NOT NULL,
    first INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    base INTEGER NOT NULL,
    answers INTEGER NOT NULL,
    at INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (sink, first)
) WITHOUT ROWID;
"""
CURSOR = "SELECT base, first, upto FROM sink_cursor WHERE sink = ?"
MOVE = """
INSERT INTO sink_cursor (sink, base, first, upto) VALUES (?, ?, ?, ?)
ON CONFLICT (sink) DO UPDATE SET base = excluded.base, first = excluded.first, upto = excluded.upto
WHERE sink_cursor.base = ? AND sink_cursor.first = ? AND sink_cursor.upto = ?
"""
REFUSE = """
INSERT INTO sink_refused (sink, first, upto, base, answers, at, why) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sink, first) DO UPDATE SET
    upto = excluded.upto, base = excluded.base, answers = excluded.answers, at = excluded.at, why = excluded.why
"""
ACCEPT = "DELETE FROM sink_refused WHERE sink = ? AND first = ?"
HELD = "SELECT max(upto) AS upto FROM (SELECT upto FROM sink_cursor UNION ALL SELECT upto FROM sink_refused) AS held"
REFUSED = "SELECT answers, why FROM sink_refused WHERE sink = ? ORDER BY at, first"
AGAIN = """
SELECT base, first, upto FROM sink_refused WHERE sink = ? AND first >= ? AND upto <= ? ORDER BY first LIMIT 1
"""

PATIENCE = 30.0
"""Seconds that a process waits for its turn: longer than a part of another one takes."""
REASONS, OTHERS = 3, "other reasons."
"""How many reasons of refusals are told, and what the rest of them are told as."""
_ANSWERED = re.compile(r"\S+ answered \d+")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a sink was not sent: at most so many answers of the log, and all that it refused by the reason it gave.

    Of many reasons those that begin with the same status are one, in the words of the newest, and the rarest `OTHERS`.
    `problem` says why that cannot be told, where the log is not the one of which it was sent answers.
    """

    sink: str
    answers: int
    refused: dict[str, int]
    problem: str = ""


@dataclass(slots=True)
class Delivery:
    """What one sink is sent: every answer of some models, in the order of the log, at least once, none twice by its id.

    The cursor moves when the sink has taken a part; a crash between the two sends the part once more, under the same name.

    Parameters
    ----------
    address
        As a release declares it.
    home
        Which home this is, so that parts of two homes have different names, and each its own cursor.
    folder
        Where the lock lies that keeps two processes from sending at once.
    """

    address: str
    models: frozenset[str]
    sink: Sink
    log: Log
    database: Database
    clock: Clock
    home: Home
    folder: Path
    parts: int = field(default=0, init=False)
    """How many parts this process is done with, whether they were taken or set aside."""
    _answers: Answers = field(init=False)
    _mark: str = field(init=False)
    _key: str = field(init=False)

    def __post_init__(self) -> None:
        self._answers = Answers(self.log)
        self._mark = fingerprint(*sorted(self.models))[:8]
        self._key = self.home.key(self.name)

    @property
    def name(self) -> str:
        """The address without what may be secret in it."""
        return shown(self.address)

    def waiting(self) -> Waiting:
        """Return what is not sent yet; it looks only at this side."""
        rows = self.database.query(REFUSED, self._key)
        refused = _by_reason([(row["why"], row["answers"]) for row in rows])
        try:
            return Waiting(self.name, self.check(), refused)
        except Unavailable as error:
            return Waiting(self.name, 0, refused, str(error))

    def check(self) -> int:
        """Return how many answers of the log come after what was sent; Unavailable when that was of another log."""
        cursor = self._cursor()
        end = _end(self.log)  # read last: it only grows
        found = self.log.read(TOPIC, cursor.base, limit=1)
        if cursor.upto > end or cursor.base != (found[0].base if found else end):
            raise Unavailable(
                f"{self.name} was sent answers of another log, up to place {cursor.upto:,}; this one ends at {end:,}. It was "
                "removed, or put back from an older copy. Nothing was sent. Put the newer log back. If it is lost, end all "
                f'processes, remove "{self.folder / FILE}" and start them again: all answers of the log as it is are sent then, '
                "as those of another home."
            )
        return end - cursor.first

    def send(self, *, again: bool = False, stopped: Callable[[], bool] = bool) -> int:
        """Send what the log holds by now and is not sent yet; return how many answers the sink took.

        Other processes have their turn between two parts.

        Parameters
        ----------
        again
            Send first once more what it refused.
        stopped
            Looked at after each part.

        Raises
        ------
        Unavailable
            When it does not answer, another process does not let go, or the log is another one: what was sent stays sent.
        """
        self.check()
        sent, end = 0, _end(self.log)
        steps = chain(self._send_again(end) if again else (), self._send_new(end))
        while not stopped():
            with self._turn(stopped) as held:
                taken = next(steps, None) if held else None
            if taken is None:
                break
            sent += taken
        return sent

    def _turn(self, stopped: Callable[[], bool]) -> AbstractContextManager[bool]:
        name = hashlib.sha256(self.name.encode()).hexdigest()[:12]
        path, doing = self.folder / f"sink-{name}.lock", f"delivering to {self.name}"
        return in_turn(path, doing, self.clock, PATIENCE, stopped)

    def skip(self) -> None:
        """Leave out everything that is in the log by now: the sink begins with what is answered next.

        A process that is sending goes on from there when the place has answered to the part under way.
        """
        self.check()
        while True:
            cursor = self._cursor()
            end = _end(self.log)
            if end <= cursor.first or self._move(cursor, Cursor(end, end, end)):
                return

    def has_more(self) -> bool:
        """Return whether there is something to look at; cheap enough to be asked often."""
        cursor = self._cursor()
        return any(batch.end > cursor.first for batch in self.log.read(TOPIC, cursor.base, limit=2))

    def _send_new(self, end: int) -> Iterator[int]:
        """Send the parts up to an offset, one at a time."""
        while (cursor := self._cursor()).first < end:
            found = self._answers.part(cursor, self.models, self.sink.most)
            if found is None:
                return
            yield self._send_next(cursor, *found)

    def _send_next(self, cursor: Cursor, rows: "pa.Table", upto: int) -> int:
        after = self._answers.cursor(upto)
        if not len(rows):
            self._move(cursor, after)
            return 0
        part = Cursor(cursor.base, cursor.first, upto)
        if not self._move(cursor, part):
            return 0
        try:
            self.sink.put(self._part(rows, cursor.first, upto))
        except SchemaError as error:
            if (half := _half(rows, error)) is not None:
                self._move(part, Cursor(cursor.base, cursor.first, half))
            else:
                self._move(part, after, self._refusal(part, len(rows), error))
                self.parts += 1
            return 0
        self._move(part, after)
        self.parts += 1
        return len(rows)

    def _send_again(self, end: int) -> Iterator[int]:
        """Send once more what was refused up to an offset, a part at a time."""
        at = 0
        while refused := self.database.query(AGAIN, self._key, at, end):
            part = Cursor(*refused[0])
            found = self._answers.part(part, self.models, self.sink.most)
            rows = found[0] if found is not None else ()
            try:
                if len(rows):
                    self.sink.put(self._part(rows, part.first, part.upto, late=True))
            except SchemaError as error:
                at = self._still_refused(part, rows, error)
                yield 0
            else:
                self.database.execute(ACCEPT, self._key, part.first)
                yield len(rows)

    def _still_refused(self, part: Cursor, rows: "pa.Table", error: SchemaError) -> int:
        """Keep what was refused again, in halves when one row may be to blame; return the offset to go on from."""
        half = _half(rows, error)
        if half is None:
            sql, values = self._refusal(part, len(rows), error)
            self.database.execute(sql, *values)
            return part.upto
        behind = Cursor(self._answers.cursor(half).base, half, part.upto)
        before, count = Cursor(part.base, part.first, half), len(rows) // 2
        with self.database.transaction() as tx:
            tx.execute(*self._refusal(before, count, error))  # in place of the whole, which has the same key
            tx.execute(*self._refusal(behind, len(rows) - count, error))
        return part.first

    def _refusal(self, part: Cursor, count: int, error: SchemaError) -> tuple[str, tuple[object, ...]]:
        now = self.clock.now()
        return REFUSE, (self._key, part.first, part.upto, part.base, count, now, str(error))

    def _part(self, rows: "pa.Table", first: int, upto: int, *, late: bool = False) -> Part:
        # of other models, when a release changed since a crash, they are other rows
        return Part(rows, f"{self.home.id}-{first}-{upto}-{self._mark}", upto, late)

    def _cursor(self) -> Cursor:
        found = self.database.query(CURSOR, self._key)
        return Cursor(*found[0]) if found else Cursor()

    def _move(self, read: Cursor, cursor: Cursor, *writes: tuple[str, tuple[object, ...]]) -> bool:
        """Move the cursor and write, unless it is no longer the one that was read; return whether it was."""
        values = (cursor.base, cursor.first, cursor.upto, read.base, read.first, read.upto)
        with self.database.transaction() as tx:
            moved = tx.execute(MOVE, (self._key, *values)).rowcount > 0
            for sql, given in writes if moved else ():
                tx.execute(sql, given)
        return moved


def _half(rows: "pa.Table", error: SchemaError) -> int | None:
    """Return the offset at which to divide rows that were refused; None when all are to blame, or the only one."""
    if isinstance(error, Refused) and error.each and len(rows) > 1:
        half: int = rows.column(OFFSET)[len(rows) // 2].as_py()
        return half
    return None


def _by_reason(refused: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Return of refusals, the newest last, how many answers were refused for each reason; of many only the most frequent.

    Examples
    --------
    >>> _by_reason([(f"https://a.example/b answered 403: no, {place}.", 5) for place in range(4)])
    {'https://a.example/b answered 403, lastly: no, 3.': 20}
    >>> _by_reason([(f"column {place} is missing.", place) for place in range(1, 7)])
    {'column 6 is missing.': 6, 'column 5 is missing.': 5, 'column 4 is missing.': 4, 'other reasons.': 6}
    """
    many = len({why for why, _ in refused}) > REASONS
    counts, told = Counter[str](), {}
    for why, answers in refused:
        found = _ANSWERED.match(why) if many else None  # what a place says may name each part
        kind = found[0] if found else why
        counts[kind] += answers
        told[kind] = why.replace(f"{kind}:", f"{kind}, lastly:", 1)
    most = counts.most_common()
    rest = sum(count for _, count in most[REASONS:])
    return {told[kind]: count for kind, count in most[:REASONS]} | ({OTHERS: rest} if rest else {})


def deliveries(
    wanted: Mapping[str, Sequence[str]], log: Log, lake: Lake, database: Database, clock: Clock, folder: Path
) -> list[Delivery]:
    """Return what brings answers to each address, by the names of the models whose answers go there."""
    if not wanted:
        return []
    home = identify(folder, database, lambda: _is_heir(log, database, folder))
    parts = log, database, clock, home, folder
    return [
        Delivery(address, frozenset(models), _sink(address, log, lake, home), *parts)
        for address, models in wanted.items()
    ]


def _is_heir(log: Log, database: Database, folder: Path) -> bool:
    """Return whether cursors without a home may be of this one: it has sent, and its log goes as far; or there are none."""
    held: int | None = database.query(HELD)[0]["upto"]
    return held is None or (held <= _end(log) and any(folder.glob("sink-*.lock")))


def _end(log: Log) -> int:
    return log.ends().offsets.get(TOPIC, 0)


def _sink(address: str, log: Log, lake: Lake, home: Home) -> Sink:
    kind, _, name = address.partition(":")
    if kind == "topic":
        return TopicSink(log, name)
    return TableSink(lake, name, home.own) if kind == "table" else Webhook(address)


FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a sink that did not answer is tried again; doubled each time that nothing came of it."""
POLL = 0.05
"""Seconds between two looks whether it should stop."""


def follow(
    found: Sequence[Delivery], clock: Clock, stopped: Callable[[], bool], *, tell: Callable[[str], object]
) -> None:
    """Send what is new until `stopped`, to each sink in a thread of its own, so that none waits for another one."""
    threads = [
        threading.Thread(target=_follow, args=(one, clock, stopped, tell), name=one.name, daemon=True)
        for one in found
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(POLL)


def _follow(
    delivery: Delivery, clock: Clock, stopped: Callable[[], bool], tell: Callable[[str], object]
) -> None:
    pause, first = FIRST_PAUSE, True
    while not stopped():
        rest, before = delivery.sink.every, delivery.parts
        try:
            if first:  # a log that ends before what was sent would have nothing more
                delivery.check()
            first = False
            if delivery.has_more():
                delivery.send(stopped=stopped)
            pause = FIRST_PAUSE
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the thread goes on
            told = str(error) if delivery.name in str(error) else f"{delivery.name}: {error}"
            if delivery.parts > before:
                pause = FIRST_PAUSE
            rest = min(max(pause, error.after if isinstance(error, NotNow) else 0), LONGEST_PAUSE)
            tell(f"{told} Next try in {rest:g} s.")
            pause = min(2 * pause, LONGEST_PAUSE)
        due = clock.elapsed() + int(rest * 1e6)
        while clock.elapsed() < due and not stopped():
            clock.sleep(POLL)
