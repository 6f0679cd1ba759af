"""What another system is given to show: runs, versions and stages, as copies. What is true stays here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenfold.registry.versions import Stage, StageEvent, Version
from tenfold.tracking.details import Details, Point
from tenfold.tracking.runs import Run


@dataclass(frozen=True, slots=True)
class Origin:
    """Where copies come from: a project, and the id of its home, which no other home has."""

    project: str
    home: str


@dataclass(frozen=True, slots=True)
class RunCopy:
    """A run to show, with the files that belong to it; `problem` says which of them could not be read."""

    origin: Origin
    run: Run
    details: Details
    files: Mapping[str, bytes]
    problem: str = ""

    @property
    def key(self) -> str:
        """What the copy is found by again: a copied home that went on by itself has other runs of the same id."""
        return f"{self.origin.home}/{self.run.id}/{self.run.started}"


@dataclass(frozen=True, slots=True)
class VersionCopy:
    """A version to show: its model files, its card, and the run that made it, which was copied before."""

    origin: Origin
    version: Version
    run: RunCopy
    files: Mapping[str, bytes]
    card: str = ""
    problem: str = ""

    @property
    def key(self) -> str:
        """What the copy is found by again."""
        return f"{self.origin.home}/{self.version.model}/{self.version.number}/{self.version.created}"


@dataclass(frozen=True, slots=True)
class StagesCopy:
    """Where all versions of a model stand after its event `seq`, and how they came there, oldest first."""

    origin: Origin
    model: str
    seq: int
    stages: Mapping[int, Stage]
    history: Sequence[StageEvent]


class Mirror(Protocol):
    """Another system that shows runs and versions.

    Every method may be called again with the same or a newer copy, after a crash at any point of an earlier call, and
    leaves what one call would have left. Nobody else writes at the same time from the same home.

    Raises
    ------
    Unavailable
        When it does not answer: everything is tried again later.
    SchemaError
        When it will never take this copy: the others are not held up.
    """

    @property
    def name(self) -> str:
        """What its cursors are kept under; the same as long as it is the same place."""
        ...

    def positions(self, origin: Origin, models: Sequence[str]) -> Mapping[str, int]:
        """Return how far it says it is: "runs" as `settle` was told, "stages/MODEL" the seq of the last event.

        What it does not know is left out: a server that was emptied knows nothing.
        """
        ...

    def run(self, copy: RunCopy) -> None:
        """Show a run, under way or finished."""
        ...

    def version(self, copy: VersionCopy) -> None:
        """Show a version; SchemaError when its model is shown from another home already."""
        ...

    def stages(self, copy: StagesCopy) -> None:
        """Show where the versions of a model stand."""
        ...

    def settle(self, origin: Origin, runs: int) -> None:
        """Remember that every run up to this seq was shown."""
        ...


def curves(copy: RunCopy) -> dict[str, list[Point]]:
    """Return the curves of a run to show; a result that is not the end of its curve comes one step after it."""
    run = copy.run
    found = {name: list(curve) for name, curve in copy.details.curves.items()}
    for name, value in run.metrics.items():
        curve = found.setdefault(name, [])
        if not curve or repr(curve[-1].value) != repr(value):  # by text, because NaN is not equal to NaN
            step = curve[-1].step + 1 if curve else 0
            curve.append(Point(step, value, run.finished or run.started))
    return found
