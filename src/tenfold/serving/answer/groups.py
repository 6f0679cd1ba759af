"""Requests that wait are answered together: a group is what came in a row, or while the one before it was worked on."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from tenfold.core.clock import Clock, SystemClock
from tenfold.core.errors import NotFound, TenfoldError, Unavailable
from tenfold.serving.answer.questions import Question
from tenfold.serving.answer.quiet import Quiet
from tenfold.serving.answer.service import Service
from tenfold.serving.answer.waiting import Group, Told, Waiting, tell
from tenfold.sources.base import Ends
from tenfold.sources.turn import Locked, Overtaken

logger = logging.getLogger(__name__)

MOST = 10_000
"""Rows that may wait; a request beyond that is refused at once."""
TOGETHER = 256
"""Rows of small requests that are answered together at most: the first of them waits for the last."""
SMALL = 25
"""A request of more rows is a group of its own, so that small ones wait for one such at a time."""
QUICK, A_ROW = 5_000, 200
"""Microseconds that a group may take, and for each row more, for the event loop to stand still meanwhile."""
PAUSE, LONGEST = 50_000, 2_000_000
"""Microseconds for which groups are left to the thread: at first, and at most when each try shows that it is still slow."""
POLL = 0.0005
"""Seconds between two looks at how far the states are."""
IDLE = 1.0
"""Seconds without a request after which the thread ends; the next request starts another one."""

Answer = Callable[[Group], Sequence[Told | None]]


class Groups:
    """Answers requests of one model, together where several wait.

    Small requests are answered on the event loop's thread as long as that is quick: the states are there, no candidate is
    asked, nobody else writes to the log, and the group before was quick. Then no two threads take turns at Python. Everything
    else is done by a thread, which is there while anything waits; beside a busy event loop it is slower, so the loop is tried
    again after a pause. A group has one mark, taken after the last of its requests came, one wait for the states, one
    snapshot of them, one call of each version and one append. Each request gets what it would get alone.

    Parameters
    ----------
    wait
        Seconds after which a request is refused, unless its answer is being stored by then.
    most
        Rows that may wait.
    """

    def __init__(
        self, service: Service, *, wait: float, clock: Clock | None = None, most: int = MOST
    ) -> None:
        self.service, self._wait, self._most = service, wait, most
        self._prompt, self._quiet = service.prompt(), Quiet()
        self._again = self._pause = 0
        self._clock = clock or SystemClock()
        self._small: deque[Waiting] = deque()
        self._large: deque[Waiting] = deque()
        self._ahead: deque[Group] = deque()
        self._rows = 0
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._asleep = self._closed = self._large_next = False
        self._turn: asyncio.AbstractEventLoop | None = None
        self._seen = 0
        service.closing.append(self.close)

    @property
    def rows(self) -> int:
        """How many rows wait to be taken into a group."""
        return self._rows

    def ask(self, question: Question, done: Callable[[Told], None]) -> Waiting:
        """Have a question answered, and `done` called on this event loop; returns at once.

        Raises
        ------
        Unavailable
            When too many rows wait.
        """
        until = self._clock.elapsed() + int(self._wait * 1e6)
        waiting = Waiting(question, until, done)
        self._put(waiting)
        waiting.timer = waiting.loop.call_later(self._wait, self._late, waiting)
        self._look(waiting.loop, waiting.loop.call_soon)
        return waiting

    def forget(self, waiting: Waiting) -> bool:
        """Leave out a request whose client is gone, unless its answer is being stored; return whether that came in time."""
        return self._refuse(waiting)

    def close(self) -> None:
        """Answer what waits, and end; may be called twice."""
        with self._lock:
            self._closed, thread = True, self._thread
            self._wake.set()
        if thread is not None:
            thread.join()
        else:
            self._work()

    def _put(self, waiting: Waiting) -> None:
        rows = len(waiting.question.rows)
        with self._lock:
            if self._closed or (self._rows and self._rows + rows > self._most):
                raise Unavailable(
                    f'model "{self.service.model.name}" takes no more requests now: {self._rows:,} rows wait for their '
                    "answers. Nothing was stored; it is safe to retry in a moment."
                )
            self._rows += rows
            (self._large if rows > SMALL else self._small).append(waiting)

    def _look(self, loop: asyncio.AbstractEventLoop, call: Callable[..., object]) -> None:
        """Have an event loop look at what waits in one of its next turns."""
        if self._turn is not loop:
            self._turn, self._seen = loop, 0
            call(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have worked on what waits as soon as a turn of the event loop brings no more: then a group is worth its price."""
        with self._lock:
            free = self._thread is None or self._asleep
            if free and self._seen < self._rows < TOGETHER:
                self._seen = self._rows
                loop.call_soon(self._begin, loop)
                return
            self._turn = None
            if not free or not (self._small or self._large):
                return
            group = None if self._large or self._slow() else self._next()
            if not group:
                self._start()
                return
        self._at_once(group, loop)

    def _start(self) -> None:
        """Have the thread go on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="groups", daemon=True)
            self._thread.start()
        else:
            self._asleep = False
            self._wake.set()

    def _at_once(self, group: Group, loop: asyncio.AbstractEventLoop) -> None:
        """Answer a group on this thread, its event loop's, or leave it to the other one."""
        told, took = self._timed(self._promptly, group)
        if not any(told):
            self._leave(self._pause or PAUSE)
        elif took > QUICK + A_ROW * group.rows:
            self._pause = min(self._pause * 2 or PAUSE, LONGEST)
            self._leave(self._pause)
        else:
            self._pause = 0
        self._hand_over(group, told, loop)
        loop.call_soon(self._prompt.log.settle)  # behind what was told now
        with self._lock:
            if self._small or self._large:
                self._look(loop, loop.call_soon)

    def _leave(self, pause: int) -> None:
        """Leave what comes to the thread for so many microseconds, or until a group of its is quick."""
        self._again = self._clock.elapsed() + pause

    def _slow(self) -> bool:
        """Return whether the event loop is to be spared now."""
        return self._again > 0 and self._clock.elapsed() < self._again

    def _promptly(self, group: Group) -> Sequence[Told | None]:
        """Return the answers of a group, none where one would have to wait for them."""
        with suppress(Locked):
            try:
                if mark := self._quiet.mark(group.begun):
                    still = self._prompt.expected(mark)
                    return self._answers(self._prompt, group, still.at, None, still)
            except Overtaken:
                self._quiet.disturbed()
            if self._prompt.reached(mark := self._prompt.mark()):
                if not self._prompt.degrades:  # else they may be away instead
                    self._quiet.seen(self._prompt.expected(mark), group.begun)
                return self._answers(self._prompt, group, mark.at, None, Ends(mark.at, {}))
        return [None] * len(group)

    def _late(self, waiting: Waiting) -> None:
        """Refuse a request that has waited for too long; called on its event loop."""
        if self._refuse(waiting):
            waiting.done(Unavailable(self._why(waiting)))

    def _why(self, waiting: Waiting) -> str:
        try:
            if waiting.mark is not None and not self.service.reached(waiting.mark):
                return self.service.why_late(waiting.mark, self._wait)
        except TenfoldError as error:  # the states are away, too
            return str(error)
        return (
            f"it was not answered within {self._wait:g} s: too many requests came before this one, or what answers is still being "
            "loaded, as /ready says then. Nothing was stored; it is safe to retry in a moment."
        )

    def _refuse(self, waiting: Waiting) -> bool:
        with self._lock:
            if waiting.storing or waiting.over:
                return False
            waiting.over = True
            return True

    def _keep(self, waiting: Waiting) -> bool:
        """Return whether a request's answer is still wanted; then it is stored and told, however long that takes."""
        with self._lock:
            waiting.storing = not waiting.over
            return waiting.storing

    def _work(self) -> None:
        while group := self._take():
            told, took = self._timed(self._answer, group)
            if took <= QUICK + A_ROW * group.rows:
                self._again = 0
            self._hand_over(group, told)
            self.service.log.settle()
            del group  # nothing of it is kept while the next one is waited for

    def _timed(self, answer: Answer, group: Group) -> tuple[Sequence[Told | None], int]:
        """Return the answers of a group, and how many microseconds there were since it was taken."""
        told: Sequence[Told | None]
        try:
            told = answer(group)
        except TenfoldError as error:
            told = [error] * len(group)
        except Exception as error:  # whatever it is, the clients are told and the thread goes on
            logger.exception("group failed model=%s requests=%s", self.service.model.name, len(group))
            told = [error] * len(group)
        return told, self._clock.elapsed() - group.begun

    def _take(self) -> Group | None:
        """Return the requests to answer next, after waiting for some; None when the thread is to end."""
        if self._ahead:
            return self._ahead.popleft()
        while True:
            with self._lock:
                if (not self._to_loop() or self._closed) and (group := self._next()):
                    return group
                if self._closed:
                    return None
                self._wake.clear()
                self._asleep = True
            if not self._wake.wait(IDLE):
                with self._lock:
                    if not (self._small or self._large):
                        self._thread, self._asleep = None, False
                        return None

    def _to_loop(self) -> bool:
        """Leave what waits to its event loop, where that is quicker, or return False."""
        if self._large or not self._small or self._slow():
            return False
        loop = self._small[0].loop
        try:
            self._look(loop, loop.call_soon_threadsafe)
        except RuntimeError:  # it is closed
            return False
        return True

    def _next(self) -> Group:
        """Return a large request, or all small ones up to a limit, in turn; without those that are over."""
        group = Group(self._clock.elapsed())
        while not group and (self._small or self._large):
            large = bool(self._large) and (self._large_next or not self._small)
            queue, most = (self._large, 1) if large else (self._small, TOGETHER)
            self._large_next = not large
            rows = 0
            while queue and rows < most:
                waiting = queue.popleft()
                self._rows -= len(waiting.question.rows)
                if not waiting.over:
                    group.append(waiting)
                    rows += max(len(waiting.question.rows), 1)
        return group

    def _answer(self, group: Group) -> Sequence[Told | None]:
        mark = group.mark or self._marked(group)
        late = None if self._reached(group, mark) else mark
        if late is None:
            mark = self._joined(group, mark)
        elif not self.service.degrades:
            return [Unavailable(self.service.why_late(mark, self._wait))] * len(group)
        try:
            return self._answers(self.service, group, mark.at, late, Ends(mark.at, {}))
        except Overtaken:  # the clock was set back, and what came since may lie before the mark's moment
            return [None] * len(group)

    def _marked(self, group: Group) -> Ends:
        group.mark = mark = self.service.mark()
        for waiting in group:
            waiting.mark = mark
        return mark

    def _reached(self, group: Group, mark: Ends) -> bool:
        """Wait until the states reach a mark; return whether they did before nobody waits any more."""
        while not self.service.reached(mark):
            now = self._clock.elapsed()
            if self.service.gives_up((now - group.begun) / 1e6, self._wait):
                return False
            if all(waiting.over or waiting.until < now for waiting in group):
                return False
            self._mark_ahead()
            self._clock.sleep(POLL)
        return True

    def _mark_ahead(self) -> None:
        """Take the mark of small requests that came meanwhile, so that they need not wait for a later one."""
        with self._lock:
            if self._large or not self._small or sum(group.rows for group in self._ahead) >= TOGETHER:
                return
            group = self._next()
        if group:  # the clients of all of them may be gone
            self._ahead.append(group)
            with suppress(Exception):  # it is tried again, and told to whom it belongs, when it is their turn
                self._marked(group)

    def _joined(self, group: Group, mark: Ends) -> Ends:
        """Let small requests whose mark is reached too join a group, and return the newest mark."""
        while (
            self._ahead
            and group.rows + self._ahead[0].rows <= TOGETHER
            and len(group[0].question.rows) <= SMALL
        ):
            newest = self._ahead[0].mark
            if newest is None or not self.service.reached(newest):
                break
            group += self._ahead.popleft()
            mark = newest
        return mark

    def _answers(
        self,
        service: Service,
        group: Sequence[Waiting],
        at: int,
        late: Ends | None,
        still: Ends | None = None,
    ) -> Sequence[Told | None]:
        questions = [waiting.question for waiting in group]
        try:
            return service.answer(
                questions, at, wanted=lambda place: self._keep(group[place]), late=late, still=still
            )
        except Locked:
            raise
        except Exception as error:  # noqa: BLE001 - the clients are told, whatever it is
            if len(group) == 1 or isinstance(error, (NotFound, Unavailable)):
                return [error] * len(group)
            # one of them is to blame, and only that one may fail of it
            half = len(group) // 2
            parts = (self._answers(service, part, at, late, still) for part in (group[:half], group[half:]))
            return [told for part in parts for told in part]

    def _hand_over(
        self,
        group: Sequence[Waiting],
        told: Sequence[Told | None],
        here: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Tell those that have an answer, on their event loops, of which this may be one; the others are asked again next."""
        ready: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}
        again = []
        for waiting, answer in zip(group, told, strict=True):
            if answer is None:
                again.append(waiting)
            elif waiting.storing or self._refuse(waiting):
                waiting.answer = answer
                ready.setdefault(waiting.loop, []).append(waiting)
        with self._lock:
            for waiting in reversed(again):
                if not waiting.over:
                    waiting.storing = False
                    self._rows += len(waiting.question.rows)
                    (self._large if len(waiting.question.rows) > SMALL else self._small).appendleft(waiting)
        for loop, these in ready.items():
            if loop is here:
                tell(these)
                continue
            try:
                loop.call_soon_threadsafe(tell, these)
            except RuntimeError:  # the loop is closed: nobody waits any more
                logger.info("answers were stored and not told requests=%s", len(these))
