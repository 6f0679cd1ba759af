"""Where the records of a divided state are, by id: a later version may have another event time, and lie in another chunk.

An entry says that a record whose id has some hash happened at some time. Buckets share the hashes evenly; how many there are
follows from the number of records, and an entry goes when its record does. So the bytes are a function of the set of records.
"""

from collections.abc import Iterator

import numpy as np

from tenfold.features.state.chunks import Get, Sizes

Part = tuple[bytes, bytes | None]
"""The name of a part of a divided state and what it becomes, None where it goes."""
HASH, EVENT, LAST = range(3)
"""Rows of entries, int64: the hash of an id, when the record happened, and when it had happened and was known."""


class Index:
    """The entries of a state of some number of records, read bucket by bucket as they are needed."""

    def __init__(self, get: Get, total: int, sizes: Sizes) -> None:
        self._get, self._mean = get, sizes.mean
        self._level = self._level_of(total)
        self._held: dict[int, np.ndarray] = {}

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return when records with these hashes happened, and the place in `hashes` of each."""
        events, places = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        number = _bucket(hashes, self._level)
        for bucket in np.unique(number).tolist():
            mine = np.flatnonzero(number == bucket)
            entries = self._entries(bucket)
            sorted_ = entries[HASH].view(np.uint64)
            first = sorted_.searchsorted(hashes[mine], side="left")
            size = sorted_.searchsorted(hashes[mine], side="right") - first
            row = np.repeat(first - (np.cumsum(size) - size), size) + np.arange(size.sum())
            events.append(entries[EVENT][row])
            places.append(np.repeat(mine, size))
        return np.concatenate(events), np.concatenate(places)

    def changed(self, new: np.ndarray, total: int, oldest: int | None) -> Iterator[Part]:
        """Yield the buckets that change with new entries, of which `total` records remain.

        Parameters
        ----------
        new : (3, n) int64
            The entries of the new records that the state holds.
        oldest
            Entries from before this moment go; None when no records did.
        """
        level = self._level_of(total)
        number = _bucket(new[HASH].view(np.uint64), self._level)
        before = {}
        every = range(1 << self._level)
        for bucket in every if level != self._level or oldest is not None else np.unique(number).tolist():
            before[bucket] = self._entries(bucket)
        after = {
            bucket: _united(entries, new[:, number == bucket], oldest) for bucket, entries in before.items()
        }
        if level == self._level:
            for bucket, entries in after.items():
                if entries is not before[bucket]:
                    yield _part(level, bucket, entries)
            return
        for bucket in every:
            yield _name(self._level, bucket), None
        merged = np.concatenate([after[bucket] for bucket in every], axis=1)
        edges = _bucket(merged[HASH].view(np.uint64), level).searchsorted(np.arange((1 << level) + 1))
        for bucket, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            yield _part(level, bucket, merged[:, begin:end])

    def removed(self) -> Iterator[Part]:
        """Yield that every bucket goes."""
        for bucket in range(1 << self._level):
            yield _name(self._level, bucket), None

    def _level_of(self, total: int) -> int:
        """Return of how many binary digits the number of a bucket is: one bucket for up to twice the mean of a chunk."""
        return max((total // self._mean).bit_length() - 1, 0)

    def _entries(self, bucket: int) -> np.ndarray:
        if bucket not in self._held:
            found = self._get(_name(self._level, bucket))
            words = np.zeros(0, dtype=np.int64) if found is None else np.frombuffer(bytes(found), np.int64)
            self._held[bucket] = words.reshape(3, -1)
        return self._held[bucket]


def _bucket(hashes: np.ndarray, level: int) -> np.ndarray:
    """Return the bucket of each hash: its first binary digits."""
    if not level:
        return np.zeros(len(hashes), dtype=np.int64)
    return (hashes >> np.uint64(64 - level)).astype(np.int64)


def _united(held: np.ndarray, new: np.ndarray, oldest: int | None) -> np.ndarray:
    """Return entries and new ones in their order, each once; the same array when nothing changes."""
    found = held
    if new.shape[1]:
        found = np.concatenate([held, new], axis=1)
        found = found[:, np.argsort(found[HASH].view(np.uint64), kind="stable")]
        if (found[HASH, 1:] == found[HASH, :-1]).any():
            found = _distinct(found)
    if oldest is not None and (found[LAST] < oldest).any():
        found = found[:, found[LAST] >= oldest]
    return found


def _distinct(entries: np.ndarray) -> np.ndarray:
    """Return entries in their order, each once."""
    entries = entries[:, np.lexsort((entries[LAST], entries[EVENT], entries[HASH].view(np.uint64)))]
    first = np.ones(entries.shape[1], dtype=np.bool_)
    first[1:] = (entries[:, 1:] != entries[:, :-1]).any(axis=0)
    return entries[:, first]


def _name(level: int, bucket: int) -> bytes:
    return b"i" + bytes([level]) + bucket.to_bytes(4, "big")


def _part(level: int, bucket: int, entries: np.ndarray) -> Part:
    return _name(level, bucket), entries.tobytes() if entries.shape[1] else None
