"""Where a project runs: the storage it is given, what is embedded when it is given none, and which code runs there."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.core.clock import Clock, SystemClock
from tenfold.sources.base import Blobs, Lake, Log
from tenfold.store.base import OnlineStore


@dataclass(frozen=True, eq=False)
class Platform:
    """Where a project runs: objects that satisfy the protocols; what is not given is embedded under `home`.

    Examples
    --------
    >>> from tenfold import Platform
    >>> Platform(home="build/try").home.name
    'try'
    """

    home: Path = Path(".tenfold")
    clock: Clock = field(default_factory=SystemClock)
    log: Log | None = None
    lake: Lake | None = None
    online: OnlineStore | None = None
    blobs: Blobs | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", Path(self.home))

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


def code(declared: Iterable[type] = ()) -> dict[str, str]:
    """Return which code runs: the package's version and the commit of the git checkout that the project lies in.

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
    command = ["git", "rev-parse", "HEAD"]
    try:
        out = subprocess.run(command, cwd=_folder(declared), capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return found
    return found | {"git": out.stdout.strip()} if out.returncode == 0 else found


def _folder(declared: Iterable[type]) -> Path:
    modules = [sys.modules.get(kind.__module__) for kind in declared]
    files = [file for module in modules if (file := getattr(module, "__file__", None))]
    return Path(files[0] if files else __file__).resolve().parent
