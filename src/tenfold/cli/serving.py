"""How a server is to be run: the options that `serve` and `run` share, and the commands of several server processes."""

import functools
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Function, Where
from tenfold.cli.output import tell

if TYPE_CHECKING:
    from socket import socket

OPTIONS = (
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="Address; others than this machine need a token.",
    ),
    click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="TCP port."),
    click.option(
        "--processes",
        default=1,
        show_default=True,
        type=click.IntRange(1, 256),
        help="Server processes that share the port; one that dies is started again.",
    ),
    click.option(
        "--wait",
        default=5.0,
        show_default=True,
        type=click.FloatRange(0.1, 3_600),
        help="Seconds a request waits for the worker to reach the newest event, and events wait to be stored, before status 503.",
    ),
    click.option(
        "--rate",
        metavar="RATE",
        help="How often a token, or without tokens an address, may ask: 100/s. X-Forwarded-For is not read: behind a proxy, "
        "only tokens have a rate of their own.",
    ),
    click.option(
        "--name",
        "names",
        multiple=True,
        help="A further Host name to answer for, such as the one a proxy passes on; several are possible. Who "
        "comes by a proxy may ask unless there is a token.",
    ),
    click.option(
        "--timeout",
        default=30.0,
        show_default=True,
        type=click.FloatRange(0, min_open=True),
        help="Seconds in which a request must have come in, and in which its answer must be read.",
    ),
    click.option(
        "--connections",
        type=click.IntRange(1),
        help="How many may be open in a process; as many as there may be open files unless given.",
    ),
    click.option(
        "--drain",
        default=0.0,
        show_default=True,
        type=click.FloatRange(0),
        help="Seconds that GET /ready says no, after SIGTERM, before the server takes no more connections.",
    ),
)


@dataclass(frozen=True, slots=True)
class Serving:
    """What the options say."""

    host: str
    port: int
    processes: int
    wait: float
    rate: str | None
    names: tuple[str, ...]
    timeout: float
    connections: int | None
    drain: float

    @property
    def url(self) -> str:
        """Where the server is reached."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def settings(self) -> dict[str, Any]:
        """Return what `App.serve` is given."""
        names = ("host", "port", "wait", "rate", "names", "timeout", "connections", "drain")
        return {name: getattr(self, name) for name in names}

    def commands(self, where: Where, listening: "socket", *, patient: bool = False) -> dict[str, list[str]]:
        """Return the commands of the server processes by name; they accept connections on one socket.

        A `patient` one accepts none before it is ready: others do that.
        """
        arguments = [sys.executable, "-m", "tenfold.cli", "serve", *where.arguments, "--supervised"]
        arguments += ["--fd", str(listening.fileno()), *(["--patient"] if patient else [])]
        for name, value in self.settings().items():
            given: Sequence[Any] = value if isinstance(value, tuple) else () if value is None else (value,)
            for one in given:
                arguments += ["--name" if name == "names" else f"--{name}", str(one)]
        if self.processes == 1:
            return {"server": arguments}
        return {f"server {number + 1}": arguments for number in range(self.processes)}

    def check(self, where: Where) -> None:
        """Refuse what no server process could do, before any is started."""
        from tenfold.serving.door.limits import Rate
        from tenfold.serving.door.listening import LOCAL, check_host, check_names

        if self.rate is not None:
            Rate.of(self.rate)
        check_names(self.names)
        if self.host not in LOCAL:
            with where.open() as app:
                check_host(self.host, app.tokens.list())
        elif self.names:
            self._warn(where)

    def _warn(self, where: Where) -> None:
        """Say that whom a proxy passes on is asked for no token, while there is none."""
        from tenfold.core.errors import Unavailable

        with suppress(Unavailable), where.open() as app:  # which the server processes tell, and wait for
            if not app.tokens.list():
                shared = f"; all of them share the rate of {self.rate}" if self.rate else ""
                make = where.named("Make one: tenfold tokens create PROJECT.py NAME --scope predict.")
                tell(
                    f"no token yet: whom a proxy passes on to {', '.join(self.names)} may ask for everything{shared}. {make}"
                )


def served(function: Function) -> Function:
    """Add the options; the function gets them as one `Serving`."""

    @functools.wraps(function)
    def wrapped(where: Where, **given: Any) -> None:
        names = Serving.__dataclass_fields__
        function(where, serving=Serving(**{name: given.pop(name) for name in names}), **given)

    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped
