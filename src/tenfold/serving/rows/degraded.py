"""What a service does when it has no exact answer: refuse, answer from states that lag behind, or have another model answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.core.times import UNITS
from tenfold.sources.base import Ends, Log
from tenfold.store.base import Damaged, Get, Moved, OnlineStore, Used

AGAIN = UNITS["s"]
"""Microseconds after which a store that could not be opened is tried again."""
SHARE = 0.5
"""How much of its wait a request spends on the states, where there is an answer without them."""

LONG = 60.0
"""Seconds after which a source's first record is in the states of each view, unless these are gone or no worker ran."""


class Away(Unavailable):
    """The online store cannot be opened or read."""


class Careful:
    """An online store that is opened when it is first needed, and again when it was moved, and says `Away` where it fails.

    Parameters
    ----------
    opening
        Opens it, or returns what is open.
    forget
        Called before it is to be opened again.

    Examples
    --------
    >>> from tenfold.core.clock import VirtualClock
    >>> Careful(lambda: open("/nowhere"), VirtualClock(0)).offsets()
    Traceback (most recent call last):
    tenfold.serving.rows.degraded.Away: the online store cannot be used: ... Nothing was stored; it is safe to retry.
    """

    def __init__(
        self, opening: Callable[[], OnlineStore], clock: Clock, forget: Callable[[], object] = lambda: None
    ) -> None:
        self._opening, self._clock, self._forget = opening, clock, forget
        self._store: OnlineStore | None = None
        self._failed: tuple[int, str] | None = None

    def use(self, keys: Sequence[bytes], work: Callable[[list[Any], Get], Used]) -> Used:
        try:
            return self._opened().use(keys, work)
        except Exception as error:
            if _is_told(error):
                raise
            return self._again(keys, work)

    def _again(self, keys: Sequence[bytes], work: Callable[[list[Any], Get], Used]) -> Used:
        """Return the same, or raise with whose fault it is: to say that costs two calls, which no other request pays for."""
        own: list[BaseException] = []

        def careful(states: list[Any], get: Get) -> Used:
            def more(key: bytes) -> Any:
                try:
                    return get(key)
                except Exception as error:
                    raise _away(error) from error

            try:
                return work(states, more)
            except Exception as error:
                own.append(error)  # what is made of the states failed, not the store
                raise

        try:
            return self._opened().use(keys, careful)
        except Exception as error:
            if _is_told(error) or error in own:
                raise
            raise _away(error) from error

    def write(
        self,
        states: Mapping[bytes, bytes | None],
        offsets: Mapping[str, int | None],
        *,
        after: Mapping[str, int] | None = None,
    ) -> bool:
        return self._opened().write(states, offsets, after=after)

    def offsets(self) -> dict[str, int]:
        try:
            return self._opened().offsets()
        except Moved:
            self._forget()
            self._store = None
            return self._opened().offsets()
        except Exception as error:
            if _is_told(error):
                raise
            raise _away(error) from error

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self._opened().items(prefix)

    def close(self) -> None:
        """Leave the store to whoever opened it."""

    def _opened(self) -> OnlineStore:
        if self._store is not None:
            return self._store
        if self._failed is not None and self._clock.elapsed() < self._failed[0]:
            raise Away(self._failed[1])
        try:
            self._store = self._opening()
        except Exception as error:
            away = _away(error)
            self._failed = self._clock.elapsed() + AGAIN, str(away)
            raise away from error
        return self._store


def _is_told(error: Exception) -> bool:
    """Return whether an error is to be raised as it is: it does not say that the store is away."""
    return isinstance(error, TenfoldError) and not isinstance(error, Damaged)


def _away(error: Exception) -> Away:
    said = str(error).rstrip(".") or type(error).__name__
    return Away(f"the online store cannot be used: {said}. Nothing was stored; it is safe to retry.")


class Patience:
    """How long states are waited for where there is an answer without them: not at all while they stand still.

    Examples
    --------
    >>> patience = Patience()
    >>> [patience.over({"view": 5}, waited, 1.0) for waited in (0.0, 0.6, 0.0)]
    [False, True, True]
    >>> patience.over({"view": 6}, 0.0, 1.0)
    False
    """

    def __init__(self) -> None:
        self._still: Mapping[str, int] | None = None

    def over(self, offsets: Mapping[str, int], waited: float, wait: float) -> bool:
        """Return whether a request that may wait so many seconds has waited enough for states that are there by now."""
        if waited >= SHARE * wait:
            self._still = dict(offsets)
        elif offsets != self._still:
            self._still = None
        return self._still is not None


def behind(
    topics: Mapping[str, str], offsets: Mapping[str, int], mark: Ends, log: Log
) -> dict[str, dict[str, float]]:
    """Return how far states lag behind a mark: per view in records, and in seconds since the first of them arrived."""
    found: dict[str, dict[str, float]] = {}
    for group, topic in topics.items():
        at, end = offsets.get(group, 0), mark.offsets.get(topic, 0)
        if at < end:
            first = log.read(topic, at, limit=1)
            seconds = (mark.at - first[0].arrival) / 1e6 if first else 0.0
            found[group.partition("@")[0]] = {"records": end - at, "seconds": max(seconds, 0.0)}
    return found


def stale(
    topics: Mapping[str, str], offsets: Mapping[str, int], mark: Ends, log: Log
) -> dict[str, dict[str, float]]:
    """Return how far states lag behind a mark, as `behind` does, where they are fit for an answer.

    Raises
    ------
    Away
        When there are none at all of a view whose source has had records for longer than `LONG`: those that were there are gone,
        or its definition is new.
    """
    found = behind(topics, offsets, mark, log)
    for view in (group.partition("@")[0] for group in topics if not offsets.get(group)):
        if found.get(view, {}).get("seconds", 0.0) > LONG:
            raise Away(
                f'the online store holds nothing of view "{view}", of which the log has {found[view]["records"]:,} records. '
                "Nothing was stored; it is safe to retry. Is a worker running? See: tenfold status PROJECT.py"
            )
    return found


def why_late(topics: Mapping[str, str], offsets: Mapping[str, int], mark: Ends, seconds: float) -> str:
    """Return what to say when the states have not reached a mark: which views lag, and how far."""
    lags = [
        f'view "{group.partition("@")[0]}" has {offsets.get(group, 0):,} of {mark.offsets[topic]:,} records'
        for group, topic in topics.items()
        if offsets.get(group, 0) < mark.offsets.get(topic, 0)
    ]
    said = (
        f"the worker did not reach the newest acknowledged event within {seconds:g} s, so no exact answer can be given. "
        "Nothing was stored; it is safe to retry. Is a worker running? See: tenfold status PROJECT.py"
    )
    return f"{said} So far {', '.join(lags)}; a new definition catches up on its own." if lags else said
