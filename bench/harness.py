"""Runs a function in a process of its own, compares it with its peer, and keeps what was measured.

This process imports nothing heavy: Linux counts the memory of the process that starts another one towards the peak
of the other one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import child

ROOT = Path(__file__).parents[1]
LOWER_IS_BETTER = {"s", "ms", "us", "GB", "x"}
CHILD = "bench.child"
MEANT = 50_000
"""Below this many rows nothing is measured twice: it is a trial."""
LIMIT = 900.0
"""Seconds after which a measured process is stopped, unless said otherwise."""


@dataclass(frozen=True)
class Entry:
    """One line of the table: a value, and that of the peer or the bare formulation in the same run.

    Attributes
    ----------
    name
        The benchmark, after a slash which of its figures.
    ratio
        How much better ours is than the peer, in the unit's own sense of better: above 1 is better. None without a peer.
    goal
        What the project wants to hold, as text; it is printed and not asserted.
    note
        What differs between the two, or why there is no figure.
    """

    name: str
    value: float | None
    unit: str
    rows: int
    peer: str = ""
    peer_value: float | None = None
    goal: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        if self.value is None or self.peer_value is None:
            return None
        better, worse = (
            (self.value, self.peer_value) if self.unit in LOWER_IS_BETTER else (self.peer_value, self.value)
        )
        return worse / better if better else None

    def plain(self) -> dict[str, Any]:
        """Return the entry as build/bench.json holds it."""
        return asdict(self) | {"ratio": self.ratio}


@dataclass
class Bench:
    """What a benchmark is given: the size, and how to run a function apart.

    Attributes
    ----------
    rows
        The most rows any part takes; each benchmark has its own full size, and takes the smaller of the two.
    apart
        Whether functions run in processes of their own; else here, as is enough to see that they do.
    no_feast
        Why there is no Feast to compare with; empty when there may be one. `no_mlflow` likewise, and `no_peers` of servers.
    """

    rows: int
    say: Callable[[str], None]
    apart: bool = True
    no_feast: str = ""
    no_mlflow: str = ""
    no_peers: str = ""
    python: str = sys.executable
    build: Path = field(default=ROOT / "build")

    def __post_init__(self) -> None:
        self.build.mkdir(parents=True, exist_ok=True)

    def size(self, full: int, *, least: int = 100) -> int:
        """Return the rows for a part whose full size is `full`."""
        return max(least, min(full, self.rows))

    def warm(self, gigabytes: float) -> None:
        """Touch memory once: a page nobody used since the machine started can cost ten times one that somebody did."""
        if self.rows >= MEANT:
            self.run("bench.child:touch", gigabytes=gigabytes)

    def run(
        self, function: str, *, python: str | None = None, limit: float = LIMIT, repeat: int = 1, **given: Any
    ) -> dict[str, Any]:
        """Return what a function returned in a fresh process, with `peak` in GB; of several runs the fastest.

        Parameters
        ----------
        function
            "module:name"; it returns a dict that JSON can hold, with its own `seconds`.

        A function that takes longer than `limit` gives `{"seconds": None, "failed": ...}`.
        """
        times = repeat if self.rows >= MEANT else 1
        found = [self._once(function, python or self.python, limit, given) for _ in range(times)]
        return min(found, key=lambda item: item["seconds"] if item.get("seconds") else float("inf"))

    def turns(self, times: int, runs: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        """Return by name what functions returned, run by turns so that a busy machine is busy for all; each one's fastest.

        Of `cpu`, where it is told, the least counts, which may be of another turn.
        """
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
        for _ in range(times if self.rows >= MEANT else 1):
            for name, (function, given) in runs.items():
                found[name].append(self._once(function, self.python, LIMIT, given))
        return {
            name: min(each, key=lambda item: item["seconds"]) | {"cpu": min(item["cpu"] for item in each)}
            for name, each in found.items()
        }

    def _once(self, function: str, python: str, limit: float, given: dict[str, Any]) -> dict[str, Any]:
        told = ", ".join(f"{name}={value}" for name, value in given.items() if name != "folder")
        self.say(f"{function.removeprefix('bench.')}({told})")
        if not self.apart and python == self.python:
            return child.called(function, given)
        command = [python, "-m", CHILD, function, json.dumps(given)]
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = os.environ | {"PYTHONPATH": path}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return {"seconds": None, "failed": f"stopped after {limit:.0f} s"}
        if done.returncode:
            raise RuntimeError(f"{function}({told}) failed:\n{done.stderr[-4000:]}")
        return json.loads(done.stdout.splitlines()[-1])


def check_equal(name: str, ours: dict[str, Any], peer: dict[str, Any], *, within: float = 0.0) -> None:
    """Refuse to compare the times of two results that are not the same.

    Parameters
    ----------
    within
        The relative difference allowed between floats; whole numbers must be equal.
    """
    shared = ours["check"].keys() & peer["check"].keys()
    if not shared or len(shared) < min(len(ours["check"]), len(peer["check"])):
        raise ValueError(
            f"{name}: not the same features: {sorted(ours['check'])} and {sorted(peer['check'])}."
        )
    for key in shared:
        mine, theirs = ours["check"][key], peer["check"][key]
        allowed = 0.0 if isinstance(mine, int) and isinstance(theirs, int) else within
        if abs(mine - theirs) > allowed * max(abs(mine), abs(theirs)):
            raise ValueError(f"{name}: {key} is {mine!r} here and {theirs!r} in the peer: not the same work.")


def keep(path: Path, entries: Iterable[Entry], measured: set[str]) -> None:
    """Write entries; those of other benchmarks that the file holds stay."""
    held = json.loads(path.read_text()) if path.exists() else []
    others = [item for item in held if item["name"].partition("/")[0] not in measured]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*others, *(entry.plain() for entry in entries)], indent=1) + "\n")
