"""Delta tables that are open: to open one reads its commits since the last checkpoint, so it is done once in a process."""

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from tenfold.core.errors import DiskFailed
from tenfold.core.room import TROUBLES
from tenfold.sources.blobs import flush, rewrite

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties

logger = logging.getLogger(__name__)
CHECKED = "/checked"
"""A writer of its own, beside the other one, of what is stored only when a check says so."""
KEPT = 32
"""Older versions whose files are remembered."""
_TROUBLE = re.compile(rf"(os error |errno |code: )({'|'.join(map(str, TROUBLES))})\b", re.IGNORECASE)
CHECKPOINTS = 10
"""Versions after which a table gets a checkpoint. What follows one is read again at each commit, by a thread for each entry."""


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
        self._stored: dict[Path, int] = {}
        self._older: OrderedDict[tuple[Path, int], Snapshot] = OrderedDict()

    @contextmanager
    def newest(self, path: Path) -> "Iterator[DeltaTable]":
        """Give a table at its newest version, which stands still for as long as the block lasts: others wait."""
        lock, delta = self._held(path)
        with lock:
            if _commit(path, delta.version() + 1).exists():
                delta.update_incremental()
            yield delta

    @contextmanager
    def stored(self, path: Path) -> "Iterator[DeltaTable]":
        """Give it in the same way, when it is on disk up to there: who committed may have failed, or died, behind a commit that stands."""
        with self.newest(path) as delta:
            self._force(path, delta)
            yield delta

    def settle(self, path: Path, delta: "DeltaTable") -> None:
        """Bring a table that was given as stored forward to what was committed since, and force that to disk.

        Some ways to commit leave a table where it was, and others may have come between.
        """
        before = self._stored[path]
        delta.update_incremental()
        self._force(path, delta)
        checkpoint(path, delta, before)

    def _force(self, path: Path, delta: "DeltaTable") -> None:
        """Force commits to disk that may not be there yet; the files that they name were before.

        Of older ones that this process does not know, who committed behind them made sure.
        """
        known = self._stored.get(path, -1)
        if known == delta.version():
            return
        newest = range(max(known, delta.version() - CHECKPOINTS) + 1, delta.version() + 1)
        for commit in (_commit(path, version) for version in newest):
            if commit.exists():  # else somebody cleared it away behind a checkpoint
                rewrite(commit)
        for folder in (path / "_delta_log", *(() if path in self._stored else (path, path.parent))):
            flush(folder)
        self._stored[path] = delta.version()

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


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Tell in a sentence that the disk does not take a table: three libraries write to it, each with errors of its own.

    Examples
    --------
    >>> with growing(Path("lake/payments")):
    ...     raise OSError("Unable to copy data to file: No space left on device (os error 28)")
    Traceback (most recent call last):
    tenfold.core.errors.DiskFailed: table "lake/payments" cannot grow: the disk is full. Make room and try again.
    """
    try:
        yield
    except Exception as error:
        said = _TROUBLE.search(str(error))
        if said is None:
            raise
        trouble = TROUBLES[int(said[2])]
        raise DiskFailed(f'table "{path}" cannot grow: {trouble.why}. {trouble.fix}') from error


def files_of(delta: "DeltaTable") -> list[str]:
    """Return the files of a table, the oldest first."""
    return [unquote(uri) for uri in reversed(delta.file_uris())]


def schema_of(delta: "DeltaTable") -> "pa.Schema":
    """Return the columns of a table."""
    import pyarrow as pa

    return pa.schema(delta.schema().to_arrow())


def columns_of(found: Snapshot) -> "pa.Schema":
    """Return the columns of a version, nullable where rows are known to lack them; files say so of themselves."""
    import pyarrow as pa

    lack = {name for file in found.files for name in _lacking(Path(file), found.schema.names)}
    return pa.schema([item.with_nullable(item.name in lack) for item in found.schema])


def _lacking(file: Path, names: Iterable[str]) -> set[str]:
    """Return which columns rows of a file lack; none where it cannot be read, which who reads the rows is told."""
    import pyarrow as pa
    from pyarrow.parquet import read_metadata

    try:
        held = read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        logger.warning('"%s" does not say which columns its rows have: %s', file, error)
        return set()
    parts = [held.row_group(place) for place in range(held.num_row_groups)]
    columns = [part.column(place) for part in parts for place in range(part.num_columns)]
    empty = {item.path_in_schema for item in columns if item.statistics and item.statistics.null_count}
    return empty | (set(names) - set(held.schema.to_arrow_schema().names) if held.num_rows else set())


def position_of(delta: "DeltaTable", writer: str) -> int:
    """Return up to where a writer wrote, 0 when it never did."""
    return delta.transaction_version(writer) or 0


def written_upto(writer: str, upto: int, *others: str) -> "CommitProperties":
    """Return what a commit says of who made it and up to where that one wrote; of two at once that name the same, one fails."""
    from deltalake import CommitProperties, Transaction

    return CommitProperties(app_transactions=[Transaction(name, upto) for name in (writer, *others)])


def unhooked() -> "PostCommitHookProperties":
    """Return what keeps Delta from more than the commit: a checkpoint that fails would say of a commit that stands that it failed."""
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def stands(path: Path, since: int, files: Iterable[Path]) -> bool:
    """Return whether a commit after a version names one of the files."""
    names = [file.name.encode() for file in files]
    entries = takewhile(Path.exists, (_commit(path, version) for version in count(since + 1)))
    return any(name in text for text in map(Path.read_bytes, entries) for name in names)


def checkpoint(path: Path, delta: "DeltaTable", before: int) -> None:
    """Write a checkpoint where one is due since a version; one that cannot be written only costs readers time, until the next."""
    if delta.version() // CHECKPOINTS == before // CHECKPOINTS:
        return
    log = path / "_delta_log"
    try:
        delta.create_checkpoint()
        _keep(log, [log / f"{delta.version():020d}.checkpoint.parquet", log / "_last_checkpoint"])
    except Exception as error:  # noqa: BLE001 - Delta's errors and those of the system have no common parent
        logger.warning('table "%s" got no checkpoint at version %d: %s', path.name, delta.version(), error)


def widen(delta: "DeltaTable", rows: "pa.Table") -> None:
    """Give a table the columns of some rows that it lacks, in a version without rows."""
    from deltalake import write_deltalake

    write_deltalake(
        delta,
        rows.slice(0, 0),
        mode="append",
        schema_mode="merge",
        post_commithook_properties=unhooked(),
    )


def flush_commit(path: Path, version: int) -> None:
    """Force a commit and its files to disk; the deltalake package itself does not."""
    log, commit = path / "_delta_log", _commit(path, version)
    actions = [msgspec.json.decode(line) for line in commit.read_bytes().splitlines()]
    added = [path / unquote(action["add"]["path"]) for action in actions if "add" in action]
    for item in (*added, commit, log, path):
        flush(item)


def _keep(folder: Path, files: Sequence[Path]) -> None:
    """Force new files to disk, or remove them: readers would take for the table what a checkpoint is after a power cut."""
    try:
        for item in (*files, folder):
            flush(item)
    except OSError:
        for file in files:
            file.unlink()
        raise


def _commit(path: Path, version: int) -> Path:
    return path / "_delta_log" / f"{version:020d}.json"
