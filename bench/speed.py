"""How fast the processors are, moment by moment.

Others on the machine below may take half of what a processor does, and nothing counts it as stolen. So a process of its own
times a loop that is always the same, on each processor in turn, for some thousandths of the time.

    python -m bench.speed FILE
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from bench.harness import ROOT

EVERY, ROUNDS = 0.02, 1_000
"""Seconds between two loops, and how often one goes round: some 40 microseconds."""
QUICK, SLOWER = 0.05, 1.25
"""Which share of the loops are the quickest, and how much longer one may take that is at full speed."""


class Speed:
    """Watches until it is left, by the quickest loops that it saw."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "speed.txt"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.speed", str(self._file)]
        self._process = subprocess.Popen(command, cwd=ROOT)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def full(self, times: Iterable[tuple[float, float]]) -> list[bool]:
        """Return of each time, from one moment of `perf_counter` to another, whether each processor was at full speed for most of it."""
        lines = [line.split() for line in self._file.read_text().splitlines()]
        loops = [(processor, float(at), float(took)) for processor, at, took in lines]
        every = sorted(took for _, _, took in loops)
        most = every[int(len(every) * QUICK)] * SLOWER if every else 0.0
        processors = {processor for processor, _, _ in loops}

        def is_full(begun: float, over: float) -> bool:
            some = [(processor, took) for processor, at, took in loops if begun <= at < over]
            return all(_median(took for by, took in some if by == one) <= most for one in processors)

        return [is_full(*time) for time in times]


def _median(values: Iterable[float]) -> float:
    found = sorted(values)
    return found[len(found) // 2] if found else float("inf")


def _loop() -> float:
    """Return the seconds of a processor that a loop takes."""
    begun, total = time.thread_time(), 0
    for number in range(ROUNDS):
        total += number
    return time.thread_time() - begun


def _watch(file: Path) -> None:
    processors, started = sorted(os.sched_getaffinity(0)), os.getppid()
    with file.open("w", buffering=1) as out:
        while os.getppid() == started:  # which may have been killed
            for processor in processors:
                time.sleep(EVERY)
                os.sched_setaffinity(0, {processor})
                took = min(_loop(), _loop())  # the first one finds its code in no cache
                out.write(f"{processor} {time.perf_counter():.6f} {took:.9f}\n")


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
