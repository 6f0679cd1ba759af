"""Locks that the system takes back when their holder dies."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable
from tenfold.core.room import in_room
from tenfold.sources.owner import Process

POLL = 0.02
"""Seconds between two looks whether a lock is free."""


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Hold a file's lock inside; `Unavailable` at once when another process, or another `alone`, holds it.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "lock"
    >>> with alone(path, "counting"), alone(path, "counting"):
    ...     pass
    Traceback (most recent call last):
    tenfold.core.errors.Unavailable: another process is counting. Wait until it is done.
    """
    with path.open("w") as file:
        if not _take(file):
            raise _taken(doing)
        yield


@contextmanager
def in_turn(
    path: Path, doing: str, clock: Clock, patience: float, stopped: Callable[[], bool] = bool
) -> Iterator[bool]:
    """Hold what `alone` holds, in turn with others who let it go and want it again; False when `stopped` meanwhile.

    `Unavailable` when it is not free after so many seconds. Who waits stands in the door, so that who has just let go
    comes behind.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from tenfold.core.clock import SystemClock
    >>> rule = Path(mkdtemp()) / "lock", "counting", SystemClock(), 9
    >>> with in_turn(*rule) as held, in_turn(*rule, stopped=lambda: True) as other:
    ...     held, other
    (True, False)
    """
    until = clock.elapsed() + int(patience * 1e6)

    def wait(file: IO[str]) -> bool:
        while not _take(file):
            if stopped():
                return False
            if clock.elapsed() >= until:
                raise _taken(doing)
            clock.sleep(POLL)
        return True

    with path.with_name(f"{path.name}.door").open("w") as door, path.open("w") as file:
        held = wait(door) and wait(file)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield held


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken(doing: str) -> Unavailable:
    return Unavailable(f"another process is {doing}. Wait until it is done.")


@contextmanager
def among(folder: Path, kind: str, group: int = 0) -> Iterator[list[str]]:
    """Be known inside as one of a kind that is at work in a folder; give who else of the kind is, as "process 7 on web".

    Whoever died is known no more. Those of the same `group`, unless that is 0, are left out.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> with (
    ...     among(folder, "worker") as first,
    ...     among(folder, "worker") as second,
    ...     among(folder, "clerk") as other,
    ... ):
    ...     len(first), len(second), len(other)
    (0, 1, 0)
    """
    with in_room(folder):
        others, file = _come_in(folder, kind, group)
    with file:
        try:
            yield others
        finally:
            Path(file.name).unlink(missing_ok=True)


def _come_in(folder: Path, kind: str, group: int) -> tuple[list[str], IO[str]]:
    """Return who else of a kind is at work in a folder, and the file by whose lock this one is known."""
    folder.mkdir(parents=True, exist_ok=True)
    me, mine = Process.current(), folder / f"{kind}-{uuid4().hex}"
    with (folder / "lock").open("w") as door:  # so that nobody finds a file that its maker has not locked yet
        fcntl.flock(door, fcntl.LOCK_EX)
        others = [told for path in folder.glob(f"{kind}-*") if (told := _holder(path, group))]
        file = mine.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        os.write(file.fileno(), f"{group}\nprocess {me.pid} on {me.host}".encode())
    return others, file


def at_work(folder: Path, kind: str) -> list[str]:
    """Return who of a kind is at work in a folder, as `among` gives them; nothing is made there.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> with among(folder, "worker"):
    ...     len(at_work(folder, "worker")), at_work(folder, "clerk"), at_work(folder / "other", "worker")
    (1, [], [])
    """
    try:
        door = (folder / "lock").open()
    except FileNotFoundError:
        return []
    with door:
        fcntl.flock(door, fcntl.LOCK_EX)
        return [told for path in sorted(folder.glob(f"{kind}-*")) if (told := _holder(path, 0))]


def _holder(path: Path, group: int) -> str:
    """Return who holds a file's lock, "" when it is one of the group, or nobody: then the file is removed."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                theirs, told = file.read().split("\n", 1)
                return "" if group and theirs == str(group) else told
    except FileNotFoundError:  # it has ended just now
        return ""
    path.unlink(missing_ok=True)
    return ""
