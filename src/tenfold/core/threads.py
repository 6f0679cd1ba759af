"""How long a thread keeps Python's lock while others wait for it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SHORT = 0.001
"""Seconds, a fifth of what Python itself takes: who waits is a request, or what a request waits for."""


@contextmanager
def short_turns() -> Iterator[None]:
    """Inside, have the threads of this process take short turns at Python; for processes whose threads all have work to do.

    Examples
    --------
    >>> with short_turns():
    ...     sys.getswitchinterval()
    0.001
    >>> sys.getswitchinterval()
    0.005
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SHORT)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
