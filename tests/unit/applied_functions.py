"""Functions of arrays for the tests; they need source code in a file."""

import hashlib

import numpy as np

SCALES = {"small": 1.0, "large": (10.0, 2)}
LIMIT = 3


def bits(word):
    return hashlib.sha256(word.encode()).digest()[0]


def embedding_length(titles):
    """Return the length of the sum of a vector per word, made from a hash of the word."""
    out = np.full(len(titles), np.nan)
    for place, title in enumerate(titles):
        if title is not None:
            vectors = [np.array([bits(word) - 128.0, bits(word + "2") - 128.0]) for word in title.split()]
            out[place] = np.sqrt((np.sum(vectors, axis=0) ** 2).sum()) if vectors else 0.0
    return out


def scaled(values):
    return values * SCALES["small"] + LIMIT


def both(left, right):
    return left + right


def kind(values):
    return np.array([str(values.dtype)] * len(values), dtype=object)


def swapped(texts):
    return [None if text is None else text[::-1] for text in texts]


def nightly(moments):
    return (moments.astype("datetime64[h]").astype(np.int64) % 24 < 6).astype(float) * np.where(
        np.isnat(moments), np.nan, 1.0
    )


def too_long(values):
    return np.zeros(len(values) + 1)


def half(values):
    return np.full(len(values), 0.5)


def words(values):
    return np.array(["a"] * len(values))


def unhashable(values):
    return values * MATRIX.sum()


MATRIX = np.ones(3)
