"""A beat to microseconds: what an event loop waits by itself is whole milliseconds, and a client that is late makes a server look slow."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Self

_MONOTONIC = 1
_NANO = 10**9


class _Span(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Timer(ctypes.Structure):
    _fields_ = [("every", _Span), ("first", _Span)]


class Beat:
    """Calls a function of the running event loop so many times a second, by a timer of Linux's, until it is left."""

    def __init__(self, rate: float, call: Callable[[], None]) -> None:
        self._every, self._call = int(_NANO / rate), call

    def __enter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._timer = libc.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        every = _Span(*divmod(self._every, _NANO))
        if self._timer < 0 or libc.timerfd_settime(
            self._timer, 0, ctypes.byref(_Timer(every, _Span(0, 1))), None
        ):
            raise OSError(ctypes.get_errno(), "no timer")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer, self._beat)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._timer)
        os.close(self._timer)

    def _beat(self) -> None:
        os.read(self._timer, 8)
        self._call()
