"""Commits to a Delta table that write rows piece by piece, and put them in the place of others."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from tenfold.sources.blobs import flush
from tenfold.sources.lake_tables import stands, unhooked

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

ROWS_PER_FILE = 2_000_000
SMALL, LARGE = 8 << 20, 100 << 20
"""Bytes: a file below the first is merged with others by itself, one from the second on never."""
MERGED = 2 << 20
"""Bytes of files whose rows are in memory at a time while they are merged; more where one file has more."""
MOST_SMALL = 32
"""Small files that a table may have. What is added after them is merged with them, so a row is written again a few times."""
SAMPLE = 10_000
Cut = Callable[[], "Iterator[tuple[Path, pa.Table]]"]
"""Gives the files of a table that lose rows, each with those that stay."""


def first_and_all(pieces: "Iterable[pa.Table]") -> "tuple[pa.Table | None, Iterator[pa.Table]]":
    """Return the first piece, None when there is none, and all of them.

    Examples
    --------
    >>> import pyarrow as pa
    >>> first, every = first_and_all(pa.table({"x": [place]}) for place in range(2))
    >>> first["x"].to_pylist(), len(list(every))
    ([0], 2)
    """
    pieces = iter(pieces)
    first = next(pieces, None)
    return first, pieces if first is None else chain([first], pieces)


class Written:
    """Files that were written to a table's folder; what is not committed is removed at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in self.rows:
            path.unlink(missing_ok=True)

    def write(self, pieces: "Iterable[pa.Table]") -> None:
        """Write pieces, in files of about ROWS_PER_FILE rows; a piece is not cut, and one at a time is in memory."""
        pieces = (piece for piece in pieces if piece.num_rows)
        while True:
            first, rest = first_and_all(pieces)
            if first is None:
                return
            self._one(first, rest)
            flush(self._folder)

    def commit(self, delta: "DeltaTable", cut: Cut, properties: "CommitProperties") -> None:
        """Make the files part of the table in one version; those that lose rows are replaced by what stays of them."""
        with Written(self._folder) as kept:
            removed = []
            for path, rest in cut():
                kept.write([rest])
                removed.append(path)
            _commit(self._folder, delta, [self, kept], removed, properties)

    def replace(self, delta: "DeltaTable", files: "Sequence[Path]") -> None:
        """Put the files in the place of others that hold the same rows, in one version."""
        _commit(self._folder, delta, [self], files)

    def _one(self, first: "pa.Table", pieces: "Iterator[pa.Table]") -> None:
        from pyarrow.parquet import ParquetWriter

        path = self._folder / f"part-{uuid.uuid4().hex}.parquet"
        self.rows[path] = 0
        with ParquetWriter(
            path, first.schema, compression="snappy", use_dictionary=_repeating(first)
        ) as writer:
            for piece in pieces:
                writer.write_table(piece)
                self.rows[path] += piece.num_rows
                if self.rows[path] >= ROWS_PER_FILE:
                    break
        flush(path)  # before a commit names it: one that failed behind that could not be taken back


def _repeating(rows: "pa.Table") -> list[str]:
    """Return the columns whose values repeat, by their first rows: a dictionary of others costs time and is given up."""
    from pyarrow.types import is_nested

    some = rows.slice(0, SAMPLE)
    plain = [name for name in rows.column_names if not is_nested(rows.schema.field(name).type)]
    return [name for name in plain if 2 * len(some[name].unique()) <= max(len(some), 2)]


def _commit(
    folder: Path,
    delta: "DeltaTable",
    written: Sequence[Written],
    removed: Sequence[Path],
    properties: "CommitProperties | None" = None,
) -> None:
    """Add what was written and remove files, and remember as written only what is surely not part of the table.

    It is a change of data also where the rows are the same, or Delta would let two do it at once.
    """
    added, before = [files.rows for files in written], delta.version()
    actions = _actions(dict(chain.from_iterable(rows.items() for rows in added)), removed)
    for files in written:
        files.rows = {}
    try:
        delta.create_write_transaction(
            actions,
            "append",
            delta.schema(),
            commit_properties=properties,
            post_commithook_properties=unhooked(),
        )
    except Exception:
        # an error does not say that nothing was committed
        if stands(folder, before, chain.from_iterable(added)):
            return
        for files, rows in zip(written, added, strict=True):
            files.rows = rows
        raise


def _actions(added: Mapping[Path, int], removed: Sequence[Path]) -> "list[AddAction | RemoveAction]":
    from deltalake.transaction import AddAction, RemoveAction

    now = max((int(path.stat().st_mtime * 1000) for path in (*added, *removed)), default=0)
    gone = [RemoveAction(path=path.name, data_change=True, deletion_timestamp=now) for path in removed]
    new = [
        AddAction(
            path.name,
            path.stat().st_size,
            {},
            now,
            True,
            msgspec.json.encode({"numRecords": rows}).decode(),
        )
        for path, rows in added.items()
    ]
    return [*new, *gone]


def smaller(files: Iterable[str], size: int) -> list[str]:
    """Return which files have fewer bytes."""
    return [file for file in files if Path(file).stat().st_size < size]


def runs(files: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield files that follow each other, together about so many bytes."""
    found: list[str] = []
    held = 0
    for file in files:
        found.append(file)
        held += Path(file).stat().st_size
        if held >= size:
            yield found
            found, held = [], 0
    if found:
        yield found
