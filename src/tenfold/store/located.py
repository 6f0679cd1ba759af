"""Where versions of records lie, as rows of words that `Buckets` keep.

a row: hash of the id, event, known, offset, then the id and the key as text
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tenfold.features.records import Rows
from tenfold.features.state.chunks import hashed
from tenfold.features.state.stored import id_words, whole

Version = tuple[bytes, int, int, int]
"""The key a version belongs to, without the view's prefix, b"" for none; event, known and offset."""
HASH, EVENT, KNOWN, OFFSET, OWN = range(5)
"""Words of a row, and how many there are before its text."""
MEAN = 32
"""Rows of a bucket."""
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
