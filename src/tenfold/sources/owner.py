"""Who is at work on a run: processes that can be told apart, and the heartbeat of one of them."""

import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a machine; `birth` tells it from a later process with the same number."""

    host: str
    pid: int
    birth: int

    @classmethod
    def current(cls) -> "Process":
        """Return this process."""
        return cls(platform.node(), os.getpid(), _birth(os.getpid()))

    def is_dead(self) -> bool:
        """Return whether it surely no longer runs; of another machine nothing is sure."""
        if self.host != platform.node():
            return False
        if self.birth:
            return _birth(self.pid) != self.birth
        return os.name == "posix" and not _exists(self.pid)


@contextmanager
def heartbeat(beat: Callable[[], object], every: float) -> Iterator[None]:
    """Call `beat` every so many real seconds, in a thread of its own, while the body runs.

    A process that is stopped or dead does not beat: that is what tells others that they may take over.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every):
            beat()

    thread = threading.Thread(target=work, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# One entry for each call, so that two of the same name count twice. A process that is forked takes these along, and has none of them.
_at_work: list[str] = []


@contextmanager
def at_work(owner: str) -> Iterator[None]:
    """Remember, while the body runs, that an owner of this process is at work.

    Examples
    --------
    >>> with at_work("me"):
    ...     is_at_work("me")
    True
    >>> is_at_work("me")
    False
    """
    _at_work.append(owner)
    try:
        yield
    finally:
        _at_work.remove(owner)


def is_at_work(owner: str) -> bool:
    """Return whether an owner of this process is at work; one that was has come to its end, whatever it left."""
    return owner in _at_work


def _birth(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when it is gone or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # A zombie has ended and only waits for its parent to ask.
    return 0 if fields[0] in "ZX" else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
