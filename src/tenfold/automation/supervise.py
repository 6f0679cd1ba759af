"""Keeps a project going: the processes it consists of."""

import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from types import MappingProxyType

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
PATIENCE = 10 * UNITS["m"]
"""Microseconds in which processes that take over must be ready; until then those before them go on."""
SERVER, WORKER = "server", "worker"
"""The first word of the names of processes that answer requests, and of the one that these wait for."""

AGAIN = "new processes are asked for once more"

Tell = Callable[[str], object]


class Child:
    """One process that should run: started, watched, started again after a pause, asked to end.

    Its stdin is a socket. When this process is gone, however it died, the child reads its end; and the child writes to it when
    it is ready, and reads from it that its turn has come. It is not in the terminal's process group, so that Ctrl-C reaches it
    when it is asked to end.

    Parameters
    ----------
    first
        The command of the first start, when later ones are by another.
    keep
        Open files that the process inherits.
    drain
        Microseconds that it may need more than `GRACE` to end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        clock: Clock,
        tell: Tell,
        *,
        keep: Sequence[int] = (),
        first: Sequence[str] = (),
        drain: int = 0,
    ) -> None:
        self.name, self.kind, self.ready = name, name.partition(" ")[0], False
        self._command, self._clock, self._tell, self._keep = list(command), clock, tell, tuple(keep)
        self._next, self._may_take = list(first) or self._command, GRACE + drain
        self._deadline: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._started = self._due = clock.elapsed()
        self._pause, self._has_turn = FIRST_PAUSE, False

    def look(self) -> None:
        """Start the process when it is due; when it has died, say so and decide when it is due again."""
        now = self._clock.elapsed()
        if self._process is None:
            if now >= self._due:
                try:
                    self.start()
                except OSError as error:  # no memory or no process is left, which others may free
                    self._put_off(now, f"could not be started, {error}")
            return
        code = self.hear()
        if code is None:
            return
        if now - self._started >= HEALTHY:
            self._pause = FIRST_PAUSE
        self._close()
        self._put_off(now, f"ended with code {code}")

    def start(self) -> None:
        """Start the process.

        Raises
        ------
        OSError
            When the machine has no room for it; another try may find some.
        """
        line, theirs = socket.socketpair()
        with theirs, ExitStack() as undo:  # the command is this package's own, and no shell reads it
            undo.enter_context(line)
            self._process = subprocess.Popen(  # noqa: S603
                self._next, stdin=theirs.fileno(), start_new_session=True, pass_fds=self._keep
            )
            undo.pop_all()
        line.setblocking(False)
        self._line, self._next, self.ready = line, self._command, False
        self._started = self._clock.elapsed()
        self._tell(f"{self.name} started (process {self._process.pid})")
        if self._has_turn:
            self._say_turn()

    def give_turn(self) -> None:
        """Tell the process, and those that are started in its place, that none before it does the same work any more."""
        if not self._has_turn:
            self._has_turn = True
            self._say_turn()

    def _say_turn(self) -> None:
        if self._line is not None:
            with suppress(OSError):  # it has died, which the next look finds
                self._line.send(b".")

    def hear(self) -> int | None:
        """Take what the process has said, and return the code with which it has ended, None while it runs."""
        if self._process is None or self._line is None:
            return None
        # it has said nothing, or died without reading its turn
        with suppress(BlockingIOError, ConnectionResetError):
            self.ready = bool(self._line.recv(64)) or self.ready
        return self._process.poll()

    def ask_to_end(self) -> None:
        """Ask the process to end, once."""
        if self._process is not None and self._deadline is None:
            self._deadline = self._clock.elapsed() + self._may_take
            self._process.terminate()

    def has_ended(self) -> bool:
        """Return whether the process is gone, and kill it when it was asked to end and has had its time."""
        if self._process is None:
            return True
        if self._process.poll() is None:
            if self._deadline is None or self._clock.elapsed() < self._deadline:
                return False
            self._process.kill()
            self._process.wait()
            self._tell(f"{self.name} killed after {self._may_take / UNITS['s']:g} s")
        else:
            self._tell(f"{self.name} stopped")
        self._close()
        return True

    def _put_off(self, now: int, why: str) -> None:
        self._tell(f"{self.name} {why}; it starts again in {self._pause:g} s")
        self._due = now + int(self._pause * 1e6)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._process = self._line = None


class Ending:
    """Processes on their way out: all are asked at once, but a worker when no server is left that waits for what it does."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._left = list(children)
        for child in reversed(children):
            if child.kind != WORKER:
                child.ask_to_end()

    def names(self) -> set[str]:
        """Return the names of those that have not ended."""
        return {child.name for child in self._left}

    def is_over(self) -> bool:
        """Return whether all have ended; to be called now and then."""
        self._left = [child for child in self._left if not child.has_ended()]
        if not any(child.kind == SERVER for child in self._left):
            for child in self._left:
                child.ask_to_end()
        return not self._left


class Supervisor:
    """Runs commands as child processes until told to stop, and starts again what dies.

    Parameters
    ----------
    commands
        Program and arguments by name, in the order to start them; how they end is told by `Ending`.
    tell
        Gets one line for each start and each end.
    listening
        The socket that the servers inherit, and nobody else: it outlives each of them, and is closed when they are told to end,
        so that who connects later is refused and does not wait for an answer that nobody gives.
    replacing
        By which command a process that takes over is started, where that is another one.
    drain
        Seconds that a server may need more to end.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        clock: Clock,
        *,
        tell: Tell,
        listening: socket.socket | None = None,
        replacing: Mapping[str, Sequence[str]] = MappingProxyType({}),
        drain: float = 0.0,
    ) -> None:
        self._commands, self._clock, self._tell, self._listening = commands, clock, tell, listening
        self._replacing, self._drain = replacing, int(drain * 1e6)
        self._children, self._endings = self._made({}), list[Ending]()

    def take_over(self, stopped: Callable[[], bool], again: Callable[[], bool]) -> bool:
        """Start the processes while something else does their work; return whether they are ready, none is left otherwise."""
        self._children = []
        self._replace(stopped, again)
        if not self._children:
            self._finish()
        return bool(self._children)

    def watch(self, stopped: Callable[[], bool]) -> None:
        """Keep all of them running until `stopped`, and leave them running."""
        while not stopped():
            self._look()
            self._clock.sleep(POLL)

    def run(self, stopped: Callable[[], bool], again: Callable[[], bool] = lambda: False) -> None:
        """Keep all of them running until `stopped`, and replace all of them when `again`; afterwards none is left."""
        try:
            while not stopped():
                self._look()
                if again():
                    self._replace(stopped, again)
                self._clock.sleep(POLL)
        finally:
            if self._listening is not None:
                self._listening.close()
            ending, self._children = self._children, []
            self._endings.append(Ending(ending))
            self._finish()

    def _look(self) -> None:
        """Look after what should run and what should end; who has no namesake left that should end is given its turn."""
        for child in self._children:
            child.look()
        self._endings = [ending for ending in self._endings if not ending.is_over()]
        leaving = set[str]().union(*(ending.names() for ending in self._endings))
        for child in self._children:
            if child.name not in leaving:
                child.give_turn()

    def _finish(self) -> None:
        """Wait until none is left that should end."""
        while self._endings:
            self._look()
            self._clock.sleep(POLL)

    def _made(self, first: Mapping[str, Sequence[str]]) -> list[Child]:
        return [self._child(name, first.get(name, ())) for name in self._commands]

    def _child(self, name: str, first: Sequence[str]) -> Child:
        make = partial(Child, name, self._commands[name], self._clock, self._tell, first=first)
        if name.partition(" ")[0] != SERVER or self._listening is None:
            return make()
        return make(keep=[self._listening.fileno()], drain=self._drain)

    def _replace(self, stopped: Callable[[], bool], again: Callable[[], bool]) -> None:
        """Have new processes take over; those that are not all ready when others are asked for end, and the others are started."""
        while self._in_the_way(stopped, again) == AGAIN:
            pass

    def _in_the_way(self, stopped: Callable[[], bool], again: Callable[[], bool]) -> str:
        """Start all processes once more; when the new ones are ready end the old ones, and when one is not, the new ones.

        Return what stood in the way, "" when nothing did.
        """
        self._tell("starting new processes; the old ones go on until all of the new ones are ready")
        new = ending = self._made(self._replacing)
        try:
            if why := self._started(new) or self._until_ready(new, stopped, again):
                self._tell(f"{why}; the old processes go on")
            else:
                ending, self._children = self._children, new
        finally:
            self._endings.append(Ending(ending))
        return why

    def _started(self, new: Sequence[Child]) -> str:
        """Start processes; return what stood in the way, "" when nothing did."""
        for child in new:
            try:
                child.start()
            except OSError as error:
                return f"new {child.name} could not be started, {error}"
        return ""

    def _until_ready(
        self, new: Sequence[Child], stopped: Callable[[], bool], again: Callable[[], bool]
    ) -> str:
        """Wait until processes are ready, while the others are looked after; return what stood in the way, "" when nothing did."""
        deadline = self._clock.elapsed() + PATIENCE
        while not all(child.ready for child in new):
            for child in new:
                if (code := child.hear()) is not None:
                    return f"new {child.name} ended with code {code}"
            if stopped():
                return "told to stop"
            if again():
                return AGAIN
            if self._clock.elapsed() > deadline:
                late = ", ".join(child.name for child in new if not child.ready)
                return f"not ready after {PATIENCE // UNITS['s']} s: new {late}"
            self._look()
            self._clock.sleep(POLL)
        return ""
