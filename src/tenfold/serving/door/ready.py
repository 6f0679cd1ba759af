"""Whether a server should be sent requests: versions loaded, plans warm, states near the end of the log, not ending."""

import asyncio
import gc
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool

from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.serving.answer.service import Service

LOOK = 0.01
"""Seconds between two looks at how far the states are."""
FRESH = 1_000_000
"""Microseconds for which what was found is told again: anybody may ask, and looking costs something."""


class Ready:
    """What GET /ready says.

    A model without a version in Production does not count: a new one must not take a server out of traffic.

    Parameters
    ----------
    wait
        Seconds that a request waits for the states: as far may they lag.
    """

    def __init__(self, services: Mapping[str, Service], clock: Clock, *, wait: float) -> None:
        self.ending = False
        self._services, self._clock, self._wait = services, clock, wait
        self._warming: asyncio.Task[str] | None = None
        self._looking: asyncio.Task[str] | None = None
        self._found: tuple[int, str] | None = None

    def start(self) -> "asyncio.Task[str]":
        """Begin to load and warm up, beside the requests that are answered already; in the server's event loop."""
        if self._warming is None:
            self._warming = asyncio.get_running_loop().create_task(run_in_threadpool(self._load))
        return self._warming

    async def reason(self) -> str:
        """Return why no requests should be sent here; "" when there is no reason."""
        if self.ending:
            return "the server is shutting down."
        if not self.start().done():
            return "the server is loading its versions."
        now = self._clock.elapsed()
        if self._found is not None and now - self._found[0] < FRESH:
            return self._found[1]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        found = await asyncio.shield(self._looking)
        self._found = (self._clock.elapsed(), found)
        return found

    async def _look(self) -> str:
        return await run_in_threadpool(self._load) or await self._behind()

    def _load(self) -> str:
        """Load what answers now, if it is not yet, and return what stands in the way of that."""
        try:
            for service in self._services.values():
                service.warm()
        except TenfoldError as error:
            return str(error)
        return ""

    async def _behind(self) -> str:
        """Return which states are farther behind the log than a request waits."""
        for service in self._services.values():
            try:
                mark = await run_in_threadpool(service.mark)
                if service.reached(mark) or service.degrades:
                    continue
            except TenfoldError as error:
                return str(error)
            until = self._clock.elapsed() + int(self._wait * 1e6)
            while not service.reached(mark):
                if self._clock.elapsed() >= until:
                    return service.why_late(mark, self._wait)
                await asyncio.sleep(LOOK)
        return ""


def settled(_: object) -> None:
    """Look no more at what is loaded now when memory is freed: it stays. Look less often at the rest: each look makes answers late."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def released() -> None:
    """Look at all of it again: what is never freed, extensions such as DuckDB's complain of when the process ends."""
    gc.unfreeze()
    gc.collect()
