"""steps: durable steps of the journal on SQLite with fsync, beside the bare transaction that each one needs at least.

The bare formulation renews a lease and inserts one row per transaction, in the same settings. With four processes each
has runs of its own in one file; afterwards every step must be there once.
"""

import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.harness import Bench, Entry
from bench.timing import timed

FULL, PROCESSES, PER_RUN = 20_000, 4, 50
HERE = "bench.steps"
PEER = "bare transaction"


def main(bench: Bench) -> list[Entry]:
    """Measure one process, then four."""
    rows = bench.size(FULL, least=PER_RUN) // PER_RUN * PER_RUN
    entries = []
    for processes, unit, goal in ((1, "ms", "0.3 ms"), (PROCESSES, "rows/s", "5,000")):
        found = {}
        for kind in ("ours", "bare"):
            with tempfile.TemporaryDirectory(dir=bench.build) as folder:
                found[kind] = bench.run(
                    f"{HERE}:several", kind=kind, processes=processes, rows=rows, folder=folder
                )["seconds"]
        values = [
            seconds / rows * 1e3 if unit == "ms" else rows / seconds
            for seconds in (found["ours"], found["bare"])
        ]
        name = "steps" if processes == 1 else "steps/processes"
        note = f"{processes} processes, one file" if processes > 1 else f"runs of {PER_RUN} steps"
        entries.append(Entry(name, values[0], unit, rows, PEER, values[1], goal, note))
    return entries


def several(kind: str, processes: int, rows: int, folder: str) -> dict[str, Any]:
    """Start the processes, let them begin together, and check that nothing is missing or there twice."""
    path = Path(folder) / "state.db"
    each = max(1, rows // processes // PER_RUN) * PER_RUN
    _prepare(path, kind, processes)
    command = [sys.executable, "-m", HERE, kind, str(path), str(each)]
    started = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(processes)
    ]
    for process in started:
        process.stdout.readline()  # it is ready

    def work() -> list[int]:
        for process in started:
            process.stdin.close()
        codes = [process.wait() for process in started]
        for process in started:
            process.stdout.close()
        return codes

    codes, seconds = timed(work)
    connection = sqlite3.connect(path)
    count = connection.execute("SELECT count(*) FROM journal_step").fetchone()[0]
    connection.close()
    if any(codes) or count != each * processes:
        raise ValueError(f"steps: exit codes {codes}, {count} of {each * processes} steps.")
    return {"seconds": seconds * rows / count}


def _prepare(path: Path, kind: str, processes: int) -> None:
    from tenfold.automation.journal import SCHEMA
    from tenfold.sources.sqlite import SQLiteDatabase

    database = SQLiteDatabase(path, SCHEMA)
    if kind == "bare":
        for number in range(processes):
            database.execute(
                "INSERT INTO journal_run (id, kind, cause, input, status, begun) VALUES (?, 'b', ?, '{}', 'running', 0)",
                f"r{number}",
                str(number),
            )
    database.close()


def ours(path: str, rows: int, number: int) -> None:
    from tenfold.automation.journal import SCHEMA, Journal
    from tenfold.core.clock import SystemClock
    from tenfold.sources.sqlite import SQLiteDatabase

    database = SQLiteDatabase(Path(path), SCHEMA)
    journal = Journal(database, SystemClock())
    steps = [(f"step {place}", lambda results: len(results)) for place in range(PER_RUN)]
    _ready()
    for run in range(rows // PER_RUN):
        journal.run(journal.begin("bench", f"{number}/{run}", {}), steps, owner=str(number))
    database.close()


def bare(path: str, rows: int, number: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous=FULL")
    _ready()
    for place in range(rows):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE journal_run SET lease_end = ? WHERE id = ?", (place, f"r{number}"))
        connection.execute(
            "INSERT INTO journal_step (run_id, name, place, result, at, fence, code) VALUES (?, ?, 1, '1', ?, 1, '')",
            (f"r{number}", str(place), place),
        )
        connection.execute("COMMIT")
    connection.close()


def _ready() -> None:
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    {"ours": ours, "bare": bare}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
