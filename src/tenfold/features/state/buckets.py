"""Rows that are found by a hash, in slices and in each slice in buckets, so that many are found and added at once.

A slice has a bucket for every so many rows. With n buckets these have the numbers n to 2n - 1, and one row more than they are
meant for splits bucket n into 2n and 2n + 1: a bucket's number is a one and the first binary digits of its hashes. So what is
stored is a function of the set of rows; no row makes more than a few buckets new, and a slice goes without being read.

    the list: per slice its number, and how many rows it has | a bucket: words of a row, then rows, each with its hash first
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tenfold.features.state.layout import WORD

Part = tuple[bytes, bytes | None]
"""The name of a part and what it becomes, None where it goes."""
LIST = b""
"""The name of the list of slices."""
FEW = 8
"""Up to so many hashes plain Python is faster."""
_DIGITS = 40
"""More binary digits than the number of a bucket has."""


class Buckets:
    """Rows by the hash that is their first word.

    Parameters
    ----------
    get
        Gives a part by its name, None where there is none.
    mean
        Rows of a bucket, on average: it is rewritten for one.
    words
        How many words a row has at least; those behind may be left out where they are zero.

    Examples
    --------
    >>> held, rows = {}, np.array([[7, 1], [8, 2]])
    >>> held |= Buckets(held.get, mean=1, words=2).changed(np.array([3, 4]), rows)
    >>> found, places = Buckets(held.get, mean=1, words=2).find(np.array([8, 9], dtype=np.uint64))
    >>> found.tolist(), places.tolist()
    ([[8, 2]], [4])
    """

    def __init__(self, get: Callable[[bytes], Any], *, mean: int, words: int) -> None:
        self._get, self._mean, self._words = get, mean, words
        held = get(LIST)
        table = np.zeros((0, 2), np.int64) if held is None else np.frombuffer(held, np.int64).reshape(-1, 2)
        self._sizes: dict[int, int] = dict(zip(*table.T.tolist(), strict=True))

    def find(self, hashes: np.ndarray, *, least: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows with some of these hashes, which are sorted, and the slice of each.

        Parameters
        ----------
        least
            Slices before this one are not looked into.
        """
        found, places = [], []
        for place, size in self._sizes.items():
            if least is None or place >= least:
                parts = self._near(place, hashes, self._count(size))
                found += parts
                places += [place] * len(parts)
        rows, sizes = self.unpacked(found)
        if not len(rows):
            return rows, np.zeros(0, dtype=np.int64)
        mine = _hashes(rows)
        at = np.minimum(hashes.searchsorted(mine), len(hashes) - 1)
        same = np.flatnonzero(hashes[at] == mine)
        return rows[same], np.repeat(np.array(places, dtype=np.int64), sizes)[same]

    def changed(self, slices: np.ndarray, new: np.ndarray, *, least: int | None = None) -> Iterator[Part]:
        """Yield what changes with more rows, each in a slice; those that are held already change nothing.

        Parameters
        ----------
        least
            Slices before this one go, and rows of them are not added.
        """
        before = dict(self._sizes)
        for place in [place for place in before if least is not None and place < least]:
            buckets = self._count(self._sizes.pop(place))
            yield from ((_name(place, number), None) for number in range(buckets, 2 * buckets))
        for place in np.unique(slices).tolist():
            if least is None or place >= least:
                yield from self._added(place, new[slices == place])
        if self._sizes != before:
            table = np.array(sorted(self._sizes.items()), dtype=np.int64)
            yield LIST, table.tobytes() if self._sizes else None

    def removed(self) -> Iterator[Part]:
        """Yield that everything goes."""
        yield from self.changed(np.zeros(0, np.int64), self.unpacked([])[0], least=np.iinfo(np.int64).max)

    def _count(self, size: int) -> int:
        """Return how many buckets so many rows have."""
        return max(size // self._mean, 1)

    def _added(self, place: int, new: np.ndarray) -> Iterator[Part]:
        """Yield what changes in one slice."""
        held_size = self._sizes.get(place, 0)
        before = self._count(held_size)
        if len(new) == 1 and before == self._count(held_size + 1):
            name = _name(place, _number(int(_hashes(new)[0]), before))
            found = self._with(self._get(name), new[0]) if held_size else None
            if found is not None:
                self._sizes[place] = held_size + 1
                yield name, found
                return
        numbers = _numbers(_hashes(new), before)
        held, _ = self.unpacked(self._parts(place, numbers))
        rows = _united(held, new)
        size = held_size + len(rows) - len(held)
        if size == held_size:
            return
        self._sizes[place], after = size, self._count(size)
        split = range(before, min(after, 2 * before))
        if more := sorted(set(split).difference(numbers)):
            rows = _united(rows, self.unpacked(self._parts(place, more))[0])
        yield from ((_name(place, number), None) for number in split)
        number = bucket_of(_hashes(rows), after)
        first = np.concatenate([[0], np.flatnonzero(number[1:] != number[:-1]) + 1])
        names = (_name(place, one) for one in number[first].tolist())
        yield from zip(names, self._packed(rows, first), strict=True)

    def _with(self, part: Any, row: np.ndarray) -> bytes | None:
        """Return a bucket with one more row; None where there is none, or a row with that hash in it."""
        if part is None:
            return None
        words, data, code = int.from_bytes(part[:WORD], "little"), row.tobytes(), row[:1].view(np.uint64)
        rows = np.frombuffer(part, np.int64, offset=WORD).reshape(-1, words)
        at = int(_hashes(rows).searchsorted(code)[0])
        if at < len(rows) and rows[at, 0] == row[0]:
            return None
        width = max(words, -(-len(data.rstrip(b"\0")) // WORD))
        held, cut = _widened(rows, width).tobytes(), at * width * WORD
        one = data[: width * WORD].ljust(width * WORD, b"\0")
        return width.to_bytes(WORD, "little") + held[:cut] + one + held[cut:]

    def _near(self, place: int, hashes: np.ndarray, buckets: int) -> list[bytes]:
        """Return the buckets of a slice that may hold rows with some hashes: of few hashes those whose bytes occur in them."""
        if len(hashes) > FEW:
            return self._parts(place, _numbers(hashes, buckets))
        asked: dict[int, list[bytes]] = {}
        for code in hashes.tolist():
            asked.setdefault(_number(code, buckets), []).append(code.to_bytes(WORD, "little"))
        found = []
        for number, codes in asked.items():
            part = self._get(_name(place, number))
            held = b"" if part is None else bytes(part)
            if any(code in held for code in codes):
                found.append(held)
        return found

    def _parts(self, place: int, numbers: Sequence[int]) -> list[bytes]:
        """Return those of some buckets of a slice that there are."""
        found = [self._get(_name(place, number)) for number in numbers] if place in self._sizes else []
        return [bytes(part) for part in found if part is not None]

    def _packed(self, rows: np.ndarray, first: np.ndarray) -> Iterator[bytes]:
        """Yield the bytes of buckets, of which the first rows are given; none is wider than its longest row."""
        used = np.where(rows[:, self._words :] != 0, np.arange(self._words, rows.shape[1]) + 1, self._words)
        most = np.maximum.reduceat(used.max(axis=1, initial=self._words), first).tolist()
        edges = [*first.tolist(), len(rows)]
        for begin, end, words in zip(edges, edges[1:], most, strict=False):
            yield words.to_bytes(WORD, "little") + rows[begin:end, :words].tobytes()

    def unpacked(self, buckets: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of buckets one after another, and how many each has."""
        heads = {bucket[:WORD] for bucket in buckets}
        if not heads:
            return np.zeros((0, self._words), dtype=np.int64), np.zeros(0, dtype=np.int64)
        if len(heads) == 1:
            words = int.from_bytes(heads.pop(), "little")
            data = b"".join([bucket[WORD:] for bucket in buckets])
            sizes = np.fromiter(map(len, buckets), np.int64, len(buckets)) // (words * WORD)
            return np.frombuffer(data, np.int64).reshape(-1, words), sizes
        each = [
            np.frombuffer(bucket, np.int64, offset=WORD).reshape(-1, int.from_bytes(bucket[:WORD], "little"))
            for bucket in buckets
        ]
        sizes = np.array([len(rows) for rows in each], dtype=np.int64)
        found = np.zeros((int(sizes.sum()), max(rows.shape[1] for rows in each)), dtype=np.int64)
        for rows, end in zip(each, np.cumsum(sizes).tolist(), strict=True):
            found[end - len(rows) : end, : rows.shape[1]] = rows
        return found, sizes


def _numbers(hashes: np.ndarray, buckets: int) -> list[int]:
    """Return the numbers of the buckets of some hashes, each once."""
    if len(hashes) > FEW:
        return np.unique(bucket_of(hashes, buckets)).tolist()
    return sorted({_number(code, buckets) for code in hashes.tolist()})


def _number(code: int, buckets: int) -> int:
    """Return the number of the bucket of a hash: `bucket_of` for one."""
    digits = (2 * buckets - 1).bit_length() - 1
    number = (1 << digits) + (code >> (64 - digits))
    return number if number < 2 * buckets else number >> 1


def bucket_of(hashes: np.ndarray, buckets: int) -> np.ndarray:
    """Return the number of the bucket of each hash.

    Examples
    --------
    >>> bucket_of(np.array([0, 2**62, 2**63], dtype=np.uint64), 3).tolist()
    [4, 5, 3]
    """
    digits = (2 * buckets - 1).bit_length() - 1
    if not digits:
        return np.ones(len(hashes), dtype=np.int64)
    number = (hashes >> np.uint64(64 - digits)).astype(np.int64) + (1 << digits)
    return np.where(number < 2 * buckets, number, number >> 1)


def _hashes(rows: np.ndarray) -> np.ndarray:
    return rows[:, 0].view(np.uint64)


def _name(place: int, number: int) -> bytes:
    return ((place << _DIGITS) + number + (1 << 95)).to_bytes(12, "big")


def _united(held: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return rows and others by their hashes, each once."""
    width = max(held.shape[1], new.shape[1])
    rows = np.concatenate([_widened(held, width), _widened(new, width)])
    rows = rows[np.argsort(_hashes(rows), kind="stable")]
    same = rows[1:, 0] == rows[:-1, 0]
    if not same.any():
        return rows
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    some = rows[tied]
    rows[tied] = some[np.lexsort((*some.T[:0:-1], _hashes(some)))]
    again = (rows[1:] == rows[:-1]).all(axis=1)
    return rows[np.concatenate([[True], ~again])] if again.any() else rows


def _widened(rows: np.ndarray, width: int) -> np.ndarray:
    if rows.shape[1] == width:
        return rows
    found = np.zeros((len(rows), width), dtype=np.int64)
    found[:, : rows.shape[1]] = rows
    return found
