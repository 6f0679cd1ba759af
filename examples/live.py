"""The live part of an example: a server process, a worker process, and the world that sends them events and questions.

History is played in the order in which it became known. Before each question the clock of history is set to its
moment; every event known before that moment has been acknowledged by then.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.clock import SharedClock, SystemClock

ROOT = Path(__file__).parents[1]
WALL = SystemClock()
Row = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """What becomes known before an instant, and the rows that are asked about at it."""

    at: int
    events: list[tuple[str, int, list[Row]]]
    asked: list[Row]


def moments(
    arriving: Mapping[str, tuple[np.ndarray, list[Row]]], ask_at: np.ndarray, asked: list[Row]
) -> Iterator[Moment]:
    """Yield the instants at which something is asked, in order.

    Parameters
    ----------
    arriving
        By source, when its rows become known, in order, and the rows.
    ask_at
        When each of `asked` is asked about, in order; int64 microseconds UTC.
    """
    waiting = dict(arriving)
    for at in np.unique(ask_at).tolist():
        events = []
        for name, (known, rows) in waiting.items():
            behind = int(np.searchsorted(known, at, side="left"))
            if behind:
                events.append((name, int(known[behind - 1]), rows[:behind]))
                waiting[name] = (known[behind:], rows[behind:])
        first, last = np.searchsorted(ask_at, [at, at + 1])
        yield Moment(at, sorted(events, key=lambda item: (item[1], item[0])), asked[first:last])


@dataclass
class Processes:
    """The worker and the server as processes of their own; either may be killed at any moment and started again."""

    project: str
    home: Path
    clock: Path
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    restarting: set[str] = field(default_factory=set)

    def start(self, name: str) -> None:
        """Start a process; its output goes to a file in the home folder."""
        options = ["--home", str(self.home), "--clock", str(self.clock)]
        if name == "serve":
            options += ["--port", str(self.port), "--wait", "20"]
        command = [str(Path(sys.executable).parent / "tenfold"), name, self.project, *options]
        with (self.home / f"{name}.log").open("ab") as output:
            self.running[name] = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

    def kill(self, name: str) -> None:
        """End a process at once, as a power cut would (SIGKILL), and start it again."""
        process = self.running[name]
        self.restarting.add(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.start(name)
        self.restarting.discard(name)

    def __enter__(self) -> "Processes":
        self.home.mkdir(parents=True, exist_ok=True)
        for name in ("worker", "serve"):
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        """Ask both to stop; the worker moves the rest of the log into the lake before it ends."""
        for name in ("serve", "worker"):
            process = self.running[name]
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=120) not in (0, -signal.SIGTERM):
                raise SystemExit(f"{name} ended with {process.returncode}; see {self.home / name}.log")


class Client:
    """Sends requests until they are answered; every one has a key, so that sending it twice does nothing twice."""

    def __init__(self, port: int, processes: Processes) -> None:
        self._port, self._processes = port, processes
        self._connection: http.client.HTTPConnection | None = None
        self.retries = 0

    def post(self, path: str, content: object, key: str) -> tuple[dict[str, Any], int]:
        """Return the answer and how many microseconds its last try took."""
        body = json.dumps(content).encode()
        headers = {"content-type": "application/json", "idempotency-key": key}
        for _ in range(2_000):
            began = WALL.elapsed()
            status, answer = self._try(path, body, headers)
            if status == 200:
                return answer, WALL.elapsed() - began
            if status not in (0, 503):
                raise SystemExit(f"{path} answered {status}: {answer}")
            self.retries += 1
            self._check()
            WALL.sleep(0.02)
        raise SystemExit(f"{path} was not answered in time; see the log files in {self._processes.home}")

    def _try(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
                self._connection.connect()
                self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.request("POST", path, body, headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, {}

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _check(self) -> None:
        for name, process in list(self._processes.running.items()):
            if process.poll() is not None and name not in self._processes.restarting:
                raise SystemExit(
                    f"{name} ended with {process.returncode}; see {self._processes.home / name}.log"
                )


@dataclass
class Played:
    """What the live part measured: microseconds per answered question, and how much was sent."""

    latency: list[int] = field(default_factory=list)
    events: int = 0
    predictions: int = 0
    rejected: int = 0
    retries: int = 0


def play(
    history: list[Moment],
    processes: Processes,
    clock: SharedClock,
    *,
    row_id: str,
    each: Callable[[int], None] = lambda _: None,
    heard: Callable[[Row, dict[str, Any]], None] = lambda _, __: None,
) -> Played:
    """Send history to the running processes.

    Parameters
    ----------
    row_id
        The field that identifies a row that is asked about.
    each
        Called before every moment with its place.
    heard
        Called with every row that was asked about and its answer.
    """
    played = Played()
    with closing(Client(processes.port, processes)) as client:
        for place, moment in enumerate(history):
            each(place)
            for name, newest, rows in moment.events:
                clock.set(newest)
                done, _ = client.post(f"/events/{name}", rows, f"{name}/{newest}")
                played.events += done["stored"]
                played.rejected += done["rejected"]
            clock.set(moment.at)
            for row in moment.asked:
                answer, took = client.post("/predict", row, f"{row[row_id]}/{moment.at}")
                heard(row, answer)
                played.latency.append(took)
                played.predictions += 1
        played.retries = client.retries
    return played


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
