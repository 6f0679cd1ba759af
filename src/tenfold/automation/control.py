"""Keeps the loop of a project's releases going: what is due is done, once a minute, and candidates are looked at every second."""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from tenfold.automation.loop import Loop
from tenfold.automation.schedule import Schedule
from tenfold.automation.supervise import POLL, Tell
from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS

logger = logging.getLogger(__name__)


def control(
    loops: Sequence[Loop],
    clock: Clock,
    stopped: Callable[[], bool],
    *,
    tell: Tell,
    schedules: Sequence[Schedule] = (),
) -> None:
    """Finish what a crash interrupted, and let every loop and schedule do what is due, once a minute of the clock.

    Errors and latency of a candidate are looked at every second, whatever else is done, so that a bad one is gone within about
    two. What fails for one release is told, tried again a minute later, and holds up no other; that something is away is told once,
    and that it works again.
    """
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(loops, clock, ended.is_set, tell), daemon=True)
    watch.start()
    try:
        due, tries = clock.now(), Tries(tell)
        while not stopped():
            if not due - UNITS["m"] <= clock.now() < due:  # a clock that was set back does not hold it up
                due = clock.now() + UNITS["m"]
                _tick(loops, schedules, tries, stopped)
            clock.sleep(POLL)
    finally:
        ended.set()
        watch.join()


def _watch(loops: Sequence[Loop], clock: Clock, ended: Callable[[], bool], tell: Tell) -> None:
    """Look at what candidates do, every second."""
    look, tries = clock.elapsed(), Tries(tell)
    while not ended():
        if clock.elapsed() >= look:
            look = clock.elapsed() + UNITS["s"]
            for loop in loops:
                tries.act(partial(_look, loop, tell), loop.release.model.name)
        clock.sleep(POLL)


def _look(loop: Loop, tell: Tell) -> None:
    if done := loop.rolling.advance(outcomes=False):
        _said(loop, tell, f"candidate {done}")


def _said(loop: Loop, tell: Tell, what: str) -> None:
    tell(f"{loop.release.model.name}: {what}")


def _tick(
    loops: Sequence[Loop],
    schedules: Sequence[Schedule],
    tries: "Tries",
    stopped: Callable[[], bool] = bool,
) -> None:
    """Do what is due; nothing more is begun once `stopped`, as another controller waits for its turn."""
    for loop in loops:
        if not stopped():
            tries.act(partial(_trained, loop, tries.tell), loop.release.model.name)
    for schedule in schedules:
        if not stopped():
            tries.act(partial(_scored, schedule, tries.tell), schedule.release.model.name, "scoring")


def _trained(loop: Loop, tell: Tell) -> None:
    loop.trainer.runs.settle()
    if resumed := loop.resume():
        _said(loop, tell, f"finished {resumed} interrupted trainings")
    for cause in loop.tick(partial(_said, loop, tell)):
        _said(loop, tell, f"trained because of {cause}")


def _scored(schedule: Schedule, tell: Tell) -> None:
    if resumed := schedule.scoring.resume():
        tell(f"{schedule.release.model.name}: finished {resumed} interrupted scorings")
    for period in schedule.tick():
        tell(f"{schedule.release.model.name}: scored {period}")


class Tries:
    """Does what is tried again when it fails, and tells why it did; not again and again that something is away.

    Examples
    --------
    >>> def away():
    ...     raise Unavailable("the store does not answer.")
    >>> tries = Tries(print)
    >>> for act in (away, away, int, int):
    ...     tries.act(act, "fraud")
    fraud: Unavailable: the store does not answer; it is tried again
    fraud: works again
    """

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self._away = set[tuple[str, str]]()

    def act(self, act: Callable[[], object], name: str, what: str = "") -> None:
        """Do something for a model."""
        try:
            act()
        except Unavailable as error:
            if (name, what) not in self._away:
                self._away.add((name, what))
                self._say(name, error)
        except Exception as error:
            self._away.discard((name, what))
            logger.exception("the controller failed model=%s", name)
            self._say(name, error)
        else:
            if (name, what) in self._away:
                self._away.remove((name, what))
                self.tell(f"{name}: works again")

    def _say(self, name: str, error: Exception) -> None:
        self.tell(f"{name}: {type(error).__name__}: {str(error).rstrip('.')}; it is tried again")
