"""Requests that wait for their answers, and those of them that are answered together."""

import asyncio
from collections.abc import Callable, Sequence

from tenfold.serving.answer.questions import Question
from tenfold.sources.base import Ends

Told = bytes | Exception
"""The answer of a request as JSON, or what it is refused with."""


class Waiting:
    """A request that waits; made and told on the thread of an event loop.

    Attributes
    ----------
    until
        The clock's `elapsed` up to which the states are waited for.
    mark
        That of its group, None while it is in no group.
    over
        It is refused, or its client is gone: nothing is stored for it any more.
    storing
        Its answer is being stored, so it will be told.
    """

    __slots__ = ("answer", "done", "loop", "mark", "over", "question", "storing", "timer", "until")

    def __init__(self, question: Question, until: int, done: Callable[[Told], None]) -> None:
        self.question, self.until, self.done = question, until, done
        self.loop = asyncio.get_running_loop()
        self.over = self.storing = False
        self.mark: Ends | None = None
        self.answer: Told | None = None
        self.timer: asyncio.TimerHandle | None = None


class Group(list[Waiting]):
    """Requests that are answered together.

    Attributes
    ----------
    begun
        The clock's `elapsed` when they were taken.
    mark
        The moment they are answered for, and how far the states must be for that; None before it is taken.
    """

    def __init__(self, begun: int) -> None:
        super().__init__()
        self.begun = begun
        self.mark: Ends | None = None

    @property
    def rows(self) -> int:
        """How many rows they ask about."""
        return sum(len(waiting.question.rows) for waiting in self)


def tell(group: Sequence[Waiting]) -> None:
    """Give requests their answers, on the thread of their event loop."""
    for waiting in group:
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None
        if waiting.answer is not None:
            waiting.done(waiting.answer)
