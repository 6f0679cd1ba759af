"""Larger than memory: a table divided by the keys of a view in a temporary folder, and read part by part.

A source that reads features of other views is first divided by the keys of each of these; part by part its rows get their
features, and go on to the next division. So a row has all it needs when it comes to its own key.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.records import OFFSET, ended, identities
from tenfold.features.view import FeatureView
from tenfold.processing.batches import ARRIVAL, check_present, declared
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import Source, apply
from tenfold.processing.frame import Column, Frame, column, from_arrow, to_arrow
from tenfold.sources.base import Lake
from tenfold.sources.declare import Events
from tenfold.store.groups import groups
from tenfold.store.pieces import Past, asked_at, reads

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_READ = 2_000_000
"""Rows that are read from the lake at once."""
ROWS_PER_PART = 4_000_000
MOST_PARTS = 256
"""Files that are written side by side."""
MARKS = (KNOWN, OFFSET)
_ODD = np.uint64(0x9E3779B97F4A7C15)

Asks = Callable[[int, Sequence[Column], np.ndarray], Mapping[str, Column]]
"""Gives the features of a view for the number of a part, keys that are in it, and moments."""
Asking = Callable[[FeatureView, int], AbstractContextManager[Asks]]
"""Opens a view that is asked, divided into so many parts."""


def parts_for(rows: int) -> int:
    """Return into how many parts so many rows are divided."""
    return min(max(-(-rows // ROWS_PER_PART), 1), MOST_PARTS)


@contextmanager
def divided(
    lake: Lake, version: int, view: FeatureView, *, rows: int, count: int, asking: Asking
) -> Iterator["Divided"]:
    """Give the records of a view divided by its keys. A key is in one part whole. The folder is gone afterwards.

    Parameters
    ----------
    rows
        The offset after the table's last row.
    asking
        Opens the views whose features the source reads.
    """
    source = view.source
    keys = {name for one in (view, *source.upstream) for name in one.keys}
    names = {*reads(view), *keys, *source.root.ids, source.root.time} & source.root.fields.keys()
    types = {name: source.root.fields[name].type for name in sorted(names)} | dict.fromkeys(MARKS, "int")
    if source.upstream:
        types[ARRIVAL] = "int"
    tables = _read(lake, version, source.root, types, rows)
    with ExitStack() as folders:
        for other in source.upstream:
            folder = Path(folders.enter_context(TemporaryDirectory(prefix="tenfold-")))
            stage = Divided(folder, source, types, other.keys, count)
            stage.write(tables)
            wanted = {f"{other.name}.{name}": name for name in other.features}
            wanted = {column: name for column, name in wanted.items() if column in reads(view)}
            types = types | {column: other.plan.types[name] for column, name in wanted.items()}
            tables = _with_features(stage, other, wanted, asking)
        folder = Path(folders.enter_context(TemporaryDirectory(prefix="tenfold-")))
        table = Divided(folder, source, types, view.keys, count)
        table.write(tables)
        table.end_versions()
        yield table


def _read(
    lake: Lake, version: int, root: Events, types: Mapping[str, str], rows: int
) -> "Iterator[pa.Table]":
    """Yield a table in ranges of offsets, as its source declares it now."""
    held = lake.read(root.name, version=version, where=f"{OFFSET} < 0").column_names
    chosen = [name for name in types if name in held]
    for first in range(0, rows, ROWS_READ):
        where = f"{OFFSET} >= {first} AND {OFFSET} < {first + ROWS_READ}"
        table = lake.read(root.name, version=version, columns=chosen, where=where)
        found = declared(root, table).select([name for name in types if name in root.fields])
        for name in types:
            if name not in root.fields:
                found = found.append_column(name, table.column(name))
        yield found.combine_chunks()


def _with_features(
    stage: "Divided", view: FeatureView, wanted: Mapping[str, str], asking: Asking
) -> "Iterator[pa.Table]":
    """Yield the rows of a division by the keys of a view, with features of it as of when they happened or became known."""
    with asking(view, stage.count) as asks:
        for part in range(stage.count):
            frame = stage.frame(part)
            found = asks(part, [frame[name] for name in view.keys], asked_at(stage.source.root, frame))
            yield to_arrow({**frame, **{column: found[name] for column, name in wanted.items()}})


class Divided:
    """Rows of a source in one Arrow file per part, divided by keys.

    Parameters
    ----------
    types
        The columns.
    """

    def __init__(
        self, folder: Path, source: Source, types: Mapping[str, str], keys: Sequence[str], count: int
    ) -> None:
        self.source, self.count = source, count
        self._folder, self._types, self._keys = folder, dict(types), keys
        self._ids: list[np.ndarray] = []
        self._offsets = self._ends = np.zeros(0, dtype=np.int64)

    def write(self, tables: "Iterable[pa.Table]") -> None:
        """Write each row to its part."""
        with ExitStack() as files:
            writers = self._writers(files)
            for table in tables:
                self._ids.append(hashes([table.column(name) for name in self.source.root.ids]))
                part = groups(self._part_of(table), self.count)
                taken = table.take(part.order)
                for number, writer in enumerate(writers):
                    mine = slice(int(part.first[number]), int(part.first[number + 1]))
                    if mine.stop > mine.start:
                        writer.write_table(taken.slice(mine.start, mine.stop - mine.start))

    def part_of(self, keys: Sequence[Column]) -> np.ndarray:
        """Return the part that each key is in."""
        return _part_of(keys, self.count)

    def past(self, number: int) -> Past:
        """Return the records of a part."""
        frame, root = self.frame(number), self.source.root
        offset = frame[OFFSET].values
        if not len(self._offsets):
            return Past(root, frame, None)
        place = np.minimum(np.searchsorted(self._offsets, offset), len(self._offsets) - 1)
        return Past(root, frame, np.where(self._offsets[place] == offset, self._ends[place], FOREVER))

    def frame(self, number: int) -> Frame:
        """Return the rows of a part."""
        return self._frame(self._table(number))

    def end_versions(self) -> None:
        """Remember when the rows were replaced whose ids, by their hashes, may occur again, in whatever part."""
        again, names = repeated(self._ids), self.source.root.ids
        if not len(again):
            return
        found = []
        for number in range(self.count):
            table = self._table(number)
            hashed = hashes([table.column(name) for name in names])
            mine = np.flatnonzero(np.isin(hashed, again))
            found.append(table.select([*names, *MARKS]).take(mine))
        import pyarrow as pa

        frame = self._frame(pa.concat_tables(found))
        ids = identities([frame[name] for name in names])
        until, _ = ended(ids, frame[KNOWN].values, frame[OFFSET].values)
        replaced = np.flatnonzero(until < FOREVER)
        replaced = replaced[np.argsort(frame[OFFSET].values[replaced])]
        self._offsets, self._ends = frame[OFFSET].values[replaced], until[replaced]

    def _frame(self, table: "pa.Table") -> Frame:
        frame = from_arrow(table, {name: self._types[name] for name in table.column_names})
        check_present(self.source.root, frame)
        return frame

    def _part_of(self, table: "pa.Table") -> np.ndarray:
        if set(self._keys) <= self._types.keys():
            return _place(hashes([table.column(name) for name in self._keys]), self.count)
        frame, _ = apply(self.source, self._frame(table), table.num_rows)
        return self.part_of([frame[name] for name in self._keys])

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"

    def _writers(self, files: ExitStack) -> "list[pa.ipc.RecordBatchFileWriter]":
        import pyarrow as pa

        schema = to_arrow({name: column(type_, []) for name, type_ in self._types.items()}).schema
        return [
            files.enter_context(pa.ipc.new_file(str(self._file(number)), schema))
            for number in range(self.count)
        ]

    def _table(self, number: int) -> "pa.Table":
        import pyarrow as pa

        with pa.memory_map(str(self._file(number))) as file:
            return pa.ipc.open_file(file).read_all()


def _part_of(keys: Sequence[Column], count: int) -> np.ndarray:
    """Return the part that each key is in; equal keys are in the same one."""
    return _place(hashes(to_arrow({str(place): item for place, item in enumerate(keys)}).columns), count)


def _place(hashes: np.ndarray, count: int) -> np.ndarray:
    return ((hashes >> np.uint64(32)) % np.uint64(count)).astype(np.int64)


def hashes(columns: "Sequence[pa.ChunkedArray]") -> np.ndarray:
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


def repeated(parts: list[np.ndarray]) -> np.ndarray:
    """Return the hashes that occur more than once, sorted."""
    every = np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)
    parts.clear()
    every.sort()
    return np.unique(every[1:][every[1:] == every[:-1]])
