"""Features that a source reads of other views, for records as they come from the log."""

from tenfold.processing.batches import ARRIVAL, OFFSET, read_frame
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import Source
from tenfold.processing.frame import Frame, column, concat, types_of
from tenfold.sources.base import Log
from tenfold.sources.declare import Events
from tenfold.store.offline import features
from tenfold.store.pieces import asked_at

ALL = 2**40


class Upstream:
    """Adds the features that sources read, each as of when its record happened, or became known if that was earlier.

    Computed from the log itself, so they do not depend on how far the states of the other view are: that moment is never
    after the record's arrival, and whatever was known before it lies before the record in the log. That holds for history
    too when it is loaded first. What is read of the log stays in memory.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._read: dict[str, tuple[int, Frame]] = {}

    def added(self, source: Source, frame: Frame) -> Frame:
        """Return records of a source's root with the features the source reads, as columns "view.name"."""
        for view in source.upstream:
            keys = [frame[name] for name in view.keys]
            past = self.added(view.source, self._past(view.source.root))
            found = features(view, past, keys, asked_at(source.root, frame))
            frame = {**frame, **{f"{view.name}.{name}": item for name, item in found.items()}}
        return frame

    def _past(self, root: Events) -> Frame:
        """Return all records of a source by now."""
        end, held = self._read.get(root.name, (0, {}))
        batches = self._log.read(root.name, end, limit=ALL)
        if batches:
            new = read_frame(root, batches)
            held = {name: concat([held[name], item]) for name, item in new.items()} if held else new
            self._read[root.name] = (batches[-1].end, held)
        types = types_of(root.fields) | {KNOWN: "int", OFFSET: "int", ARRIVAL: "int"}
        return held or {name: column(type_, []) for name, type_ in types.items()}
