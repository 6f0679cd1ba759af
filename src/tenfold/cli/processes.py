"""What runs until it is told to stop: serve, worker, controller, and run, which keeps the three of them running."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence

import click

from tenfold.cli.options import Function, Where, on_project, on_signals
from tenfold.cli.output import tell
from tenfold.cli.serving import Serving, served
from tenfold.serving.listening import listen


def supervised(function: Function) -> Function:
    """Add the hidden option that makes a process end when the one that started it is gone."""

    def follow(_: click.Context, __: click.Parameter, value: bool) -> None:
        if value:
            threading.Thread(target=_end_with_parent, daemon=True).start()

    option = click.option("--supervised", is_flag=True, hidden=True, expose_value=False, callback=follow)
    return option(function)


def _end_with_parent() -> None:
    """Wait for the end of stdin, a pipe whose other end the supervisor holds; then end as if asked to."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@click.command()
@on_project
@served
@click.option("--fd", type=int, hidden=True)
@supervised
def serve(where: Where, *, serving: Serving, fd: int | None) -> None:
    """Answer requests over HTTP, such as POST /predict, POST /events/SOURCE and GET /ready; a worker must run too.

    On SIGTERM it accepts nothing more, answers what is under way, and ends.
    """
    if fd is not None:
        _answer(where, serving, socket.socket(fileno=fd))
        return
    serving.check(where)
    with listen(serving.host, serving.port) as listening:
        if serving.processes == 1:
            _answer(where, serving, listening)
            return
        from tenfold.cli.loading import load

        load(where.target)  # a mistake in the declaration is told here, once
        tell(f"serving with {serving.processes} processes on {serving.url}")
        _supervise(serving.commands(where, listening), listening)


def _answer(where: Where, serving: Serving, listening: socket.socket) -> None:
    # raised wherever the signal comes, and raised again by uvicorn after it has ended the open requests
    with on_signals(sys.exit), where.open() as app:
        tell(f"serving {app.project.name} on {serving.url}")
        app.serve(**serving.settings(), listening=listening)


def _supervise(commands: Mapping[str, Sequence[str]], listening: socket.socket) -> None:
    from tenfold.automation.supervise import Supervisor
    from tenfold.core.clock import SystemClock

    stopped = threading.Event()
    with on_signals(stopped.set):
        Supervisor(commands, SystemClock(), tell=tell, keep=[listening.fileno()]).run(stopped.is_set)


@click.command()
@on_project
@supervised
def worker(where: Where) -> None:
    """Fold the log into online states as it grows, and into lake tables; what is left is moved at the end."""
    stopped = threading.Event()
    with on_signals(stopped.set), where.open() as app:
        tell(f"processing {app.project.name}")
        app.worker().run(stopped.is_set)


@click.command()
@on_project
@supervised
def controller(where: Where) -> None:
    """Finish interrupted trainings, then judge monitors, retrain and score when it is due, looking every minute."""
    from tenfold.automation.supervise import control

    stopped = threading.Event()
    with on_signals(stopped.set), where.open() as app:
        tell(f"watching {app.project.name}")
        loops = [app.loop(release) for release in app.project.releases]
        schedules = [app.schedule(release) for release in app.project.releases]
        control(loops, app.clock, stopped.is_set, tell=tell, schedules=schedules)


@click.command()
@on_project
@served
def run(where: Where, *, serving: Serving) -> None:
    """Run a worker, a controller and a server; one that dies is started again. Ctrl-C ends all in order.

    A project whose platform has mirrors, or whose releases name places to deliver to, gets a process that sends there too.
    """
    from tenfold.cli.loading import load, load_platform

    project = load(where.target)  # a mistake in the declaration is told here, once
    serving.check(where)
    python = [sys.executable, "-m", "tenfold.cli"]
    place = [*where.arguments, "--supervised"]
    with listen(serving.host, serving.port) as listening:
        commands = {
            "worker": [*python, "worker", *place],
            "controller": [*python, "controller", *place],
            **serving.commands(where, listening),
        }
        if load_platform(where.target).mirrors:
            commands["mirror"] = [*python, "mirror", *place, "--follow"]
        if any(release.to for release in project.releases):
            commands["deliver"] = [*python, "deliver", *place, "--follow"]
        _supervise(commands, listening)
