"""Replay: history runs through scoring, late labels, monitors, triggers, gates and promotion under a virtual clock."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tenfold.automation.loop import Loop
from tenfold.core.clock import Clock, SharedClock, VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, iso
from tenfold.registry.versions import Version

DAY = UNITS["d"]


@dataclass(frozen=True, slots=True)
class Day:
    """A replayed day: its first instant, how many rows were scored, and the trainings it caused."""

    start: int
    scored: int
    trainings: list[str]

    @property
    def text(self) -> str:
        """The day as a date."""
        return iso(self.start)[:10]


def replay(
    loop: Loop, clock: Clock, start: int, end: int, *, score: Callable[[int, int], int]
) -> Iterator[Day]:
    """Return the days of a period; history runs day by day as they are taken, and each is given as it is done.

    On each day the loop first does what is due, knowing only what was known by then; then the day's rows are scored by
    the version that is in Production.

    Parameters
    ----------
    score
        Scores and logs the rows predicted in [start, end) and returns how many there were.
    """
    if not isinstance(clock, (VirtualClock, SharedClock)):
        raise DefinitionError(
            "replay needs a clock of history. Open the project on Platform(clock=VirtualClock(...))."
        )
    _check_past(loop, clock.now(), start)
    return _days(loop, clock, start, end, score)


def _days(
    loop: Loop,
    clock: VirtualClock | SharedClock,
    start: int,
    end: int,
    score: Callable[[int, int], int],
) -> Iterator[Day]:
    for moment in range(start, end, DAY):
        clock.set(moment)
        trainings = loop.tick()
        yield Day(moment, score(moment, min(moment + DAY, end)), trainings)
    clock.set(end)


def _check_past(loop: Loop, now: int, start: int) -> None:
    """Refuse to replay a time that the clock, or a version that would answer in it, already lies behind."""
    if now > start:
        raise DefinitionError(
            f"the clock of history stands at {iso(now)[:16]}, after the start {iso(start)[:16]}. Replay on a clock at the start."
        )
    name = loop.release.model.name
    champion, rollout = loop.registry.production(name), loop.rolling.rollouts.open(name)
    if champion is not None:
        _check_known(loop, champion, "in production", start)
    if rollout is not None:
        _check_known(loop, loop.registry.get(name, rollout.candidate), "on its way to production", start)


def _check_known(loop: Loop, version: Version, where: str, start: int) -> None:
    """Refuse a version that would answer in a time before it was made, or in one that it learned from."""
    learned: Sequence[int] | None = loop.trainer.runs.get(version.run_id).params.get("train")
    if version.created > start:
        told = f"was made on {iso(version.created)[:10]}"
    elif learned is not None and learned[1] > start:
        told = f"learned from rows until {iso(learned[1])[:10]}"
    else:
        return
    raise DefinitionError(
        f"version {version.number} {where} {told}, after the start {iso(start)[:10]}: it knows what was not known then. "
        "Replay in a home of its own."
    )
