"""What runs until it is told to stop: serve, worker, controller, and run, which keeps the three of them running."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Function, Where, on_hangup, on_project, on_signals
from tenfold.cli.output import tell
from tenfold.cli.serving import Serving, served
from tenfold.core.threads import short_turns
from tenfold.serving.door.listening import listen

if TYPE_CHECKING:
    from tenfold.automation.supervise import Supervisor

SUPERVISED, IN_TURN = "tenfold.supervised", "tenfold.in_turn"
POLL = 0.05
"""Seconds between two looks whether a process that waits for its turn should stop."""

Asked = SimpleQueue[None]
"""Has an entry for each time that new processes were asked for; a signal may put one there at any moment."""


def supervised(function: Function) -> Function:
    """Add the hidden options that make a process end when the one that started it is gone, tell it what `ready` says, and wait."""

    def follow(ctx: click.Context, __: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[SUPERVISED] = turn = threading.Event()
            threading.Thread(target=_end_with_parent, args=(ctx, turn), daemon=True).start()

    def wait(ctx: click.Context, __: click.Parameter, value: bool) -> None:
        ctx.meta[IN_TURN] = value

    hidden = partial(click.option, is_flag=True, hidden=True, expose_value=False)
    # an option of its own: who started this may be of a release that does not tell anybody of a turn
    return hidden("--supervised", callback=follow)(hidden("--in-turn", callback=wait)(function))


def ready() -> None:
    """Tell the process that started this one, if it looks after it, that the work has begun."""
    if SUPERVISED in click.get_current_context().meta:
        with suppress(OSError):  # it is gone, or its end is a pipe
            os.write(0, b".")


def its_turn(stopped: Callable[[], bool]) -> bool:
    """Return when no process before this one does the same work any more, or it should stop; whether it may do it."""
    meta = click.get_current_context().meta
    while meta[IN_TURN] and not stopped() and not meta[SUPERVISED].wait(POLL):
        pass
    return not stopped()


@contextmanager
def at_work(where: Where, kind: str, once: str) -> Iterator[None]:
    """Say what is being loaded, which takes seconds, and who else of the kind is at work on the home."""
    tell(f"loading {where.target} for the {kind}")
    from tenfold.cli.loading import load
    from tenfold.sources.locked import among

    load(where.target)  # a mistake in the declaration is told before a home is made
    # while new processes take over from old ones, one supervisor has two of each
    group = os.getppid() if SUPERVISED in click.get_current_context().meta else 0
    with among(where.home / "running", kind, group) as others:
        for other in others:
            tell(f"another {kind} is at work on this home, {other}: that is safe, {once}, but one is enough")
        yield


def _end_with_parent(ctx: click.Context, turn: threading.Event) -> None:
    """Wait for the end of stdin, whose other end the supervisor holds; then end as if asked to, and killed when that takes long.

    What comes before the end says that it is this one's turn.
    """
    with suppress(ConnectionResetError):  # it was killed before it read what `ready` said
        while os.read(0, 4096):
            turn.set()
    os.kill(os.getpid(), signal.SIGTERM)
    from tenfold.automation.supervise import GRACE
    from tenfold.core.clock import SystemClock

    SystemClock().sleep(GRACE / 1e6 + ctx.params.get("drain", 0.0))  # as long as its supervisor would wait
    os._exit(1)


@contextmanager
def hangups() -> Iterator[Asked]:
    """Inside, each SIGHUP asks for new processes, but the one of a terminal that was closed ends this process."""
    asked = Asked()
    with on_hangup(lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: asked.put(None)):
        yield asked


def was_asked(asked: Asked) -> bool:
    """Return whether new processes were asked for since the last time."""
    found = not asked.empty()
    while not asked.empty():
        asked.get()
    return found


@click.command()
@on_project
@served
@click.option("--fd", type=int, hidden=True)
@click.option("--patient", is_flag=True, hidden=True)
@supervised
def serve(where: Where, *, serving: Serving, fd: int | None, patient: bool) -> None:
    """Answer requests over HTTP, such as POST /predict, POST /events/SOURCE and GET /ready; a worker must run too.

    On SIGTERM it accepts nothing more, answers what is under way, and ends. On SIGHUP new processes start, with the code as it
    is then, and take over when they are ready; no request fails.
    """
    if fd is not None:
        tell(f"loading {where.target} for the server")
        with on_signals(sys.exit):
            _answer(where, serving, socket.socket(fileno=fd), patient=patient)
        return
    with hangups() as asked:
        serving.check(where)
        with listen(serving.host, serving.port) as listening:
            if serving.processes == 1:
                tell(f"loading {where.target} for the server")
                Alone(where, serving, listening, asked).run()
                return
            from tenfold.cli.loading import load

            load(where.target)  # a mistake in the declaration is told here, once
            tell(f"serving with {serving.processes} processes on {serving.url}")
            _begin(_supervisor(where, serving, listening, {}), asked)


def _answer(
    where: Where,
    serving: Serving,
    listening: socket.socket,
    *,
    announce: Callable[[], object] = ready,
    patient: bool = False,
) -> None:
    # signals are raised wherever they come, and raised again by uvicorn after it has ended the open requests
    with where.open() as app:
        tell(f"serving {app.project.name} on {serving.url}")
        app.serve(**serving.settings(), listening=listening, announce=announce, patient=patient)


class Alone:
    """A server without a process that looks after it, until SIGHUP: then it becomes that, once another one has taken over."""

    def __init__(self, where: Where, serving: Serving, listening: socket.socket, asked: Asked) -> None:
        self._where, self._serving, self._listening = where, serving, listening
        self._supervisor: Supervisor | None = None
        self._asked, self._answers = asked, threading.Event()
        self._taken, self._ending = threading.Event(), threading.Event()

    def run(self) -> None:
        """Answer until SIGTERM or SIGINT."""
        taking = threading.Thread(target=self._take_over, daemon=True)
        taking.start()
        try:
            with on_signals(sys.exit), on_signals(self._interrupted, [signal.SIGINT]):
                # the very socket, which the server closes when it ends: who connects later is refused and waits for nobody
                _answer(self._where, self._serving, self._listening, announce=self._accepts)
        finally:
            self._ending.set()
            self._answers.set()
            if not self._taken.is_set():
                self._asked.put(None)
            taking.join()
        if self._supervisor is not None:
            _look_after(self._supervisor, self._asked)

    def _accepts(self) -> None:
        self._answers.set()
        ready()

    def _take_over(self) -> None:
        """Have another process take over whenever that is asked for, until it succeeds; look after it while the server ends."""
        self._answers.wait()
        again = partial(was_asked, self._asked)
        # `_ending` before `get`: what was put to wake this may have been taken for a signal
        while not (self._ending.is_set() or self._taken.is_set()):
            self._asked.get()
            again()
            if self._ending.is_set():
                return
            try:
                listening = self._listening.dup()
            except OSError:  # the server is about to end, and has closed it
                return
            supervisor = _supervisor(self._where, self._serving, listening, {})
            if not supervisor.take_over(self._ending.is_set, again):
                listening.close()
                continue
            self._supervisor = supervisor
            self._taken.set()
            tell("the new server has taken over; this process looks after it")
            os.kill(os.getpid(), signal.SIGINT)  # which ends the server at once, without --drain
            supervisor.watch(self._ending.is_set)

    def _interrupted(self) -> None:
        if not self._taken.is_set():
            sys.exit()


def _supervisor(
    where: Where, serving: Serving, listening: socket.socket, others: dict[str, list[str]]
) -> "Supervisor":
    """Return what keeps server processes and others running."""
    from tenfold.automation.supervise import Supervisor
    from tenfold.core.clock import SystemClock

    return Supervisor(
        others | serving.commands(where, listening),
        SystemClock(),
        tell=tell,
        listening=listening,
        replacing=serving.commands(where, listening, patient=True),
        drain=serving.drain,
    )


def _begin(supervisor: "Supervisor", asked: Asked) -> None:
    """Start processes and keep them running; what was asked for earlier is done by that."""
    was_asked(asked)
    _look_after(supervisor, asked)


def _look_after(supervisor: "Supervisor", asked: Asked) -> None:
    """Keep processes running, until SIGTERM or SIGINT, and have new ones take over when they are asked for."""
    stopped = threading.Event()
    with on_signals(stopped.set):
        supervisor.run(stopped.is_set, partial(was_asked, asked))


@click.command()
@on_project
@supervised
def worker(where: Where) -> None:
    """Fold the log into online states as it grows, and into lake tables; what is left is moved at the end."""
    stopped = threading.Event()
    once = "every record counts once"
    with on_signals(stopped.set), at_work(where, "worker", once), where.open() as app:
        tell(f"processing {app.project.name}")
        work = app.worker()
        ready()
        with short_turns():
            work.run(stopped.is_set)


@click.command()
@on_project
@supervised
def controller(where: Where) -> None:
    """Finish interrupted trainings, then look at candidates every second, and every minute at outcomes, monitors and what is due."""
    stopped = threading.Event()
    once = "every decision is taken once"
    with on_signals(stopped.set), at_work(where, "controller", once), where.open() as app:
        from tenfold.automation.control import control

        app.check_declared()
        ready()
        if not its_turn(stopped.is_set):
            return
        tell(f"watching {app.project.name}")
        loops = [app.loop(release) for release in app.project.releases]
        schedules = [app.schedule(release) for release in app.project.releases]
        control(loops, app.clock, stopped.is_set, tell=tell, schedules=schedules)


@click.command()
@on_project
@served
def run(where: Where, *, serving: Serving) -> None:
    """Run a worker, a controller and a server; one that dies is started again. Ctrl-C ends all of them.

    On SIGHUP new processes start, with the code as it is then, and take over when all of them are ready; no request fails.
    A project whose platform has mirrors, or whose releases name places to deliver to, gets a process that sends there too.
    """
    with hangups() as asked:
        from tenfold.cli.loading import load

        load(where.target)  # a mistake in the declaration is told here, once
        serving.check(where)
        with listen(serving.host, serving.port) as listening:
            _begin(_supervisor(where, serving, listening, _beside(where)), asked)


def _beside(where: Where) -> dict[str, list[str]]:
    """Return the commands of what runs beside the servers, by name."""
    from tenfold.cli.loading import load, load_platform

    python = [sys.executable, "-m", "tenfold.cli"]
    place = [*where.arguments, "--supervised"]
    commands = {
        "worker": [*python, "worker", *place],
        "controller": [*python, "controller", *place, "--in-turn"],
    }
    if load_platform(where.target).mirrors:
        commands["mirror"] = [*python, "mirror", *place, "--in-turn", "--follow"]
    if any(release.to for release in load(where.target).releases):
        commands["deliver"] = [*python, "deliver", *place, "--in-turn", "--follow"]
    return commands
