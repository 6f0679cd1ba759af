"""A connection that ends where its server says nothing for too long: one that hangs looks like one that is at work."""

from collections.abc import Generator
from typing import Any, TypeVar

import psycopg  # noqa: TID253 - this module is imported by who connects

T = TypeVar("T")
LOOK = 0.1
"""Seconds between two looks whether there was silence for too long."""


class Silent(psycopg.OperationalError):
    """A server said nothing for too long."""


class Bounded(psycopg.Connection[Any]):
    """A connection whose every wait ends.

    Attributes
    ----------
    patience
        Seconds in which the server must say something; then the connection is closed and `Silent` raised.
    """

    patience = 60.0

    def wait(self, gen: Generator[Any, Any, T], interval: float = LOOK, timeout: float | None = None) -> T:
        """Wait as the driver does, and no longer than `patience` for a word of the server."""
        try:
            return super().wait(_heard(gen, interval, self.patience), interval, timeout)
        except Silent:
            self.pgconn.finish()
            raise


def _heard(waits: Generator[Any, Any, T], interval: float, patience: float) -> Generator[Any, Any, T]:
    """Go through waits until there were so many seconds without a word in a row."""
    silence = 0.0
    try:
        wanted = next(waits)
        while True:
            ready = yield wanted
            silence = 0.0 if ready else silence + interval
            if silence > patience:
                raise Silent(f"it said nothing for {patience:g} s")
            wanted = waits.send(ready)
    except StopIteration as ended:
        found: T = ended.value
        return found
