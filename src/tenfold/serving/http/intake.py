"""Calls with events that wait are stored together: what came while those before were stored goes into one commit of the log."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
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
    wait
        Seconds after which a call is told that it was not stored in time. A large call may take as long as it needs.
    most
        Rows that may wait.
    """

    def __init__(self, ingest: Ingest, *, wait: float, most: int = MOST) -> None:
        self._ingest, self._wait, self._most = ingest, wait, most
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    async def store(self, call: Call) -> Ingested:
        """Return what became of the rows of a call, once they are durable.

        Raises
        ------
        Unavailable
            When too many rows wait, or they were not stored in time.
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
            self._queues[loop] = _Queue(self._ingest, self._wait, self._most)
        return self._queues[loop]


class _Queue:
    """The calls that wait on one event loop; used on its thread only."""

    def __init__(self, ingest: Ingest, wait: float, most: int) -> None:
        self._ingest, self._wait, self._most = ingest, wait, most
        self._waiting: OrderedDict[asyncio.Future[Ingested | Exception], Call] = OrderedDict()
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
        told: asyncio.Future[Ingested | Exception] = loop.create_future()
        late = loop.call_later(self._wait, self._late, told, call.source.name)
        told.add_done_callback(lambda _: late.cancel())
        self._rows += rows
        self._waiting[told] = call
        if self._work is None:
            self._work = loop.create_task(self._store())
        return told

    async def _store(self) -> None:
        try:
            while group := self._next():
                done = await run_in_threadpool(self._tried, list(group.values()))
                for told, one in zip(group, done, strict=True):
                    if not told.done():
                        told.set_result(one)
        finally:
            self._work = None

    def _next(self) -> "dict[asyncio.Future[Ingested | Exception], Call]":
        group: dict[asyncio.Future[Ingested | Exception], Call] = {}
        rows = 0
        while self._waiting and rows < TOGETHER:
            told, call = self._waiting.popitem(last=False)
            group[told] = call
            self._rows -= len(call.rows)
            rows += max(len(call.rows), 1)
        return group

    def _late(self, told: "asyncio.Future[Ingested | Exception]", source: str) -> None:
        """Tell a call that its time is over; it is not stored any more unless that is under way."""
        if told.done():
            return
        call = self._waiting.pop(told, None)
        if call is None:
            why = "It is under way and may still succeed. Send them again under the same idempotency-key, and they are stored once."
        else:
            self._rows -= len(call.rows)
            why = "Nothing of these was stored; it is safe to retry in a moment."
        told.set_result(
            Unavailable(f'source "{source}" did not store these events within {self._wait:g} s. {why}')
        )

    def _tried(self, calls: Sequence[Call]) -> Sequence[Ingested | Exception]:
        try:
            return self._ingest(calls)
        except Exception as error:  # noqa: BLE001 - the clients are told, whatever it is
            return [error] * len(calls)
