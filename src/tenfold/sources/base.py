"""What a storage engine must do: three narrow protocols, each with its checks in `contract.py`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tenfold.sources.turn import PROMPT

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Batch:
    """Records appended together: offsets `base` to `base + count - 1` of a topic.

    `data` is rows as `processing/batches.py` writes them. `arrival` is the clock's instant of the append and `stamp` its monotonic count
    (both in microseconds), stamped by the log; `stamp` only serves to measure freshness.
    """

    topic: str
    base: int
    count: int
    arrival: int
    stamp: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return self.base + self.count


def portion(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Yield batches up to the one with which they take so many bytes.

    Examples
    --------
    >>> batches = [Batch("payments", base, 1, 5, 5, b"12345") for base in range(4)]
    >>> [[batch.base for batch in portion(batches, size)] for size in (1, 5, 6, 90)]
    [[0], [0], [0, 1], [0, 1, 2, 3]]
    """
    for batch in batches:
        yield batch
        size -= len(batch.data)
        if size <= 0:
            break


@dataclass(frozen=True, slots=True)
class Append:
    """What is to be one batch of a topic, under a key or several."""

    topic: str
    data: bytes
    count: int
    key: str | Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the log ends at a moment: offsets by topic, after its last record; a topic without records is missing.

    Every record that arrived before `at` (microseconds UTC) lies before these offsets, and every record behind them
    arrives at `at` or later.
    """

    at: int
    offsets: Mapping[str, int]


class Log(Protocol):
    """A durable, ordered log of record batches per topic.

    `append` returns only when the batch would survive kill -9 and power loss; it is idempotent by `key`: appending
    under a key that the topic already holds changes nothing and returns the batch stored first. A batch may have several
    keys, one for each record, say: when the topic holds any of them, nothing is stored and the batch that holds the
    first of those is returned. Readers see whole batches, in offset order, without gaps. Several processes may append
    and read.

    The log has a clock and one order of appends over all topics: a batch gets its arrival when it has its place in that
    order, never an earlier one than the batch before it. `ends` takes part in the order: it waits for an append under
    way, so it is not for loops that poll.
    """

    def append(self, topic: str, data: bytes, count: int, *, key: str | Sequence[str] | None = None) -> Batch:
        """Store one batch, under a key or several, and return it with its offsets and its arrival."""
        ...

    def append_all(self, appends: Sequence[Append], *, still: Ends | None = None) -> list[Batch]:
        """Append several batches in their order, all or none, and return what `append` would for each.

        With `still`, `Overtaken` is raised, and nothing is stored, unless that is true to this moment: the topics it names
        end there (at 0, without records), and it is not of a later moment than this.
        """
        ...

    def read(
        self, topic: str, after: int, *, limit: int = 100, rows: int = 2**40, size: int = 2**40
    ) -> list[Batch]:
        """Return up to `limit` batches, in order, whose base offset is at least `after` and less than `rows` behind it.

        None follows the one with which they take `size` bytes.
        """
        ...

    def find(self, topic: str, keys: Sequence[str]) -> dict[str, Batch]:
        """Return the batch appended under each of some keys, by key, where there is one."""
        ...

    def ends(self) -> Ends:
        """Return the present moment and where the log ends at it; exact unless the clock is set back afterwards."""
        ...

    def check(self) -> None:
        """Raise what an append would where nothing can be stored now; write and sync as one does, and change nothing."""
        ...

    def settle(self) -> None:
        """Do now what a later append would have to do besides: for who keeps nobody waiting. It changes nothing and never raises."""
        ...

    def prompt(self, seconds: float = PROMPT) -> "Log":
        """Return the same log for who keeps others waiting: it raises `Locked` rather than to wait longer for a writer; closed with it."""
        ...

    def close(self) -> None:
        """Release what is held; may be called twice."""
        ...


class Lake(Protocol):
    """Versioned tables of records; every write makes a new version and old versions stay readable.

    `append` is idempotent by (`writer`, `upto`): a second append by the same writer up to the same or a smaller
    position changes nothing, so a batch cannot be stored twice however a process dies.
    """

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
        """Append rows as one version; return False when this writer already wrote up to there, which is durable then too.

        With `after`, also when its position is no longer that: the same writer, elsewhere, was first. Rows may come as
        several tables, taken one after the other and only when they are to be stored. With `instead`, an SQL condition,
        they replace in the same version the rows that meet it. `check` is called before they are stored, and nothing is when
        it raises: again where another append with one came between it and the commit, so what it found still holds then.
        """
        ...

    def position(self, table: str, writer: str) -> int:
        """Return the last `upto` of a writer, 0 when it never wrote."""
        ...

    def read(
        self, table: str, *, version: int | None = None, columns: Sequence[str] | None = None, where: str = ""
    ) -> "pa.Table":
        """Return a table's rows ordered by `_offset`, at a version (default: newest), filtered by an SQL condition."""
        ...

    def version(self, table: str) -> int:
        """Return the newest version number, -1 when there is no such table."""
        ...

    def columns(self, table: str) -> "pa.Schema":
        """Return the columns of a table as it stands, nullable where rows are known to lack them, without reading rows."""
        ...

    def compact(self, table: str) -> Mapping[str, int]:
        """Merge small files; readable versions stay readable."""
        ...


class Blobs(Protocol):
    """Immutable files by name: model artefacts.

    A blob is visible only when complete; putting the same name again with other bytes raises Conflict.
    """

    def put(self, name: str, files: Mapping[str, bytes]) -> str:
        """Store a directory of files under a name and return their digest: what `sources.blobs.digest` gives for them."""
        ...

    def get(self, name: str) -> dict[str, bytes]:
        """Return the files of a blob after checking its digest; NotFound when there is none."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of complete blobs, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Remove a blob; removing what is not there is fine."""
        ...
