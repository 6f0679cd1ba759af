"""fresh: from the acknowledgement of an event to the answer of the next prediction, which counts it.

A server and a worker as processes of their own, HTTP over loopback, on a clock of history that stands between two
steps. Each answer says how old the newest record of the card is; that it is the event just sent is checked each time.
"""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data
from bench.harness import ROOT, Bench, Entry
from bench.timing import timed

FULL, ASKED = 100_000, 500
STEP = 1_000
HERE = "bench.fresh"


def main(bench: Bench) -> list[Entry]:
    """Measure 500 events, each followed by a prediction of its card."""
    rows, asked = bench.size(FULL), bench.size(ASKED)
    with tempfile.TemporaryDirectory(dir=bench.build) as folder:
        bench.run(f"{HERE}:fill", rows=rows, folder=folder)
        found = bench.run(f"{HERE}:measure", asked=asked, folder=folder)
    told = "from the acknowledgement of an event to the answer that counts it"
    return [
        Entry("fresh/p50", found["p50"], "ms", rows, note=told),
        Entry("fresh/p99", found["p99"], "ms", rows, goal="50 ms", note=told),
        Entry("fresh/write", found["write"], "ms", rows, note="from an event to its acknowledgement, p50"),
    ]


def fill(rows: int, folder: str) -> dict[str, Any]:
    """Make a home with states and a version in Production."""
    from bench import project

    project.build(Path(folder), rows)
    return {"seconds": 0.0}


def measure(asked: int, folder: str) -> dict[str, Any]:
    """Send events to a server and ask about their cards, one after the other."""
    with processes(Path(folder)) as port:
        return ask(port, folder, asked)


def ask(port: int, folder: str, asked: int) -> dict[str, Any]:
    """Send events and ask about their cards, one after the other."""
    import numpy as np

    from bench.project import NOW
    from tenfold.core.clock import SharedClock
    from tenfold.core.times import iso

    clock = SharedClock(Path(folder) / "clock")
    cards = data.keys(np.random.default_rng(6), asked).tolist()
    fresh, write = [], []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        for place, card in enumerate(cards):
            now = NOW + 2 * STEP * (place + 1)
            clock.set(now)
            event = {"payment": 10**9 + place, "card": card, "cents": 1_234, "at": iso(now)}
            _, wrote = timed(lambda event=event: post(client, "/events/payments", [event]))
            clock.set(now + STEP)
            row = {"ask": 10**9 + place, "card": card, "amount": 12.5, "at": iso(now + STEP)}
            answer, took = timed(lambda row=row: post(client, "/predict", row))
            if answer["ages_s"]["card_windows"] != STEP / 1e6:
                raise ValueError(f"the answer does not count the event just sent: {answer}")
            fresh.append(took * 1e3)
            write.append(wrote * 1e3)
    fresh, write = sorted(fresh[asked // 10 :]), sorted(write[asked // 10 :])
    p50, p99 = fresh[len(fresh) // 2], fresh[len(fresh) * 99 // 100]
    return {"p50": p50, "p99": p99, "write": write[len(write) // 2], "seconds": sum(fresh) / 1e3}


def post(client: http.client.HTTPConnection, path: str, content: Any) -> Any:
    """Return the answer to a request."""
    if client.sock is None:
        client.connect()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.request("POST", path, json.dumps(content).encode(), {"content-type": "application/json"})
    response = client.getresponse()
    body = json.loads(response.read())
    if response.status != 200:
        raise ValueError(f"{path} answered {response.status}: {body}")
    return body


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def processes(home: Path, worker: Sequence[str] = ()) -> Iterator[int]:
    """Start a server and a worker, that of the command line unless another module is given with what it gets.

    Waits until a request is answered, yields the port, and ends both by their ids.
    """
    port = free_port()
    given = ["bench/project.py", "--home", str(home), "--clock", str(home / "clock")]
    commands = [
        worker or ["tenfold.cli", "worker", *given],
        ["tenfold.cli", "serve", *given, "--port", str(port), "--wait", "30"],
    ]
    running = []
    with (home / "output.txt").open("wb") as output:
        for command in commands:
            module = [sys.executable, "-m", *command]
            running.append(subprocess.Popen(module, cwd=ROOT, stdout=output, stderr=output))
        try:
            wait_for(port, running, home)
            yield port
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait()


def wait_for(port: int, running: list[subprocess.Popen[bytes]], home: Path) -> None:
    for _ in range(600):
        if any(process.poll() is not None for process in running):
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"no server answers:\n{(home / 'output.txt').read_text()[-2000:]}")
