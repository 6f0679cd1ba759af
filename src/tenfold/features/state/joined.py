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
        begin = ((size.cumsum() - size) // WORD)[of]
        self.header = self.words[begin + _HEADER]
        self.first, self.count = begin + HEADER, self.header[layout.COUNT]

    def visible(self, at: np.ndarray) -> np.ndarray:
        """Return how many records of each state are visible; the records must have become known in their order."""
        if not (at < self.header[layout.SETTLED]).any():
            return self.count
        words, count = self.words, self.count
        # Where all are visible the search says so too.
        return leading(self.first, count, lambda place: np.maximum(words[place], words[place + count]) < at)

    def before(self, size: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Return how many of the first records of each state happened before a moment; shape (k, n) or (n,)."""
        words = self.words
        return leading(self.first, size, lambda place: words.take(place) < moment)

    def column(self, unit: np.ndarray) -> np.ndarray:
        """Return where columns begin; where there is no such column, some place before the last record."""
        return self.first + np.maximum(unit, 0) * self.count

    def behind(self, column: np.ndarray, hi: np.ndarray) -> Any:
        """Return the totals from record `hi` on: those of what lies behind a range."""
        inside = hi < self.count
        return self.words[column + np.minimum(hi, self.count - 1)] * inside if inside.any() else 0


def leading(first: np.ndarray, size: np.ndarray, holds: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return how many words from a first one on meet a condition, where none meets it after one that does not.

    Parameters
    ----------
    first : (n,) int64
        The place of the first word of each search.
    size : (k, n) or (n,) int64
        How many words to look at.
    holds
        Says of places, of the shape of `size`, whether the words there meet it. Where there is nothing to look at it is
        asked about the place before the first.

    Examples
    --------
    >>> values = np.array([1, 3, 5, 7])
    >>> leading(np.array([0, 2]), np.array([4, 1]), lambda place: values[place] < np.array([6, 100])).tolist()
    [3, 1]
    """
    before = first - 1
    found, left = before + np.zeros_like(size), size.copy()
    for _ in range((int(size.max(initial=1)) - 1).bit_length()):
        half = left >> 1
        probe = found + half
        np.copyto(found, probe, where=holds(probe))
        left -= half
    found += left * holds(found + left)  # one is left, or none
    return found - before
