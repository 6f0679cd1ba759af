"""The answers of the prediction log in their order, a part at a time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenfold.features.records import OFFSET
from tenfold.processing.batches import joined, to_tables
from tenfold.serving.answer.predictions import SHADOW, TOPIC
from tenfold.sources.base import Log

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "prediction_id",
    "model",
    "mode",
    "version",
    "row_id",
    "label_key",
    "at",
    "score",
    "decision",
    "classes",
    "probabilities",
    "outputs",
    "outputs_by",
    OFFSET,
)
"""What is sent of an answer: not the row that was asked about, nor its features."""
BATCHES, ROWS = 500, 20_000
"""How much of the log is kept at a time."""
READ, OPENED = 100, 1 << 17
"""How many batches are read and opened together, and after how many bytes: with all that was asked and answered, which is not kept."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """An offset before which everything was sent.

    Attributes
    ----------
    base
        Where the batch of the log begins in which `first` lies: only there it can be read.
    upto
        Where the part under way ends; `first` when there is none.
    """

    base: int = 0
    first: int = 0
    upto: int = 0


class Answers:
    """Reads the prediction log; keeps what it read last, as a large batch is many parts."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._bounds: list[tuple[int, int]] = []
        self._rows: pa.Table | None = None

    def part(self, cursor: Cursor, models: frozenset[str], most: int) -> "tuple[pa.Table, int] | None":
        """Return the answers of some models that come next, and the offset behind them; None at the end of the log.

        They are at most so many, or those of the part under way. What was never answered, only asked aside, is left out.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = self._from(cursor)
        if rows is None:
            return None
        again = cursor.upto > cursor.first
        if again:
            rows = rows.slice(0, cursor.upto - cursor.first)
        among = pc.is_in(rows.column("model"), value_set=pa.array(sorted(models), pa.string()))
        found = rows.filter(pc.and_(among, pc.not_equal(rows.column("mode"), SHADOW)))
        last = rows
        if not again and found.num_rows > most:
            last = found = found.slice(0, most)
        return found, last.column(OFFSET)[-1].as_py() + 1

    def cursor(self, offset: int) -> Cursor:
        """Return the cursor at an offset up to which was read."""
        base = next((base for base, end in self._bounds if base < offset < end), offset)
        return Cursor(base, offset, offset)

    def _from(self, cursor: Cursor) -> "pa.Table | None":
        """Return rows from a cursor on, at least those of the part under way."""
        wanted = max(cursor.upto, cursor.first + 1)
        begin, end = (self._bounds[0][0], self._bounds[-1][1]) if self._bounds else (0, 0)
        if not begin <= cursor.first < wanted <= end:
            if not self._read(cursor.base, wanted):
                return None
            begin = self._bounds[0][0]
        assert self._rows is not None  # noqa: S101 - for the type checker
        return self._rows.slice(cursor.first - begin)

    def _read(self, base: int, wanted: int) -> bool:
        """Keep rows from a base on that reach an offset; return False when the log does not."""
        bounds: list[tuple[int, int]] = []
        tables: list[pa.Table] = []
        enough = max(base + ROWS, wanted)
        while base < wanted or (len(bounds) < BATCHES and base < enough):
            found = self._log.read(TOPIC, base, limit=READ, rows=enough - base, size=OPENED)
            if not found:
                break
            bounds += [(batch.base, batch.end) for batch in found]
            tables.append(to_tables(found).select(COLUMNS))
            base = found[-1].end
        if base < wanted:
            return False
        self._bounds, self._rows = bounds, joined(tables, TOPIC)
        return True
