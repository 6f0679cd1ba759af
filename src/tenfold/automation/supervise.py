"""Keeps a project going: the processes it consists of, and the loop of its releases."""

import subprocess
from collections.abc import Callable, Mapping, Sequence

from tenfold.automation.loop import Loop
from tenfold.automation.schedule import Schedule
from tenfold.core.clock import Clock
from tenfold.core.times import UNITS

POLL = 0.05
"""Seconds between two looks."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process that died is started again; doubled each time."""
HEALTHY = UNITS["m"]
"""A process that lived this many microseconds starts again after the first pause."""
GRACE = 30 * UNITS["s"]
"""Microseconds a process may take to end before it is killed; nothing is lost then, only repeated."""

Tell = Callable[[str], object]


class Child:
    """One process that should run: started, watched, started again after a pause, ended.

    Its stdin is a pipe that nobody writes to: when this process is gone, however it died, the child reads its end.
    It is not in the terminal's process group, so that Ctrl-C reaches it in its turn.
    """

    def __init__(
        self, name: str, command: Sequence[str], clock: Clock, tell: Tell, *, keep: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._command, self._clock, self._tell, self._keep = list(command), clock, tell, tuple(keep)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = clock.elapsed()
        self._pause = FIRST_PAUSE

    def look(self) -> None:
        """Start the process when it is due; when it has died, say so and decide when it is due again."""
        now = self._clock.elapsed()
        if self._process is None:
            if now >= self._due:
                self._start()
            return
        code = self._process.poll()
        if code is None:
            return
        if now - self._started >= HEALTHY:
            self._pause = FIRST_PAUSE
        self._tell(f"{self.name} ended with code {code}; it starts again in {self._pause:g} s")
        self._close()
        self._due = now + int(self._pause * 1e6)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def stop(self) -> None:
        """Ask the process to end, wait for it, and kill it when it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        deadline = self._clock.elapsed() + GRACE
        while self._process.poll() is None and self._clock.elapsed() < deadline:
            self._clock.sleep(POLL)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._tell(f"{self.name} stopped")
        self._close()

    def _start(self) -> None:
        # the command is this package's own, and no shell reads it
        self._process = subprocess.Popen(  # noqa: S603
            self._command, stdin=subprocess.PIPE, start_new_session=True, pass_fds=self._keep
        )
        self._started = self._clock.elapsed()
        self._tell(f"{self.name} started (process {self._process.pid})")

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


class Supervisor:
    """Runs commands as child processes until told to stop, and starts again what dies.

    Parameters
    ----------
    commands
        Program and arguments by name, in the order to start them; they are stopped in the opposite order.
    tell
        Gets one line for each start and each end.
    keep
        Open files, such as a listening socket, that the processes inherit: they outlive each of them.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        clock: Clock,
        *,
        tell: Tell,
        keep: Sequence[int] = (),
    ) -> None:
        self._clock = clock
        self._children = [Child(name, command, clock, tell, keep=keep) for name, command in commands.items()]

    def run(self, stopped: Callable[[], bool]) -> None:
        """Keep all of them running until `stopped`; afterwards none is left."""
        try:
            while not stopped():
                for child in self._children:
                    child.look()
                self._clock.sleep(POLL)
        finally:
            for child in reversed(self._children):
                child.stop()


def control(
    loops: Sequence[Loop],
    clock: Clock,
    stopped: Callable[[], bool],
    *,
    tell: Tell,
    schedules: Sequence[Schedule] = (),
) -> None:
    """Finish what a crash interrupted, then let every loop and schedule do what is due once a minute of the clock.

    Errors and latency of a candidate are looked at every second, so that a bad one is gone within about two.
    """
    _resume(loops, schedules, tell)
    due, look = clock.now(), clock.elapsed()
    while not stopped():
        if clock.elapsed() >= look:
            look = clock.elapsed() + UNITS["s"]
            for loop in loops:
                if done := loop.rolling.advance(outcomes=False):
                    tell(f"{loop.release.model.name}: candidate {done}")
        if clock.now() >= due:
            due = clock.now() + UNITS["m"]
            _tick(loops, schedules, tell)
        clock.sleep(POLL)


def _resume(loops: Sequence[Loop], schedules: Sequence[Schedule], tell: Tell) -> None:
    for loop in loops:
        if resumed := loop.resume():
            tell(f"{loop.release.model.name}: finished {resumed} interrupted trainings")
    for schedule in schedules:
        if resumed := schedule.scoring.resume():
            tell(f"{schedule.release.model.name}: finished {resumed} interrupted scorings")


def _tick(loops: Sequence[Loop], schedules: Sequence[Schedule], tell: Tell) -> None:
    for loop in loops:
        loop.trainer.runs.settle()
        for cause in loop.tick():
            tell(f"{loop.release.model.name}: trained because of {cause}")
    for schedule in schedules:
        for period in schedule.tick():
            tell(f"{schedule.release.model.name}: scored {period}")
