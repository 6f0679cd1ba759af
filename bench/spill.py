"""Features over a table that is larger than the memory allowed: python -m bench.spill --rows 100000000 --memory 8

Events of 100,000 skewed keys are appended to a Delta table in parts; then 16 window features are computed for a million
questions. Prints how long each step took and the peak memory of the process.
"""

import argparse
import hashlib
import json
import resource
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from tenfold import Entity, Events, FeatureView, col, count
from tenfold.core.clock import SystemClock
from tenfold.processing.frame import Column
from tenfold.sources.lake import DeltaLake
from tenfold.store.materialize import SINK
from tenfold.store.offline import History

KEYS = 100_000
START = 1_767_225_600_000_000  # 2026-01-01
SPAN = 90 * 86_400_000_000
PART = 5_000_000
WINDOWS = ("1h", "24h", "7d", "30d")
CLOCK = SystemClock()


class Event:
    event_id: int
    key: int
    amount: float
    at: datetime


EVENTS = Events("events", Event, time="at", id="event_id")
VIEW = FeatureView(
    "recent",
    entity=Entity("key", key="key"),
    source=EVENTS,
    features={f"count_{window}": count(window=window) for window in WINDOWS}
    | {f"sum_{window}": col("amount").sum(window=window) for window in WINDOWS}
    | {f"mean_{window}": col("amount").mean(window=window) for window in WINDOWS}
    | {f"max_{window}": col("amount").max(window=window) for window in WINDOWS},
)


def skewed(made: np.random.Generator, rows: int) -> np.ndarray:
    """Return keys of which some have many times as many rows as others."""
    return np.minimum(KEYS * made.random(rows) ** 1.9, KEYS - 1).astype(np.int64)


def fill(lake: DeltaLake, rows: int) -> None:
    """Append events in the order of their times, as the log would have brought them."""
    for first in range(0, rows, PART):
        made = np.random.default_rng(first)
        some = min(PART, rows - first)
        within = np.sort(made.integers(0, SPAN * some // rows // 1000, some)) * 1000
        time = START + SPAN // 1000 * first // rows * 1000 + within
        table = pa.table(
            {
                "event_id": np.arange(first, first + some),
                "key": skewed(made, some),
                "amount": np.round(made.lognormal(3.0, 1.2, some), 2),
                "at": pa.array(time).cast(pa.timestamp("us", "UTC")),
                "_known": time,
                "_offset": np.arange(first, first + some),
            }
        )
        lake.append(EVENTS.name, table, writer=SINK, upto=first + some)


def column(type_: str, values: np.ndarray) -> Column:
    return Column(type_, values, np.ones(len(values), dtype=np.bool_))


def peak() -> float:
    """Return the most memory this process ever had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def digest(found: dict[str, Column]) -> str:
    made = hashlib.sha256()
    for item in found.values():
        made.update(item.values.tobytes())
        made.update(item.valid.tobytes())
    return made.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--memory", type=float, default=8.0, help="GB")
    parser.add_argument("--lake", type=Path, help="keep the table here, or use it when it is there")
    parser.add_argument("--check", action="store_true", help="compute it in memory too and compare the bits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = DeltaLake(options.lake or Path(folder))
        began = CLOCK.elapsed()
        if lake.version(EVENTS.name) < 0:
            fill(lake, options.rows)
        filled = CLOCK.elapsed()
        made = np.random.default_rng(1)
        keys = [column("int", skewed(made, options.questions))]
        at = START + made.integers(0, SPAN, options.questions)
        history = History(lake, memory=int(options.memory * 1e9))
        found = history.features(VIEW, keys, at)
        seconds = (CLOCK.elapsed() - filled) / 1e6
        result = {
            "rows": lake.position(EVENTS.name, SINK),
            "questions": options.questions,
            "features": len(found),
            "divided": history.divides(EVENTS),
            "fill_s": round((filled - began) / 1e6, 1),
            "features_s": round(seconds, 1),
            "peak_gb": round(peak(), 2),
            "digest": digest(found),
        }
        if options.check:
            whole = digest(History(lake, memory=1 << 50).features(VIEW, keys, at))
            result |= {"equal": whole == result["digest"], "peak_in_memory_gb": round(peak(), 2)}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
