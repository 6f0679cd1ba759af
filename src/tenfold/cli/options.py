"""What every command on a project is given: which project, where it lives, on which clock, and in which form to answer."""

import functools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.errors import Settings, named, verbose
from tenfold.cli.loading import load, load_platform
from tenfold.core.errors import DefinitionError

if TYPE_CHECKING:
    from tenfold.core.clock import Clock
    from tenfold.project import App
    from tenfold.training.model import Model

Function = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Where:
    """A project's file, its home, and the file of a shared clock when it runs on the clock of history."""

    target: str
    home: Path
    clock: Path | None

    @property
    def arguments(self) -> list[str]:
        """The same place, for a process that is started from here."""
        clock = [] if self.clock is None else ["--clock", str(self.clock)]
        return [self.target, "--home", str(self.home), *clock]

    def named(self, text: str) -> str:
        """Return a text whose commands name this project."""
        return named(text, self.target)

    def open(self, *, clock: "Clock | None" = None) -> "App":
        """Return the project running; its home is made when missing."""
        from tenfold.core.clock import SharedClock, SystemClock

        project, platform = load(self.target), load_platform(self.target)
        given = SystemClock() if self.clock is None else SharedClock(self.clock)
        return project.open(replace(platform, home=self.home, clock=clock or given))

    def read(self) -> "App":
        """Return the project running, for a command that only looks: it does not make a home."""
        load(self.target)  # a mistake in the declaration is told before a home that is missing
        elsewhere = load_platform(self.target).state is not None
        if not elsewhere and not (self.home / "state.db").exists():
            raise DefinitionError(
                f'there is nothing at "{self.home}" yet. Run tenfold ingest PROJECT.py SOURCE FILE first, '
                "or say where the project lives: --home PATH."
            )
        return self.open()


home = click.option(
    "--home",
    envvar="TENFOLD_HOME",
    default=".tenfold",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the project lives.",
)


def on_project(function: Function) -> Function:
    """Add PROJECT, --home, --clock and -v; the function gets the first three as one `Where`."""

    @verbose
    @click.option("--clock", hidden=True, type=click.Path(path_type=Path, dir_okay=False))
    @home
    @click.argument("project")
    @functools.wraps(function)
    def wrapped(project: str, home: Path, clock: Path | None, **given: Any) -> None:
        click.get_current_context().ensure_object(Settings).project = project
        function(Where(project, home, clock), **given)

    return wrapped


as_json = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document.")


def _somebody(_: click.Context, option: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter(f'"{value}" names nobody. Say who decides, such as --by ann.', param=option)
    return value


by = click.option(
    "--by",
    envvar="USER",
    default="user",
    show_envvar=True,
    callback=_somebody,
    help="Who decides; for the audit log.",
)


def period(*, required: bool) -> Callable[[Function], Function]:
    """Return the options --start and --end, which the function gets as text."""

    def add(function: Function) -> Function:
        for name, text in (("--end", "Up to this instant, without it."), ("--start", "From this instant.")):
            function = click.option(name, required=required, metavar="TIME", help=text)(function)
        return function

    return add


def span(start: str | None, end: str | None, *, until: int) -> tuple[int, int]:
    """Return a period in microseconds; it ends at `until` when no end is given.

    Raises
    ------
    click.UsageError
        When it does not end after it starts.

    Examples
    --------
    >>> span(None, "1970-01-02", until=0)
    (0, 86400000000)
    """
    from tenfold.core.times import iso, to_us

    first = 0 if start is None else to_us(start)
    last = until if end is None else to_us(end)
    if last <= first:
        raise wrong_usage(f"the period ends at {iso(last)}, which is not after its start {iso(first)}.")
    return first, last


def wrong_usage(message: str) -> click.UsageError:
    """Return the error that shows where the help of the running command is."""
    return click.UsageError(message, click.get_current_context(silent=True))


def model_of(app: "App", name: str | None) -> "Model":
    """Return a model by name; without one, the only model there is.

    Raises
    ------
    DefinitionError
        When there are several and none is named.
    """
    names = sorted(release.model.name for release in app.project.releases)
    if name is None and len(names) != 1:
        raise DefinitionError(
            f'project "{app.project.name}" has {len(names)} models. Name one: {", ".join(names)}.'
        )
    return app.project.release(name).model


def known_models(app: "App") -> list[str]:
    """Return the models that are declared, then those of which there are versions all the same: taken over, or no longer declared."""
    declared = [release.model.name for release in app.project.releases]
    return [*declared, *(name for name in app.registry.models() if name not in declared)]


def known_model(app: "App", name: str) -> str:
    """Return the name of a model that is declared or has versions; NotFound names the nearest declared one."""
    return name if name in app.registry.models() else model_of(app, name).name


@contextmanager
def on_signals(
    act: Callable[[], object], kinds: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)
) -> Iterator[None]:
    """Inside, SIGTERM and SIGINT do this and nothing else."""
    before = {kind: signal.signal(kind, lambda *_: act()) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def on_hangup(closed: Callable[[], object], asked: Callable[[], object]) -> Iterator[None]:
    """Inside, SIGHUP does `asked`, or `closed` when it comes because the terminal this was started in was closed."""
    before = signal.getsignal(signal.SIGHUP)
    ends = before is not signal.SIG_IGN and _has_terminal()  # it is ignored by who started this with nohup
    signal.signal(signal.SIGHUP, lambda *_: closed() if ends and not _has_terminal() else asked())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
