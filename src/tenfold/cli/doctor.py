"""Is this machine fit to run a project: doctor."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenfold.cli.errors import told, verbose
from tenfold.cli.extras import EXTRAS, is_there
from tenfold.cli.options import as_json, home
from tenfold.cli.output import answer, plural
from tenfold.core.room import TROUBLES, Trouble, refused
from tenfold.core.times import UNITS, iso
from tenfold.serving.door.listening import is_free

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.sources.base import Batch, Log

LEAST_FREE = 1_000_000_000
"""Bytes of disk below which doctor complains."""
MOST_AHEAD = UNITS["m"]
"""Microseconds that the log may be ahead of the clock: as much is soon over."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is fine, what was found, and what to do when it is not fine."""

    check: str
    ok: bool
    found: str
    fix: str = ""


@click.command()
@verbose
@click.argument("project", required=False)
@home
@click.option("--port", default=8000, show_default=True, help="The port it should serve on.")
@as_json
@click.pass_context
def doctor(ctx: click.Context, project: str | None, *, home: Path, port: int, as_json: bool) -> None:
    """Check Python, packages, extras, home, disk, clock and port, and that batch and online agree on this machine to the bit.

    With a PROJECT, its declaration is checked too. Exit code 1 when something is wrong.
    """
    findings = [
        _python(),
        *_packages(),
        _extras(),
        _home(home),
        _disk(home),
        *_clock(home),
        *_log(home, project),
        _port(port),
        *_project(project),
        _selftest(),
    ]
    document = {
        "ok": all(item.ok for item in findings),
        "checks": [
            {"check": item.check, "ok": item.ok, "found": item.found, "fix": item.fix} for item in findings
        ],
    }

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        cells = [[item.check, "ok" if item.ok else "wrong", item.found, item.fix] for item in findings]
        table(console, "", ["check", "state", "found", "fix"], cells)

    answer(document, draw, as_json=as_json)
    if not document["ok"]:
        ctx.exit(1)


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    found = f"{platform.python_version()} at {sys.executable}"
    return Finding("python", ok, found, "" if ok else "Install 3.11.")


def _packages() -> Iterator[Finding]:
    """Look for what tenfold requires; the extras are optional."""
    for requirement in metadata.requires("tenfold") or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            yield Finding(name, ok=True, found=metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, ok=False, found="not installed", fix=f'pip install "{requirement}"')


def _extras() -> Finding:
    """Say which extras are there; a project needs those whose packages it imports, so none is wrong by being away."""
    there = {extra: is_there(extra) for extra in EXTRAS if extra != "examples"}
    away = [extra for extra, found in there.items() if not found]
    found = ", ".join(extra for extra, found in there.items() if found) or "none"
    return Finding("extras", ok=True, found=found + (f"; not there: {', '.join(away)}" if away else ""))


def _home(home: Path) -> Finding:
    number = refused(_existing(home))
    if not number:
        return Finding("home", ok=True, found=f"{home} can be written")
    other = Trouble("be written", os.strerror(number), "Choose another one: --home PATH.")
    trouble = TROUBLES.get(number, other)
    return Finding("home", ok=False, found=f"{home} cannot {trouble.what}: {trouble.why}", fix=trouble.fix)


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    ok = free >= LEAST_FREE
    return Finding(
        "disk", ok, f"{free / 1e9:.1f} GB free", "" if ok else "Make room, or choose another home."
    )


def _clock(home: Path) -> Iterator[Finding]:
    """Look for records that arrived later than now: a clock was ahead when they did, and the log does not go back."""
    if not (home / "log.db").exists():
        return
    from tenfold.core.clock import SystemClock
    from tenfold.sources.log import SQLiteLog

    clock = SystemClock()
    try:
        with closing(SQLiteLog(home / "log.db", clock)) as log:
            yield _against(log, clock.now())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told beside all else that was found
        yield Finding("clock", ok=False, found=told(error)[1], fix="Try again, or choose another home.")


def _against(log: "Log", now: int) -> Finding:
    ends = log.ends()
    at = ends.at
    if at - now <= MOST_AHEAD:
        return Finding("clock", ok=True, found=f"{iso(now)}, not behind the log")
    late = [_arrived_after(log, topic, end, now + MOST_AHEAD) for topic, end in ends.offsets.items()]
    first = min(filter(None, late), key=attrgetter("arrival"))
    found = (
        f"{iso(now)}, {_long(at - now)} behind the log: a clock was ahead when records arrived from offset {first.base:,} of "
        f"{first.topic} on, the newest at {iso(at)}"
    )
    fix = (
        f"Set the clock right. Until {iso(at)} requests are as of then, and what comes counts as known from then. If that is "
        "too long to wait, make a new home and load the history again."
    )
    return Finding("clock", ok=False, found=found, fix=fix)


def _arrived_after(log: "Log", topic: str, end: int, moment: int) -> "Batch | None":
    """Return the first batch of a topic that arrived later; arrivals never decrease, so few batches are read."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        batches = log.read(topic, middle, limit=1)
        if batches and batches[0].arrival <= moment:
            low = batches[0].end
        else:
            high = middle
    return next(iter(log.read(topic, low, limit=1)), None)


def _log(home: Path, target: str | None) -> Iterator[Finding]:
    """Look whether the log is the one that the lake was made of, and with a project the states too, wherever they are."""
    if not ((home / "lake").exists() if target is None else _is_somewhere(home, target)):
        return
    from tenfold.cli.options import Where
    from tenfold.core.errors import DefinitionError, TenfoldError
    from tenfold.store.whole import OtherLog

    try:
        if target is None:
            _check_lake(home)
        else:
            with Where(target, home, None).read() as app:
                app.check_log()
        yield Finding("log", ok=True, found="the one that the rest was made of")
    except OtherLog as error:
        yield Finding("log", ok=False, found=error.found, fix=error.fix)
    except DefinitionError as error:
        yield Finding("state", ok=False, found=str(error), fix="Change that.")
    except TenfoldError as error:
        yield Finding("log", ok=False, found=str(error), fix="Try again, or choose another home.")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told beside all else that was found
        yield Finding("log", ok=False, found=told(error)[1])


def _is_somewhere(home: Path, target: str) -> bool:
    """Return whether a project can be loaded, which is told elsewhere, and has a home or a database."""
    from tenfold.cli.loading import load, load_platform
    from tenfold.core.errors import TenfoldError

    try:
        load(target)
        return load_platform(target).state is not None or (home / "state.db").exists()
    except TenfoldError:
        return False


def _check_lake(home: Path) -> None:
    from tenfold.core.clock import SystemClock
    from tenfold.sources.lake import DeltaLake
    from tenfold.sources.log import SQLiteLog
    from tenfold.sources.memory import MemoryLog
    from tenfold.store.whole import check_lake

    there, clock = (home / "log.db").exists(), SystemClock()  # looking makes none
    tables = [path.parent.name for path in (home / "lake").glob("[!.]*/_delta_log")]
    with closing(SQLiteLog(home / "log.db", clock) if there else MemoryLog(clock)) as log:
        check_lake(log, DeltaLake(home / "lake"), sorted(tables))


def _long(us: int) -> str:
    """Return a duration in the unit that suits it.

    Examples
    --------
    >>> _long(90_000_000), _long(150 * 3_600_000_000)
    ('2 m', '6 d')
    """
    unit = next(unit for unit in ("d", "h", "m") if us >= 2 * UNITS[unit] or unit == "m")
    return f"{us / UNITS[unit]:,.0f} {unit}"


def _port(port: int) -> Finding:
    ok = is_free("127.0.0.1", port)
    return Finding(
        "port", ok, f"{port} is {'free' if ok else 'in use'}", "" if ok else "Choose another one: --port."
    )


def _project(target: str | None) -> Iterator[Finding]:
    if target is None:
        return
    from tenfold.cli.loading import load
    from tenfold.core.errors import MissingExtra, TenfoldError

    try:
        project = load(target)
    except MissingExtra as error:
        yield Finding("project", ok=False, found=str(error), fix="Install it.")
        return
    except TenfoldError as error:
        yield Finding("project", ok=False, found=str(error), fix="Change the declaration.")
        return
    parts = {"source": len(project.sources), "view": len(project.views), "model": len(project.releases)}
    counts = ", ".join(plural(count, noun) for noun, count in parts.items())
    yield Finding("project", ok=True, found=f"{project.name}: {counts}")


def _selftest() -> Finding:
    from tenfold.cli.selftest import compare

    values, differing = compare()
    fix = "Report this with the versions above: features would be wrong here." if differing else ""
    return Finding("batch = online", not differing, f"{differing} of {values} values differ", fix)


def _existing(path: Path) -> Path:
    """Return the nearest folder on the way to a path that exists."""
    path = path.resolve()
    return path if path.is_dir() else _existing(path.parent)
