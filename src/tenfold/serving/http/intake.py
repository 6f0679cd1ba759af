"""Calls with events that wait are stored together: what came while those before were stored goes into one commit of the log."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool

from tenfold.core.errors import Unavailable
from tenfold.processing.ingest import Call, Ingested
from tenfold.sources.turn import Locked

MOST = 100_000
"""Rows that may wait; a call beyond that is refused at once."""
TOGETHER = 256
"""Rows that are stored together at most, as the first of them waits for the last."""
SMALL = 1_000
"""A call of more rows is stored by itself, on a thread of its own, so that no small one waits for it."""
AT_ONCE = 2
"""Large calls that are worked on at once; the others wait for their turn."""
LARGE = 10
"""How many times as many rows of large calls may be there as may wait of small ones."""
NOTHING = "Nothing of these was stored; it is safe to retry in a moment."
UNDER_WAY = "It is under way and may still succeed. Send them again under the same idempotency-key, and they are stored once."


class Ingest(Protocol):
    """Stores calls together; what it returns for each is what became of it, or what it is refused with."""

    def __call__(self, calls: Sequence[Call], *, wait: float | None = None) -> Sequence[Ingested | Exception]:
        """Store calls; with `wait`, Unavailable when others had the log for so many seconds, and then nothing is stored.

        Without, those that have to wait for other writers of the state get `Locked`, and are to be given alone.
        """
        ...


class Intake:
    """Stores the calls of an event loop, those that wait together; one thread works while there are any.

    Each call is told when its rows are durable, and what it would be told alone.

    Parameters
    ----------
    wait
        Seconds after which a call is told that it was not stored in time. A large call is told so while it waits for its turn
        or for other writers; once it is being stored it may take as long as it needs.
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
        queue = self._queue()
        told = await (queue.alone(call) if len(call.rows) > SMALL else queue.put(call))
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
        self._rows = self._large = 0
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._work: asyncio.Task[None] | None = None
        self._apart: set[asyncio.Task[None]] = set()

    async def alone(self, call: Call) -> Ingested | Exception:
        """Store a call by itself once it is its turn, or nothing of it."""
        rows = len(call.rows)
        _check_room(call, self._large, self._most * LARGE)
        self._large += rows
        try:
            return await self._in_turn(call)
        finally:
            self._large -= rows

    async def _in_turn(self, call: Call) -> Ingested | Exception:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait
        try:
            async with asyncio.timeout_at(until):
                await self._turns.acquire()
        except TimeoutError:
            return self._not_in_time(call, NOTHING)
        try:
            (told,) = await run_in_threadpool(self._ingest, [call], wait=max(until - loop.time(), 0))
        finally:
            self._turns.release()
        return self._not_in_time(call, NOTHING) if isinstance(told, Locked) else told

    def put(self, call: Call) -> "asyncio.Future[Ingested | Exception]":
        """Have a call stored with those that wait, in their order."""
        rows = len(call.rows)
        _check_room(call, self._rows, self._most)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Ingested | Exception] = loop.create_future()
        late = loop.call_later(self._wait, self._late, told, call)
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
                for (told, call), one in zip(group.items(), done, strict=True):
                    if isinstance(one, Locked):
                        self._set_apart(told, call)
                    elif not told.done():
                        told.set_result(one)
        finally:
            self._work = None

    def _set_apart(self, told: "asyncio.Future[Ingested | Exception]", call: Call) -> None:
        """Have a call stored as a large one is, so that those behind it do not wait for what it waits for."""

        async def store() -> None:
            try:
                one: Ingested | Exception = await self.alone(call)
            except Unavailable as error:
                one = error
            if not told.done():
                told.set_result(one)

        task = asyncio.get_running_loop().create_task(store())
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)

    def _next(self) -> "dict[asyncio.Future[Ingested | Exception], Call]":
        group: dict[asyncio.Future[Ingested | Exception], Call] = {}
        rows = 0
        while self._waiting and rows < TOGETHER:
            told, call = self._waiting.popitem(last=False)
            group[told] = call
            self._rows -= len(call.rows)
            rows += max(len(call.rows), 1)
        return group

    def _late(self, told: "asyncio.Future[Ingested | Exception]", call: Call) -> None:
        """Tell a call that its time is over; it is not stored any more unless that is under way."""
        if told.done():
            return
        waited = self._waiting.pop(told, None) is not None
        if waited:
            self._rows -= len(call.rows)
        told.set_result(self._not_in_time(call, NOTHING if waited else UNDER_WAY))

    def _not_in_time(self, call: Call, what: str) -> Unavailable:
        return Unavailable(
            f'source "{call.source.name}" did not store these events within {self._wait:g} s. {what}'
        )

    def _tried(self, calls: Sequence[Call]) -> Sequence[Ingested | Exception]:
        try:
            return self._ingest(calls)
        except Exception as error:  # noqa: BLE001 - the clients are told, whatever it is
            return [error] * len(calls)


def _check_room(call: Call, rows: int, most: int) -> None:
    """Refuse a call that comes behind more rows than may wait."""
    if rows and rows + len(call.rows) > most:
        raise Unavailable(
            f'source "{call.source.name}" takes no more events now: {rows:,} rows wait to be stored. {NOTHING}'
        )
