"""What runs until it is told to stop: serve, worker, controller, and run, which keeps the three of them running."""

import os
import signal
import socket
import sys
import threading

import click

from tenfold.cli.options import Function, Where, on_project, on_signals
from tenfold.cli.output import tell

port = click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="TCP port."
)
wait = click.option(
    "--wait",
    default=5.0,
    show_default=True,
    help="Seconds a request waits for the worker to reach the newest event, before it gets status 503.",
)


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
@port
@wait
@supervised
def serve(where: Where, *, port: int, wait: float) -> None:
    """Answer POST /predict, POST /events/SOURCE and GET /health on 127.0.0.1; a worker must run too."""
    # raised wherever the signal comes, and raised again by uvicorn after it has ended the open requests
    with on_signals(sys.exit), where.open() as app:
        _check_free(port)
        tell(f"serving {app.project.name} on http://127.0.0.1:{port}")
        app.serve(port=port, wait=wait)


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
    """Finish interrupted trainings, then judge monitors and retrain when it is due, looking every minute."""
    from tenfold.automation.supervise import control

    stopped = threading.Event()
    with on_signals(stopped.set), where.open() as app:
        tell(f"watching {app.project.name}")
        control([app.loop(release) for release in app.project.releases], app.clock, stopped.is_set, tell=tell)


@click.command()
@on_project
@port
@wait
def run(where: Where, *, port: int, wait: float) -> None:
    """Run a worker, a controller and a server; one that dies is started again. Ctrl-C ends all in order.

    A project whose platform has mirrors gets a process that sends to them too.
    """
    from tenfold.automation.supervise import Supervisor
    from tenfold.cli.loading import load, load_platform
    from tenfold.core.clock import SystemClock

    load(where.target)  # a mistake in the declaration is told here, once
    _check_free(port)
    python = [sys.executable, "-m", "tenfold.cli"]
    place = [*where.arguments, "--supervised"]
    commands = {
        "worker": [*python, "worker", *place],
        "controller": [*python, "controller", *place],
        "server": [*python, "serve", *place, "--port", str(port), "--wait", str(wait)],
    }
    if load_platform(where.target).mirrors:
        commands["mirror"] = [*python, "mirror", *place, "--follow"]
    stopped = threading.Event()
    with on_signals(stopped.set):
        Supervisor(commands, SystemClock(), tell=tell).run(stopped.is_set)


def _check_free(port: int) -> None:
    from tenfold.core.errors import Unavailable

    if not is_free(port):
        raise Unavailable(
            f"port {port} is used by another process. Stop it, or choose another one with --port."
        )


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
