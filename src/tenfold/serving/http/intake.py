"""Calls with events that wait are stored together: what came while those before were stored goes into one commit of the log."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool

from tenfold.core.errors import Unavailable
from tenfold.processing.ingest import Call, Ingested

MOST = 100_000
"""Rows that may wait; a call beyond that is refused at once."""
TOGETHER = 256
"""Rows that are stored together at most, as the first of them waits for the last."""
SMALL = 1_000
"""A call of more rows is stored by itself, on a thread of its own, so that no other one waits for it."""

Ingest = Callable[[Sequence[Call]], Sequence[Ingested | Exception]]
"""Stores calls together; what it returns for each is what became of it, or what it is refused with."""


class Intake:
    """Stores the calls of an event loop, those that wait together; one thread works while there are any.

    Each call is told when its rows are durable, and what it would be told alone.

    Parameters
    ----------
    most
        Rows that may wait.
    """

    def __init__(self, ingest: Ingest, *, most: int = MOST) -> None:
        self._ingest, self._most = ingest, most
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    async def store(self, call: Call) -> Ingested:
        """Return what became of the rows of a call, once they are durable.

        Raises
        ------
        Unavailable
            When too many rows wait.
        """
        if len(call.rows) > SMALL:
            (told,) = await run_in_threadpool(self._ingest, [call])
        else:
            told = await self._queue().put(call)
        if isinstance(told, Exception):
            raise told
        return told

    def _queue(self) -> "_Queue":
        loop = asyncio.get_running_loop()
        if loop not in self._queues:
            self._queues[loop] = _Queue(self._ingest, self._most)
        return self._queues[loop]


class _Waiting(NamedTuple):
    call: Call
    told: "asyncio.Future[Ingested | Exception]"


class _Queue:
    """The calls that wait on one event loop; used on its thread only."""

    def __init__(self, ingest: Ingest, most: int) -> None:
        self._ingest, self._most = ingest, most
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._work: asyncio.Task[None] | None = None

    def put(self, call: Call) -> "asyncio.Future[Ingested | Exception]":
        rows = len(call.rows)
        if self._rows and self._rows + rows > self._most:
            raise Unavailable(
                f'source "{call.source.name}" takes no more events now: {self._rows:,} rows wait to be stored. Nothing of '
                "these was stored; it is safe to retry in a moment."
            )
        loop = asyncio.get_running_loop()
        waiting = _Waiting(call, loop.create_future())
        self._rows += rows
        self._waiting.append(waiting)
        if self._work is None:
            self._work = loop.create_task(self._store())
        return waiting.told

    async def _store(self) -> None:
        try:
            while group := self._next():
                told = await run_in_threadpool(self._tried, [waiting.call for waiting in group])
                for waiting, one in zip(group, told, strict=True):
                    if not waiting.told.done():
                        waiting.told.set_result(one)
        finally:
            self._work = None

    def _next(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        rows = 0
        while self._waiting and rows < TOGETHER:
            group.append(self._waiting.popleft())
            size = len(group[-1].call.rows)
            self._rows -= size
            rows += max(size, 1)
        return group

    def _tried(self, calls: Sequence[Call]) -> Sequence[Ingested | Exception]:
        try:
            return self._ingest(calls)
        except Exception as error:  # noqa: BLE001 - the clients are told, whatever it is
            return [error] * len(calls)
