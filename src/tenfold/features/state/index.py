"""Where the records of a divided state are, by id: a later version may have another event time, and lie in another chunk.

A row says that a record whose id has some hash happened at some time. A row goes when its record does: they are in slices of
time as long as the steps in which records are dropped. So the bytes are a function of the set of records.
"""

from collections.abc import Iterator

import numpy as np

from tenfold.features.records import Rows
from tenfold.features.state.buckets import Buckets, Part
from tenfold.features.state.chunks import Get, Sizes, hashed
from tenfold.features.state.fold import step_of
from tenfold.features.state.shapes import States

HASH, EVENT, LAST, WORDS = range(4)
"""Words of a row: the hash of an id, when the record happened, and when it had happened and was known; and how many there are."""


class Index:
    """The rows of a divided state, read bucket by bucket as they are needed."""

    def __init__(self, made: States, get: Get, sizes: Sizes) -> None:
        self._step = None if made.reach is None else step_of(made.reach)
        self._buckets = Buckets(lambda name: get(_part(name)), mean=sizes.bucket, words=WORDS)

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return when records with these hashes happened, and the place in `hashes` of each."""
        order = np.argsort(hashes)
        found, _ = self._buckets.find(hashes[order])
        mine = found[:, HASH].view(np.uint64)
        first = hashes[order].searchsorted(mine)
        size = hashes[order].searchsorted(mine, side="right") - first
        place = np.repeat(first - (np.cumsum(size) - size), size) + np.arange(size.sum())
        return np.repeat(found[:, EVENT], size), order[place]

    def changed(self, new: np.ndarray, oldest: int | None) -> Iterator[Part]:
        """Yield what changes with new rows.

        Parameters
        ----------
        oldest
            Rows from before this moment go; None when no records did.
        """
        if self._step is None:
            slices, least = np.zeros(len(new), dtype=np.int64), None
        else:
            slices, least = new[:, LAST] // self._step, None if oldest is None else oldest // self._step
        for name, part in self._buckets.changed(slices, new, least=least):
            yield _part(name), part

    def removed(self) -> Iterator[Part]:
        """Yield that everything goes."""
        for name, _ in self._buckets.removed():
            yield _part(name), None


def rows_of(rows: Rows, hashes: np.ndarray | None = None) -> np.ndarray:
    """Return what the index says of the last records, all without `hashes`."""
    code = hashed(rows.ids) if hashes is None else hashes
    first = len(rows.event) - len(code)
    event, known = rows.event[first:], rows.known[first:]
    return np.stack([code.view(np.int64), event, np.maximum(event, known)], axis=1)


def _part(name: bytes) -> bytes:
    return b"i" + name
