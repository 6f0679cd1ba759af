"""Storage that lives as long as its object: the same contracts, for tests and examples."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tenfold.core.clock import Clock
from tenfold.core.errors import NotFound
from tenfold.sources.base import Append, Batch, Ends, portion
from tenfold.sources.blobs import digest, encode, taken
from tenfold.sources.lake import check_name, check_upto, check_version, is_next
from tenfold.sources.lake_select import select
from tenfold.sources.lake_types import check_types, lacking, storable
from tenfold.sources.log import check_counts, check_still, keys_of
from tenfold.sources.turn import PROMPT

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class MemoryLog:
    """A `Log` in memory, for the threads of one process.

    Examples
    --------
    >>> from tenfold.core.clock import VirtualClock
    >>> log = MemoryLog(VirtualClock(5))
    >>> log.append("payments", b"...", 3).base
    0
    >>> log.ends()
    Ends(at=5, offsets={'payments': 3})
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._newest = 0
        self._batches: defaultdict[str, list[Batch]] = defaultdict(list)
        self._keys: dict[tuple[str, str], Batch] = {}

    def append(self, topic: str, data: bytes, count: int, *, key: str | Sequence[str] | None = None) -> Batch:
        (batch,) = self.append_all([Append(topic, data, count, key)])
        return batch

    def append_all(self, appends: Sequence[Append], *, still: Ends | None = None) -> list[Batch]:
        check_counts(appends)
        with self._lock:
            if still is not None:
                check_still(still, self._moment(), self._ends())
            return [self._append(one) for one in appends]

    def read(
        self, topic: str, after: int, *, limit: int = 100, rows: int = 2**40, size: int = 2**40
    ) -> list[Batch]:
        with self._lock:
            batches = self._batches.get(topic, [])
            first = bisect_left(batches, after, key=lambda batch: batch.base)
            behind = bisect_left(batches, after + rows, key=lambda batch: batch.base)
            return list(portion(batches[first : min(first + limit, behind)], size))

    def find(self, topic: str, keys: Sequence[str]) -> dict[str, Batch]:
        return {key: self._keys[topic, key] for key in keys if (topic, key) in self._keys}

    def ends(self) -> Ends:
        with self._lock:
            return Ends(self._moment(), self._ends())

    def check(self) -> None:
        """Do nothing: memory takes what comes."""

    def settle(self) -> None:
        """Do nothing: no append leaves work behind."""

    def prompt(self, seconds: float = PROMPT) -> "MemoryLog":  # noqa: ARG002 - nothing takes long in memory
        return self

    def close(self) -> None:
        """Release nothing: the batches live as long as the object."""

    def _append(self, given: Append) -> Batch:
        topic, keys = given.topic, keys_of(given.key)
        for one in keys:
            if held := self._keys.get((topic, one)):
                return held
        batches = self._batches[topic]
        base = batches[-1].end if batches else 0
        batch = Batch(topic, base, given.count, self._moment(), self._clock.elapsed(), given.data)
        batches.append(batch)
        self._newest = batch.arrival
        self._keys |= {(topic, one): batch for one in keys}
        return batch

    def _ends(self) -> dict[str, int]:
        return {topic: held[-1].end for topic, held in self._batches.items()}

    def _moment(self) -> int:
        return max(self._clock.now(), self._newest)


class MemoryLake:
    """A `Lake` in memory; a version is an Arrow table that shares its columns with the version before.

    Examples
    --------
    >>> import pyarrow as pa
    >>> lake = MemoryLake()
    >>> lake.append("payments", pa.table({"_offset": [0, 1]}), writer="ingest", upto=2)
    True
    >>> lake.read("payments", where="_offset > 0").to_pylist()
    [{'_offset': 1}]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, list[pa.Table]] = {}
        self._positions: dict[tuple[str, str], int] = {}

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

        check_name(table)
        check_upto(upto)
        if not is_next(self.position(table, writer), upto, after):
            return False
        plain = [storable(piece, table) for piece in ([rows] if isinstance(rows, pa.Table) else rows)]
        while True:
            seen = self.version(table)
            if check is not None:
                check()
            with self._lock:
                if check is not None and self.version(table) != seen:
                    continue
                return self._store(table, plain, writer, upto, after, instead)

    def _store(
        self,
        table: str,
        plain: "Sequence[pa.Table]",
        writer: str,
        upto: int,
        after: int | None,
        instead: str,
    ) -> bool:
        if not is_next(self._positions.get((table, writer), 0), upto, after):
            return False
        held = [self._without(table, instead)] if table in self._versions else []
        if held or plain:
            self._versions.setdefault(table, []).append(_joined(table, [*held, *plain]))
        self._positions[table, writer] = upto
        return True

    def position(self, table: str, writer: str) -> int:
        check_name(table)
        return self._positions.get((table, writer), 0)

    def read(
        self, table: str, *, version: int | None = None, columns: Sequence[str] | None = None, where: str = ""
    ) -> "pa.Table":
        newest = self._newest(table)
        check_version(table, newest if version is None else version, newest)
        rows = self._versions[table][newest if version is None else version]
        with self._engine.cursor() as connection:
            return select(connection, rows, rows.schema, table=table, columns=columns, where=where)

    def version(self, table: str) -> int:
        check_name(table)
        return len(self._versions.get(table, [])) - 1

    def columns(self, table: str) -> "pa.Schema":
        newest = self._newest(table)
        return lacking(self._versions[table][newest])

    def compact(self, table: str) -> Mapping[str, int]:
        with self._lock:
            newest = self._newest(table)
            rows = self._versions[table][newest]
            merged = rows.combine_chunks()
            if _chunks(merged) < _chunks(rows):
                self._versions[table].append(merged)
            return {"files_before": _chunks(rows), "files_after": _chunks(merged)}

    @cached_property
    def _engine(self) -> "duckdb.DuckDBPyConnection":
        import duckdb

        return duckdb.connect()

    def _newest(self, table: str) -> int:
        newest = self.version(table)
        if newest < 0:
            raise NotFound("table", table, self._versions)
        return newest

    def _without(self, table: str, instead: str) -> "pa.Table":
        rows = self._versions[table][-1]
        if not instead:
            return rows
        with self._engine.cursor() as connection:
            return select(connection, rows, rows.schema, table=table, where=f"({instead}\n) IS NOT TRUE")


def _joined(table: str, parts: "Sequence[pa.Table]") -> "pa.Table":
    import pyarrow as pa

    for part in parts[1:]:
        check_types(table, parts[0].schema, part.schema)
    return pa.concat_tables(parts, promote_options="default")


class MemoryBlobs:
    """`Blobs` in memory.

    Examples
    --------
    >>> blobs = MemoryBlobs()
    >>> digest = blobs.put("fraud/3", {"model.txt": b"tree"})
    >>> blobs.get("fraud/3")
    {'model.txt': b'tree'}
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[str, dict[str, bytes]] = {}

    def put(self, name: str, files: Mapping[str, bytes]) -> str:
        for text, kind in [(name, "blob"), *((file, "file") for file in files)]:
            encode(text, kind)
        with self._lock:
            held = self._blobs.setdefault(name, dict(files))
        if held != files:
            raise taken(name)
        return digest(files)

    def get(self, name: str) -> dict[str, bytes]:
        encode(name, "blob")
        if name not in self._blobs:
            raise NotFound("blob", name, self._blobs)
        return dict(self._blobs[name])

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in list(self._blobs) if name.startswith(prefix))

    def delete(self, name: str) -> None:
        encode(name, "blob")
        self._blobs.pop(name, None)


def _chunks(rows: "pa.Table") -> int:
    return max((column.num_chunks for column in rows.columns), default=0)
