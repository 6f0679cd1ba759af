"""A sink that is somebody else's: answers are posted as a JSON list, under an id that is the same however often they are sent."""

import http.client
import os
import select
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from tenfold.automation.sinks import LOOK, NotNow, Part, Refused, one_line, shown, token_name
from tenfold.core.clock import Clock, SystemClock
from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.core.times import iso, retry_after

if TYPE_CHECKING:
    import pyarrow as pa

TIMEOUT = 10.0
"""Seconds that a connection, and a whole answer, may take."""
LATER = (408, 425, 429)
"""Statuses below 500 that say: not now."""
EACH = (400, 413, 422)
"""Statuses that may be due to one row."""
READ = 65_536
"""Bytes of an answer that are read."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode


class Webhook:
    """Posts answers to an address; the certificate of a host is always verified, and a redirection never followed.

    Parameters
    ----------
    clock
        By which a date in an answer is understood: the machine's, since a service of others knows of no other time.
    """

    most, every = 100, LOOK

    def __init__(
        self,
        address: str,
        *,
        timeout: float = TIMEOUT,
        trust: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._name, self._timeout = shown(address), timeout
        self._clock = clock or SystemClock()
        url = urlsplit(address)
        self._host, self._port = url.hostname or "", url.port
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._tls = (trust or ssl.create_default_context()) if url.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None

    def put(self, part: Part) -> None:
        status, reason, after = self._post(_encode(documents(part.rows)), part.id)
        if 200 <= status < 300:
            return
        told = f"{self._name} answered {status}{f': {reason}' if reason else ''}"
        if status >= 500 or status in LATER:
            raise NotNow(f"{told}.", after)
        if 300 <= status < 400:
            raise Refused(f"{told}. Declare the address that it leads to.")
        raise Refused(f"{told}.", each=status in EACH)

    def _post(self, body: bytes, name: str) -> tuple[int, str, float]:
        """Return the status, the beginning of the answer and the seconds to wait; on a connection that was left open, tried twice."""
        headers = {"content-type": "application/json", "idempotency-key": name, "user-agent": "tenfold"}
        headers |= _authorization(self._host)
        if self._connection is not None and not _silent(self._connection):
            self.close()
        again = self._connection is not None
        try:
            return self._in_time(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if again and not isinstance(error, TimeoutError):
                return self._post(body, name)
            said = _why(error)
            raise Unavailable(f"no answer from {self._name}: {said}.") from error

    def _in_time(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, float]:
        """Exchange these within the time: who answers byte by byte would be waited for as long as it likes."""
        connection = self._connection = self._connection or self._open()
        if connection.sock is None:
            connection.connect()
        late = threading.Event()

        def cut(sock: socket.socket = connection.sock) -> None:
            late.set()
            with suppress(OSError):  # it is closed
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._timeout, cut)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(connection, body, headers)
        finally:  # what was cut off may look like an end
            timer.cancel()
            if late.is_set():
                raise TimeoutError("timed out")

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, float]:
        connection.request("POST", self._path, body, headers)
        with connection.getresponse() as response:
            text = response.read(READ)
            more = response.read(1)
            # as of one in chunks: who passes it on may have lost the service
            if response.length and not more:
                raise http.client.IncompleteRead(text, response.length)
            if more or not _is_bounded(response):
                self.close()
        said = one_line(text[:200].decode(errors="replace"))
        after = retry_after(response.headers.get("retry-after", ""), self._clock.now())
        return response.status, said, after

    def _open(self) -> http.client.HTTPConnection:
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._tls
            )
        connection.response_class = _Final
        return connection

    def close(self) -> None:
        """Close the connection; may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Final(http.client.HTTPResponse):
    """The final answer to a request: those before it, such as 103, are read and left out."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment] # so that it reads another one
            super().begin()


def _why(error: Exception) -> str:
    """Return what became of an exchange without a whole answer."""
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut short"
    if type(error) is ValueError:  # of a size below zero, for one
        return "the answer is not HTTP"
    return one_line(str(error))[:200] or type(error).__name__


def _is_bounded(response: http.client.HTTPResponse) -> bool:
    """Return whether an answer that was read said in one way where it ends, and ended there: another one may follow it."""
    lengths = response.headers.get_all("content-length", [])
    codings = response.headers.get_all("transfer-encoding", [])
    if response.status == http.HTTPStatus.SWITCHING_PROTOCOLS or response.will_close or response.length:
        return False
    if codings:
        return not lengths and [coding.lower() for coding in codings] == ["chunked"]
    if response.status == http.HTTPStatus.NO_CONTENT:
        return lengths in ([], ["0"])
    return len(lengths) == 1 and lengths[0].isdecimal()


def _silent(connection: http.client.HTTPConnection) -> bool:
    """Return whether nothing came on a connection that nobody asked for: its end, or what would be taken for an answer."""
    sock = connection.sock
    if sock is None or (isinstance(sock, ssl.SSLSocket) and sock.pending()):
        return False
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return not waiting.poll(0)


def _authorization(host: str) -> dict[str, str]:
    token = os.environ.get(token_name(host), "").strip()
    if not token:
        return {}
    if not token.isascii() or not token.isprintable():
        raise DefinitionError(f"{token_name(host)} holds characters that no header can. Set it again.")
    return {"authorization": f"Bearer {token}"}


def documents(rows: "pa.Table") -> list[dict[str, Any]]:
    """Return answers as they are posted."""
    import pyarrow as pa

    at = rows.column("at").cast(pa.int64()).to_pylist()
    return [_document(row, moment) for row, moment in zip(rows.drop(["at"]).to_pylist(), at, strict=True)]


def _document(row: dict[str, Any], at: int) -> dict[str, Any]:
    found = {name: row[name] for name in ("prediction_id", "model", "mode", "version", "row_id")}
    found |= {"on": row["label_key"], "as_of": iso(at), "score": row["score"], "decision": row["decision"]}
    if row["classes"]:
        found["probabilities"] = dict(zip(row["classes"], row["probabilities"], strict=True))
    return found | {
        "outputs": _decode(row["outputs"]) if row["outputs"] else {},
        "outputs_by": row["outputs_by"],
    }
