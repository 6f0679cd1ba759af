"""Calls that may never return: each runs in a thread of its own, and whoever waits for it does so for a limited time."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Late(Exception):
    """A call has not returned in time; its thread is left to itself."""


class Call(Generic[T]):
    """A call under way."""

    def __init__(self, function: Callable[[], T], done: Callable[[], object]) -> None:
        self._function, self._done = function, done
        self._came = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Call the function; to be called by the thread."""
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is asked for
            self._error = error
        self._done()
        self._came.set()

    def result(self, seconds: float) -> T:
        """Return what the function returned, or raise what it raised; Late when it has not returned in time."""
        if not self._came.wait(seconds):
            raise Late
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # it has returned


class Limited:
    """Threads that make calls. One that does not come back is left to itself, and the next call gets another one.

    Examples
    --------
    >>> limited = Limited()
    >>> limited.start(lambda: 5).result(1.0)
    5
    >>> hanging = threading.Event()
    >>> limited.start(hanging.wait).result(0.01)
    Traceback (most recent call last):
    tenfold.serving.answer.limited.Late
    >>> limited.start(lambda: 6).result(1.0)
    6
    >>> hanging.set()
    >>> limited.close()
    """

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Any]] = []
        self._lock = threading.Lock()

    def start(self, function: Callable[[], T]) -> Call[T]:
        """Have a function called, at once."""
        with self._lock:
            queue = self._idle.pop() if self._idle else self._thread()
        call = Call(function, lambda: self._free(queue))
        queue.put(call)
        return call

    def close(self) -> None:
        """End the threads that have nothing to do; may be called twice. One that never returns ends with the process."""
        with self._lock:
            idle, self._idle = self._idle, []
        for queue in idle:
            queue.put(None)

    def _free(self, queue: "SimpleQueue[Any]") -> None:
        with self._lock:
            self._idle.append(queue)

    def _thread(self) -> "SimpleQueue[Any]":
        queue: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=_work, args=(queue,), name="limited", daemon=True).start()
        return queue


def _work(queue: "SimpleQueue[Call[Any] | None]") -> None:
    while (call := queue.get()) is not None:
        call.run()
