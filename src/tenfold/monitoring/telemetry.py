"""How fresh states are: microseconds from the acknowledgement of a batch to its effect in the next prediction."""

from collections.abc import Sequence

import numpy as np

from tenfold.core.clock import Clock
from tenfold.sources.base import Batch
from tenfold.sources.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS freshness (
    topic TEXT NOT NULL,
    base INTEGER NOT NULL,
    arrival INTEGER NOT NULL,
    us INTEGER NOT NULL,
    PRIMARY KEY (topic, base)
);
"""
_ADD = "INSERT INTO freshness VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_READ = "SELECT us FROM freshness WHERE arrival >= ? AND arrival < ?"


class Telemetry:
    """Measurements of the running system."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def fresh(self, batches: Sequence[Batch]) -> None:
        """Record that batches are visible now; the first time counts."""
        now = self._clock.elapsed()
        with self._database.transaction() as connection:
            connection.executemany(
                _ADD, [(item.topic, item.base, item.arrival, now - item.stamp) for item in batches]
            )

    def freshness_ms(self, start: int, end: int) -> dict[str, float]:
        """Return quantiles, in milliseconds, over the batches that arrived in [start, end)."""
        found = [row["us"] for row in self._database.query(_READ, start, end)]
        return quantiles_ms(np.array(found, dtype=np.float64))


def quantiles_ms(us: np.ndarray) -> dict[str, float]:
    """Return p50, p99 and the largest of microseconds, in milliseconds; nothing for no values."""
    if not len(us):
        return {}
    p50, p99 = np.quantile(us, [0.5, 0.99]) / 1e3
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(us.max()) / 1e3, 3)}
