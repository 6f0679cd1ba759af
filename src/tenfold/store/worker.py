"""The stream worker: folds the log into online states at once, and beside that into lake tables in larger commits."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tenfold.core.clock import Clock
from tenfold.sources.base import Batch
from tenfold.store.materialize import LakeSink, StateSink

IDLE = 0.001
"""Seconds to wait when there is nothing new."""


class Worker:
    """Runs until told to stop; may be killed at any moment and started again, or run twice: every record counts once.

    Parameters
    ----------
    observe
        Gets the batches whose effects have just become visible to requests.
    rows, seconds
        The lake is written when this many records wait, or after this long.
    """

    def __init__(
        self,
        states: StateSink,
        lake: LakeSink,
        clock: Clock,
        *,
        observe: Callable[[Sequence[Batch]], None] = lambda _: None,
        rows: int = 50_000,
        seconds: float = 10.0,
    ) -> None:
        self._states, self._lake, self._clock, self._observe = states, lake, clock, observe
        self._rows, self._pause = rows, int(seconds * 1e6)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Process until `stopped`, then move what is left into the lake."""
        with ThreadPoolExecutor(1, "lake") as aside:  # requests wait for the states, nobody for the lake
            self._run(stopped, aside)
        self.drain()

    def _run(self, stopped: Callable[[], bool], aside: ThreadPoolExecutor) -> None:
        waiting, flushed = 0, self._clock.elapsed()
        moving: Future[int] | None = None
        while not stopped():
            done = self._states.advance()
            if done:
                self._observe(done)
                waiting += sum(batch.count for batch in done)
            else:
                self._clock.sleep(IDLE)
            if moving is not None:
                if not moving.done():
                    continue
                moving.result()  # raises what went wrong
                moving, flushed = None, self._clock.elapsed()
            if waiting >= self._rows or self._clock.elapsed() - flushed > self._pause:
                waiting, moving = 0, aside.submit(self._lake.flush)

    def drain(self) -> int:
        """Process everything that is in the log by now and return how many records became visible."""
        total = 0
        while self._states.behind():
            done = self._states.advance()
            self._observe(done)
            total += sum(batch.count for batch in done)
        self._lake.flush()
        return total
