"""Functions of arrays for the small project: what they return for a row does not depend on the other rows."""

import numpy as np


def hashed(texts):
    """Return three numbers per text, from its letters; null for null."""
    out = np.zeros((len(texts), 3))
    for row, text in enumerate(texts):
        if text is None:
            out[row] = np.nan
            continue
        for place, letter in enumerate(text):
            out[row, (ord(letter) + place) % 3] += 1 / (1 + ord(letter) % 7)
    return out


def likeness(left, right, weights):
    """Return the sum of products of two vectors, and whether a number of one of them is missing."""
    total = sum(left[:, place] * right[:, place] for place in range(left.shape[1]))
    return np.column_stack([total * weights, np.isnan(left + right).any(axis=1)])
