"""worker: folding a log into online states, each event once: SQLite log in, LMDB out, states and offset in one commit.

The states answer 16 windows over 30 days at any later moment. The bare formulation keeps the same 16 values current in
plain Python, per key and window a deque and a falling deque for the maximum: it stores nothing, survives nothing, and
is only right at the moment of the newest event. Both are asked for a tenth of the keys at the end, and must agree.
"""

import shutil
import tempfile
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import data
from bench.harness import Bench, Entry, check_equal
from bench.timing import spent

FULL, FULL_SINGLE = 1_000_000, 20_000
BATCH = 1_000
ASKED = range(0, data.KEYS, 10)
HERE = "bench.worker"
MEMORY = Path("/dev/shm")
CPU = "rows per second of a processor: what it would be if nothing waited and nothing else ran"
GOALS = {BATCH: "200 k", 1: "60 k"}


def main(bench: Bench) -> list[Entry]:
    """Measure log batches of 1,000 events, and of one."""
    entries = []
    for batch, full in ((BATCH, FULL), (1, FULL_SINGLE)):
        rows = bench.size(full)
        with tempfile.TemporaryDirectory(dir=bench.build) as folder:
            bench.run(f"{HERE}:fill", rows=rows, batch=batch, folder=folder)
            ours = bench.run(f"{HERE}:ours", rows=rows, folder=folder)
            fixed = bench.run(f"{HERE}:ours", rows=rows, folder=folder, moves=False)
        bare = bench.run(f"{HERE}:bare", rows=rows)
        check_equal("worker", ours, bare)
        name = "worker" if batch == BATCH else "worker/single"
        rate, other = rows / ours["seconds"], rows / bare["seconds"]
        note = f"log batches of {batch:,}; the deques are in memory only"
        entries.append(Entry(name, rate, "rows/s", rows, "deques", other, GOALS[batch], note))
        entries.append(
            Entry(
                f"{name}/cpu",
                rows / ours["cpu"],
                "rows/s",
                rows,
                "deques",
                rows / bare["cpu"],
                GOALS[batch],
                CPU,
            )
        )
        told = "the same of a source that says moves=False; ours against ours"
        entries.append(
            Entry(f"{name}/fixed", rows / fixed["seconds"], "rows/s", rows, "moves", rate, note=told)
        )
        if batch == BATCH:
            entries.append(Entry("worker/memory", ours["peak"], "GB", rows, "deques", bare["peak"]))
    return entries


def fill(rows: int, batch: int, folder: str) -> dict[str, Any]:
    """Make a log of events that came in batches, each when its last event happened."""
    import pyarrow as pa

    from bench.project import in_cents, project, stamps
    from tenfold import Platform
    from tenfold.core.clock import VirtualClock

    stream = data.events(rows)
    place = np.arange(rows)
    given = {"payment": place, "card": stream.key, "cents": stream.cents, "at": stamps(stream.time)}
    table = pa.table(given)
    clock = VirtualClock(data.START)
    # In memory first, where no append waits for the disk.
    fast = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=fast) as home, project.open(Platform(home=home, clock=clock)) as app:
        for first in range(0, rows, batch):
            part = table.slice(first, batch)
            clock.set(int(stream.time[first + part.num_rows - 1]))
            app.ingest(in_cents, part if batch > 1 else part.to_pylist())
        app.close()
        shutil.copy(Path(home) / "log.db", Path(folder) / "log.db")
    return {"seconds": 0.0}


def ours(rows: int, folder: str, moves: bool = True) -> dict[str, Any]:
    """The sink folds a full log until nothing is behind."""
    import pyarrow as pa

    from bench import views
    from tenfold.core.clock import VirtualClock
    from tenfold.sources.log import SQLiteLog
    from tenfold.store.lmdb import LMDBOnlineStore
    from tenfold.store.materialize import StateSink

    log = SQLiteLog(Path(folder) / "log.db", VirtualClock(0))
    store = LMDBOnlineStore(Path(folder) / f"online {moves}")
    view = views.windows(replace(views.in_cents, moves=moves), "cents")
    sink = StateSink(log, store, [view])

    def run() -> None:
        while sink.behind():
            sink.advance()

    pa.array(np.zeros(1)).cast(pa.string())  # imports what pyarrow needs, which is not what is timed
    _, took = spent(run)
    found = read_all(store, view, int(data.events(rows).time[-1]) + 1)
    store.close()
    log.close()
    return {**took, "check": found}


def read_all(store: Any, view: Any, at: int) -> dict[str, float]:
    """Return the totals of the features of a tenth of the keys as of a moment."""
    from tenfold.store.online import lookup

    totals = dict.fromkeys(view.features, 0.0)
    for key in ASKED:
        answer = lookup(store, [view], {"card": key}, at)
        for name, item in answer.features["card_windows"].items():
            totals[name] += item.plain()[0] or 0
    return {name: total for name, total in totals.items() if not name.startswith("mean")}


class Trailing:
    """One window of one key: its events, their sum, and the candidates for the maximum."""

    __slots__ = ("events", "falling", "size", "total")

    def __init__(self, size: int) -> None:
        self.size, self.total = size, 0
        self.events: deque[tuple[int, int]] = deque()
        self.falling: deque[tuple[int, int]] = deque()

    def add(self, time: int, value: int) -> None:
        self.total += value
        self.events.append((time, value))
        while self.falling and self.falling[-1][1] <= value:
            self.falling.pop()
        self.falling.append((time, value))
        self.expire(time)

    def expire(self, at: int) -> None:
        start = at - self.size
        while self.events and self.events[0][0] <= start:
            self.total -= self.events.popleft()[1]
        while self.falling and self.falling[0][0] <= start:
            self.falling.popleft()


def bare(rows: int) -> dict[str, Any]:
    """The same windows in plain Python, one event at a time."""
    stream = data.events(rows)
    events = list(zip(stream.key.tolist(), stream.time.tolist(), stream.cents.tolist(), strict=True))
    state: dict[int, list[Trailing]] = {}

    def run() -> None:
        for key, time, cents in events:
            windows = state.get(key)
            if windows is None:
                windows = state[key] = [Trailing(size) for size in data.WINDOWS.values()]
            for window in windows:
                window.add(time, cents)

    _, took = spent(run)
    return {**took, "check": _totals(state, int(stream.time[-1]) + 1)}


def _totals(state: dict[int, list[Trailing]], at: int) -> dict[str, float]:
    totals = {f"{fn}_{name}": 0.0 for name in data.WINDOWS for fn in ("count", "sum", "max")}
    for key in ASKED:
        for name, window in zip(data.WINDOWS, state.get(key, ()), strict=False):
            window.expire(at)
            totals[f"count_{name}"] += len(window.events)
            totals[f"sum_{name}"] += window.total
            totals[f"max_{name}"] += window.falling[0][1] if window.falling else 0
    return totals
