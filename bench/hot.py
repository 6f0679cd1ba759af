"""hot: an event and a read of one key with a million records in its windows, beside the same of a key with 100.

An event is folded alone, as a worker that keeps up does: read from the log, the key's state changed, committed with its offset
to LMDB. A late event is one that happened at any time of the last month. A read is 16 windows at the moment asked. What is no
look-up, the most frequent value and how many different ones there are, is read from a second view of the same payments.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import data
from bench.harness import Bench, Entry, check_equal
from bench.timing import latencies, timed

FULL, FEW = 1_000_000, 100
ASKED = 500
PART = 50_000
MONTH = data.WINDOWS["30d"]
HERE = "bench.hot"
GOALS = {
    "event": ("ms", "2 ms"),
    "cpu": ("ms", "2 ms"),
    "late": ("ms", "2 ms"),
    "step": ("ms", "20 ms"),
    "read": ("us", "200 us"),
    "values": ("ms", "100 ms"),
}
NOTES = {
    "cpu": "the time of a processor in it, without the wait for the disk",
    "event": "one newest event, folded and committed; the commit waits for the disk",
    "late": "one event of any time in the last 30 days",
    "read": "16 windows",
    "step": "the first event after a sixteenth of the longest window, which drops old records; time of a processor",
    "values": "mode and number of different values of 30 days, nearly all of them different; time of a processor",
}
STEPS = 8


def main(bench: Bench) -> list[Entry]:
    """Measure a key with a million records, and one with 100."""
    rows, asked = bench.size(FULL), bench.size(ASKED)
    found = []
    for size in (rows, FEW):
        with tempfile.TemporaryDirectory(dir=bench.build) as folder:
            ours = bench.run(f"{HERE}:measure", rows=size, asked=asked, folder=folder)
        check_equal("hot", ours, bench.run(f"{HERE}:bare", rows=size, asked=asked))
        found.append(ours)
    large, small = found
    return [
        Entry(f"hot/{name}", large[name], unit, rows, "100 records", small[name], goal, NOTES[name])
        for name, (unit, goal) in GOALS.items()
    ]


def stream(rows: int, asked: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return when events happened and became known, and their cents: those of a month, then newest and late ones in turn."""
    made = np.random.default_rng(8)
    month = data.START + np.sort(made.integers(0, MONTH // 1000, rows)) * 1000
    known = data.START + MONTH + np.arange(1, 2 * asked + 1) * 1000
    later = known.copy()
    later[1::2] -= made.integers(0, MONTH // 1000, asked) * 1000
    cents = np.maximum(made.lognormal(8.0, 1.2, rows + 2 * asked), 1.0).astype(np.int64)
    return np.concatenate([month, later]), np.concatenate([month, known]), cents


def measure(rows: int, asked: int, folder: str) -> dict[str, Any]:
    """Fold a month of one key, then one event at a time, and read it."""
    import pyarrow as pa
    import pyarrow.compute

    from bench import views
    from bench.project import stamps
    from tenfold.core.clock import VirtualClock
    from tenfold.processing.ingest import ingest
    from tenfold.sources.memory import MemoryLog
    from tenfold.store.lmdb import LMDBOnlineStore
    from tenfold.store.materialize import StateSink
    from tenfold.store.online import Lookup

    event, known, cents = stream(rows, asked)
    place = np.arange(len(event))
    table = pa.table({"payment": place, "card": place * 0, "cents": cents, "at": stamps(event)})
    clock = VirtualClock(data.START)
    log, store = MemoryLog(clock), LMDBOnlineStore(Path(folder))
    sink = StateSink(log, store, [views.by_cents])

    def append(first: int, size: int) -> None:
        part = table.slice(first, size)
        clock.set(int(known[first + part.num_rows - 1]))
        ingest(views.in_cents, part, log=log, quarantine=None, clock=clock)

    for first in range(0, rows, PART):
        append(first, min(PART, rows - first))
    while sink.behind():
        sink.advance()
    took: dict[str, list[float]] = {"event": [], "late": [], "cpu": []}
    for number in range(2 * asked):
        append(rows + number, 1)
        spent = time.process_time()
        took["late" if number % 2 else "event"].append(timed(sink.advance)[1] * 1e3)
        took["cpu"].append((time.process_time() - spent) * 1e3)
    look, now = Lookup([views.by_cents]), clock.now() + 1
    read = latencies(lambda at: look(store, {"card": 0}, at), range(now, now + 4 * asked))
    values = look(store, {"card": 0}, now)[0].values
    more = _more(log, store, sink, clock, len(event))
    store.close()
    check = {
        name: value for name, value in zip(views.by_cents.features, values, strict=True) if name[:4] != "mean"
    }
    middle = {name: sorted(some)[len(some) // 2] for name, some in took.items()}
    middle |= {"read": read["p50"]} | more
    return middle | {"check": check, "seconds": sum(took["event"]) / 1e3}


def _more(log: Any, store: Any, sink: Any, clock: Any, number: int) -> dict[str, float]:
    """Return what it takes to read the values of a window, and to fold the first event after a step."""
    from bench import views
    from tenfold.core.times import to_datetime
    from tenfold.processing.ingest import ingest
    from tenfold.store.materialize import StateSink
    from tenfold.store.online import Lookup

    now, look = clock.now() + 1, Lookup([views.of_values])
    other = StateSink(log, store, [views.of_values])
    while other.behind():
        other.advance()
    values = _spent(lambda: look(store, {"card": 0}, now), 9)
    steps = []
    for place in range(STEPS):
        clock.set(now + (place + 1) * MONTH // 16)
        row = {"payment": number + place, "card": 0, "cents": 100, "at": to_datetime(clock.now())}
        ingest(views.in_cents, [row], log=log, quarantine=None, clock=clock)
        steps.append(_spent(sink.advance, 1))
    return {"values": values, "step": max(steps)}


def _spent(work: Callable[[], Any], times: int) -> float:
    """Return the time of a processor that something takes, in milliseconds, the least of some times."""
    found = []
    for _ in range(times):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) * 1e3)
    return min(found)


def bare(rows: int, asked: int) -> dict[str, Any]:
    """The same windows at the end, counted from all events."""
    event, known, cents = stream(rows, asked)
    found = {}
    for name, size in data.WINDOWS.items():
        mine = cents[event > int(known[-1]) + 1 - size]
        found |= {f"count_{name}": len(mine), f"sum_{name}": int(mine.sum()), f"max_{name}": int(mine.max())}
    return {"seconds": 0.0, "check": found}
