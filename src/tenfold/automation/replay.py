"""Replay: history runs through scoring, late labels, monitors, triggers, gates and promotion under a virtual clock."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tenfold.automation.loop import Loop
from tenfold.core.clock import SharedClock, VirtualClock
from tenfold.core.times import UNITS, iso

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
    loop: Loop, clock: VirtualClock | SharedClock, start: int, end: int, *, score: Callable[[int, int], int]
) -> Iterator[Day]:
    """Run history day by day and yield each day as it is done.

    On each day the loop first does what is due, knowing only what was known by then; then the day's rows are scored by
    the version that is in Production.

    Parameters
    ----------
    score
        Scores and logs the rows predicted in [start, end) and returns how many there were.
    """
    for moment in range(start, end, DAY):
        clock.set(moment)
        trainings = loop.tick()
        yield Day(moment, score(moment, min(moment + DAY, end)), trainings)
    clock.set(end)
