"""Redis as a peer: a server of our own on a free port of this machine, and the least client that can ask it."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

PROGRAM = shutil.which("redis-server")
"""None where Redis is not installed."""


class Client:
    """Sends commands in one piece and reads their answers: bulk strings, numbers, and lists of these."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def ask(self, commands: Sequence[tuple[bytes, ...]]) -> list[Any]:
        """Return the answer of each command."""
        parts = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            parts += [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
        self._socket.sendall(b"".join(parts))
        return [self._answer() for _ in commands]

    def _answer(self) -> Any:
        line = self._answers.readline()
        kind, told = line[:1], line[1:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(told))]
        if kind == b"$":
            return None if told == b"-1" else self._answers.read(int(told) + 2)[:-2]
        if kind == b"-":
            raise RuntimeError(told.decode())
        return told

    def close(self) -> None:
        """Close the connection."""
        self._answers.close()
        self._socket.close()


@contextlib.contextmanager
def server() -> Iterator[Client]:
    """Start a server without persistence, and end it by its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        process = subprocess.Popen([PROGRAM, *options], stdout=subprocess.DEVNULL)
        try:
            client = _connect(port)
            yield client
            client.close()
        finally:
            process.terminate()
            process.wait()


def _connect(port: int) -> Client:
    for _ in range(100):
        with contextlib.suppress(ConnectionRefusedError):
            return Client(port)
        time.sleep(0.05)
    raise RuntimeError("redis-server did not answer within 5 s")
