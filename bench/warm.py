"""Touches memory once: a page that nobody used since the machine started can cost ten times one that somebody did."""

from typing import Any

from bench.timing import timed


def touch(gigabytes: float) -> dict[str, Any]:
    """Fill memory and give it back."""
    import numpy as np

    _, seconds = timed(lambda: np.empty(int(gigabytes * 125e6)).fill(1.0))
    return {"seconds": seconds}
