"""Answers requests of one model without holding up others: the wait for the states, then the answer."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from anyio import to_thread

from tenfold.core.clock import SystemClock
from tenfold.core.errors import Unavailable
from tenfold.serving.answer.groups import POLL, Groups
from tenfold.serving.answer.questions import Question
from tenfold.serving.answer.service import Service
from tenfold.serving.answer.waiting import Told
from tenfold.serving.seen.tracing import Stage, Tracing
from tenfold.sources.base import Ends

_decode = msgspec.json.Decoder().decode


class Answering:
    """What every way to ask over HTTP goes through; answers are durable when they are returned.

    Parameters
    ----------
    wait
        Seconds a request waits for the worker to reach the newest acknowledged event, and for its turn.
    tracing
        Makes spans of what a request goes through.
    """

    def __init__(self, service: Service, *, wait: float, tracing: Tracing | None = None) -> None:
        self.service = service
        self.groups = Groups(service, wait=wait)
        self._wait, self._tracing = wait, tracing

    async def one(self, row: Any, *, key: str | None = None) -> dict[str, Any]:
        """Return what `Service.predict` answers for a row as of now; Unavailable when that is not possible in time."""
        found: dict[str, Any] = _decode(await self.told(Question([row], key, alone=True)))
        return found

    async def many(self, rows: Sequence[Any], *, key: str | None = None) -> list[dict[str, Any]]:
        """Return what `Service.predict_many` answers for rows as of now."""
        found: list[dict[str, Any]] = _decode(await self.told(Question(rows, key)))
        return found

    async def told(self, question: Question) -> bytes:
        """Return the answer of a question as JSON."""
        if self._tracing is None:
            return await self._told(question)
        since, stages = SystemClock().now(), list[Stage]()
        try:
            return await self._told(question._replace(stages=stages))
        finally:
            self._tracing.stages(since, stages)

    async def _told(self, question: Question) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        waiting = self.groups.ask(question, partial(_settle, future))
        try:
            return await future
        except asyncio.CancelledError:
            self.groups.forget(waiting)
            raise

    async def moment(self) -> tuple[Ends, bool]:
        """Return the mark of now and whether the states have reached it: once they have, or where there is an answer without them."""
        mark, begun = None, SystemClock().elapsed()
        try:
            async with asyncio.timeout(self._wait):
                # in a thread, for a log that is locked keeps it waiting, and one that is given up may go on there
                mark = await to_thread.run_sync(self.service.mark, abandon_on_cancel=True)
                while not self.service.reached(mark):
                    if self.service.gives_up((SystemClock().elapsed() - begun) / 1e6, self._wait):
                        return mark, False
                    await asyncio.sleep(POLL)
        except TimeoutError as error:
            raise Unavailable(self._why(mark)) from error
        return mark, True

    def _why(self, mark: Ends | None) -> str:
        if mark is None:
            return f"the log did not answer within {self._wait:g} s. Nothing was stored; it is safe to retry in a moment."
        return self.service.why_late(mark, self._wait)


def _settle(future: asyncio.Future[bytes], told: Told) -> None:
    if future.done():
        return
    if isinstance(told, bytes):
        future.set_result(told)
    else:
        future.set_exception(told)
