"""Requests over HTTP, counted by route and status with how long they took, for all processes of a home together."""

import logging
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.core.clock import Clock
from tenfold.core.times import UNITS
from tenfold.serving.seen.counters import EDGES
from tenfold.sources.database import Database

logger = logging.getLogger(__name__)

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
EVERY = UNITS["s"]
"""Microseconds after which counts are stored, when there are any; a process that is killed takes the last ones with it."""
UNROUTED = "none"
"""The route of what none takes, and of what is refused before."""


class Requests:
    """Counts in memory, added to the state database about once a second by a thread that ends when there is nothing to add."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self.clock = database, clock
        self._seen: deque[tuple[str, int, int]] = deque()
        self._counts: Counter[tuple[str, int, str]] = Counter()
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._due: threading.Timer | None = None

    def add(self, route: str, status: int, took: int) -> None:
        """Count a request and how many microseconds it took."""
        self._seen.append((route, status, took))  # a request pays for this alone; counting is done beside it
        if self._due is None:
            with self._lock:
                if self._due is None:
                    self._due = threading.Timer(EVERY / 1e6, self._store)
                    self._due.daemon = True
                    self._due.start()

    def flush(self) -> None:
        """Add what was counted to the database; when that fails it is kept for the next time."""
        with self._flushing:  # so that whoever returns from here finds everything stored
            for _ in range(len(self._seen)):
                route, status, took = self._seen.popleft()
                place = bisect_left(EDGES, took)
                self._counts[route, status, str(EDGES[place]) if place < len(EDGES) else BEYOND] += 1
                self._counts[route, status, SUM] += took
            if self._counts:
                with self._database.transaction() as tx:
                    tx.executemany(ADD, [(*place, n) for place, n in self._counts.items()])
                self._counts.clear()

    def all(self) -> Mapping[tuple[str, int], Mapping[str, int]]:
        """Return what was counted in all processes, as far as it was stored, by route and status."""
        found: dict[tuple[str, int], dict[str, int]] = {}
        for row in self._database.query(READ):
            found.setdefault((row["route"], row["status"]), {})[row["what"]] = int(row["n"])
        return found

    def close(self) -> None:
        """Store what was counted; may be called twice."""
        with self._lock:
            due, self._due = self._due, None
        if due is not None:
            due.cancel()
            self._store()

    def _store(self) -> None:
        with self._lock:
            self._due = None
        try:
            self.flush()
        except Exception:  # a full disk, or a database that is closed, must not fail who asks
            logger.exception("counts of requests were not stored")


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
