"""The state of a key with many records: a directory at the key, and behind it the records in chunks, each a state itself.

Where a chunk begins is decided by its first record alone: by a hash of its event time and id. So the chunks are a function of
the set of records, and a record touches the one chunk it falls into. The directory holds per chunk where it begins and what
its records add up to, so that a window is a look-up in one chunk and a sum over the chunks behind it.

    header | first event, records, replaced, settled, start, newest | per input: totals | first id
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tenfold.features.kernel.limbs import coarse
from tenfold.features.state import layout
from tenfold.features.state.layout import HEADER, SQUARES, WORD, Needs
from tenfold.features.state.shapes import States
from tenfold.features.state.stored import id_words

Get = Callable[[bytes], Any]
"""Gives the part of a divided state with a name, None where there is none."""
FIRST, COUNT, GONE, SETTLED, START, NEWEST = range(6)
"""Rows of a directory before the totals: when the first record of a chunk happened, its records and replaced records, from
when on all are visible, from when on one may be visible, and when the newest one happened."""
FIXED = 6
NEVER = np.iinfo(np.int64).min
FEW = 8
"""Up to so many ids plain Python is faster."""
_SIGN = 1 << 63
_BIG = 1 << 44
"""More than the coarse sum of any window that fits."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How records are divided.

    Attributes
    ----------
    most
        With so many records a state is divided.
    mean
        Records of a chunk, on average; their number is geometric, so one in 3,000 chunks has more than eight times as many.
    bucket
        Rows of a bucket of the index of ids, on average.
    """

    most: int = 4_096
    mean: int = 1_024
    bucket: int = 64


SIZES = Sizes()


def is_divided(state: Any) -> bool:
    """Return whether a state is a directory of chunks."""
    return bool(state[layout.FLAGS * WORD] & layout.DIVIDED)


def hashed(ids: np.ndarray) -> np.ndarray:
    """Return a number per id, uint64, however wide the array is."""
    if len(ids) <= FEW:
        return np.array([_hashed(name) for name in ids.tolist()], dtype=np.uint64)
    code = np.zeros(len(ids), dtype=np.uint64)
    words = id_words(ids).view(np.uint64)
    for place in range(words.shape[1]):
        word = words[:, place]
        salt = np.uint64(place * int(_STEP) % 2**64)
        code ^= np.where(word != 0, _mixed(word + salt), np.uint64(0))
    return _mixed(code)


def begins(event: np.ndarray, ids: np.ndarray, mean: int) -> np.ndarray:
    """Return which of some sorted records begin a chunk, whatever lies around them: the first version of one in `mean`."""
    chosen = _mixed(hashed(ids) ^ _mixed(event.view(np.uint64))) % np.uint64(mean) == 0
    chosen[1:] &= (event[1:] != event[:-1]) | (ids[1:] != ids[:-1])
    return chosen


def _hashed(name: bytes) -> int:
    """Return the same for one id in plain Python, which takes a tenth as long."""
    code = 0
    for place in range(-(-len(name) // WORD)):
        word = int.from_bytes(name[place * WORD : (place + 1) * WORD], "little")
        code ^= _mixed_one(word + place * int(_STEP)) if word else 0
    return _mixed_one(code)


def _mixed_one(code: int) -> int:
    code = (code + int(_STEP)) * 0xBF58476D1CE4E5B9 & _MASK
    code = (code ^ (code >> 30)) * 0x94D049BB133111EB & _MASK
    return code ^ (code >> 31)


_STEP = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


def _mixed(code: np.ndarray) -> np.ndarray:
    if len(code) <= FEW:
        return np.array([_mixed_one(one) for one in code.tolist()], dtype=np.uint64)
    code = (code + _STEP) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Sheet:
    """Which row of a directory holds a total of an input: named as in a state, "coarse" and "peak" bound their sums."""

    rows: int
    place: dict[tuple[int, str], int]


@lru_cache(maxsize=1_000)
def sheet_of(needs: tuple[Needs, ...]) -> Sheet:
    """Return the rows of a view's directories."""
    names = [(place, name) for place, need in enumerate(needs) for name in _names(need)]
    return Sheet(FIXED + len(names), {name: FIXED + row for row, name in enumerate(names)})


def _names(need: Needs) -> list[str]:
    names = ["member", *(["used"] if need.values else []), *need.totals, *need.extremes]
    names += ["coarse"] if need.totals else []
    return [*names, *(["peak"] if set(need.totals) >= set(SQUARES) else [])]


def sums_of(made: States, chunk: Any) -> list[int]:
    """Return what a directory says of the records of a chunk: all but where it begins and from when one may be visible."""
    words = memoryview(chunk).cast("q")
    count, shape = words[layout.COUNT], made.shape(words[layout.KIND])
    newest = words[HEADER + count - 1] if count else NEVER
    found = [0, count, words[layout.GONE], words[layout.SETTLED], 0, newest]
    for places, need in zip(shape.inputs, made.needs, strict=True):
        units = {"member": places.member, "used": places.used} | places.totals
        for name in _names(need):
            if name in ("coarse", "peak"):
                values = np.frombuffer(chunk, np.int64)[HEADER + places.values * count :][:count]
                found.append(_bound(values.view(np.float64) if need.type == "float" else values, name))
            elif not count:
                found.append(blank(need.type, name))
            else:
                unit = units[name]
                found.append(count if unit < 0 else words[HEADER + unit * count])
    return found


def blank(kind: str, name: str) -> int:
    """Return the total of no records, as a word."""
    if name not in ("min", "max"):
        return 0
    if kind == "float":
        return int(np.array([np.inf if name == "min" else -np.inf]).view(np.int64)[0])
    return int(np.iinfo(np.int64).max if name == "min" else NEVER)


def _bound(values: np.ndarray, name: str) -> int:
    if name == "coarse":
        return int(min(float(np.abs(coarse(values)).astype(np.float64).sum()) + len(values), _BIG))
    return int(np.abs(values.astype(np.float64)).max(initial=0.0).view(np.int64))


class Directory:
    """The chunks of a key: `cells` is an int64 array of shape (rows of its sheet, chunks), `ids` has the first ids."""

    def __init__(self, cells: np.ndarray, ids: np.ndarray, arrival: int, past: int) -> None:
        self.cells, self.ids, self.arrival, self.past = cells, ids, arrival, past

    @classmethod
    def read(cls, made: States, state: bytes | None) -> "Directory":
        """Return the directory that a state is, an empty one when there is none."""
        rows = sheet_of(made.needs).rows
        if state is None:
            return cls(np.zeros((rows, 0), dtype=np.int64), np.zeros(0, dtype="S8"), 0, 0)
        words = np.frombuffer(state, np.int64)
        width = int(words[layout.KIND])
        table = words[HEADER:].reshape(rows + width, -1)
        ids = np.ascontiguousarray(table[rows:].T).view(f"S{WORD * width}").ravel()
        return cls(table[:rows], ids, int(words[layout.ARRIVAL]), int(words[layout.PAST]))

    @property
    def total(self) -> int:
        """The records, replaced ones too."""
        return int(self.cells[COUNT].sum() + self.cells[GONE].sum())

    def names(self, places: Any = slice(None)) -> list[bytes]:
        """Return the names of some chunks, or of all."""
        return list(map(chunk_name, self.cells[FIRST, places].tolist(), self.ids[places].tolist()))

    def locate(self, event: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return the chunk that records fall into: the last one that does not begin after them, or the first."""
        first = self.cells[FIRST]
        found = np.maximum(first.searchsorted(event, side="right") - 1, 0)
        while len(found) and len(first):
            back = (found > 0) & (first[found] == event) & (self.ids[found] > ids)
            if not back.any():
                break
            found -= back
        return found

    def state(self) -> bytes:
        """Return the directory as bytes."""
        words = id_words(self.ids)
        used = np.flatnonzero((words != 0).any(axis=0))
        width = int(used[-1]) + 1 if len(used) else 1
        header = np.zeros(HEADER, dtype=np.int64)
        header[0], header[layout.KIND], header[layout.FLAGS] = layout.VERSION, width, layout.DIVIDED
        header[layout.COUNT], header[layout.GONE] = self.cells[COUNT].sum(), self.cells[GONE].sum()
        header[layout.SETTLED] = self.cells[SETTLED].max()
        header[layout.ARRIVAL], header[layout.PAST] = self.arrival, self.past
        return np.concatenate([header, self.cells.ravel(), words[:, :width].T.ravel()]).tobytes()


def chunk_name(event: int, name: bytes) -> bytes:
    """Return the name of the chunk that a record begins; names sort as chunks do.

    Examples
    --------
    >>> chunk_name(-1, b"a") < chunk_name(1, b"") < chunk_name(1, b"a")
    True
    """
    return b"c" + (event + _SIGN).to_bytes(WORD, "big") + name


def joined(parts: Iterable[tuple[np.ndarray, Directory]], arrival: int, past: int) -> Directory:
    """Return one directory of the chunks of several, sorted by a place given for each chunk."""
    places, found = zip(*parts, strict=True)
    order = np.argsort(np.concatenate(places), kind="stable")
    width = max(item.ids.dtype.itemsize for item in found)
    ids = np.concatenate([item.ids.astype(f"S{width}") for item in found])
    cells = np.concatenate([item.cells for item in found], axis=1)
    return Directory(cells[:, order], ids[order], arrival, past)
