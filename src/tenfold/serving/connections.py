"""The connections of a client: each answer is read whole within its time, and none is shared with another process."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tenfold.core.clock import Clock

LOCAL = ("127.0.0.1", "localhost", "::1")
"""The names of this machine: those by which a server that is bound to it alone is asked for, and to which no proxy leads."""
LONGEST_IDLE = 60_000_000
"""Microseconds after which a connection that a burst of calls made is closed."""
TOGETHER = 32
"""Calls that an asynchronous client has under way. httpx looks through all of its own for each, so many cost each of them more."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that was read; `url` is httpx's."""

    status_code: int
    headers: Mapping[str, str]
    url: Any
    content: bytes

    @property
    def text(self) -> str:
        """The content, as far as it is text."""
        return self.content.decode(errors="replace")


class Each:
    """Gives each call under way an httpx client of its own, which the next ones take over with its connection.

    One httpx client that threads share looks through all of its connections twice a call, while the others wait.
    The idle ones are in a list, whose `append`, `pop` and copy need no lock, each with the moment it became so.

    Parameters
    ----------
    late
        Raises that an answer was not read within `timeout` seconds: httpx's own limit is one of each piece of it.
    """

    def __init__(
        self, make: Callable[[], Any], clock: Clock, timeout: float, late: Callable[[str], Exception]
    ) -> None:
        self._make, self._clock, self._closed = make, clock, False
        self._timeout, self._late = int(timeout * 1e6), late
        self._process, self._idle = os.getpid(), [(make(), clock.elapsed())]

    def request(self, given: Mapping[str, Any]) -> Response:
        """Return the answer to what httpx is given; it raises what httpx does."""
        http, until = self._taken(), self._clock.elapsed() + self._timeout
        try:
            with http.stream(**given) as answer:
                pieces = []
                for piece in answer.iter_bytes():
                    pieces.append(piece)
                    if self._clock.elapsed() > until:
                        raise self._late("the answer is not whole")
                return Response(answer.status_code, answer.headers, answer.url, b"".join(pieces))
        finally:
            self._give_back(http)

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._closed = True
        for http, _ in tuple(self._idle):
            http.close()

    def _taken(self) -> Any:
        if (
            self._process != os.getpid()
        ):  # a fork: the connections are the parent's, who would get these answers
            self._process, self._idle = os.getpid(), []
        try:
            return self._idle.pop()[0]  # the one used last, so that its connection is still open
        except IndexError:
            return self._make()

    def _give_back(self, http: Any) -> None:
        now = self._clock.elapsed()
        self._idle.append((http, now))
        self._close_before(now - LONGEST_IDLE)
        if self._closed:  # while this call was under way
            self.close()

    def _close_before(self, moment: int) -> None:
        """Close those that a burst left and nobody took since; they are at the beginning."""
        with suppress(IndexError):  # another thread took the last one
            while self._idle[0][1] < moment:
                oldest = self._idle.pop(0)
                if oldest[1] >= moment:  # another thread closed the one looked at
                    self._idle.insert(0, oldest)
                    break
                oldest[0].close()


class Together:
    """The same for calls that are awaited: one httpx client an event loop, and a limit of how many are under way."""

    def __init__(self, make: Callable[[], Any], timeout: float, late: Callable[[str], Exception]) -> None:
        self._make, self._timeout, self._late = make, timeout, late
        self._http = make()
        self._place: Any = None

    async def request(self, given: Mapping[str, Any]) -> Response:
        """Return the answer to what httpx is given; it raises what httpx does."""
        import anyio

        http, turn = self._here()
        async with turn:
            try:
                with anyio.fail_after(self._timeout):
                    answer = await http.request(**given)
            except TimeoutError as error:
                raise self._late("the answer is not whole") from error
        return Response(answer.status_code, answer.headers, answer.url, answer.content)

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        http, _ = self._here()  # those of an event loop that is over cannot be closed
        await http.aclose()

    def _here(self) -> tuple[Any, Any]:
        """Return the httpx client and the limit; new ones in another event loop or a forked process, where old ones are of no use."""
        import anyio
        from anyio.lowlevel import current_token

        place = os.getpid(), current_token()
        if place != self._place:
            if self._place is not None:
                self._http = self._make()
            self._place, self._turn = place, anyio.Semaphore(TOGETHER)
        return self._http, self._turn
