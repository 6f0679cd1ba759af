"""Spans on their way to a collector; a process that ends does not wait long for one that is away."""

import logging
import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

LAST = 1.0
"""Seconds in which an ending process sends the spans it has left."""
ABORT = 0.2
"""Seconds that what was told to stop has to notice it."""

logger = logging.getLogger(__name__)


class Spans(SpanProcessor):
    """Sends spans in batches, aside, and says in the end how many were not taken.

    OpenTelemetry's own sends a batch again for ten seconds, and waits for that when the process ends.

    Parameters
    ----------
    exporter
        What sends a batch.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._taken = _Taken(exporter)
        self._batches: SpanProcessor = BatchSpanProcessor(self._taken)
        self._lock, self._made = threading.Lock(), 0
        self._ending, self._ended = threading.Event(), threading.Event()
        # it waits from now on, since a process that ends may start no thread
        threading.Thread(target=self._send_the_last, name="last spans", daemon=True).start()

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled:
            with self._lock:
                self._made += 1
            self._batches.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send what is left, for a second at most, and log how many spans were not sent since the process began."""
        self._ending.set()
        if not self._ended.wait(LAST):
            self._taken.shutdown()
            self._ended.wait(ABORT)
        if lost := self._made - self._taken.count:
            logger.warning("%d of %d spans were not sent: no collector took them in time", lost, self._made)

    def _send_the_last(self) -> None:
        self._ending.wait()
        self._batches.shutdown()
        self._ended.set()


class _Taken(SpanExporter):
    """Counts the spans that were taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self._over = exporter, threading.Event()
        self.count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._over.is_set():
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.count += len(spans)
        return result

    def shutdown(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._exporter.shutdown()
