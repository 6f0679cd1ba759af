"""POST /predict by the shortest way: a plain request is answered from its bytes, as it would be by the route.

Plain is what nearly all clients send: one whole request at a time, with JSON of a small, known length. What is not plain, or is
refused for a header, goes through the application.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.groups import Groups
from tenfold.serving.answer.waiting import Told, Waiting
from tenfold.serving.door.gate import Gate
from tenfold.serving.door.hosts import is_known, names_of
from tenfold.serving.door.web import JSON, KEY, MAX_KEY, PREDICT, answer_of, decoded
from tenfold.serving.http.predicting import PATH, asked_of
from tenfold.serving.seen.requests import Requests

MOST = 65_536
"""Bytes of a body that is plain."""
MOST_HEAD = 4_096
"""Bytes of a head that is plain: those that came last are kept."""
GONE = 499
"""The status under which a request is counted whose client did not wait for its turn; nothing was stored for it."""
_START, _END = f"POST {PATH} HTTP/1.1\r\n".encode(), b"\r\n\r\n"
# What parsers could read in two ways is left to the one that reads all the rest.
_HEADER = re.compile(rb"([\w-]+): ?([!-~](?:[ -~]*[!-~])?)")
_NOT_PLAIN = {b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"origin"}

Headers = Sequence[tuple[bytes, bytes]]


class Head(NamedTuple):
    """The head of a plain request: how many bytes it has, and how many they are with its body."""

    own: int
    whole: int
    host: str
    key: str | None
    headers: Headers


class Client(Protocol):
    """Who asks, one plain request at a time."""

    client: tuple[str, int] | None

    def tell(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the answer."""
        ...


class Asked:
    """A plain request under way."""

    __slots__ = ("begun", "body", "client", "groups", "head", "waiting")

    def __init__(self, client: Client, head: Head, body: bytes, begun: int) -> None:
        self.client, self.head, self.body, self.begun = client, head, body, begun
        self.groups: Groups | None = None
        self.waiting: Waiting | None = None


class Door:
    """Has plain requests answered: all that are read in one turn of the event loop are let in together."""

    def __init__(
        self, models: Mapping[str, Answering], hosts: Sequence[str], gate: Gate | None, requests: Requests
    ) -> None:
        self._models, self._hosts, self._gate, self._requests = models, names_of(hosts), gate, requests
        self._clock = requests.clock
        self._turn: list[Asked] = []

    def head_of(self, data: bytes) -> Head | None:
        """Return the head that a request begins with; None when it is not plain."""
        end = data.find(_END, 0, MOST_HEAD) if data.startswith(_START) else -1
        head = _head(data[:end]) if end > 0 else None
        return head if head is not None and is_known(head.host, self._hosts) else None

    def ask(self, client: Client, head: Head, body: bytes) -> Asked:
        """Have a request answered that has come in whole."""
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._let_in)
        asked = Asked(client, head, body, self._clock.elapsed())
        self._turn.append(asked)
        return asked

    def forget(self, asked: Asked) -> None:
        """Leave out a request whose client is gone, unless its answer is being stored."""
        if asked.groups is not None and asked.waiting is not None and asked.groups.forget(asked.waiting):
            self._requests.add(PATH, GONE, self._clock.elapsed() - asked.begun)

    def _let_in(self) -> None:
        turn, self._turn = self._turn, []
        try:
            known = None if self._gate is None else self._gate.look()  # after the last of them came
        except Exception as error:  # noqa: BLE001 - said, or logged, as it is of any other route
            for asked in turn:
                self._done(asked, error)
            return
        for asked in turn:
            try:
                self._put(asked, known)
            except Exception as error:  # noqa: BLE001 - as above
                self._done(asked, error)

    def _put(self, asked: Asked, known: Any) -> None:
        head = asked.head
        if self._gate is not None:
            scope = {"method": "POST", "path": PATH, "client": asked.client.client, "headers": head.headers}
            refused = self._gate.refusal(scope, PREDICT, known)
            if refused is not None:
                self._tell(asked, refused.status_code, refused.raw_headers, bytes(refused.body))
                return
        answering, question = asked_of(self._models, decoded(asked.body), head.key)
        asked.groups = answering.groups
        asked.waiting = answering.groups.ask(question, partial(self._done, asked))

    def _done(self, asked: Asked, told: Told) -> None:
        if isinstance(told, bytes):
            size = b"%d" % len(told)
            self._tell(asked, 200, ((b"content-length", size), (b"content-type", JSON.encode())), told)
        else:
            response = answer_of(told, PATH)
            self._tell(asked, response.status_code, response.raw_headers, bytes(response.body))

    def _tell(self, asked: Asked, status: int, headers: Headers, body: bytes) -> None:
        asked.waiting = None  # which knows whom to tell: a circle would be left for the collector of garbage
        self._requests.add(PATH, status, self._clock.elapsed() - asked.begun)
        asked.client.tell(status, headers, body)


@lru_cache(1024)
def _head(given: bytes) -> Head | None:
    r"""Return the head of a plain request; None when it is not plain.

    Examples
    --------
    >>> lines = b"POST /predict HTTP/1.1", b"Host: a", b"Content-Type: application/json", b"Content-Length: 2"
    >>> _head(b"\r\n".join(lines))[:3]
    (86, 88, 'a')
    >>> _head(b"\r\n".join([*lines, b"Content-Length: 3"]))
    """
    headers: dict[bytes, bytes] = {}
    lines = given.split(b"\r\n")[1:]
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            return None
        headers[found[1].lower()] = found[2]
    size, key = headers.get(b"content-length", b""), headers.get(KEY.encode(), b"")
    if (
        len(headers) < len(lines)
        or headers.keys() & _NOT_PLAIN
        or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive"
        or headers.get(b"content-type") != JSON.encode()
        or not (size.isdigit() and len(size) < 9 and int(size) <= MOST)
        or len(key) > MAX_KEY
    ):
        return None
    own = len(given) + len(_END)
    host = headers.get(b"host", b"").decode("latin-1")
    return Head(own, own + int(size), host, key.decode("latin-1") or None, tuple(headers.items()))
