"""serve: predictions over HTTP by a real server process, asked by another process as fast as it answers.

A request is one row: 20 stored, 16 windowed and 10 request features are looked up and computed, LightGBM has 200 trees of
31 leaves, and the answer is on the disk before it is told. The peers have the same booster and get the 46 features ready-made;
they store nothing.

The load takes a processor of its own. Where other programs run beside it, read the processor's time a request and the ratios
rather than the requests a second.
"""

import contextlib
import http.client
import multiprocessing
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from bench import floor, serve_peers
from bench.fresh import free_port, wait_for
from bench.harness import MEANT, ROOT, Bench, Entry
from bench.turns import Speed, by_turns

FULL, TREES = 1_000_000, 200
CONNECTIONS, WANTED = 64, 6_000
EVENTS = 200
"""Events a second, beside which it is asked."""
TURNS = 5
"""How often one process and two are each asked, after a first time that does not count."""
ENOUGH = 200
"""Answers of the version before, after which it is rolled back."""
HERE = "bench.serve"
GOALS = {"MLflow": "25x", "BentoML": "6x"}


def main(bench: Bench) -> list[Entry]:
    """Measure one server process, two, freshness under events, a rollback under load, and the peers."""
    rows = bench.size(FULL)
    seconds = 8.0 if rows >= MEANT else 0.5
    with tempfile.TemporaryDirectory(dir=bench.build) as folder:
        bench.run(f"{HERE}:fill", rows=rows, folder=folder)
        given = {"rows": rows, "folder": folder, "seconds": seconds}
        ours = bench.run(f"{HERE}:ours", **given)
        two = bench.run(f"{HERE}:two", **given)
        fresh = bench.run(f"{HERE}:fresh", folder=folder, seconds=seconds)
        busy = bench.run(f"{HERE}:beside", **given)
        swap = bench.run(f"{HERE}:swap", **given)
        peers = serve_peers.measured(bench, folder, seconds)
    entries = [
        Entry(
            "serve", ours["rate"], "requests/s", rows, name, found.get("rate"), f"6,000, {GOALS[name]}", why
        )
        for name, found, why in peers
    ]
    for name, found, why in peers:
        entries.append(Entry("serve/cpu", ours["cpu"], "us", rows, name, found.get("cpu"), "120 us", why))
    kept = f"{CONNECTIONS} connections; {ours['failed']} failed"
    half = (
        f"{ours['half']:,} requests/s offered, of all seconds those in which nothing was stolen and each processor was at full "
        f"speed: {ours['told']}; "
        f"of the peer, which only writes, syncs and answers: {ours['floor_told']}"
    )
    return [
        *entries,
        Entry("serve/cpu/16", ours["cpu_16"], "us", rows, note="16 connections"),
        Entry("serve/cpu/1", ours["cpu_1"], "us", rows, note="1 connection: each request is a commit"),
        Entry("serve/p99", ours["p99"], "ms", rows, note=kept),
        *(
            Entry(
                f"serve/half/{name}",
                ours[f"half_{name}"],
                "ms",
                rows,
                "write and sync",
                ours[f"floor_half_{name}"],
                {"p99": "5 ms"}.get(name, ""),
                half,
            )
            for name in ("p50", "p99")
        ),
        Entry(
            "serve/processes",
            two["two"],
            "requests/s",
            rows,
            "one process",
            two["one"],
            "1.7x",
            f"of two processors, by what a request takes of them; {two['rate']:,.0f} by the clock, the load beside them",
        ),
        Entry("serve/fresh", fresh["p99"], "ms", rows, goal="50 ms", note=fresh["told"]),
        Entry("serve/beside", busy["rate"], "requests/s", rows, note=busy["told"]),
        Entry("serve/swap", swap["swapped"], "s", rows, goal="1 s, 0 failed", note=swap["told"]),
    ]


def fill(rows: int, folder: str) -> dict[str, Any]:
    """Make a home with states and two versions, the second one in Production, and what the peers need."""
    from bench import project

    project.build(Path(folder), rows, trees=TREES, versions=2)
    serve_peers.fill(Path(folder))
    return {"seconds": 0.0}


@contextlib.contextmanager
def served(folder: str, processes: int = 1, *, worker: bool = True) -> Iterator[tuple[int, int]]:
    """Start a server, and a worker unless there is one; yields the port, and the id of the server's first process."""
    home, port = Path(folder), free_port()
    given = ["bench/project.py", "--home", str(home), "--clock", str(home / "clock")]
    asked = [*given, "--port", str(port), "--wait", "30"]
    more = ["--processes", str(processes)] if processes > 1 else []
    commands = {"serve": [*asked, *more]} | ({"worker": given} if worker else {})
    running = []
    with (home / "output.txt").open("ab") as output:
        for name, options in commands.items():
            command = [sys.executable, "-m", "tenfold.cli", name, *options]
            running.append(subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output))
        try:
            wait_for(port, running, home)
            _answers(port)
            yield port, running[0].pid
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait()


def _answers(port: int) -> None:
    """Wait until a server answers: its socket listens before it does."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as client:
        client.request("GET", "/health")
        if client.getresponse().status != 200:
            raise RuntimeError("the server is not healthy.")


def asked_of(first: int, rows: int) -> Iterator[bytes]:
    """Yield the bodies of requests that nobody asked before."""
    from bench import data, load

    return load.rows(first * 1_000_000 + 10**7, min(data.KEYS, rows))


def ours(rows: int, folder: str, seconds: float) -> dict[str, Any]:
    """Ask on 1, 16 and 64 connections, and then at half of what is to be reached, or was where that is less."""
    from bench.load import measure

    with Speed(Path(folder)) as speed, served(folder) as (port, pid), floor.served(Path(folder)) as least:
        runs = {}
        for place, count in enumerate((4, 1, 16, CONNECTIONS)):
            runs[count] = measure(port, "/predict", pid, asked_of(place, rows), count, seconds)
        most = runs[CONNECTIONS]
        half = max(int(min(most["rate"], WANTED) / 2), 1)
        offered = partial(measure, path="/predict", connections=CONNECTIONS, seconds=seconds / 2, rate=half)
        turns = by_turns(
            {
                "": lambda place: offered(port, pid=pid, bodies=asked_of(place, rows)),
                "floor_": lambda place: offered(least[0], pid=least[1], bodies=asked_of(place, rows)),
            },
            speed,
            first=len(runs),
        )
    if most["failed"]:
        raise RuntimeError(f"requests failed: {most['why']}")
    return {
        **{name: most[name] for name in ("rate", "cpu", "p99", "failed")},
        "cpu_16": runs[16]["cpu"],
        "cpu_1": runs[1]["cpu"],
        "half": half,
        **{f"{name}{key}": value for name, found in turns.items() for key, value in found.items()},
        "seconds": seconds,
    }


def two(rows: int, folder: str, seconds: float) -> dict[str, Any]:
    """Ask one server process and two that share a port by turns, so that both have the same minutes of the machine."""
    from bench.load import measure

    turns = product(range(TURNS + 1), (1, 2))
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    with served(folder) as one, served(folder, processes=2, worker=False) as both:
        for place, (turn, count) in enumerate(turns):
            port, pid = one if count == 1 else both
            asked, long = asked_of(50 + place, rows), seconds / (2 if turn else 4)
            found[count].append(measure(port, "/predict", pid, asked, count * CONNECTIONS, long))
    cpu = {count: median(each["cpu"] for each in runs[1:]) for count, runs in found.items()}
    rate = median(each["rate"] for each in found[2][1:])
    return {"one": 1e6 / cpu[1], "two": 2e6 / cpu[2], "rate": rate, "seconds": seconds}


def fresh(folder: str, seconds: float) -> dict[str, Any]:
    """Send 1,000 events a second, and beside them events that are each followed by a prediction of their card."""
    from bench import fresh as one

    with served(folder) as (port, _), sent(port, 1_000, seconds, 2 * 10**9) as result:
        found = one.ask(port, folder, int(25 * seconds))
    told = f"from an acknowledgement to the answer, beside {result['rate']:,.0f} events/s, {result['failed']} failed"
    return {"p99": found["p99"], "told": told, "seconds": seconds}


def beside(rows: int, folder: str, seconds: float) -> dict[str, Any]:
    """Ask on 16 connections while events come, so that most groups wait for the worker."""
    from bench.load import measure

    with served(folder) as (port, pid), sent(port, EVENTS, seconds, 3 * 10**9) as result:
        found = measure(port, "/predict", pid, asked_of(40, rows), 16, seconds)
    told = f"16 connections beside {result['rate']:,.0f} events/s: p50 {found['p50']:.1f}, p99 {found['p99']:.1f} ms"
    return {"rate": found["rate"], "told": told, "seconds": seconds}


@contextlib.contextmanager
def sent(port: int, rate: int, seconds: float, first: int) -> Iterator[dict[str, Any]]:
    """Send events at a rate from another process, as two threads of one would wait for each other; yields what became of them.

    They come by the time the block begins; what became of them is there once it is left.
    """
    result: dict[str, Any] = {}
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_send, args=(there, port, rate, seconds, first))
    process.start()
    there.close()
    here.recv()
    yield result
    result.update(here.recv())
    process.join()


def _send(told: Connection, port: int, rate: int, seconds: float, first: int) -> None:
    import uvloop

    from bench.load import Load, posts

    stream = Load(port, posts(port, "/events/payments", events(first)))
    told.send("now")
    told.send(uvloop.run(stream.run(16, seconds, rate)))


def events(first: int) -> Iterator[bytes]:
    """Yield events, numbered from `first` on, of cards that nobody asks about; each is a request of its own."""
    from bench.project import NOW
    from tenfold.core.times import iso

    at, payment = iso(NOW), first
    while True:
        payment += 1
        card = 10**7 + payment % 1_000
        yield b'[{"payment":%d,"card":%d,"cents":5,"at":"%s"}]' % (payment, card, at.encode())


def swap(rows: int, folder: str, seconds: float) -> dict[str, Any]:
    """Roll back while requests come; return how long after the decision was stored the last answer of the old version came."""
    import msgspec
    import uvloop

    from bench import project
    from bench.load import END, Load, posts
    from tenfold import Platform
    from tenfold.core.clock import SharedClock

    bodies, decided = asked_of(30, rows), []
    next(bodies)
    home = Path(folder)
    with project.project.open(Platform(home=home, clock=SharedClock(home / "clock"))) as app:
        app.versions.production(project.model)  # imports what reading a version needs
        with served(folder) as (port, _):

            def decide() -> None:
                while len(load.answers) < ENOUGH:
                    time.sleep(0.05)
                app.rollback(project.model)
                decided.append(time.perf_counter())
                load.until = decided[0] + 2

            beside = threading.Thread(target=decide)
            load = Load(port, posts(port, "/predict", bodies))
            beside.start()
            found = uvloop.run(load.run(16, 120.0))
            beside.join()
    versions = [
        (at, msgspec.json.decode(answer.partition(END)[2])["version"]) for _, at, answer in load.answers
    ]
    old = [at for at, version in versions if version == versions[0][1]]
    if not decided or len(old) == len(versions):
        raise RuntimeError("no request was answered by the other version.")
    told = f"rollback under load, {found['answers']:,} answers, {found['failed']} failed"
    return {"swapped": max(max(old) - decided[0], 1e-4), "told": told, "seconds": seconds}
