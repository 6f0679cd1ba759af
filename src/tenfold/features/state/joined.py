"""States of several keys laid behind each other, and searches and differences of totals in all of them at once."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tenfold.features.state import layout
from tenfold.features.state.layout import HEADER, WORD

_HEADER = np.arange(HEADER)[:, None]


class Joined:
    """States behind each other, with a number per query of where its state lies and how many records it has.

    Parameters
    ----------
    states
        The bytes of states, or views of them.
    size : (len(states),) int64
        Their lengths in bytes.
    of : (n,) int64
        The place of each query's state among them.
    """

    def __init__(self, states: Sequence[Any], size: np.ndarray, of: np.ndarray) -> None:
        self.raw = b"".join(states)
        self.words = np.frombuffer(self.raw, dtype=np.int64)
        begin = ((np.cumsum(size) - size) // WORD)[of]
        self.header = self.words[begin + _HEADER]
        self.first, self.count = begin + HEADER, self.header[layout.COUNT]

    def visible(self, at: np.ndarray) -> np.ndarray:
        """Return how many records of each state are visible; the records must have become known in their order."""
        if not (at < self.header[layout.SETTLED]).any():
            return self.count
        words, event, known = self.words, self.first, self.first + self.count

        def seen(place: np.ndarray) -> np.ndarray:
            return np.maximum(words[event + place], words[known + place]) < at

        # Where all are visible the search says so too.
        return leading(self.count, seen)

    def before(self, size: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Return how many of the first records of each state happened before a moment; shape (k, n) or (n,)."""
        words, first = self.words, self.first
        return leading(size, lambda place: words[first + place] < moment)

    def total(self, unit: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
        """Return the totals of records [lo, hi), shape (k, n), from the columns of suffix totals at some units.

        Where there is no such column every record counts one.
        """
        count = self.count
        column = self.first + np.maximum(unit, 0) * count
        some = lo < hi
        found = self.words[column + np.minimum(lo, count - 1)]
        if (hi < count).any():
            found -= self.words[column + np.minimum(hi, count - 1)] * (hi < count)
        if (unit < 0).any():
            found = np.where(unit < 0, hi - lo, found)
        return found * some

    def at(self, unit: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the words of columns at the places of records."""
        return self.words[self.first + unit * self.count + place]


def leading(size: np.ndarray, holds: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return how many records from the first one on meet a condition, where none meets it after one that does not.

    Parameters
    ----------
    size : (k, n) or (n,) int64
        How many records to look at.
    holds
        Says of places, of the shape of `size`, whether the records there meet it; -1 where there is no record.

    Examples
    --------
    >>> values = np.array([1, 3, 5, 7])
    >>> leading(np.array([4, 2]), lambda place: values[place] < np.array([6, 100])).tolist()
    [3, 2]
    """
    found = np.zeros_like(size)
    step = 1 << int(size.max(initial=0)).bit_length() >> 1
    while step:
        probe = found + step
        met = holds(np.minimum(probe, size) - 1)
        met &= probe <= size
        found += step * met
        step >>= 1
    return found
