"""The embedded lake: Delta tables in a local folder, read by DuckDB."""

import glob
import logging
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tenfold.core.clock import Clock, SystemClock
from tenfold.core.errors import DefinitionError, NotFound, SchemaError, Unavailable
from tenfold.sources.blobs import flush
from tenfold.sources.lake_parts import LARGE, MERGED, MOST_SMALL, SMALL, Written, first_and_all, runs, smaller
from tenfold.sources.lake_select import holding, select
from tenfold.sources.lake_tables import (
    CHECKED,
    CHECKPOINTS,
    Snapshot,
    Tables,
    columns_of,
    files_of,
    flush_commit,
    growing,
    position_of,
    schema_of,
    unhooked,
    widen,
    written_upto,
)
from tenfold.sources.lake_types import check_types, storable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

logger = logging.getLogger(__name__)
T = TypeVar("T")
TABLE = re.compile(r"[a-z][a-z0-9_]*")
# The deltalake package makes URLs of paths and fails on these, or takes another folder.
UNUSABLE = re.compile(r"[\[\]%\\^|\x00-\x1f\x7f\ud800-\udfff]")
ATTEMPTS = 12
FIRST_WAIT = 0.005
LONGEST_WAIT = 0.5
# Delta deletes entries of its log after 30 days unless told not to; then old versions could not be read.
CONFIGURATION = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": str(CHECKPOINTS),
}


class DeltaLake:
    """`Lake` tables as Delta tables in folders below `root`, which any Delta reader can open.

    Every append is one version, on disk when `append` returns, and idempotent by (`writer`, `upto`) also between
    processes: the position is part of the Delta commit, and Delta refuses a commit made against an older position.
    `upto` is at least 1. Rows may bring new columns (older rows read null) and may lack some; a column never changes
    its type. Types are returned as written, so types that Delta would replace are refused with SchemaError.
    Rows given as several tables go to files as they come; what a process wrote that died before it committed takes room
    and is never read. `compact` makes a version of fewer files and deletes none: every version stays readable. An append that finds
    many small files does so too, of these alone, for a reader opens every file. `where` is a condition in
    DuckDB's SQL, where a column that is called like a keyword needs quotes: `"at" > ...`.

    Parameters
    ----------
    root : Path
        The folder of all tables.
    clock : Clock, optional
        Waits between attempts when other processes commit at the same moment.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import pyarrow as pa
    >>> lake = DeltaLake(Path(mkdtemp()))
    >>> rows = pa.table({"_offset": [0, 1], "amount": [9.5, 3.0]})
    >>> lake.append("payments", rows, writer="ingest", upto=2)
    True
    >>> lake.append("payments", rows, writer="ingest", upto=2)
    False
    >>> lake.read("payments", columns=["amount"], where="amount > 5").to_pylist()
    [{'amount': 9.5}]
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self._root = root.resolve()
        if UNUSABLE.search(str(self._root)):
            raise DefinitionError(
                f'the lake cannot be at {str(self._root)!r}. Choose a path in UTF-8 without "[", "]", "%", "\\", "^", "|" and control '
                "characters."
            )
        self._root.mkdir(parents=True, exist_ok=True)
        self._clock = clock or SystemClock()
        self._tables = Tables()

    def append(
        self,
        table: str,
        rows: "pa.Table | Iterable[pa.Table]",
        *,
        writer: str,
        upto: int,
        after: int | None = None,
        instead: str = "",
        check: Callable[[], object] | None = None,
    ) -> bool:
        import pyarrow as pa

        path = self._path(table)
        check_upto(upto)
        with growing(path):
            if instead or check or not isinstance(rows, pa.Table):
                given = [rows] if isinstance(rows, pa.Table) else rows
                pieces = (storable(piece, table) for piece in given)
                done = self._append_pieces(path, pieces, instead, writer, upto, after, check)
            else:
                plain = storable(rows, table)
                done = self._append(path, plain, writer, upto, after)
        if done and _is_table(path):
            self._tidy(path)
        return done

    def position(self, table: str, writer: str) -> int:
        path = self._path(table)
        return _position(path, writer, self._tables.newest)

    def read(
        self, table: str, *, version: int | None = None, columns: Sequence[str] | None = None, where: str = ""
    ) -> "pa.Table":
        found = self._snapshot(table, version)
        with self._engine.cursor() as connection:
            source = [glob.escape(file) for file in found.files] or found.schema.empty_table()
            return select(connection, source, found.schema, table=table, columns=columns, where=where)

    def version(self, table: str) -> int:
        path = self._path(table)
        if not _is_table(path):
            return -1
        with self._tables.newest(path) as delta:
            return int(delta.version())

    def columns(self, table: str) -> "pa.Schema":
        return columns_of(self._snapshot(table, None))

    def compact(self, table: str) -> Mapping[str, int]:
        path = self._there(table)
        with growing(path):
            return self._retry(table, lambda: self._compact(path))

    @cached_property
    def _engine(self) -> "duckdb.DuckDBPyConnection":
        import duckdb

        return duckdb.connect()

    def _path(self, table: str) -> Path:
        check_name(table)
        return self._root / table

    def _snapshot(self, table: str, version: int | None) -> Snapshot:
        path = self._there(table)
        with self._tables.newest(path) as delta:
            if version is None:
                return Snapshot.of(delta)
            check_version(table, version, delta.version())
        return self._tables.at(path, version)

    def _there(self, table: str) -> Path:
        path = self._path(table)
        if not _is_table(path):
            raise NotFound("table", table, [entry.name for entry in self._root.iterdir() if _is_table(entry)])
        return path

    def _append(self, path: Path, rows: "pa.Table", writer: str, upto: int, after: int | None) -> bool:
        if not _is_table(path):
            if not is_next(0, upto, after):
                return False
            if self._create(path, rows, written_upto(writer, upto)):
                return True
        # Rows of no length change no schema: a column that no file has could not be read.
        pieces = iter([rows] if rows.num_rows else [])
        return self._append_pieces(path, pieces, "", writer, upto, after, None)

    def _append_pieces(
        self,
        path: Path,
        pieces: "Iterable[pa.Table]",
        instead: str,
        writer: str,
        upto: int,
        after: int | None,
        check: Callable[[], object] | None,
    ) -> bool:
        """Write pieces to files as they come, then make these part of the table without the rows they replace."""
        if not is_next(_position(path, writer, self._tables.stored), upto, after):
            return False
        first, pieces = first_and_all(pieces)
        if first is None and not _is_table(path):
            return True
        if first is not None:
            self._retry(path.name, partial(self._fit, path, first))
        files = Written(path)

        def attempt() -> bool:
            with self._tables.stored(path) as delta:
                if not is_next(position_of(delta, writer), upto, after):
                    return False
                if check is not None:
                    check()
                # of two commits with a check, the later one finds that its table is not the newest
                said = written_upto(writer, upto, *([CHECKED] if check else []))
                files.commit(delta, partial(self._cut, delta, instead), said)
                self._tables.settle(path, delta)
            return True

        with files:
            files.write(pieces)
            return self._retry(path.name, attempt)

    def _fit(self, path: Path, rows: "pa.Table") -> None:
        """Make the table when it is missing, and give it the columns it lacks."""
        if not _is_table(path):
            self._create(path, rows.slice(0, 0), None)
        with self._tables.stored(path) as delta:
            held = schema_of(delta)
            check_types(path.name, held, rows.schema)
            if set(rows.schema.names) - set(held.names):
                widen(delta, rows)
                self._tables.settle(path, delta)

    def _cut(self, delta: "DeltaTable", instead: str) -> "Iterator[tuple[Path, pa.Table]]":
        """Yield the files that hold rows which meet a condition, each with the rows that do not."""
        if not instead:
            return
        files = [glob.escape(file) for file in files_of(delta)]
        with self._engine.cursor() as connection:
            table = {"schema": schema_of(delta), "table": Path(str(delta.table_uri)).name}
            for file in holding(connection, files, instead, **table):
                rest = f"({instead}\n) IS NOT TRUE"
                yield Path(file), select(connection, [glob.escape(file)], where=rest, **table)

    def _create(self, path: Path, rows: "pa.Table", commit: "CommitProperties | None") -> bool:
        """Make the table with its first rows; return False when another process was first.

        Two processes that create a Delta table in place may both succeed and the second one's schema wins. So the
        first version is made aside and renamed, which fails when the table is there.
        """
        from deltalake import write_deltalake

        staging = self._root / f".{uuid.uuid4().hex}"
        try:
            write_deltalake(
                staging,
                rows,
                configuration=CONFIGURATION,
                commit_properties=commit,
                post_commithook_properties=unhooked(),
            )
            flush_commit(staging, 0)
            staging.rename(path)
        except OSError:
            if not _is_table(path):
                raise
            return False
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        flush(self._root)
        return True

    def _compact(self, path: Path) -> dict[str, int]:
        with self._tables.stored(path) as delta:
            before = files_of(delta)
            self._merge(path, delta, smaller(before, LARGE))
            return {"files_before": len(before), "files_after": len(files_of(delta))}

    def _tidy(self, path: Path) -> None:
        """Merge the small files of a table when there are many; what was appended stands whatever comes of it."""
        from deltalake.exceptions import CommitFailedError

        try:
            with self._tables.stored(path) as delta:
                small = smaller(files_of(delta), SMALL)
                if len(small) > MOST_SMALL:
                    self._merge(path, delta, small)
        except CommitFailedError:
            pass  # what another process did to them meanwhile goes first
        except Exception as error:  # noqa: BLE001 - a library each reads, writes and commits; the next append tries again
            logger.warning('the small files of table "%s" were not merged: %s', path.name, error)

    def _merge(self, path: Path, delta: "DeltaTable", files: Sequence[str]) -> None:
        """Put the rows of files, in their order, into fewer ones; the files stay, for older versions."""
        if len(files) < 2:
            return
        schema = schema_of(delta)
        with Written(path) as merged, self._engine.cursor() as connection:
            sources = ([glob.escape(file) for file in run] for run in runs(files, MERGED))
            merged.write(select(connection, source, schema, table=path.name) for source in sources)
            merged.replace(delta, [Path(file) for file in files])
            self._tables.settle(path, delta)

    def _retry(self, table: str, attempt: Callable[[], T]) -> T:
        from deltalake.exceptions import CommitFailedError

        for count in range(ATTEMPTS):
            try:
                return attempt()
            except CommitFailedError:
                self._clock.sleep(min(FIRST_WAIT * 2**count, LONGEST_WAIT))
        raise Unavailable(
            f'table "{table}" was changed by other processes in each of {ATTEMPTS} attempts to commit. '
            "Nothing was changed here; it is safe to retry."
        )


def check_name(table: str) -> None:
    """Refuse a table name that is not a plain identifier.

    Examples
    --------
    >>> check_name("../etc")
    Traceback (most recent call last):
    tenfold.core.errors.DefinitionError: "../etc" cannot be the name of a table. Use lower-case letters, ...
    """
    if not TABLE.fullmatch(table):
        raise DefinitionError(
            f'"{table}" cannot be the name of a table. Use lower-case letters, digits and "_", and begin with a '
            'letter, for example "payments".'
        )


def check_upto(upto: int) -> None:
    """Refuse a position that says nothing was written.

    Examples
    --------
    >>> check_upto(0)
    Traceback (most recent call last):
    tenfold.core.errors.SchemaError: upto=0 means that nothing was written. Pass the offset after the last row, ...
    """
    if upto < 1:
        raise SchemaError(
            f"upto={upto} means that nothing was written. Pass the offset after the last row, at least 1."
        )


def is_next(position: int, upto: int, after: int | None) -> bool:
    """Return whether a writer at a position may append up to another one.

    Examples
    --------
    >>> is_next(2, 5, None), is_next(2, 5, 2), is_next(3, 5, 2), is_next(5, 5, None)
    (True, True, False, False)
    """
    return position < upto and after in (None, position)


def check_version(table: str, version: int, newest: int) -> None:
    """Raise NotFound when a table has no such version.

    Examples
    --------
    >>> check_version("payments", 7, 2)
    Traceback (most recent call last):
    tenfold.core.errors.NotFound: no version "7" in table "payments". Known: 0 to 2.
    """
    if not 0 <= version <= newest:
        raise NotFound("version", str(version), [f"0 to {newest}"], within=f'table "{table}"')


def _position(path: Path, writer: str, given: "Callable[[Path], AbstractContextManager[DeltaTable]]") -> int:
    if not _is_table(path):
        return 0
    with given(path) as delta:
        return position_of(delta, writer)


def _is_table(path: Path) -> bool:
    return not path.name.startswith(".") and (path / "_delta_log").is_dir()
