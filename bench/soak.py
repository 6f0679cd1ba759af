"""A server and a worker at 70 % of what they can take, for ten minutes: `make soak`.

Predictions and events come over HTTP at a steady rate, from this process, on a clock of history that goes on as the real one does.
What is looked for is what only time shows: memory that grows, answers that get slower, a request that fails. Memory is what a process
has for itself; pages of files, which the system takes back when it likes, do not count. The worker writes the lake five times as often
as it does by itself: with each commit, up to the merge of small files that the 33rd brings, libraries keep a little more, and less after
it, and a few merges pass until it is no more than before. What is steady shows over many merges only.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from rich.console import Console

from bench import data
from bench.fresh import processes
from bench.harness import ROOT
from bench.load import Load, posts, stolen
from tenfold import Platform
from tenfold.core.clock import SharedClock, VirtualClock
from tenfold.core.times import iso
from tenfold.sources.lake_parts import MOST_SMALL
from tenfold.ui.report import Section, page
from tenfold.ui.svg import lines
from tenfold.ui.terminal import table

PAYMENTS, TREES = 200_000, 200
EVENTS = 200
"""Events a second."""
SHARE = 0.7
TRIAL = 10.0
TICKS = os.sysconf("SC_CLK_TCK")
EVERY, OFTEN = 10.0, 0.5
"""Seconds between two looks, and between two samples of memory, of which a look has the mean: it goes up and down in each."""
STEADY = 0.005
"""How much of itself a process's memory may grow a minute from the second third to the last: before, parts are loaded that stay."""
NAMES = {b"serve": "serve", b"worker": "worker", b"bench.soak_worker": "worker"}
"""What a process is, by a word of its command."""


@dataclass(frozen=True)
class Look:
    """What was seen in a part of the time: when it ended, answers, p50 and p99 in milliseconds, and failures.

    By process, `memory` is in MB and `cpu` in seconds of a processor a second; `stolen` is the share of all processors that
    other machines took.
    """

    minute: float
    answers: int
    p50: float
    p99: float
    failed: int
    memory: dict[str, float]
    cpu: dict[str, float]
    stolen: float


def main(arguments: list[str]) -> int:
    """Soak, show it, and return 0 when nothing failed and memory is steady."""
    parser = argparse.ArgumentParser(
        prog="make soak ARGS=", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument(
        "--rate", type=int, default=0, help="predictions a second; 70 percent of the most by default"
    )
    parser.add_argument(
        "--lake", type=float, default=2.0, help="seconds between two commits to the lake; 10 by itself"
    )
    parser.add_argument(
        "--home", type=Path, default=ROOT / "build" / "soak", help="a folder; what is there is removed"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak.json", help="where the figures go")
    given = parser.parse_args(arguments)
    shutil.rmtree(given.home, ignore_errors=True)
    say = Console(stderr=True).print
    from bench import project

    say("making 200,000 payments of 10,000 cards, and a version of 200 trees")
    project.build(given.home, PAYMENTS, trees=TREES)
    live_in(given.home)
    with processes(given.home, ["bench.soak_worker", str(given.home), str(given.lake)]) as port:
        world = World(port, SharedClock(given.home / "clock"))
        rate = given.rate or int(SHARE * uvloop.run(most(world, say)))
        say(f"{rate:,} predictions and {EVENTS} events a second for {given.minutes:g} minutes")
        looks = uvloop.run(soak(world, rate, given.minutes * 60, say))
    found = {"rate": rate, "events": EVENTS, **verdict(looks), "looks": [asdict(look) for look in looks]}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n")
    given.out.with_suffix(".html").write_text(page_of(looks, found))
    rows = [(name, value) for name, value in found.items() if name != "looks"]
    table(
        Console(), f"{given.minutes:g} minutes; see {given.out.with_suffix('.html')}", ["what", "seen"], rows
    )
    return 0 if found["failed"] == 0 and found["steady"] else 1


def live_in(home: Path) -> None:
    """Give the lake nearly as many small files as it may have: merging them comes first then, and not in the sixth minute."""
    from bench.project import NOW, model, project

    with project.open(Platform(home=home, clock=VirtualClock(NOW))) as app:
        for place in range(MOST_SMALL - 1):
            app.ingest("payments", [{"payment": 3 * 10**9 + place, "card": 1, "cents": 1, "at": iso(NOW)}])
            app.process()
            app.predict(model, {"ask": 3 * 10**9 + place, "card": 1, "amount": 1.5, "at": iso(NOW)})
            app.flush()


class World:
    """A server under way, and the clock of history that it lives by."""

    def __init__(self, port: int, clock: SharedClock) -> None:
        self.port, self.clock = port, clock

    async def tick(self) -> None:
        """Let history go on as fast as the present does."""
        begun, since = self.clock.now(), time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            self.clock.set(begun + int((time.perf_counter() - since) * 1e6))

    def asked(self, first: int) -> Load:
        """Return what asks about rows, of cards as skewed as the payments."""
        body = b'{"ask":%d,"card":%d,"amount":%d.5,"at":"%s"}'
        bodies = (body % (row, card, row % 97, self._now()) for row, card in _cards(first))
        return Load(self.port, posts(self.port, "/predict", bodies))

    def sent(self, first: int) -> Load:
        """Return what sends payments, each in a request."""
        body = b'{"payment":%d,"card":%d,"cents":1234,"at":"%s"}'
        bodies = (body % (row, card, self._now()) for row, card in _cards(first))
        return Load(self.port, posts(self.port, "/events/payments", bodies))

    def _now(self) -> bytes:
        return iso(self.clock.now()).encode()


def _cards(first: int) -> Iterator[tuple[int, int]]:
    keys = data.keys(np.random.default_rng(first), 20_000).tolist()
    return zip(count(first), cycle(keys), strict=False)


async def most(world: World, say: Any) -> float:
    """Return how many predictions a second are answered when asked as fast as they are, events coming too."""
    say("measuring how many predictions a second are the most")
    asked, clock = world.asked(10**7), asyncio.create_task(world.tick())
    events = asyncio.create_task(world.sent(10**9).run(4, TRIAL, EVENTS))
    await asked.run(16, TRIAL)
    await events
    clock.cancel()
    if asked.failed:
        raise RuntimeError(f"requests fail: {asked.failed[0]}")
    return len(asked.took) / TRIAL


async def soak(world: World, rate: int, seconds: float, say: Any) -> list[Look]:
    """Ask and send at a rate, and look every ten seconds."""
    asked, events = world.asked(10**8), world.sent(2 * 10**9)
    clock = asyncio.create_task(world.tick())
    running = [
        asyncio.create_task(asked.run(16, seconds, rate)),
        asyncio.create_task(events.run(4, seconds, EVENTS)),
    ]
    looks: list[Look] = []
    begun, answers, failed = time.perf_counter(), 0, 0
    before = spent()
    while not running[0].done():
        held = await sampled()
        took = sorted(asked.took[answers:])
        if not took:
            continue
        bad = len(asked.failed) + len(events.failed)
        minute = (time.perf_counter() - begun) / 60
        p50, p99 = (round(took[int(len(took) * at)] * 1e3, 2) for at in (0.5, 0.99))
        now = spent()
        cpu, others = share(before, now)
        before = now
        looks.append(Look(round(minute, 2), len(took), p50, p99, bad - failed, held, cpu, others))
        answers, failed = answers + len(took), bad
        say(
            f"{minute:5.1f} min  p50 {p50:.1f}  p99 {p99:.1f} ms  {bad} failed  {looks[-1].memory} MB  {cpu} s  "
            f"{others:.0%} stolen"
        )
    await asyncio.gather(*running)
    clock.cancel()
    if failed:
        say([*asked.failed, *events.failed][:3])
    return looks


async def sampled() -> dict[str, float]:
    """Return the mean of the memory of each process over the seconds to the next look."""
    samples = []
    for _ in range(round(EVERY / OFTEN)):
        await asyncio.sleep(OFTEN)
        samples.append(memory())
    of_each = {name: [one[name] for one in samples if name in one] for name in samples[-1]}
    return {name: round(float(np.mean(held)), 1) for name, held in of_each.items()}


def memory() -> dict[str, float]:
    """Return the MB that each process started from here has for itself, by its command and a number if there are several."""
    found: dict[str, float] = {}
    for pid, name in _named():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        found[name] = round(found.get(name, 0.0) + int(status["RssAnon"].split()[0]) / 1e3, 1)
    return found


def spent() -> dict[str, float]:
    """Return the seconds of a processor that each of them had so far, those that others stole, and those that passed."""
    found = {"": time.perf_counter()}
    for pid, name in _named():
        ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        found[name] = found.get(name, 0.0) + sum(map(int, ticks)) / TICKS
    return found | {"stolen": stolen()[0] / TICKS}


def share(before: dict[str, float], after: dict[str, float]) -> tuple[dict[str, float], float]:
    """Return the processor's seconds a second of each process, and the share of all processors that others took."""
    passed = after[""] - before[""]
    each = {name: round((after[name] - before.get(name, 0.0)) / passed, 3) for name in after if name}
    others = each.pop("stolen") / (os.cpu_count() or 1)
    return each, round(others, 4)


def _named() -> list[tuple[int, str]]:
    """Return the processes started from here with what they are: server, worker, or other."""
    found = []
    for pid in _below(os.getpid()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        found.append((pid, next((NAMES[word] for word in words if word in NAMES), "other")))
    return found


def _below(pid: int) -> list[int]:
    text = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    children = [int(child) for child in text.split()]
    return [*children, *(one for child in children for one in _below(child))]


def verdict(looks: list[Look]) -> dict[str, Any]:
    """Return what is to be known of all looks: by how much memory and p99 are above those of the second third in the last."""
    third = max(len(looks) // 3, 1)
    before, after = looks[-2 * third : -third] or looks, looks[-third:]
    found: dict[str, Any] = {
        "predictions": sum(look.answers for look in looks),
        "failed": sum(look.failed for look in looks),
    }
    passed = middle(look.minute for look in after) - middle(look.minute for look in before)
    growth = []
    for name in looks[-1].memory:
        one, two = (middle(look.memory[name] for look in part) for part in (before, after))
        growth.append((two / one - 1) / passed if passed else 0.0)
        found[f"memory of {name}, MB"] = round(two, 1)
        found[f"memory of {name}, grown a minute"] = f"{growth[-1]:.2%}"
    one, two = (middle(look.p99 for look in part) for part in (before, after))
    found |= {"p99, ms": round(two, 2), "p99, grown": round(two / one, 3)}
    return found | {"steady": max(growth) <= STEADY}


def middle(values: Iterable[float]) -> float:
    """Return the median, so that no peak tells."""
    return float(np.median(list(values)))


def page_of(looks: list[Look], found: dict[str, Any]) -> str:
    """Return a page with answers' times and memory over the minutes."""
    at = [look.minute for look in looks]
    times = {"p50": [look.p50 for look in looks], "p99": [look.p99 for look in looks]}
    held = {name: [look.memory[name] for look in looks] for name in looks[-1].memory}
    spent = {name: [look.cpu[name] for look in looks] for name in looks[-1].cpu}
    spent["stolen by other machines"] = [look.stolen for look in looks]
    charts = [("Answers, ms", times), ("Memory, MB", held), ("Processors, seconds a second", spent)]
    sections = [
        Section(
            name,
            lines({key: list(zip(at, values, strict=True)) for key, values in series.items()}, label=name),
        )
        for name, series in charts
    ]
    failed = f"{found['failed']:,} of {found['predictions']:,} failed"
    return page("Soak", f"{found['rate']:,} predictions and {EVENTS} events a second; {failed}", sections)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
