"""Connections that may be slow, silent, endless or too many.

uvicorn reads and writes HTTP; what it leaves open is bounded here. A request must come in whole, and its answer be read,
within a time; heads are short; there are only so many connections, and the one that has kept silent longest makes room.
"""

import asyncio
from collections.abc import Sequence

import httptools
import msgspec
from uvicorn._types import ASGI3Application  # noqa: TID253
from uvicorn.protocols.http.httptools_impl import (  # noqa: TID253
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState  # noqa: TID253

from tenfold.serving.door.target import origin_form
from tenfold.serving.door.web import DRAIN
from tenfold.serving.http.plain import Asked, Door

MAX_HEAD = 32_768
"""Bytes of a head, or around a body that is sent in chunks beside as many as the body has."""
PIPELINED = 100
"""Requests that may wait on one connection."""
IDLE = 75
"""Seconds after which a connection without a request is closed: longer than proxies keep one, so they close first."""
LINGER = 1.0
"""Seconds in which a server that ends still answers who has just begun to ask on a connection that was open."""


class Open(ServerState):
    """The connections of a server by what is waited for, those that have waited longest first, each until when."""

    def __init__(self, timeout: float, most: int, door: Door | None) -> None:
        super().__init__()
        self.timeout, self.most, self.door, self.ending = timeout, most, door, False
        self.coming: dict[Connection, float] = {}
        self.unread: dict[Connection, float] = {}
        self.idle: dict[Connection, float] = {}

    def end_late(self, now: float) -> None:
        """End the connections whose time is over."""
        for waiting, act in (
            (self.coming, Connection.too_slow),
            (self.unread, Connection.abort),
            (self.idle, Connection.close),
        ):
            late = []
            for connection, deadline in waiting.items():
                if deadline > now:
                    break
                late.append(connection)
            for connection in late:
                act(connection)

    def make_room(self, newest: "Connection", now: float) -> None:
        """End one connection that nobody is answered on: one that has been silent for a second, or else an idle one."""
        oldest = next(iter(self.coming))
        if self.coming[oldest] - self.timeout > now - 1:
            oldest = next(iter(self.idle), newest)
        if oldest is newest:
            newest.refuse(503, "Unavailable", "the server has too many connections. Try again.")
        else:
            oldest.abort()


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    server_state: Open

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._received = self._taken = self._dropped = 0
        self._begun = self._reading = self._in_body = self._broken = self._long = self._crowded = False
        self._running: RequestResponseCycle | None = None
        self._held = self._declined = b""
        self._asked: Asked | None = None
        now = self.loop.time()
        self.server_state.coming[self] = now + self.server_state.timeout
        if len(self.connections) > self.server_state.most:
            self.server_state.make_room(self, now)
        if self.server_state.ending:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if self._asked is not None and self.server_state.door is not None:
            self.server_state.door.forget(self._asked)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        if self._held:
            data, self._held = self._held + data, b""
        if not self._take_plain(data):
            self._parse(data)

    def _take_plain(self, data: bytes) -> bool:
        """Return whether this is for the door, or waits for what is."""
        if self._asked is not None:
            self._held = data
            self.flow.pause_reading()
            return True
        door = self.server_state.door
        if door is None or self._reading or not self._is_silent() or self.flow.write_paused:
            return False
        head = door.head_of(data)
        if head is None or head.whole < len(data):
            return False
        if head.whole > len(data):
            self._held, self._begun = data, True
            self._expect()
            return True
        self._begun = False
        self.server_state.coming.pop(self, None)
        self.server_state.idle.pop(self, None)
        self._asked = door.ask(self, head, data[head.own :])
        return True

    def tell(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer a plain request, and go on with what came meanwhile."""
        self._asked = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        last = self.server_state.ending
        self.transport.write(
            b"".join(
                [
                    STATUS_LINE[status],
                    *(b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)),
                    b"connection: close\r\n\r\n" if last else b"\r\n",
                    body,
                ]
            )
        )
        if last:
            self.close()
            return
        self._rest()
        if self._held:
            self.flow.resume_reading()
            self.data_received(b"")

    def _parse(self, data: bytes) -> None:
        self._expect()
        self._received += len(data)
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError as error:
            called = isinstance(error, httptools.HttpParserCallbackError) and not self._crowded
            within = self._in_body or called
            self._broken = True
            if within or self._is_silent():
                self._refuse_broken()
            else:  # those that came before it are answered first
                self.flow.pause_reading()
                self.server_state.coming.pop(self, None)
            return
        if self._received - self._taken > MAX_HEAD + self._taken:
            self._refuse_long()
        elif self._dropped > DRAIN:
            self.abort()

    def _feed(self, data: bytes) -> bytes:
        """Parse up to a head that asks for another protocol; return it as if it had not, with what follows.

        The parser would leave out the body, and all that comes behind it.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head, self._declined = self._declined, b""
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            return head + data[upgrade.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        self._received = self._taken = self._dropped = 0
        self._begun = self._reading = True
        self._expect()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            self._long = True
            raise httptools.HttpParserError
        version, method = self.parser.get_http_version(), self.parser.get_method()
        if self.parser.should_upgrade() and method != b"CONNECT":
            lines = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
            line = b"%b %b HTTP/%b" % (method, self.url, version.encode())
            self._declined = b"\r\n".join([line, *lines, b"", b""])
            return
        if version == "1.0":
            self.expect_100_continue = False
        if not self.url.startswith(b"/"):
            self.url, self.headers[:] = origin_form(self.url, self.headers)
        if len(self.pipeline) >= PIPELINED:  # none that came before is lost
            self._crowded = True
            raise httptools.HttpParserError
        super().on_headers_complete()
        self._in_body = True
        self.headers = []  # what comes behind the body does not belong to the head
        # who is answered instead of being told to go on may send the body or not, so nothing can be read behind it
        if self.server_state.ending or self.expect_100_continue:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._taken += len(body)
        if self.cycle.response_complete:
            self._dropped += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._declined:
            return
        self._begun = self._reading = self._in_body = False
        self.server_state.coming.pop(self, None)
        if self.expect_100_continue and not self.server_state.ending:
            self.cycle.keep_alive = self.parser.should_keep_alive()
        if self.cycle.response_complete:
            self._rest()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._broken and self._is_silent():
            self._refuse_broken()
            return
        self._unset_keepalive_if_required()  # who is idle is looked at all together
        if self.pipeline:  # nothing more is read while requests wait
            self.flow.pause_reading()
        if self not in self.server_state.coming and not self.transport.is_closing():
            self._rest()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._must_read()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.server_state.unread.pop(self, None)

    def shutdown(self) -> None:
        """End after the answer that is under way, or that may be asked for at this very moment."""
        if self.cycle is not None and not self._is_silent():
            self.cycle.keep_alive = False
        self.loop.call_later(LINGER, self._close_if_silent)

    def too_slow(self) -> None:
        """Tell a client that began a request, and not more than that, why the connection ends."""
        if not self._begun or (not self._is_silent() and self.cycle.response_started):
            self.abort()
        else:
            seconds = self.server_state.timeout
            self.refuse(408, "TooSlow", f"the request did not come in within {seconds:g} s.")

    def refuse(self, status: int, kind: str, message: str) -> None:
        """Answer what is no request for the application, and end."""
        body = msgspec.json.encode({"error": {"kind": kind, "message": message}})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
            body
        )
        if not self.transport.is_closing():
            self.transport.write(STATUS_LINE[status] + head + body)
        self.close()

    def _refuse_broken(self) -> None:
        if self._long:
            self._refuse_long()
        else:
            self.refuse(400, "NotHTTP", "this is no HTTP request, or too many at once.")

    def _refuse_long(self) -> None:
        self.refuse(431, "TooLarge", f"the head of a request is longer than {MAX_HEAD:,} bytes.")

    def abort(self) -> None:
        """End at once; what is unsent is dropped."""
        self._forget()
        self.transport.abort()

    def _is_silent(self) -> bool:
        return self._asked is None and (self.cycle is None or self.cycle.response_complete)

    def _expect(self) -> None:
        """From now on a request must come in within the time."""
        self.server_state.idle.pop(self, None)
        self.server_state.coming.setdefault(self, self.loop.time() + self.server_state.timeout)

    def _rest(self) -> None:
        """From now on a request may come, or the connection is closed when it takes too long."""
        self.server_state.idle[self] = self.loop.time() + IDLE

    def _must_read(self) -> None:
        self.server_state.unread.setdefault(self, self.loop.time() + self.server_state.timeout)

    def _close_if_silent(self) -> None:
        if self._is_silent() and not self._begun:
            self.close()

    def close(self) -> None:
        """Close when what is unsent has been read, which must not take for ever."""
        self._forget()
        if self.transport.get_write_buffer_size():
            self._must_read()
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _forget(self) -> None:
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True  # uvicorn says so of the last one that came, and too late
            self._running.message_event.set()
        state = self.server_state
        state.coming.pop(self, None)
        state.idle.pop(self, None)
        state.unread.pop(self, None)
