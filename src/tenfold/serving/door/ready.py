"""Whether a server should be sent requests: versions loaded, plans warm, states near the end of a log that takes more, not ending."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Mapping

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
    store
        Raises what keeps answers and events from being stored. It tries that by itself: there may be no other traffic.
    """

    def __init__(
        self, services: Mapping[str, Service], clock: Clock, *, wait: float, store: Callable[[], object]
    ) -> None:
        self.ending = False
        self._store = store
        self._models = {name: _Model(service, clock, wait) for name, service in services.items()}
        self._looks = {name: _Look(model.look, clock) for name, model in self._models.items()}
        self._stores = _Look(self._try, clock)
        self._warming: asyncio.Task[str] | None = None

    def start(self) -> "asyncio.Task[str]":
        """Begin to load and warm up, beside the requests that are answered already; in the server's event loop."""
        if self._warming is None:
            self._warming = asyncio.get_running_loop().create_task(run_in_threadpool(self._load))
        return self._warming

    async def reason(self, model: str | None = None) -> str:
        """Return why no requests should be sent here, or why those for a model get no answer; "" when there is no reason."""
        if model is not None:
            return await self._stores.reason() or await self._looks[model].reason()
        if self.ending:
            return "the server is shutting down."
        if not self.start().done():
            return "the server is loading its versions."
        for look in (self._stores, *self._looks.values()):
            if found := await look.reason():
                return found
        return ""

    def _load(self) -> str:
        return next(filter(None, (model.load() for model in self._models.values())), "")

    async def _try(self) -> str:
        try:
            await run_in_threadpool(self._store)
        except TenfoldError as error:
            return str(error)
        return ""


class _Look:
    """Looks at something, and keeps the reason that it found for a moment."""

    def __init__(self, look: Callable[[], Coroutine[None, None, str]], clock: Clock) -> None:
        self._look, self._clock = look, clock
        self._looking: asyncio.Task[str] | None = None
        self._found: tuple[int, str] | None = None

    async def reason(self) -> str:
        now = self._clock.elapsed()
        if self._found is not None and now - self._found[0] < FRESH:
            return self._found[1]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        found = await asyncio.shield(self._looking)
        self._found = (self._clock.elapsed(), found)
        return found


class _Model:
    """Whether rows of one model get an answer."""

    def __init__(self, service: Service, clock: Clock, wait: float) -> None:
        self._service, self._clock, self._wait = service, clock, wait

    async def look(self) -> str:
        """Return why not, "" when they do."""
        return await run_in_threadpool(self.load) or await self._behind()

    def load(self) -> str:
        """Load what answers now, if it is not yet, and return what stands in the way of that."""
        try:
            self._service.warm()
        except TenfoldError as error:
            return str(error)
        return ""

    async def _behind(self) -> str:
        """Return which states are farther behind the log than a request waits, where there is no answer without them."""
        service = self._service
        try:
            mark = await run_in_threadpool(service.mark)
            if service.reached(mark, away=False):
                return ""
            if service.degrades:
                if service.version() is not None:
                    await run_in_threadpool(service.late, mark)
                return ""
            until = self._clock.elapsed() + int(self._wait * 1e6)
            while not service.reached(mark):
                if self._clock.elapsed() >= until:
                    return service.why_late(mark, self._wait)
                await asyncio.sleep(LOOK)
        except TenfoldError as error:
            return str(error)
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
