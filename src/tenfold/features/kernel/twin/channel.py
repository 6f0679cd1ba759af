"""When records come into sight of windows, and what is kept of those that come in another order than they happened."""

from functools import cached_property
from typing import Any

import numpy as np

SMALLEST = -(2**63)
EVERY, NONE = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)


class Channel:
    """Windows with one offset: when the records come into their sight.

    Attributes
    ----------
    times, back
        Sorted; a record is seen by queries that are at least `back` later.
    order, turn
        Which record comes when, and when each record does; empty when they come as they happened.
    """

    def __init__(self, event: np.ndarray, start: np.ndarray, offset: int) -> None:
        self.offset, self.event = offset, event
        self.back, self.times, self.order, self.turn = offset + 1, event, EVERY, EVERY
        if start is event:
            return
        self.back, self.times = 1, np.maximum(event + offset, start) if offset else start
        if (self.times[1:] < self.times[:-1]).any():
            self.order = np.argsort(self.times, kind="stable").astype(np.int32)
            self.turn = np.empty_like(self.order)
            self.turn[self.order] = np.arange(len(self.order), dtype=np.int32)
            self.times = self.times[self.order]

    @property
    def late(self) -> bool:
        """Whether records come in another order than they happened."""
        return len(self.order) > 0

    def come(self, moment: int) -> int:
        """Return how many records have come at a moment."""
        return int(self.times.searchsorted(moment - self.back, side="right"))

    def passed(self, left: int) -> int:
        """Return how many records have surely come and left when the first `left` of all have left."""
        if not self.late:
            return left
        oldest = self.event[min(left, len(self.event) - 1)]
        return int(self.times.searchsorted(oldest + self.offset))


class Places:
    """How records lie by key, in each the order of their events.

    Attributes
    ----------
    first
        Where the records of each key begin.
    spots
        Where each record lies.
    """

    def __init__(self, loops: Any, key: np.ndarray, keys: int) -> None:
        self._loops, self.key = loops, key
        counts = np.zeros(keys, dtype=np.int64)
        loops.count(key, counts)
        self.first = np.cumsum(counts) - counts

    @cached_property
    def spots(self) -> np.ndarray:
        found = np.empty(len(self.key), dtype=np.int32)
        self._loops.spots(self.key, self.first.copy(), found)
        return found

    def lay(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values by key, and the greatest of blocks of them."""
        laid = np.empty_like(values)
        self._loops.lay(self.key, values, self.first.copy(), laid)
        blocks = np.arange(0, len(laid), self._loops.BLOCK)
        return laid, np.maximum.reduceat(laid, blocks) if len(laid) else laid

    def turned(self, channel: Channel) -> np.ndarray:
        """Return when the records come that lie by key."""
        turns = np.empty_like(channel.turn)
        turns[self.spots] = channel.turn
        return turns


class Bounds:
    """Of records that come in another order than they happened: what bounds the greatest of those that have come.

    It may hold for some more records than a window has seen, which therefore asks of each whether it has come.

    Attributes
    ----------
    tops, behind
        The greatest of each block, and where the records of each key end, as they lie by key.
    """

    def __init__(self, loops: Any, channel: Channel, laid: Places, values: np.ndarray, come: int) -> None:
        self.tops = np.full(-(-len(values) // loops.BLOCK), SMALLEST)
        self.behind = np.zeros(len(laid.first), dtype=np.int64)
        self._enter = loops.enter
        self._given = channel.order, laid.spots, laid.key, values, self.tops, self.behind
        self._come = come

    def grow(self, come: int) -> None:
        """Hold for as many records as have come."""
        self._enter(*self._given, self._come, come)
        self._come = max(self._come, come)
