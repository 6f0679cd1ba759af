"""Where versions of records lie: one row each, in buckets by a hash of the id, so that many are found and added at once.

There is a bucket for every so many rows. With n buckets these have the numbers n to 2n - 1, and one row more than they are meant
for splits bucket n into 2n and 2n + 1: a bucket's number is a one and the first binary digits of its hashes. So what is stored
is a function of the set of rows, and no row makes more than two buckets new.

    a bucket: words of a text, then per row: hash event known offset text
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tenfold.features.records import Rows
from tenfold.features.state.chunks import hashed
from tenfold.features.state.layout import WORD
from tenfold.features.state.stored import id_words, whole
from tenfold.store.base import Get

Version = tuple[bytes, int, int, int]
"""The key a version belongs to, without the view's prefix, b"" for none; event, known and offset."""
HASH, EVENT, KNOWN, OFFSET, OWN = range(5)
"""Words of a row, and how many there are before its text."""
MEAN = 32
APART = b"\xff"
"""What stands in a text between id and key: no UTF-8 has it."""
END = b"\x01"
"""What ends a text: a key may end in NUL."""


def located(rows: Rows, keys: Sequence[bytes], place: np.ndarray) -> np.ndarray:
    """Return the rows of versions; `place` says of each which of the keys it belongs to, -1 for none."""
    ends = np.array([APART + key + END for key in (*keys, b"")], dtype=np.bytes_)
    texts = id_words(whole(np.strings.add(rows.ids, ends[place])))
    found = np.empty((len(texts), OWN + texts.shape[1]), dtype=np.int64)
    found[:, HASH] = hashed(whole(rows.ids)).view(np.int64)
    found[:, EVENT], found[:, KNOWN], found[:, OFFSET] = rows.event, rows.known, rows.offset
    found[:, OWN:] = texts
    return found


def versions(rows: np.ndarray) -> Iterator[tuple[bytes, Version]]:
    """Yield the id of each row, and its version."""
    for row in rows:
        name, _, key = row[OWN:].tobytes().rstrip(b"\0").partition(APART)
        yield name, (key[: -len(END)], int(row[EVENT]), int(row[KNOWN]), int(row[OFFSET]))


class Slice:
    """The rows of one slice of time; what it is made of is stored under names that begin with its own.

    Parameters
    ----------
    get
        Gives what is stored; used until the last call only.
    mean
        Rows of a bucket, on average: it is rewritten for one.
    """

    def __init__(self, name: bytes, get: Get, *, mean: int = MEAN) -> None:
        self._name, self._get, self._mean = name, get, mean
        held = get(name)
        self._size = 0 if held is None else int.from_bytes(held, "little")
        self._read: tuple[list[int], np.ndarray] = [], _NOTHING

    def __bool__(self) -> bool:
        return self._size > 0

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Return the rows with some of these hashes, which are sorted."""
        rows = self._rows(np.unique(_bucket(hashes, self._buckets(self._size))))
        mine = _hashes(rows)
        at = np.minimum(hashes.searchsorted(mine), len(hashes) - 1)
        return rows[hashes[at] == mine]

    def changed(self, new: np.ndarray) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield what is stored from now on, None where nothing, with more rows; those that are held already change nothing."""
        before = self._buckets(self._size)
        places = np.unique(_bucket(_hashes(new), before))
        held = self._rows(places)
        rows = _united(held, new)
        size = self._size + len(rows) - len(held)
        if size == self._size:
            return
        buckets = self._buckets(size)
        split = np.setdiff1d(np.arange(before, min(buckets, 2 * before)), places)
        if len(split):
            rows, places = _united(rows, self._rows(split)), np.concatenate([places, split])
        yield from ((self._bucket(place), None) for place in places[places < buckets].tolist())
        number = _bucket(_hashes(rows), buckets)
        first = np.concatenate([[0], np.flatnonzero(number[1:] != number[:-1]) + 1])
        yield from zip(map(self._bucket, number[first].tolist()), _packed(rows, first), strict=True)
        yield self._name, size.to_bytes(WORD, "little")

    def _buckets(self, size: int) -> int:
        """Return how many buckets so many rows have."""
        return max(size // self._mean, 1)

    def _bucket(self, number: int) -> bytes:
        return self._name + number.to_bytes(5, "big")

    def _rows(self, places: np.ndarray) -> np.ndarray:
        """Return the rows of some buckets, each bucket's together and in their order."""
        wanted = places.tolist()
        if wanted != self._read[0]:
            found = map(self._get, map(self._bucket, wanted))
            self._read = wanted, unpacked([bytes(value) for value in found if value is not None])
        return self._read[1]


_NOTHING = np.zeros((0, OWN + 1), dtype=np.int64)


def _bucket(hashes: np.ndarray, buckets: int) -> np.ndarray:
    """Return the number of the bucket of each hash."""
    digits = (2 * buckets - 1).bit_length() - 1
    if not digits:
        return np.ones(len(hashes), dtype=np.int64)
    number = (hashes >> np.uint64(64 - digits)).astype(np.int64) + (1 << digits)
    return np.where(number < 2 * buckets, number, number >> 1)


def _hashes(rows: np.ndarray) -> np.ndarray:
    return rows[:, HASH].view(np.uint64)


def _united(held: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return rows and others by their hashes, each once."""
    width = max(held.shape[1], new.shape[1])
    rows = np.concatenate([_widened(held, width), _widened(new, width)])
    rows = rows[np.argsort(_hashes(rows), kind="stable")]
    same = rows[1:, HASH] == rows[:-1, HASH]
    if not same.any():
        return rows
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    some = rows[tied]
    rows[tied] = some[np.lexsort((*some.T[:HASH:-1], _hashes(some)))]
    again = (rows[1:] == rows[:-1]).all(axis=1)
    return rows[np.concatenate([[True], ~again])] if again.any() else rows


def _widened(rows: np.ndarray, width: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) if rows.shape[1] < width else rows


def _packed(rows: np.ndarray, first: np.ndarray) -> Iterator[bytes]:
    """Yield the bytes of buckets, of which the first rows are given; none is wider than its longest text."""
    edges = [*first.tolist(), len(rows)]
    used = np.maximum.reduceat((rows[:, OWN:] != 0) * np.arange(1, rows.shape[1] - OWN + 1), first)
    for begin, end, words in zip(edges, edges[1:], used.max(axis=1).tolist(), strict=False):
        yield words.to_bytes(WORD, "little") + rows[begin:end, : OWN + words].tobytes()


def unpacked(buckets: Sequence[bytes]) -> np.ndarray:
    """Return the rows of buckets one after another."""
    widths = {bucket[:WORD] for bucket in buckets}
    if not widths:
        return _NOTHING
    if len(widths) == 1:
        words = OWN + int.from_bytes(widths.pop(), "little")
        return np.frombuffer(b"".join([bucket[WORD:] for bucket in buckets]), np.int64).reshape(-1, words)
    each = [unpacked([bucket]) for bucket in buckets]
    width = max(rows.shape[1] for rows in each)
    return np.concatenate([_widened(rows, width) for rows in each])
