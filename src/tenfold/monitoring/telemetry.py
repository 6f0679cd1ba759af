"""How fresh states are: microseconds from the acknowledgement of a batch to its effect in the next prediction."""

from collections.abc import Sequence

import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.times import UNITS
from tenfold.sources.base import Batch
from tenfold.sources.counts import Counts
from tenfold.sources.database import Database
from tenfold.sources.later import WAIT_MS, Later

SCHEMA = """
CREATE TABLE IF NOT EXISTS fresh (
    topic TEXT NOT NULL,
    hour INTEGER NOT NULL,
    us INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (topic, hour, us)
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO fresh (topic, hour, us, n) VALUES (?, ?, ?, ?)
ON CONFLICT (topic, hour, us) DO UPDATE SET n = fresh.n + excluded.n
"""
_READ = "SELECT us, sum(n) AS n FROM fresh WHERE hour >= ? AND hour < ? GROUP BY us ORDER BY us"
HOUR = UNITS["h"]
DIGITS = 2
"""How many digits of a measurement are kept, so that there are few different ones."""
EVERY = 10.0
"""Seconds after which measurements are stored, when there are any; a worker that is killed takes the last ones with it."""


class Telemetry:
    """Measurements of the running system: counted in memory, so that no event waits for them, and kept by hour of arrival.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> clock = VirtualClock(0)
    >>> with TemporaryDirectory() as folder:
    ...     database = SQLiteDatabase(Path(folder) / "state.db", SCHEMA)
    ...     telemetry = Telemetry(database, clock)
    ...     telemetry.fresh([Batch("visits", 0, 1, 0, clock.elapsed() - 12_345, b"")])
    ...     found = telemetry.freshness_ms(0, HOUR)
    ...     telemetry.close()
    ...     database.close()
    >>> found
    {'p50': 12.0, 'p99': 12.0, 'max': 12.0}
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database.hurried(WAIT_MS), clock
        self._counts = Counts(self._database, _ADD)
        self._later = Later("freshness", self.flush, EVERY)

    def fresh(self, batches: Sequence[Batch]) -> None:
        """Record that batches are visible now; not of those from before a restart of the machine, whose count began anew."""
        now = self._clock.elapsed()
        self._counts.add(
            ((item.topic, item.arrival // HOUR, _short(now - item.stamp)), 1)
            for item in batches
            if item.stamp <= now
        )
        self._later.soon()

    def flush(self) -> None:
        """Store what was measured; when that fails it is kept for the next time."""
        self._counts.flush()

    def freshness_ms(self, start: int, end: int) -> dict[str, float]:
        """Return quantiles, in milliseconds, over the batches that arrived in the hours from that of `start` to before `end`."""
        self.flush()
        found = self._database.query(_READ, start // HOUR, -(-end // HOUR))
        us, n = np.array([tuple(row) for row in found], dtype=np.float64).reshape(-1, 2).T
        return quantiles_ms(us, n)

    def close(self) -> None:
        """Store what was measured; may be called twice."""
        self._later.close()
        self._database.close()


def _short(us: int) -> int:
    """Return microseconds with the first digits only.

    Examples
    --------
    >>> _short(12_345), _short(99_999), _short(7)
    (12000, 100000, 7)
    """
    return round(us, DIGITS - len(str(us)))


def quantiles_ms(us: np.ndarray, n: np.ndarray | None = None) -> dict[str, float]:
    """Return p50, p99 and the largest of microseconds, in milliseconds, where each was seen so often; nothing for no values."""
    if not len(us):
        return {}
    p50, p99 = np.quantile(us, [0.5, 0.99], weights=n, method="linear" if n is None else "inverted_cdf") / 1e3
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(us.max()) / 1e3, 3)}
