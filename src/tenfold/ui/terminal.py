"""Tables and progress on a terminal, and plain lines where there is none: a pipe, a file, a CI log.

Rich is imported only to draw on a terminal or to make a console. Nothing here ever prints to stdout by itself:
progress goes to stderr, a table to the console it is given.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from tenfold.core.clock import Clock
from tenfold.ui.markup import clean, is_numeric, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

PLAIN_WIDTH = 120
"""Columns of a console that is not a terminal."""
SILENT = 30_000_000
"""Microseconds after which a step in a log says how far it is."""


def console(stream: TextIO | None = None) -> "Console":
    """Return a console on a stream (default: stdout): as wide as its terminal, 120 columns where it is none."""
    from rich.console import Console

    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False)


def table(console: "Console", title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; columns of numbers are aligned right.

    On a terminal it is fitted to the width. Elsewhere each row is one line that is never wrapped or cut. Names are
    shown as they are: they cannot carry colors, markup or terminal commands.
    """
    cells = [
        [number(cell) if isinstance(cell, Real) or cell is None else _flat(cell) for cell in row]
        for row in rows
    ]
    right = [is_numeric(row[i] for row in rows) for i in range(len(columns))]
    if console.is_terminal:
        _drawn(console, title, columns, cells, right)
    else:
        _lines(console, title, [list(map(_flat, columns)), *cells], right)


def _flat(value: object) -> str:
    return re.sub(r"[\n\t]+", " ", clean(value))


def _drawn(
    console: "Console",
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, title=Text(_flat(title), "bold"), title_justify="left", pad_edge=False)
    for name, numeric in zip(columns, right, strict=True):
        drawn.add_column(Text(_flat(name)), justify="right" if numeric else "left")
    for row in rows:
        drawn.add_row(*map(Text, row))
    console.print(drawn)


def _lines(console: "Console", title: str, rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    console.out("\n".join([_flat(title), *lines] if title else lines), highlight=False)


class _Drawer(Protocol):
    def begin(self, description: str, total: int | None) -> None: ...
    def advance(self, n: int, at: str) -> None: ...
    def end(self, seconds: float, *, done: bool) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is under way."""

    _drawer: _Drawer

    def advance(self, n: int = 1, at: str = "") -> None:
        """Count `n` more as done; `at` says which that were."""
        self._drawer.advance(n, at)


class Progress:
    """Steps, one after the other, on stderr: bars on a terminal, else a line when a step starts and one when it ends.

    A step that takes long has a line every half minute too. A step ends where the next one starts or the block is left; when the block is left by an error, its line says
    that it stopped.

    Examples
    --------
    >>> from tenfold.core.clock import VirtualClock
    >>> with Progress(VirtualClock(0), stream=sys.stdout) as progress:
    ...     step = progress.step("read", total=2)
    ...     step.advance(2)
    read (2) ...
    read: done in 0.0 s
    """

    def __init__(self, clock: Clock, *, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._clock = clock
        self._drawer: _Drawer = (_Bars if stream.isatty() else _Lines)(stream, clock)
        self._started: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(done=kind is None)
        self._drawer.close()

    def step(self, description: str, total: int | None = None) -> Step:
        """End the step under way and start the next one; `total` is what `advance` will add up to, if known."""
        self._finish(done=True)
        self._started = self._clock.elapsed()
        self._drawer.begin(_flat(description), total)
        return Step(self._drawer)

    def _finish(self, *, done: bool) -> None:
        if self._started is not None:
            self._drawer.end((self._clock.elapsed() - self._started) / 1e6, done=done)
            self._started = None


class _Lines:
    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._description = ""
        self._total: int | None = None
        self._done = self._told = 0

    def begin(self, description: str, total: int | None) -> None:
        self._description, self._total = description, total
        self._done, self._told = 0, self._clock.elapsed()
        count = "" if total is None else f" ({number(total)})"
        self._write(f"{description}{count} ...")

    def advance(self, n: int, at: str) -> None:
        """Count, and say how far it is when nothing was said for long: a log is not an animation."""
        self._done += n
        now = self._clock.elapsed()
        if now - self._told >= SILENT:
            self._told = now
            of = "" if not self._total else f" of {number(self._total)}, {self._done / self._total:.0%}"
            self._write(f"{self._description}: {number(self._done)}{of}{' · ' + _flat(at) if at else ''}")

    def end(self, seconds: float, *, done: bool) -> None:
        self._write(f"{self._description}: {'done in' if done else 'stopped after'} {seconds:.1f} s")

    def close(self) -> None:
        self._stream.flush()

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class _Bars:
    def __init__(self, stream: TextIO, clock: Clock) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}{task.fields[at]}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=stream),
            get_time=lambda: clock.elapsed() / 1e6,
        )
        self._task: TaskID | None = None

    def begin(self, description: str, total: int | None) -> None:
        self._rich.start()  # does nothing when it runs already
        self._task = self._rich.add_task(description, total=total, at="")

    def advance(self, n: int, at: str) -> None:
        if self._task is not None:
            self._rich.update(self._task, advance=n, at=f" · {_flat(at)}" if at else "")

    def end(self, seconds: float, *, done: bool) -> None:
        if self._task is None:
            return
        task = self._rich.tasks[self._task]
        if done:
            whole = task.total or task.completed or 1
            self._rich.update(self._task, total=whole, completed=whole, at="")
        else:
            self._rich.update(self._task, description=f"{task.description}: stopped after {seconds:.1f} s")
            self._rich.stop_task(self._task)

    def close(self) -> None:
        self._rich.stop()
