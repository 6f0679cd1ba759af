"""Functions of arrays for the tests; they need source code in a file."""

import hashlib
from functools import cache

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


@cache
def weights():
    return np.random.default_rng(3).normal(size=(64, 8))


def counted(texts):
    """Return how often each of 64 letters occurs; null for null."""
    out = np.zeros((len(texts), 64))
    for row, text in enumerate(texts):
        if text is None:
            out[row] = np.nan
        else:
            np.add.at(out[row], [ord(letter) % 64 for letter in text], 1.0 / (1 + len(text)))
    return out


def projected(texts):
    """Return a product of matrices: its last bits depend on how many rows there are."""
    return np.nan_to_num(counted(texts)) @ weights()


def cosine(left, right):
    """Return how alike two vectors are."""
    size = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    return (left * right).sum(axis=1) / np.where(size == 0, np.nan, size)


def centred(values):
    return np.column_stack([values, values - values.mean()])


def random_pair(values):
    return np.random.default_rng().normal(size=(len(values), 2))


def pair(values):
    with np.errstate(over="ignore"):
        return np.column_stack([values, values * 2])


def ragged(values):
    return [[1.0, 2.0]] + [[1.0]] * (len(values) - 1)


def nothing(values):
    return None


def changing(values):
    """Return a zero whose sign depends on how many rows there are."""
    return np.full(len(values), -0.0 if len(values) > 1 else 0.0)


def most_of_all(values):
    """Return which value is the greatest of several."""
    return (values == values.max()).astype(float) * (len(values) > 1)
