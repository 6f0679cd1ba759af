"""Delta tables that are open: to open one reads its commits since the last checkpoint, so it is done once in a process."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from tenfold.sources.blobs import flush

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

CHECKED = "/checked"
"""A writer of its own, beside the other one, of what is stored only when a check says so."""
KEPT = 32
"""Older versions whose files are remembered."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version of a table: its files, the oldest first, and the columns."""

    files: list[str]
    schema: "pa.Schema"

    @classmethod
    def of(cls, delta: "DeltaTable") -> "Snapshot":
        """Return what a table is as it stands."""
        return cls(files_of(delta), schema_of(delta))


class Tables:
    """The tables of a lake as this process last saw them; each is brought forward by what was committed since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[Path, tuple[threading.Lock, DeltaTable]] = {}
        self._older: OrderedDict[tuple[Path, int], Snapshot] = OrderedDict()

    @contextmanager
    def newest(self, path: Path) -> "Iterator[DeltaTable]":
        """Give a table at its newest version, which stands still for as long as the block lasts: others wait."""
        lock, delta = self._held(path)
        with lock:
            if _commit(path, delta.version() + 1).exists():
                delta.update_incremental()
            yield delta

    def at(self, path: Path, version: int) -> Snapshot:
        """Return a version of a table, which must exist: it never changes."""
        from deltalake import DeltaTable

        place = path, version
        with self._lock:
            found = self._older.get(place)
            if found is not None:
                self._older.move_to_end(place)
                return found
        with self.newest(path) as delta:
            found = Snapshot.of(delta) if delta.version() == version else None
        found = found or Snapshot.of(DeltaTable(path, version=version))
        with self._lock:
            self._older[place] = found
            if len(self._older) > KEPT:
                self._older.popitem(last=False)
        return found

    def _held(self, path: Path) -> "tuple[threading.Lock, DeltaTable]":
        from deltalake import DeltaTable

        with self._lock:
            if path not in self._newest:
                self._newest[path] = threading.Lock(), DeltaTable(path)
            return self._newest[path]


def files_of(delta: "DeltaTable") -> list[str]:
    """Return the files of a table, the oldest first."""
    return [unquote(uri) for uri in reversed(delta.file_uris())]


def schema_of(delta: "DeltaTable") -> "pa.Schema":
    """Return the columns of a table."""
    import pyarrow as pa

    return pa.schema(delta.schema().to_arrow())


def position_of(delta: "DeltaTable", writer: str) -> int:
    """Return up to where a writer wrote, 0 when it never did."""
    return delta.transaction_version(writer) or 0


def written_upto(writer: str, upto: int, *others: str) -> "CommitProperties":
    """Return what a commit says of who made it and up to where that one wrote; of two at once that name the same, one fails."""
    from deltalake import CommitProperties, Transaction

    return CommitProperties(app_transactions=[Transaction(name, upto) for name in (writer, *others)])


def settle(path: Path, delta: "DeltaTable", before: int) -> None:
    """Bring a table forward to what was committed since a version, and force that to disk.

    Some ways to commit leave a table where it was, and others may have come between.
    """
    delta.update_incremental()
    for version in range(before + 1, delta.version() + 1):
        flush_commit(path, version)


def flush_commit(path: Path, version: int) -> None:
    """Force a commit, its checkpoint and its files to disk; the deltalake package itself does not."""
    log, commit = path / "_delta_log", _commit(path, version)
    actions = [msgspec.json.decode(line) for line in commit.read_bytes().splitlines()]
    added = [path / unquote(action["add"]["path"]) for action in actions if "add" in action]
    checkpoint = (*log.glob(f"{version:020d}.checkpoint.parquet"), *log.glob("_last_checkpoint"))
    for item in (*added, commit, *checkpoint, log, path):
        flush(item)


def _commit(path: Path, version: int) -> Path:
    return path / "_delta_log" / f"{version:020d}.json"
