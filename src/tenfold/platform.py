"""Where a project runs: the storage it is given, and what is embedded when it is given none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.automation import at_hand, audit, deliver, homes, journal, outbox
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
        at_hand,
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
