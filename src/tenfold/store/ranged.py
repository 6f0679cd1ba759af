"""The records of sources that lie in a range of time, read from the lake without the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tenfold.processing.batches import OFFSET, check_present, declared
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Frame, from_arrow
from tenfold.sources.base import Lake
from tenfold.sources.declare import Events
from tenfold.store.base import SINK
from tenfold.store.offline import History
from tenfold.store.spill import ROWS_READ, hashes, repeated

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Span:
    """Records that happened in [first, end), microseconds UTC, and which of their fields; all when None."""

    first: int
    end: int
    names: frozenset[str] | None = None

    def where(self, source: Events) -> str:
        """Return the SQL condition."""
        return f'"{source.time}" >= make_timestamptz({self.first}) AND "{source.time}" < make_timestamptz({self.end})'


class Again:
    """The rows of records that occur more than once, at fixed table versions; each source is looked through once.

    A later version of a record may have another time, so what its versions say of each other is not known from those in a
    range. For 8 bytes a row of the table in memory while it is looked through.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._held: dict[tuple[str, int], pa.Table | None] = {}

    def of(self, source: Events, version: int) -> "pa.Table | None":
        """Return the rows, None when no record of a source occurs again."""
        place = source.name, version
        if place not in self._held:
            self._held[place] = self._find(source, version)
        return self._held[place]

    def _find(self, source: Events, version: int) -> "pa.Table | None":
        rows = self.lake.position(source.name, SINK)
        ranges = [
            f"{OFFSET} >= {first} AND {OFFSET} < {first + ROWS_READ}" for first in range(0, rows, ROWS_READ)
        ]
        names = list(source.ids)
        found = [
            _hashes(source, self.lake.read(source.name, version=version, columns=names, where=where))
            for where in ranges
        ]
        twice = repeated(found)
        if not len(twice):
            return None
        import pyarrow as pa

        tables = (self.lake.read(source.name, version=version, where=where) for where in ranges)
        return pa.concat_tables([table.filter(np.isin(_hashes(source, table), twice)) for table in tables])


class Within(History):
    """What sources held at fixed table versions in ranges of time, by name; of the others all."""

    def __init__(self, history: History, again: Again, spans: Mapping[str, Span]) -> None:
        super().__init__(history.lake, history.versions, memory=history.memory)
        self._again, self._spans = again, spans

    def _read(self, source: Events) -> Frame:
        span, version = self._spans.get(source.name), self.version(source)
        if span is None or version < 0:
            return super()._read(source)
        table = self._table(source, version, span)
        names = [name for name in source.fields if span.names is None or name in span.names]
        types = {name: source.fields[name].type for name in names}
        frame = from_arrow(declared(source, table).select(names), types)
        check_present(source, frame)
        return frame | from_arrow(table, dict.fromkeys((KNOWN, OFFSET), "int"))

    def _table(self, source: Events, version: int, span: Span) -> "pa.Table":
        """Return the rows in the range, and all versions of those that have several."""
        held = self.lake.read(source.name, version=version, where=f"{OFFSET} < 0").column_names
        chosen = [name for name in (*source.fields, KNOWN, OFFSET) if name in held]
        wanted = {KNOWN, OFFSET} | (source.fields.keys() if span.names is None else span.names)
        columns = [name for name in chosen if name in wanted]
        table = self.lake.read(source.name, version=version, columns=columns, where=span.where(source))
        again = self._again.of(source, version)
        if again is None:
            return table
        import pyarrow as pa

        once = ~np.isin(table[OFFSET].to_numpy(), again[OFFSET].to_numpy())
        both = pa.concat_tables([table.filter(pa.array(once)), again.select(columns)])
        return both.take(np.argsort(both[OFFSET].to_numpy(), kind="stable"))

    def rows(self, source: Events) -> int:
        span = self._spans.get(source.name)
        if span is None:
            return super().rows(source)
        version = self.version(source)
        return self.lake.read(
            source.name, version=version, columns=[OFFSET], where=span.where(source)
        ).num_rows


def _hashes(source: Events, table: "pa.Table") -> np.ndarray:
    return hashes([table.column(name) for name in source.ids])
