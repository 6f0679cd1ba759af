"""Answers requests of one model without holding up others: the wait for the states, then the answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tenfold.core.errors import Unavailable
from tenfold.serving.service import Service
from tenfold.sources.base import Ends

POLL = 0.0005
"""Seconds between two looks at how far the states are."""


class Answering:
    """What every way to ask over HTTP goes through; answers are durable when they are returned.

    Parameters
    ----------
    wait
        Seconds a request waits for the worker to reach the newest acknowledged event.
    """

    def __init__(self, service: Service, *, wait: float) -> None:
        self.service = service
        self._wait = wait

    async def one(self, row: Any, *, key: str | None = None) -> dict[str, Any]:
        """Return what `Service.predict` answers for a row as of now; Unavailable when the states are not there in time."""
        mark = await self.reached()
        return self.service.predict(row, key=key, at=mark.at)

    async def many(self, rows: Sequence[Any], *, key: str | None = None) -> list[dict[str, Any]]:
        """Return what `Service.predict_many` answers for rows as of now."""
        mark = await self.reached()
        return self.service.predict_many(rows, key=key, at=mark.at)

    async def reached(self) -> Ends:
        """Return the mark of now once the states have reached it."""
        mark = self.service.mark()
        try:
            async with asyncio.timeout(self._wait):
                while not self.service.reached(mark):
                    await asyncio.sleep(POLL)
        except TimeoutError as error:
            raise Unavailable(self.service.why_late(mark, self._wait)) from error
        return mark
