"""Predictions as the log holds them, for tests."""

import numpy as np

from tenfold.serving.answer.predictions import ONLINE, Predictions


def predictions(*ids, mode=ONLINE, width=2, score=0.5):
    """Return predictions of a model, with these ids."""
    count = len(ids)
    return Predictions(
        "m",
        mode,
        list(ids),
        [f"row {name}" for name in ids],
        [f"on {name}" for name in ids],
        np.full(count, 3),
        np.arange(count, dtype=np.int64) * 1_000_000,
        np.full(count, score),
        np.full(count, score) >= 0.5,
        np.full((count, width), 1.5),
        np.full((count, 1), np.nan),
        ["{}"] * count,
    )


def same(one, two):
    """Return whether predictions are equal, missing ages too."""
    texts = all(getattr(one, name) == getattr(two, name) for name in ("id", "row", "on", "request", "mode"))
    arrays = ("version", "at", "score", "decision", "features", "ages")
    return texts and all(
        np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True) for name in arrays
    )
