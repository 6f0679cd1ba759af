"""Requests over HTTP, counted by route and status with how long they took, for all processes of a home together."""

import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.core.clock import Clock
from tenfold.core.times import UNITS
from tenfold.serving.seen.counters import EDGES
from tenfold.sources.database import Database
from tenfold.sources.later import Later

SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
    route TEXT NOT NULL,
    status INTEGER NOT NULL,
    what TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (route, status, what)
) WITHOUT ROWID;
"""
ADD = """
INSERT INTO request (route, status, what, n) VALUES (?, ?, ?, ?)
ON CONFLICT (route, status, what) DO UPDATE SET n = request.n + excluded.n
"""
READ = "SELECT route, status, what, n FROM request"
SUM, BEYOND = "sum", "beyond"
"""Microseconds in all, and requests that took longer than the last of EDGES; else `what` is an upper bound of EDGES."""
WHAT = (*map(str, EDGES), BEYOND, SUM)
EVERY = 10 * UNITS["s"]
"""Microseconds after which counts are stored, when there are any; a process that is killed takes the last ones with it."""
UNROUTED = "none"
"""The route of what none takes, and of what is refused for the host it names."""


class Requests:
    """Counts in memory, added to the state database every ten seconds by a thread that ends when there is nothing to add."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self.clock = database, clock
        self._counts: dict[tuple[str, int], list[int]] = {}
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._later = Later("counts of requests", self._store, EVERY / 1e6)

    def add(self, route: str, status: int, took: int) -> None:
        """Count a request and how many microseconds it took."""
        place = bisect_left(EDGES, took)
        with self._lock:
            counts = self._counts.get((route, status))
            if counts is None:
                counts = self._counts[route, status] = [0] * len(WHAT)
            counts[place] += 1
            counts[-1] += took
        self._later.soon()

    def flush(self) -> None:
        """Add what was counted to the database; when that fails it is kept for the next time."""
        with self._flushing:  # so that whoever returns from here finds everything stored
            with self._lock:
                held = {place: list(counts) for place, counts in self._counts.items()}
            rows = [
                (*place, what, n)
                for place, counts in held.items()
                for what, n in zip(WHAT, counts, strict=True)
                if n
            ]
            if rows:
                with self._database.transaction() as tx:
                    tx.executemany(ADD, rows)
                self._subtract(held)

    def _subtract(self, stored: Mapping[tuple[str, int], Sequence[int]]) -> None:
        with self._lock:
            for place, counts in stored.items():
                self._counts[place] = [now - n for now, n in zip(self._counts[place], counts, strict=True)]

    def all(self) -> Mapping[tuple[str, int], Mapping[str, int]]:
        """Return what was counted in all processes, as far as it was stored, by route and status."""
        found: dict[tuple[str, int], dict[str, int]] = {}
        for row in self._database.query(READ):
            found.setdefault((row["route"], row["status"]), {})[row["what"]] = int(row["n"])
        return found

    def close(self) -> None:
        """Store what was counted; may be called twice."""
        self._later.close()

    def _store(self) -> bool:
        self.flush()
        with self._lock:
            return any(any(counts) for counts in self._counts.values())


class Counted:
    """Counts the requests of an application."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clock, status = self._requests.clock, 500
        begun = clock.elapsed()

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            self._requests.add(route_of(scope), status, clock.elapsed() - begun)


def route_of(scope: Scope) -> str:
    """Return the route that took a request, such as "/v2/models/{model}"."""
    return getattr(scope.get("route"), "path", UNROUTED)
