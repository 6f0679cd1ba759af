"""Larger than memory: a table divided by the keys of a view in a temporary folder, and read part by part."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.records import OFFSET, ended, identities
from tenfold.features.view import FeatureView
from tenfold.processing.batches import check_present, declared
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import apply
from tenfold.processing.frame import Column, Frame, from_arrow, to_arrow
from tenfold.sources.base import Lake
from tenfold.sources.declare import Events
from tenfold.store.groups import groups
from tenfold.store.pieces import Past, reads

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_READ = 2_000_000
"""Rows that are read from the lake at once."""
ROWS_PER_PART = 4_000_000
MOST_PARTS = 256
"""Files that are written side by side."""
MARKS = (KNOWN, OFFSET)
_ODD = np.uint64(0x9E3779B97F4A7C15)

Parts = Iterator[tuple[Callable[[], Past], np.ndarray]]


@contextmanager
def spilled(
    lake: Lake, version: int, view: FeatureView, keys: Sequence[Column], *, rows: int
) -> Iterator[Parts]:
    """Give what loads the records of a view part by part, with the queries, as positions, for keys of the part.

    A key is in one part whole. The folder is gone afterwards.

    Parameters
    ----------
    keys
        The keys that are asked for.
    rows
        The offset after the table's last row.
    """
    count = min(max(-(-rows // ROWS_PER_PART), 1), MOST_PARTS)
    asked = groups(_part_of(keys, count), count)
    with TemporaryDirectory(prefix="tenfold-") as folder:
        table = _Divided(Path(folder), view, count)
        table.write(lake, version, rows)
        yield (
            (partial(table.past, part), asked.order[asked.first[part] : asked.first[part + 1]])
            for part in range(count)
        )


class _Divided:
    """A table's columns that a view reads, in one Arrow file per part."""

    def __init__(self, folder: Path, view: FeatureView, count: int) -> None:
        root = view.source.root
        direct = set(view.keys) & root.fields.keys()
        self._names = sorted({*reads(view), *direct, *root.ids, root.time})
        self._view, self._folder, self._count = view, folder, count
        self._offsets = self._ends = np.zeros(0, dtype=np.int64)

    @property
    def _source(self) -> Events:
        return self._view.source.root

    def write(self, lake: Lake, version: int, rows: int) -> None:
        """Read the table in ranges of offsets and write each row to its part."""
        held = lake.read(self._source.name, version=version, where=f"{OFFSET} < 0").column_names
        chosen = [name for name in (*self._names, *MARKS) if name in held]
        ids = []
        with ExitStack() as files:
            writers = self._writers(files)
            for first in range(0, rows, ROWS_READ):
                where = f"{OFFSET} >= {first} AND {OFFSET} < {first + ROWS_READ}"
                table = self._declared(
                    lake.read(self._source.name, version=version, columns=chosen, where=where)
                )
                ids.append(_hashes([table.column(name) for name in self._source.ids]))
                part = groups(self._part_of(table), self._count)
                table = table.take(part.order)
                for number, writer in enumerate(writers):
                    mine = slice(int(part.first[number]), int(part.first[number + 1]))
                    if mine.stop > mine.start:
                        writer.write_table(table.slice(mine.start, mine.stop - mine.start))
        self._end_versions(_repeated(ids))

    def past(self, number: int) -> Past:
        """Return the records of a part."""
        frame = self._frame(self._table(number))
        offset = frame[OFFSET].values
        if not len(self._offsets):
            return Past(self._source, frame, None)
        place = np.minimum(np.searchsorted(self._offsets, offset), len(self._offsets) - 1)
        return Past(self._source, frame, np.where(self._offsets[place] == offset, self._ends[place], FOREVER))

    def _end_versions(self, again: np.ndarray) -> None:
        """Remember when the rows were replaced whose ids, by their hashes, may occur again, in whatever part."""
        if not len(again):
            return
        found = []
        for number in range(self._count):
            table = self._table(number)
            hashes = _hashes([table.column(name) for name in self._source.ids])
            mine = np.flatnonzero(np.isin(hashes, again))
            names = [*self._source.ids, *MARKS]
            found.append(table.select(names).take(mine))
        import pyarrow as pa

        frame = self._frame(pa.concat_tables(found))
        ids = identities([frame[name] for name in self._source.ids])
        until, _ = ended(ids, frame[KNOWN].values, frame[OFFSET].values)
        replaced = np.flatnonzero(until < FOREVER)
        replaced = replaced[np.argsort(frame[OFFSET].values[replaced])]
        self._offsets, self._ends = frame[OFFSET].values[replaced], until[replaced]

    def _declared(self, table: "pa.Table") -> "pa.Table":
        """Return the columns as the source declares them now."""
        found = declared(self._source, table).select(self._names)
        for name in MARKS:
            found = found.append_column(name, table.column(name))
        return found.combine_chunks()

    def _frame(self, table: "pa.Table") -> Frame:
        fields = self._source.fields
        types = {name: fields[name].type if name in fields else "int" for name in table.column_names}
        frame = from_arrow(table, types)
        check_present(self._source, frame)
        return frame

    def _part_of(self, table: "pa.Table") -> np.ndarray:
        keys = self._view.keys
        if set(keys) <= set(self._names):
            return _place(_hashes([table.column(name) for name in keys]), self._count)
        frame, _ = apply(self._view.source, self._frame(table), table.num_rows)
        return _part_of([frame[name] for name in keys], self._count)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"

    def _writers(self, files: ExitStack) -> "list[pa.ipc.RecordBatchFileWriter]":
        import pyarrow as pa

        fields = self._source.fields
        empty = from_arrow(
            declared(self._source, pa.table({})).select(self._names),
            {name: fields[name].type for name in self._names},
        )
        schema = to_arrow(empty).schema
        for name in MARKS:
            schema = schema.append(pa.field(name, pa.int64()))
        return [
            files.enter_context(pa.ipc.new_file(str(self._file(number)), schema))
            for number in range(self._count)
        ]

    def _table(self, number: int) -> "pa.Table":
        import pyarrow as pa

        with pa.memory_map(str(self._file(number))) as file:
            return pa.ipc.open_file(file).read_all()


def _part_of(keys: Sequence[Column], count: int) -> np.ndarray:
    """Return the part that each key is in; equal keys are in the same one."""
    return _place(_hashes(to_arrow({str(place): item for place, item in enumerate(keys)}).columns), count)


def _place(hashes: np.ndarray, count: int) -> np.ndarray:
    return ((hashes >> np.uint64(32)) % np.uint64(count)).astype(np.int64)


def _hashes(columns: "Sequence[pa.ChunkedArray]") -> np.ndarray:
    """Return one uint64 per row, equal for equal values, in this process."""
    total = np.zeros(len(columns[0]), dtype=np.uint64)
    for item in columns:
        total = (total ^ (total >> np.uint64(29))) * _ODD + _hash(item)
    total = (total ^ (total >> np.uint64(32))) * _ODD
    return total ^ (total >> np.uint64(29))


def _hash(chunks: "pa.ChunkedArray") -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.concat_arrays(chunks.chunks) if chunks.num_chunks else pa.array([], chunks.type)
    if not pa.types.is_string(array.type):
        return pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False).view(np.uint64)
    coded = pc.fill_null(array, "").dictionary_encode()
    hashes = np.array([hash(text) for text in coded.dictionary.to_pylist()], dtype=np.int64)
    return hashes.view(np.uint64)[coded.indices.to_numpy()] if len(hashes) else np.zeros(0, dtype=np.uint64)


def _repeated(parts: list[np.ndarray]) -> np.ndarray:
    """Return the hashes that occur more than once, sorted."""
    every = np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)
    parts.clear()
    every.sort()
    return np.unique(every[1:][every[1:] == every[:-1]])
