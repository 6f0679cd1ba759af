"""Commits to a Delta table that write rows piece by piece, and put them in the place of others."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction

ROWS_PER_FILE = 2_000_000
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

    def commit(self, delta: "DeltaTable", cut: Cut, properties: "CommitProperties") -> None:
        """Make the files part of the table in one version; those that lose rows are replaced by what stays of them."""
        from deltalake.transaction import RemoveAction

        with Written(self._folder) as kept:
            removed = []
            for path, rest in cut():
                kept.write([rest])
                removed.append(path)
            files = self.rows | kept.rows
            now = max((int(path.stat().st_mtime * 1000) for path in (*files, *removed)), default=0)
            gone = [
                RemoveAction(path=path.name, data_change=True, deletion_timestamp=now) for path in removed
            ]
            added = [_added(path, rows, now) for path, rows in files.items()]
            delta.create_write_transaction(
                [*added, *gone], "append", delta.schema(), commit_properties=properties
            )
            kept.rows.clear()
            self.rows.clear()

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
                    return


def _repeating(rows: "pa.Table") -> list[str]:
    """Return the columns whose values repeat, by their first rows: a dictionary of others costs time and is given up."""
    from pyarrow.types import is_nested

    some = rows.slice(0, SAMPLE)
    plain = [name for name in rows.column_names if not is_nested(rows.schema.field(name).type)]
    return [name for name in plain if 2 * len(some[name].unique()) <= max(len(some), 2)]


def _added(path: Path, rows: int, now: int) -> "AddAction":
    from deltalake.transaction import AddAction

    stats = msgspec.json.encode({"numRecords": rows}).decode()
    return AddAction(path.name, path.stat().st_size, {}, now, True, stats)
