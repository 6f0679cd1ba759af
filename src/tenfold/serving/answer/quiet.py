"""Whether nothing comes to the log, so that requests can be answered without asking it first where it ends."""

from tenfold.sources.base import Ends

QUIET = 100_000
"""Microseconds without a record after which none is expected, and for which what was seen of the log counts."""


class Quiet:
    """Keeps the newest mark that was reached, and for how long the log has ended there; used by one thread at a time.

    Examples
    --------
    >>> quiet = Quiet()
    >>> for now, end in ((0, 7), (60_000, 7), (120_000, 7), (130_000, 8)):
    ...     quiet.seen(Ends(now, {"payments": end}), now)
    ...     print(quiet.mark(now))
    None
    None
    Ends(at=120000, offsets={'payments': 7})
    None
    """

    def __init__(self) -> None:
        self._mark: Ends | None = None
        self._since = self._looked = 0

    def seen(self, mark: Ends, now: int) -> None:
        """Keep a mark that was reached; `now` is the clock's `elapsed`."""
        if self._mark is None or self._mark.offsets != mark.offsets:
            self._since = now
        self._mark, self._looked = mark, now

    def mark(self, now: int) -> Ends | None:
        """Return the mark beyond which nothing is expected to have come, None when that is to be looked at."""
        fresh = now - self._looked < QUIET <= now - self._since
        return self._mark if fresh else None

    def disturbed(self) -> None:
        """Expect nothing any more."""
        self._mark = None
