"""The data of all benchmarks: events of 10,000 skewed keys over 90 days, and who asks about them."""

from dataclasses import dataclass

import numpy as np

KEYS = 10_000
START = 1_767_225_600_000_000  # 2026-01-01
SPAN = 90 * 86_400_000_000
END = START + SPAN
WINDOWS = {
    "1h": 3_600_000_000,
    "24h": 86_400_000_000,
    "7d": 7 * 86_400_000_000,
    "30d": 30 * 86_400_000_000,
}
FUNCTIONS = ("count", "sum", "mean", "max")


@dataclass(frozen=True)
class Stream:
    """Events in the order of their times: int64 arrays of shape (n,), microseconds and cents."""

    key: np.ndarray
    time: np.ndarray
    known: np.ndarray
    cents: np.ndarray

    @property
    def amount(self) -> np.ndarray:
        """The same money as floats."""
        return self.cents / 100.0


def keys(seed: np.random.Generator, rows: int) -> np.ndarray:
    """Return keys of which the hottest has about 0.7 % of the rows and half of them have a tenth of the mean."""
    return np.minimum(KEYS * seed.random(rows) ** 1.9, KEYS - 1).astype(np.int64)


def events(rows: int, *, late: float = 0.0, seed: int = 1) -> Stream:
    """Return events with times in whole milliseconds, so that some are equal.

    Parameters
    ----------
    late
        The share of events that become known after they happened, by up to two days; the others at once.
    """
    made = np.random.default_rng(seed)
    time = START + np.sort(made.integers(0, SPAN // 1000, rows)) * 1000
    cents = np.maximum(made.lognormal(8.0, 1.2, rows), 1.0).astype(np.int64)
    delay = np.where(made.random(rows) < late, made.integers(0, 2 * WINDOWS["24h"], rows), 0)
    return Stream(keys(made, rows), time, time + delay, cents)


def spine(rows: int, *, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return (key, moment) of rows to predict, spread like the events."""
    made = np.random.default_rng(seed)
    return keys(made, rows), START + made.integers(0, SPAN, rows)
