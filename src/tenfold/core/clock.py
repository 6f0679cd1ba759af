"""The one place that reads the time and the one place that waits."""

import mmap
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from tenfold.core.room import reserve
from tenfold.core.times import to_us

_CELL = 8


class Clock(Protocol):
    """What time it is, in microseconds since 1970 UTC, and how long something took."""

    def now(self) -> int:
        """Return the present instant in microseconds since 1970 UTC."""
        ...

    def elapsed(self) -> int:
        """Return a monotonic count of microseconds, equal in all processes of one machine."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for real seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000

    def elapsed(self) -> int:
        return time.monotonic_ns() // 1_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class VirtualClock(SystemClock):
    """A clock that stands still until it is set: replay and tests.

    Instants are text or a datetime with a time zone, or microseconds since 1970 UTC.

    Examples
    --------
    >>> clock = VirtualClock("1970-01-01")
    >>> clock.set(5)
    >>> clock.now()
    5
    """

    def __init__(self, now: Any) -> None:
        self._now = to_us(now)

    def now(self) -> int:
        return self._now

    def set(self, now: Any) -> None:
        """Move to an instant; history never runs backwards, so an earlier one is ignored."""
        self._now = max(self._now, to_us(now))


class SharedClock(SystemClock):
    """A clock of history that several processes read from one small file.

    One process calls `set`; every other sees the new instant at once (an aligned 8-byte store in a mapped page).
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            # a new file becomes zeros; processes that start together cannot disturb each other
            reserve(file.fileno(), _CELL, "the file of the clock")
            self._map = mmap.mmap(file.fileno(), _CELL)
        self._cell = memoryview(self._map).cast("q")
        self._lock = threading.Lock()

    def now(self) -> int:
        return int(self._cell[0])

    def set(self, now: Any) -> None:
        """Move to an instant; an earlier one is ignored."""
        with self._lock:
            self._cell[0] = max(int(self._cell[0]), to_us(now))
