"""A client that asks as fast as it is answered, or at a rate: raw connections that are kept, so that the server is what is measured."""

import asyncio
import contextlib
import gc
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from bench import data
from bench.beat import Beat

HEAD = (
    b"POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
END = b"\r\n\r\n"
LENGTH = b"content-length: "
SECOND = 1.0
"""Seconds that are calm or not, each as a whole."""


def rows(first: int, cards: int) -> Iterator[bytes]:
    """Yield rows to predict, each of another payment; of cards as skewed as the payments."""
    from bench.project import NOW
    from tenfold.core.times import iso

    keys = (data.keys(np.random.default_rng(first), 20_000) % cards).tolist()
    at = iso(NOW)
    while True:
        for card in keys:
            first += 1
            yield b'{"ask":%d,"card":%d,"amount":%d.5,"at":"%s"}' % (first, card, first % 97, at.encode())


class Connection(asyncio.Protocol):
    """One request at a time; `done` gets the whole answer, its head included, and when it was asked."""

    def __init__(self, done: Callable[["Connection", bytes, float], None]) -> None:
        self.done, self.held, self.asked = done, b"", 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes, asked: float) -> None:
        self.asked = asked
        self.transport.write(request)

    def data_received(self, received: bytes) -> None:
        self.held += received
        end = self.held.find(END)
        if end < 0:
            return
        place = self.held[:end].lower().find(LENGTH)
        size = int(self.held[place + len(LENGTH) : end].split(b"\r", 1)[0])
        if len(self.held) >= end + len(END) + size:
            whole, self.held = self.held, b""
            self.done(self, whole, self.asked)

    def connection_lost(self, _: Exception | None) -> None:
        self.done(self, b"", self.asked)


class Load:
    """What is asked of a server, and how it answers."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.port, self.requests = port, requests
        self.took: list[float] = []
        self.failed: list[str] = []
        self.answers: list[tuple[float, float, bytes]] = []
        self.until = 0.0
        self.idle: deque[Connection] = deque()
        self.rate = 0
        self.calm: list[tuple[float, float]] = []

    async def run(self, connections: int, seconds: float, rate: int = 0) -> dict[str, Any]:
        """Return requests a second, p50 and p99 in milliseconds, and what failed.

        Parameters
        ----------
        rate
            Requests a second that are offered, whatever the answers; their times count from when they were due. Each has a
            connection of its own for as long as it takes. 0 asks on each connection as soon as it was answered.
        """
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, one = await loop.create_connection(lambda: Connection(self._done), "127.0.0.1", self.port)
            self.idle.append(one)
        begun = time.perf_counter()
        self.until, self.rate = begun + seconds, rate
        watch = loop.create_task(self._watch())
        await (self._offer(begun, seconds, rate) if rate else self._ask_all())
        spent = time.perf_counter() - begun
        await asyncio.sleep(1.0)
        watch.cancel()
        took = sorted(self.took)
        count = len(took)
        return {
            "answers": count,
            "rate": count / min(spent, seconds),
            "p50": took[count // 2] * 1e3 if took else None,
            "p99": took[count * 99 // 100] * 1e3 if took else None,
            "failed": len(self.failed),
            "why": self.failed[:3],
        }

    async def _ask_all(self) -> None:
        idle, self.idle = self.idle, deque()
        for one in idle:
            one.ask(next(self.requests), time.perf_counter())
        while time.perf_counter() < self.until:  # which may be moved meanwhile
            await asyncio.sleep(0.02)

    async def _offer(self, begun: float, seconds: float, rate: int) -> None:
        due = (begun + place / rate for place in range(int(seconds * rate)))
        over = asyncio.get_running_loop().create_future()
        late: float | None = next(due, None)

        def offer() -> None:
            nonlocal late
            while late is not None and late <= time.perf_counter() and self.idle:
                # in turn, for a server ends connections that nobody uses
                self.idle.popleft().ask(next(self.requests), late)
                late = next(due, None)
            if late is None and not over.done():
                over.set_result(None)

        with Beat(rate, offer):
            await over

    async def _watch(self) -> None:
        """Note the seconds in which nobody else on the machine below had our processors."""
        begun, before = time.perf_counter(), stolen()[0]
        while True:
            await asyncio.sleep(SECOND)
            now, after = time.perf_counter(), stolen()[0]
            if after == before:
                self.calm.append((begun, now))
            begun, before = now, after

    def calmly(self) -> list[tuple[float, float, list[float]]]:
        """Return when each calm second began and was over, and the milliseconds that each answer took that was asked for in it."""
        return [
            (begun, over, [(end - asked) * 1e3 for asked, end, _ in self.answers if begun <= asked < over])
            for begun, over in self.calm
        ]

    def _done(self, one: Connection, answer: bytes, asked: float) -> None:
        now = time.perf_counter()
        if not answer and now > self.until:
            return
        if answer.startswith(b"HTTP/1.1 200"):
            self.took.append(now - asked)
            self.answers.append((asked, now, answer))
        else:
            self.failed.append(answer[:600].decode(errors="replace") or "the connection was lost")
        if self.rate:
            self.idle.append(one)
        elif now < self.until and answer:
            one.ask(next(self.requests), now)


def posts(port: int, path: str, bodies: Iterator[bytes]) -> Iterator[bytes]:
    """Yield whole requests."""
    for body in bodies:
        yield HEAD % (path.encode(), port, len(body)) + body


def cycle(path: str) -> Iterator[bytes]:
    """Yield the lines of a file again and again."""
    return itertools.cycle(Path(path).read_bytes().splitlines())


def used(pid: int) -> float:
    """Return the seconds of a processor that a process and those it started took so far."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            stats[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    family = {pid}
    while more := {one for one, (parent, _) in stats.items() if parent in family} - family:
        family |= more
    return sum(stats[one][1] for one in family if one in stats) / os.sysconf("SC_CLK_TCK")


def stolen() -> tuple[int, int]:
    """Return the time that others on the machine below had of our processors so far, and all time, in ticks."""
    spent = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return spent[7], sum(spent)


def measure(
    port: int, path: str, pid: int, bodies: Iterator[bytes], connections: int, seconds: float, rate: int = 0
) -> dict[str, Any]:
    """Ask a server and return what it did.

    That is what `run` returns, microseconds of its processors a request, what share of the processors others stole, and the
    seconds in which they stole nothing, as `calmly` returns them.
    """
    next(bodies)  # what is prepared for the first one is not part of what is measured
    load = Load(port, posts(port, path, bodies))
    before, others = used(pid), stolen()
    gc.collect()
    gc.disable()  # a pause of the client's is none of the server's
    try:
        found = uvloop.run(load.run(connections, seconds, rate))
    finally:
        gc.enable()
    lost, every = (after - first for first, after in zip(others, stolen(), strict=True))
    cpu = (used(pid) - before) / max(found["answers"], 1) * 1e6
    return found | {"calm": load.calmly(), "cpu": cpu, "stolen": lost / max(every, 1)}
