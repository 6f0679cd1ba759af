"""The stream worker: folds the log into online states at once, and beside that into lake tables in larger commits."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from tenfold.core.clock import Clock
from tenfold.core.errors import DiskFailed, SchemaError
from tenfold.core.times import FOREVER, UNITS
from tenfold.sources.base import Batch
from tenfold.sources.turn import Locked
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.whole import OtherLog

IDLE, LONG_IDLE = 0.001, 0.01
"""Seconds to wait when there is nothing new, and when there was nothing for a second."""
PAUSE = 0.1
"""Seconds before another try where somebody else kept a database for too long."""
FAILED = 1.0
"""The same where the disk does not take what is to be written."""
AGAIN = 10 * UNITS["s"]
"""After how long without that, in microseconds, it is told once more."""
REST, LONGEST = 3, 1.0
"""How many times as long as a piece of the lake took nothing is done for it, and seconds at most: requests go first."""
LAST = 5 * UNITS["s"]
"""How long after it was told to stop the worker begins with more of what is left; then it leaves that to the next one."""
NICE = 10
"""The priority of who writes the lake: 0 is everybody's, 19 the last."""

logger = logging.getLogger(__name__)


class Worker:
    """Runs until told to stop; may be killed at any moment and started again, or run twice: every record counts once.

    It goes on when another writer has kept a database for longer than one waits, and when there is room again on a disk that
    was full; while only the lake has none, the states go on.

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
        """Process until `stopped`, then what is left and may be moved in a few seconds; the next one goes on behind it."""
        over, failed = self._ending(stopped), -AGAIN
        while not stopped():
            try:
                self._lake.check()  # first: what is to be done for it is all that may have to be done
                self._states.check()
                # requests wait for the states, nobody for the lake
                with ThreadPoolExecutor(1, "lake", _go_last) as aside:
                    self._run(stopped, over, aside)
            except Locked as error:
                logger.warning("the worker goes on: %s", error)
                self._clock.sleep(PAUSE)
            except DiskFailed as error:
                with suppress(Locked):  # which the next try meets too, and waits for
                    self._states.check()  # raises where this process cannot use them any more
                if self._clock.elapsed() - failed >= AGAIN:
                    logger.warning("the worker waits for the disk: %s", error)
                failed = self._clock.elapsed()
                self._clock.sleep(FAILED)
            except SchemaError:
                self._flush_others(over)
                raise
        self.drain(over)

    def _run(self, stopped: Callable[[], bool], over: Callable[[], bool], aside: ThreadPoolExecutor) -> None:
        waiting, stands = 0, False
        flushed = busy = self._clock.elapsed()
        moving: Future[int] | None = None
        while not stopped():
            done = self._states.advance()
            if done:
                self._observe(done)
                waiting += sum(batch.count for batch in done)
                busy = self._clock.elapsed()
            else:
                self._clock.sleep(IDLE if self._clock.elapsed() - busy < UNITS["s"] else LONG_IDLE)
            if moving is not None:
                if not moving.done():
                    continue
                stands = _stands(moving, stands)
                moving, flushed = None, self._clock.elapsed()
            if (waiting >= self._rows and not stands) or self._clock.elapsed() - flushed > self._pause:
                waiting, moving = 0, aside.submit(self._lake.flush, self._rest(stopped), over)
        over()  # from now on

    def _ending(self, stopped: Callable[[], bool]) -> Callable[[], bool]:
        """Return what says whether the time is over that there is once all is to end, which counts from the first look then."""
        until = FOREVER

        def over() -> bool:
            nonlocal until
            if until == FOREVER and stopped():
                until = self._clock.elapsed() + LAST
            return self._clock.elapsed() >= until

        return over

    def _rest(self, stopped: Callable[[], bool]) -> Callable[[], None]:
        """Return what is called between two pieces of the lake, and takes a break unless the lake lags or all is to end."""
        begun = last = self._clock.elapsed()

        def rest() -> None:
            nonlocal last
            now = self._clock.elapsed()
            if now - begun < self._pause and not stopped():
                self._clock.sleep(min(REST * (now - last) / 1e6, LONGEST))
            last = self._clock.elapsed()

        return rest

    def drain(self, over: Callable[[], bool] = bool) -> int:
        """Process everything that is in the log by now, unless it is `over` before, and return how many records became visible."""
        total = 0
        try:
            while self._states.behind() and not over():
                done = self._states.advance()
                self._observe(done)
                total += sum(batch.count for batch in done)
        except OtherLog:
            self._lake.check()  # which says more
            raise
        except SchemaError:
            self._flush_others(over)
            raise
        self._lake.flush(over=over)
        return total

    def _flush_others(self, over: Callable[[], bool]) -> None:
        """Move into the lake what fits, where some records of a source do not."""
        with suppress(SchemaError):
            self._lake.flush(over=over)


def _stands(moved: "Future[int]", stood: bool) -> bool:
    """Return whether the disk took none of what was to go to the lake, and say so once; raise what else went wrong."""
    try:
        moved.result()
    except DiskFailed as error:
        if not stood:
            logger.warning("the lake stands still, and the states go on: %s", error)
        return True
    if stood:
        logger.warning("the lake goes on")
    return False


def _go_last() -> None:
    """Let others have the processor first; only Linux knows priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):  # where it is forbidden, the lake is written all the same
            who = os.PRIO_PROCESS, threading.get_native_id()
            os.setpriority(*who, max(os.getpriority(*who), NICE))
