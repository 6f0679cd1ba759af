"""The turn of a thread at what only one may do at a time."""

import threading
from types import TracebackType

from tenfold.core.errors import Unavailable

PROMPT = 0.005
"""Seconds that somebody waits at most who keeps others waiting meanwhile."""
WATCH = 1.0
"""The same of somebody who only watches."""
LONG = 30.0
"""Seconds that everybody else waits at most: as long as for a writer of another process."""


class Locked(Unavailable):
    """Another writer was there, and did not end in the time that there was to wait."""


class Overtaken(Locked):
    """Another writer was first, and what was to be written was made before."""


class Turn:
    """A lock in whose queue threads stand for some seconds, half a minute unless given, or a moment if they are in a hurry.

    Examples
    --------
    >>> turn = Turn()
    >>> with turn, turn.prompt():
    ...     pass
    Traceback (most recent call last):
    tenfold.sources.turn.Locked: another thread is writing. Nothing was changed; it is safe to retry.
    """

    __slots__ = ("_lock", "_seconds")

    def __init__(self, lock: "threading.Lock | None" = None, seconds: float = LONG) -> None:
        self._lock, self._seconds = lock or threading.Lock(), seconds

    def prompt(self, seconds: float = PROMPT) -> "Turn":
        """Return the same one for those in a hurry."""
        return Turn(self._lock, seconds)

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._seconds):
            raise Locked("another thread is writing. Nothing was changed; it is safe to retry.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
