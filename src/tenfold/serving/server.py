"""The server process: from a socket that listens to an end at which no request is lost; its connections are in `http.connection`."""

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import uvicorn  # noqa: TID253 - this module is imported by who serves
from starlette.types import ASGIApp

from tenfold.core.threads import short_turns
from tenfold.serving.door.listening import BACKLOG
from tenfold.serving.door.ready import Ready, released, settled
from tenfold.serving.http.connection import IDLE, Connection, Open
from tenfold.serving.http.plain import Door

GRACE = 25
"""Seconds an ending server gives what is under way; less than its supervisor waits."""
LOOK = 0.25
"""Seconds between two looks for who is late, or whether it is ready."""
SPARE = 200
"""Open files that are left for databases and states."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server allows its clients.

    Attributes
    ----------
    timeout
        Seconds in which a request must have come in, head and body, and in which a client must read its answer.
    connections
        How many may be open at a time; as many as there may be open files unless given.
    drain
        Seconds between SIGTERM, when /ready begins to say no, and the moment no more connections are accepted.
    patient
        Whether no connection is accepted before GET /ready would say yes: others that share the socket answer until then.
    """

    timeout: float = 30.0
    connections: int | None = None
    drain: float = 0.0
    patient: bool = False


class Server(uvicorn.Server):
    """Answers on a socket that listens already, until told to end."""

    server_state: Open

    def __init__(
        self,
        config: uvicorn.Config,
        bounds: Bounds,
        ready: Ready,
        door: Door | None,
        announce: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self.server_state = Open(bounds.timeout, _most(bounds.connections), door)
        self._bounds, self._ready, self._announce = bounds, ready, announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        if self._bounds.patient and not await self._is_ready():
            return
        await super().startup(sockets)
        self._announce()
        self._look()
        self._ready.start().add_done_callback(settled)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.ending = True
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not self._ready.ending
        self._ready.ending = True
        if first and self._bounds.drain and self.started and sig == signal.SIGTERM:
            self._captured_signals.append(sig)
            self._loop.call_soon_threadsafe(self._loop.call_later, self._bounds.drain, self._exit)
        else:
            super().handle_exit(sig, frame)

    def _exit(self) -> None:
        self.should_exit = True

    async def _is_ready(self) -> bool:
        """Wait until nothing speaks against sending requests here, or until told to end."""
        await self._ready.start()
        why = ""
        while not self.should_exit:
            if not (why := await self._ready.reason()):
                return True
            await asyncio.sleep(LOOK)
        logger.warning("never ready: %s", why)
        return False

    def _look(self) -> None:
        self.server_state.end_late(self._loop.time())
        self._loop.call_later(LOOK, self._look)


def run(
    app: ASGIApp,
    listening: socket.socket,
    bounds: Bounds,
    ready: Ready,
    door: Door | None = None,
    announce: Callable[[], object] = lambda: None,
) -> None:
    """Answer on a socket until SIGTERM or SIGINT; what is under way is answered first.

    `announce` is called when connections are accepted.
    """
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        proxy_headers=False,  # rates are by token where there is a proxy; an address is easily made up
        server_header=False,
        access_log=False,
        log_level="warning",
        backlog=BACKLOG,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
    )
    try:
        with short_turns():
            Server(config, bounds, ready, door, announce).run(sockets=[listening])
    finally:
        released()


def _most(given: int | None) -> int:
    """Return how many connections may be open, after allowing this process as many open files as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = max(hard - SPARE, 1) if hard != resource.RLIM_INFINITY else 1_000_000
    return room if given is None else min(given, room)
