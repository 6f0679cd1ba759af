"""What was counted in memory is stored a moment later, so that nobody who is answered waits for it."""

import logging
import threading
from collections.abc import Callable

from tenfold.core.errors import Unavailable

logger = logging.getLogger(__name__)

WAIT_MS = 2_000
"""How long such a writer waits for another one: it can try again, and who ends a process waits for it."""


class Later:
    """Has something stored soon after it was asked for, by a thread that ends when there is nothing more to store.

    Parameters
    ----------
    what
        What it is, for the log.
    store
        Stores what there is and returns whether more came meanwhile. What it raises is logged; it is tried again when that is
        asked for next.
    seconds
        How soon.

    Examples
    --------
    >>> stored = []
    >>> later = Later("an example", lambda: stored.append("once"))
    >>> later.soon(), later.soon(), later.close()
    (None, None, None)
    >>> stored
    ['once']
    """

    def __init__(self, what: str, store: Callable[[], object], seconds: float = 1.0) -> None:
        self._what, self._call, self._seconds = what, store, seconds
        self._lock = threading.Lock()
        self._due: threading.Timer | None = None

    def soon(self) -> None:
        """Have it stored, unless it is about to be; returns at once."""
        if self._due is None:
            with self._lock:
                if self._due is None:
                    self._start()

    def close(self) -> None:
        """Store now what is due; may be called twice."""
        with self._lock:
            due, self._due = self._due, None
        if due is not None:
            due.cancel()
            self._store()

    def _start(self) -> None:
        self._due = threading.Timer(self._seconds, self._run)
        self._due.daemon = True
        self._due.start()

    def _run(self) -> None:
        more = self._store()
        with self._lock:
            if self._due is not None:  # it is not closed
                self._due = None
                if more:  # which came while a database that was locked kept this thread
                    self._start()

    def _store(self) -> object:
        try:
            return self._call()
        except Unavailable as error:
            logger.warning("%s: not stored yet: %s", self._what, error)
        except Exception:  # a database that is closed must not fail who asks
            logger.exception("%s: not stored", self._what)
        return False
