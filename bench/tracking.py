"""tracking: runs, the best of them, promotions, and a store that six processes open first at once; MLflow is the peer.

Both are embedded, on SQLite, and wait for the disk at every commit; ours commits twice a run, when it begins and when it
ends, so the note says how long the disk took alone. A run has 10 parameters and 10 metrics. MLflow's 10,000 runs are
written into its tables directly, since its own interface would need half an hour. `tracking/postgres` is the same work with the
same SQL on a Postgres that waits for the disk too, over its socket on this machine, beside ours on SQLite.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import venv
from bench.harness import Bench, Entry
from bench.timing import latencies, timed
from tests import postgres_there, states

RUNS, ASKED, TOP = 10_000, 300, 100
PROCESSES = 6
HERE = "bench.tracking"
NAMES = [f"m{place}" for place in range(10)]
PARAMS = {f"p{place}": place for place in range(10)}
BESIDE, TURNS = ("run", "best", "promote", "step"), 3
GOALS = {"run": "2 ms", "best": "5 ms", "promote": "2 ms", "open": "0 failures"}


def main(bench: Bench) -> list[Entry]:
    """Measure ours and, where it is installed, MLflow's."""
    rows, asked = bench.size(RUNS), bench.size(ASKED, least=20)
    python = venv.mlflow(bench)
    entries = []
    for name, given in (
        ("run", {"asked": asked}),
        ("best", {"rows": rows}),
        ("promote", {"asked": asked}),
        ("open", {}),
    ):
        ours = bench.run(f"{HERE}:{name}_ours", **given)
        theirs = bench.run(f"bench.mlflow_peer:{name}", python=python, **given) if python else {}
        note = bench.no_mlflow
        if name in ("run", "promote"):
            note = f"the disk alone: {ours['disk'] * 1e3:.2g} ms a commit; {note}".rstrip("; ")
        if name == "open":
            failures = f"; of MLflow's {theirs['failed']}" if theirs else ""
            note = f"{ours['failed']} of {PROCESSES} processes failed{failures}"
        scale = 1.0 if name == "open" else 1e3
        other = theirs["seconds"] * scale if theirs.get("seconds") else None
        unit = "s" if name == "open" else "ms"
        size = rows if name == "best" else PROCESSES if name == "open" else asked
        entries.append(
            Entry(f"tracking/{name}", ours["seconds"] * scale, unit, size, "MLflow", other, GOALS[name], note)
        )
    return entries + _on_postgres(bench, rows, asked)


def _on_postgres(bench: Bench, rows: int, asked: int) -> list[Entry]:
    """Measure the same on a started Postgres and on SQLite, by turns."""
    programs, why = postgres_there.programs()
    if programs is None:
        return [Entry("tracking/postgres", None, "ms", rows, "SQLite", note=why)]
    server = postgres_there.Server(programs, fsync="on", full_page_writes="on", shared_buffers="128MB")
    try:
        server.start()
        return [_beside(bench, server.url, name, rows if name == "best" else asked) for name in BESIDE]
    finally:
        server.remove()


def _beside(bench: Bench, url: str, name: str, size: int) -> Entry:
    given = {"rows" if name == "best" else "asked": size}
    found: dict[str, list[float]] = {"": [], url: []}
    for _ in range(TURNS):
        for place, seconds in found.items():
            address = states.fresh(place) if place else ""
            seconds.append(bench.run(f"{HERE}:{name}_ours", address=address, **given)["seconds"] * 1e3)
    lite, post = min(found[""]), min(found[url])
    return Entry(
        f"tracking/postgres {name}", post, "ms", size, "SQLite", lite, "", f"best of {TURNS} turns each"
    )


def _open(folder: str, address: str = "") -> Any:
    from tenfold.automation import journal
    from tenfold.core.clock import SystemClock
    from tenfold.registry import versions
    from tenfold.tracking import runs

    schema = runs.SCHEMA + versions.SCHEMA + journal.SCHEMA
    database = states.opened(address or str(Path(folder) / "state.db"), schema)
    clock = SystemClock()
    return database, runs.Runs(database, clock), versions.Registry(database, clock)


def run_ours(asked: int, address: str = "") -> dict[str, Any]:
    """Start and finish durable runs, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        database, runs, _ = _open(folder, address)
        metrics = dict.fromkeys(NAMES, 0.5)

        def one(_: int) -> None:
            run = runs.start("track", "bench", params=PARAMS, data={"orders": 3}, code={"git": "1a2b3c"})
            runs.finish(run.id, metrics=metrics)

        found = latencies(one, range(asked))
        disk = _disk(folder)
        last = runs.list(limit=1)[0]
        if (last.params, last.metrics) != (PARAMS, metrics):
            raise ValueError("a run does not read back as it was written.")
        database.close()
    return {"seconds": found["p50"] / 1e6, "disk": disk}


def _disk(folder: str) -> float:
    """Return the seconds that one small write takes to be on the disk."""
    with (Path(folder) / "plain").open("wb", buffering=0) as file:

        def write(_: int) -> None:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())

        return latencies(write, range(100))["p50"] / 1e6


def best_ours(rows: int, address: str = "") -> dict[str, Any]:
    """Find the best of many runs by a metric."""
    with tempfile.TemporaryDirectory() as folder:
        database, runs, _ = _open(folder, address)
        for place in range(rows):
            run = runs.start("track", "bench", params=PARAMS, data={"orders": 3}, code={"git": "1a2b3c"})
            runs.finish(run.id, metrics=dict.fromkeys(NAMES, place * 7919 % rows / rows))
        found = latencies(lambda _: runs.best(NAMES[3], TOP), range(20))
        values = [run.metrics[NAMES[3]] for run in runs.best(NAMES[3], TOP)]
        if values != [(rows - 1 - place) / rows for place in range(min(TOP, rows))]:
            raise ValueError("these are not the best runs.")
        database.close()
    return {"seconds": found["p50"] / 1e6}


def promote_ours(asked: int, address: str = "") -> dict[str, Any]:
    """Promote versions that are staged, each in place of the one before, by compare and swap."""
    from tenfold.registry.versions import Stage

    with tempfile.TemporaryDirectory() as folder:
        database, _, registry = _open(folder, address)
        told = {"by": "bench", "why": "measured", "evidence": {"roc_auc": 0.9}}
        last = 0
        for place in range(2 * asked):
            registry.register("m", run_id=f"r{place}", digest="d", artefact="a", info={})
            last = registry.move("m", place + 1, Stage.STAGING, **told).seq
        state = {"number": 0, "seen": last}

        def one(_: int) -> None:
            state["number"] += 1
            event = registry.move("m", state["number"], Stage.PRODUCTION, expect=state["seen"], **told)
            state["seen"] = event.seq

        found = latencies(one, range(asked))
        if registry.production("m").number != state["number"]:
            raise ValueError("the last promotion does not stand.")
        disk = _disk(folder)
        database.close()
    return {"seconds": found["p50"] / 1e6, "disk": disk}


def step_ours(asked: int, address: str = "") -> dict[str, Any]:
    """Commit durable steps that do nothing, in one run."""
    from tenfold.automation.journal import Journal
    from tenfold.core.clock import SystemClock

    with tempfile.TemporaryDirectory() as folder:
        database, _, _ = _open(folder, address)
        journal = Journal(database, SystemClock())
        steps = [(f"step {place}", len) for place in range(asked)]
        run_id = journal.begin("bench", "steps", {})
        _, seconds = timed(lambda: journal.run(run_id, steps, owner="bench"))
        database.close()
    return {"seconds": seconds / asked}


def open_ours() -> dict[str, Any]:
    """Let six processes open a store that is not there yet, at once, and write a run each."""
    return at_once(
        f"from {HERE} import _open", "_open(sys.argv[1])[1].start('t', 's', params={}, data={}, code={})"
    )


def at_once(prepare: str, work: str) -> dict[str, Any]:
    """Run `work` in processes that have all done `prepare`; return the seconds until the last one is done, and who failed."""
    code = f"import sys\n{prepare}\nprint('ready', flush=True)\nsys.stdin.readline()\n{work}\n"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with tempfile.TemporaryDirectory() as folder:
        started = [subprocess.Popen([sys.executable, "-c", code, folder], **pipes) for _ in range(PROCESSES)]
        for process in started:
            while process.stdout.readline().strip() != "ready":
                pass

        def go() -> list[int]:
            for process in started:
                process.stdin.write("go\n")
                process.stdin.flush()
            for process in started:
                process.communicate()
            return [process.returncode for process in started]

        codes, seconds = timed(go)
    return {"seconds": seconds, "failed": sum(code != 0 for code in codes)}
