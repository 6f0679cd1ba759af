"""Takes runs and versions that another system recorded into our own tracking, each once, with where they came from."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tenfold.core.clock import Clock, VirtualClock
from tenfold.registry.versions import Registry
from tenfold.sources.base import Blobs
from tenfold.sources.database import Database
from tenfold.sources.locked import alone
from tenfold.tracking.runs import Run, Runs
from tenfold.training.tracked import CONTENT, FILES

NAMES = "artefacts.json"
"""The file of an imported run that lists what it made: names and sizes, for the files stay where they are."""
INPUTS = "inputs.json"
"""The file of a version that was taken over which lists names and types of what its model takes, where that is known."""
KEY = "tenfold.key"
"""The tag of what was shown from a home of tenfold."""
IMPORTED = "SELECT id, status, code FROM run WHERE kind = 'import'"


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run of another system; instants are microseconds since 1970 UTC.

    `points` are metrics: name, step, value, instant. `system` and `id` say where it came from; `code` what ran.
    """

    system: str
    id: str
    subject: str
    title: str
    status: str
    started: int
    finished: int
    params: Mapping[str, Any]
    points: Sequence[tuple[str, int, float, int]]
    tags: Mapping[str, str]
    artefacts: Mapping[str, int]
    code: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class ForeignVersion:
    """A version of another system. `read` gives its files, and what is to be said of them; none, and why, when none is of use."""

    system: str
    model: str
    number: str
    run: str
    info: Mapping[str, Any]
    read: Callable[[], tuple[Mapping[str, bytes], str]]


class Source(Protocol):
    """Another system to take runs and versions from."""

    def runs(self, experiments: Sequence[str]) -> Iterator[ForeignRun | str]:
        """Give the runs of experiments, of all without one, oldest first; text says what cannot be taken over."""
        ...

    def versions(self) -> Iterator[ForeignVersion]:
        """Give all versions, each model's in order."""
        ...


@dataclass(slots=True)
class Taken:
    """What came of an import."""

    runs: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    known: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Importer:
    """Writes what a source gives; after a crash, or a second time, it adds only what is missing.

    Parameters
    ----------
    folder
        Where its lock lies.
    home
        The id of this home: what it showed elsewhere itself is not taken back.
    """

    database: Database
    registry: Registry
    blobs: Blobs
    clock: Clock
    folder: Path
    home: str
    _known: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def take(self, source: Source, experiments: Sequence[str] = ()) -> Taken:
        """Take over runs, then the versions that these runs made."""
        taken = Taken()
        with alone(self.folder / "import.lock", "importing"):
            self._look()
            for item in source.runs(experiments):
                if isinstance(item, str):
                    taken.notes.append(item)
                elif not item.tags.get(KEY, "").startswith(f"{self.home}/") and self._run(item):
                    taken.runs.append(item.id)
                else:
                    taken.known += 1
            for version in source.versions():
                self._version(version, taken)
        return taken

    def _run(self, item: ForeignRun) -> bool:
        """Record a run at its own times; False when it is here already."""
        clock = VirtualClock(item.started)
        runs = Runs(self.database, clock, environment=dict)
        run_id, status = self._known.get((item.system, item.id), ("", "running"))
        if status != "running":
            return False
        if not run_id:
            code = {f"{item.system}_run": item.id, **item.code}
            params: dict[str, Any] = {"params": item.params, "data": {}, "code": code}
            run_id = runs.start("import", item.subject, title=item.title, **params).id
        for (step, at), values in _moments(item.points).items():
            clock.set(at)
            runs.log(run_id, values, step=step)
        self._attach(runs, run_id, NAMES, msgspec.json.encode(item.artefacts, order="sorted"))
        for name, value in item.tags.items():
            runs.tag(run_id, name, value)
        clock.set(item.finished)
        if item.status == "done":
            runs.finish(run_id, metrics={})
        else:
            runs.fail(run_id, item.error)
        self._known[item.system, item.id] = (run_id, item.status)
        return True

    def _look(self) -> None:
        """See which runs are here, by where they came from: (system, id) to our id and status."""
        for row in self.database.query(IMPORTED):
            for name, value in msgspec.json.decode(row["code"]).items():
                if name.endswith("_run"):
                    self._known[name.removesuffix("_run"), str(value)] = (row["id"], row["status"])

    def _attach(self, runs: Runs, run_id: str, name: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs.put(f"{FILES}/{digest}", {CONTENT: data})
        runs.attach(run_id, name, digest=digest, size=len(data))

    def _version(self, item: ForeignVersion, taken: Taken) -> None:
        run_id, _ = self._known.get((item.system, item.run), ("", ""))
        if not run_id:
            return
        run = Runs(self.database, self.clock).get(run_id)
        name = f"{item.model} version {item.number}"
        mine = [version for version in self.registry.versions(item.model) if version.run_id == run.id]
        if mine:
            first = (mine[0].info.get(item.system) or {}).get("version")
            if first == item.number:
                taken.known += 1
            else:
                taken.notes.append(
                    f"{name}: its run {run.id} made version {first} too, which was taken over instead"
                )
            return
        files, problem = item.read()
        if not files:
            taken.notes.append(f"{name}: only its run {run.id} was taken over, because {problem}")
            return
        if problem:
            taken.notes.append(f"{name}: {problem}")
        self._register(item, run, files)
        taken.versions.append(f"{item.model}/{item.number}")

    def _register(self, item: ForeignVersion, run: Run, files: Mapping[str, bytes]) -> None:
        place = hashlib.sha256(f"{item.model}\n{item.number}".encode()).hexdigest()[:16]
        artefact = f"{item.system}-import/{run.id}-{place}"
        digest = self.blobs.put(artefact, files)
        metrics = {name: value if math.isfinite(value) else None for name, value in run.metrics.items()}
        known = {"model": item.model, "version": item.number, "run": item.run, **item.info}
        info = {"metrics": metrics, "rows": None, "period": "", item.system: known}
        self.registry.register(item.model, run_id=run.id, digest=digest, artefact=artefact, info=info)


def _moments(points: Sequence[tuple[str, int, float, int]]) -> dict[tuple[int, int], dict[str, float]]:
    """Return metrics by step and instant in the order of time: what was logged together is one write."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    for name, step, value, at in sorted(points, key=lambda point: (point[3], point[1])):
        found.setdefault((step, at), {})[name] = value
    return found
