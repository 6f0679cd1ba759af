"""A mirror in memory: what a mirror has to show, in its plainest form."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tenfold.automation.mirror import Origin, RunCopy, StagesCopy, VersionCopy, curves
from tenfold.core.errors import SchemaError
from tenfold.registry.versions import Stage


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run as a mirror shows it; curves are steps and values, by name."""

    status: str
    params: int
    metrics: Mapping[str, Sequence[tuple[int, float]]]
    tags: Mapping[str, str]
    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version as a mirror shows it; `run` is the key of its run."""

    stage: str
    run: str


@dataclass(frozen=True, slots=True)
class Exhibition:
    """Everything a mirror shows: runs by key, versions by model and number, champions by model."""

    runs: Mapping[str, ShownRun]
    versions: Mapping[tuple[str, int], ShownVersion]
    champions: Mapping[str, int]


@dataclass(slots=True)
class MemoryMirror:
    """`Mirror` in memory.

    Examples
    --------
    >>> mirror = MemoryMirror()
    >>> mirror.settle(Origin("shop", "h1"), 7)
    >>> mirror.positions(Origin("shop", "h1"), [])
    {'runs': 7}
    """

    name: str = "memory"
    _runs: dict[str, ShownRun] = field(default_factory=dict)
    _versions: dict[tuple[str, int], ShownVersion] = field(default_factory=dict)
    _events: dict[tuple[str, str], int] = field(default_factory=dict)
    _owners: dict[str, str] = field(default_factory=dict)
    _settled: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def positions(self, origin: Origin, models: Sequence[str]) -> Mapping[str, int]:
        found = {"runs": self._settled[origin.home]} if origin.home in self._settled else {}
        events = {model: self._events.get((origin.home, model)) for model in models}
        return found | {f"stages/{model}": seq for model, seq in events.items() if seq is not None}

    def run(self, copy: RunCopy) -> None:
        with self._lock:
            self._runs[copy.key] = shown_run(copy)

    def version(self, copy: VersionCopy) -> None:
        place = (copy.version.model, copy.version.number)
        with self._lock:
            if copy.run.key not in self._runs:
                raise SchemaError(f"the run of {place[0]} version {place[1]} is not shown.")
            if self._owners.setdefault(place[0], copy.origin.home) != copy.origin.home:
                raise SchemaError(f'model "{place[0]}" is shown from another home.')
            if place not in self._versions:
                self._versions[place] = ShownVersion(Stage.NONE.value, copy.run.key)
            self._events.setdefault((copy.origin.home, place[0]), 0)

    def stages(self, copy: StagesCopy) -> None:
        with self._lock:
            if self._owners.get(copy.model) != copy.origin.home:
                raise SchemaError(f'model "{copy.model}" is not shown from here.')
            for number, stage in copy.stages.items():
                place = (copy.model, number)
                if place in self._versions:
                    self._versions[place] = replace(self._versions[place], stage=stage.value)
            self._events[copy.origin.home, copy.model] = copy.seq

    def settle(self, origin: Origin, runs: int) -> None:
        self._settled[origin.home] = runs

    def shown(self) -> Exhibition:
        """Return everything it shows."""
        champions = {
            model: number
            for (model, number), version in self._versions.items()
            if version.stage == Stage.PRODUCTION
        }
        return Exhibition(dict(self._runs), dict(self._versions), champions)


def shown_run(copy: RunCopy) -> ShownRun:
    """Return what a mirror should show of a run: parameters, curves and files once it is finished."""
    if copy.run.status == "running":
        return ShownRun("running", 0, {}, dict(copy.details.tags), frozenset())
    metrics = {name: [(point.step, point.value) for point in curve] for name, curve in curves(copy).items()}
    return ShownRun(
        copy.run.status, len(copy.run.params), metrics, dict(copy.details.tags), frozenset(copy.files)
    )
