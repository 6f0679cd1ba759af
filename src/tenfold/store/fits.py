"""Whether sources are declared as they are stored: a record of another type could never be moved into the lake."""

from typing import TYPE_CHECKING

from tenfold.processing.batches import to_table
from tenfold.processing.changed import check_stored
from tenfold.sources.base import Batch, Lake, Log
from tenfold.sources.declare import Events
from tenfold.sources.lake_types import lacking
from tenfold.store.base import SINK

if TYPE_CHECKING:
    import pyarrow as pa

SOME = 64
"""How many batches are looked at, of the first and of the newest."""
SPANS = SOME, 4_096, 65_536
"""Within how many of the last records of the log the newest batches are looked for, as they may be large."""


class Fits:
    """Looks once at what is stored of a source, before a process first stores records of it or reads them; then no more."""

    def __init__(self, log: Log, lake: Lake) -> None:
        self._log, self._lake = log, lake
        self._found: set[str] = set()

    def check(self, *sources: Events) -> None:
        """Raise DefinitionError when a field has another type than is stored, or may not be missing and is in stored records."""
        for source in sources:
            if source.name not in self._found and (stored := self._stored(source.name)) is not None:
                check_stored(source, stored)
                self._found.add(source.name)

    def _stored(self, topic: str) -> "pa.Schema | None":
        """Return the columns of what is stored, nullable where records lack them; None while nothing is."""
        import pyarrow as pa

        parts = [self._lake.columns(topic)] if self._lake.version(topic) >= 0 else []
        parts += [lacking(to_table(batch)) for batch in self._waiting(topic)]
        if not parts:
            return None
        types: dict[str, pa.DataType] = {}
        for item in (item for part in parts for item in part):
            types.setdefault(item.name, item.type)  # the lake comes first: nothing else is moved there
        return pa.schema(
            pa.field(
                name,
                kind,
                nullable=any(name not in part.names or part.field(name).nullable for part in parts),
            )
            for name, kind in types.items()
        )

    def _waiting(self, topic: str) -> list[Batch]:
        """Return batches of the log that are not in the lake: the first and the newest, since there may be any number."""
        first = self._log.read(topic, self._lake.position(topic, SINK), limit=SOME, rows=SPANS[0])
        if not first:
            return []
        begin, end = first[-1].end, self._log.ends().offsets[topic]
        reads = (self._log.read(topic, max(begin, end - span), limit=span) for span in SPANS)
        return first + next((found[-SOME:] for found in reads if found), [])
