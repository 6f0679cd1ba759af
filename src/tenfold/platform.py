"""Where a project runs: the storage it is given, what is embedded when it is given none, and which code runs there."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.automation import audit, deliver, homes, journal, outbox
from tenfold.automation.mirror import Mirror
from tenfold.core.clock import Clock, SystemClock
from tenfold.core.spelled import spelled
from tenfold.monitoring import telemetry
from tenfold.processing import quarantine
from tenfold.registry import rollouts, versions
from tenfold.serving.door import tokens
from tenfold.serving.seen import counters, requests
from tenfold.sources.base import Blobs, Lake, Log
from tenfold.sources.database import Database
from tenfold.store.base import OnlineStore
from tenfold.tracking import runs

SCHEMA = "\n".join(
    part.SCHEMA
    for part in (
        runs,
        versions,
        journal,
        audit,
        quarantine,
        telemetry,
        outbox,
        rollouts,
        counters,
        requests,
        tokens,
        deliver,
        homes,
    )
)
LAYOUT = 7
"""The number of this layout of the state database; it changes whenever a table does."""


@spelled
@dataclass(frozen=True, eq=False)
class Platform:
    """Where a project runs: objects that satisfy the protocols; what is not given is embedded under `home`.

    `mirrors` are other systems that show its runs and versions; nothing waits for them.

    Examples
    --------
    >>> from tenfold import Platform
    >>> Platform(home="build/try").home.name
    'try'
    """

    home: Path = Path(".tenfold")
    clock: Clock = field(default_factory=SystemClock)
    state: Database | None = None
    log: Log | None = None
    lake: Lake | None = None
    online: OnlineStore | None = None
    blobs: Blobs | None = None
    mirrors: Sequence[Mirror] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", Path(self.home))

    def open_state(self) -> Database:
        """Return the database of runs, versions, rollouts and decisions: the one that was given, or the embedded one."""
        from tenfold.sources.sqlite import SQLiteDatabase

        if self.state is None:
            return SQLiteDatabase(self.home / "state.db", SCHEMA, layout=LAYOUT)
        self.state.prepare(SCHEMA, layout=LAYOUT)
        return self.state

    def open_log(self) -> Log:
        """Return the log that was given, or the embedded one."""
        from tenfold.sources.log import SQLiteLog

        return self.log or SQLiteLog(self.home / "log.db", self.clock)

    def open_lake(self) -> Lake:
        """Return the lake that was given, or the embedded one."""
        from tenfold.sources.lake import DeltaLake

        return self.lake or DeltaLake(self.home / "lake")

    def open_blobs(self) -> Blobs:
        """Return the blobs that were given, or the embedded ones."""
        from tenfold.sources.blobs import DirectoryBlobs

        return self.blobs or DirectoryBlobs(self.home / "blobs")

    def open_online(self) -> OnlineStore:
        """Return the online store that was given, or the embedded one."""
        from tenfold.store.lmdb import LMDBOnlineStore

        return self.online or LMDBOnlineStore(self.home / "online")


LONGEST_DIFF = 500_000
"""Most characters of uncommitted code that a run keeps."""


def code(declared: Iterable[type] = ()) -> dict[str, str]:
    """Return which code runs: the package's version, and the git checkout that the project lies in.

    "git" is its commit and "diff" what was not committed: changes of tracked files, and new Python files.

    Parameters
    ----------
    declared
        Classes of the project, such as the schemas of its sources: the first that comes from a file says where the
        project lies. Without one, the checkout is that of tenfold; where there is none, no commit is named.

    Examples
    --------
    >>> sorted(code())[-1]
    'tenfold'
    """
    from importlib.metadata import version

    found = {"tenfold": version("tenfold")}
    folder = _folder(declared)
    commit, top = _git(folder, "rev-parse", "HEAD"), _git(folder, "rev-parse", "--show-toplevel")
    if not commit or not top:
        return found
    diff = _uncommitted(Path(top.strip()))
    return found | {"git": commit.strip()} | ({"diff": diff} if diff else {})


def _uncommitted(top: Path) -> str:
    """Return the diff to the commit; a new file that is no Python may be data or a secret, and is only named."""
    new = [
        name
        for name in (_git(top, "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
        if name
    ]
    parts = [_git(top, "diff", "HEAD") or ""]
    for name in new:
        if name.endswith(".py"):
            parts.append(_git(top, "diff", "--no-index", "--", "/dev/null", name) or "")
        else:
            parts.append(f"new file, not kept: {name}\n")
    whole = "".join(parts)
    cut = f"\n... {len(whole) - LONGEST_DIFF:,} more characters were not kept\n"
    return whole if len(whole) <= LONGEST_DIFF else whole[:LONGEST_DIFF] + cut


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says; None when it is not there or says no."""
    command = ["git", *arguments]
    try:
        out = subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return None
    # `diff --no-index` answers 1 when there is a difference, as there always is here
    return out.stdout.decode(errors="replace") if out.returncode == 0 or "--no-index" in arguments else None


def _folder(declared: Iterable[type]) -> Path:
    modules = [sys.modules.get(kind.__module__) for kind in declared]
    files = [file for module in modules if (file := getattr(module, "__file__", None))]
    return Path(files[0] if files else __file__).resolve().parent
