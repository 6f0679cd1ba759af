"""What versions do, counted per minute: how often one was asked, raised, answered no number, and how long it took."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenfold.core.clock import Clock
from tenfold.core.times import UNITS
from tenfold.sources.counts import Counts
from tenfold.sources.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS served (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    what TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (model, version, minute, what)
) WITHOUT ROWID;
"""
ADD = """
INSERT INTO served (model, version, minute, what, n) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (model, version, minute, what) DO UPDATE SET n = served.n + excluded.n
"""
TOTAL = """
SELECT what, sum(n) AS n FROM served WHERE model = ? AND version = ? AND minute >= ? GROUP BY what
"""
EACH = """
SELECT model, version, what, sum(n) AS n FROM served WHERE minute >= ? AND minute < ? GROUP BY model, version, what
"""
EDGES = tuple(digit * 10**power for power in range(1, 7) for digit in (1, 2, 5))
"""Upper bounds of what a request may have taken, in microseconds: 10 us to 5 s."""
ASKED, RAISED, NO_NUMBER, DROPPED = "asked", "raised", "no number", "dropped"
BOUND, OVER = "bound ", "beyond "
"""How the names begin under which rows are counted that may take so many microseconds, and those of them that took longer."""
MINUTE = UNITS["m"]

_Asked = tuple[str, int, int, int, int | None, bool]
"""Model, version, minute, edge, budget, and whether they took longer than that."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a version did: rows it was asked about, of these failed ones, and by what was allowed in us how many, and how many took longer."""

    asked: int
    raised: int
    no_number: int
    dropped: int
    slow: Mapping[int, int]
    bound: Mapping[int, int]

    @property
    def failed(self) -> int:
        """How many rows it gave no answer for."""
        return self.raised + self.no_number

    def over(self, budget: int) -> int:
        """Return how many rows took longer than a budget in microseconds, of those that were counted with it."""
        return self.slow.get(budget, 0)

    def timed(self, budget: int) -> int:
        """Return how many rows were counted with a budget, whatever they took: another one may have been declared before."""
        return self.bound.get(budget, 0)


class Counters:
    """Counts in memory, added to the state database by `flush`; a process that dies takes what it did not flush with it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> with TemporaryDirectory() as folder:
    ...     counters = Counters(SQLiteDatabase(Path(folder) / "state.db", SCHEMA), VirtualClock(0))
    ...     counters.add("fraud", 2, rows=3, took=120, no_number=1, budget=39)
    ...     counters.flush()
    ...     found = counters.total("fraud", 2)
    >>> found.asked, found.failed, found.over(39), found.timed(39), found.timed(38)
    (3, 1, 3, 3, 0)
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._counts = Counts(database, ADD)
        self._lock, self._asked = threading.Lock(), Counter[_Asked]()

    def add(
        self,
        model: str,
        version: int,
        *,
        rows: int,
        took: int,
        raised: int = 0,
        no_number: int = 0,
        budget: int | None = None,
    ) -> None:
        """Count rows a version was asked about together, and how many microseconds that took: each took its share.

        Parameters
        ----------
        budget
            How long each may take; they are counted by it too, and those that took longer.
        """
        edge = EDGES[min(bisect_left(EDGES, took / max(rows, 1)), len(EDGES) - 1)]
        over = budget is not None and took > budget * rows
        asked = model, version, self._clock.now() // MINUTE, edge, budget, over
        with self._lock:  # once per group of requests, so what is counted by it is worked out later
            self._asked[asked] += rows
        if raised or no_number:
            self._see(model, version, {RAISED: raised, NO_NUMBER: no_number})

    def slow(self, model: str, version: int, rows: int, budget: int) -> None:
        """Count rows that were added already as slower than a budget, in microseconds."""
        self._see(model, version, {f"{OVER}{budget}": rows})

    def drop(self, model: str, version: int, rows: int) -> None:
        """Count rows a version was not asked about, because too many were waiting."""
        self._see(model, version, {DROPPED: rows})

    def _see(self, model: str, version: int, counts: Mapping[str, int]) -> None:
        minute = self._clock.now() // MINUTE
        self._counts.add(((model, version, minute, what), n) for what, n in counts.items() if n)

    def flush(self) -> None:
        """Add what was counted to the database; when that fails it is kept for the next time."""
        with self._lock:
            held, self._asked = self._asked, Counter()
        for asked, n in held.items():
            self._counts.add((place, n) for place in _places(*asked))
        self._counts.flush()

    def total(self, model: str, version: int, since: int = 0) -> Served:
        """Return what a version did since an instant (to the minute), in all processes, as far as it was flushed."""
        rows = self._database.query(TOTAL, model, version, since // MINUTE)
        found = {row["what"]: int(row["n"]) for row in rows}
        asked, raised, no_number, dropped = (
            found.pop(name, 0) for name in (ASKED, RAISED, NO_NUMBER, DROPPED)
        )
        return Served(asked, raised, no_number, dropped, _by_budget(found, OVER), _by_budget(found, BOUND))

    def each(self, since: int, until: int) -> list[tuple[str, int, str, int]]:
        """Return model, version, what and how often, of the minutes from one to another, in all processes, as far as flushed."""
        rows = self._database.query(EACH, since, until)
        return [(row["model"], int(row["version"]), row["what"], int(row["n"])) for row in rows]


def _places(
    model: str, version: int, minute: int, edge: int, budget: int | None, over: bool
) -> Iterator[tuple[str, int, int, str]]:
    """Yield where rows are counted that took as long as an edge allows."""
    for what in (ASKED, str(edge)):
        yield model, version, minute, what
    if budget is not None:
        for begins in (BOUND, OVER) if over else (BOUND,):
            yield model, version, minute, f"{begins}{budget}"


def _by_budget(found: Mapping[str, int], begins: str) -> dict[int, int]:
    """Return the counts whose names begin so, by the budget that they go on with."""
    return {int(what.removeprefix(begins)): n for what, n in found.items() if what.startswith(begins)}
