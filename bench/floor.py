"""The least that a server can do which tells no answer before it is on the disk: write what came, sync, and answer.

What comes in one turn of the event loop is one write. Nothing is read, looked up, computed or kept apart.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.fresh import free_port, wait_for
from bench.harness import ROOT

FILE, ROOM = "floor", 64 << 20
"""A file of so many bytes, written again and again: one that grows takes longer to sync."""
BODY = b'{"score":0.5}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n" % len(BODY) + BODY


class Floor:
    """What came in this turn, and the file it goes to."""

    def __init__(self, folder: Path) -> None:
        self.file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT)
        os.write(self.file, bytes(ROOM))
        os.fsync(self.file)
        self.turn: list[tuple[Any, bytes]] = []
        self.at = 0

    def put(self, client: Any, data: bytes) -> None:
        """Take what a client sent."""
        if not self.turn:
            asyncio.get_running_loop().call_soon(self.answer)
        self.turn.append((client, data))

    def answer(self) -> None:
        """Answer all that came, once it is on the disk."""
        turn, self.turn = self.turn, []
        whole = b"".join(data for _, data in turn)
        self.at = 0 if self.at + len(whole) > ROOM else self.at
        self.at += os.pwrite(self.file, whole, self.at)
        os.fdatasync(self.file)
        for client, _ in turn:
            client.write(ANSWER)


class Client(asyncio.Protocol):
    """A connection; whatever comes at once is a request."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.floor.put(self.transport, data)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[int, int]]:
    """Start it; yields its port and the id of its process."""
    port = free_port()
    command = [sys.executable, "-m", "bench.floor", str(folder), str(port)]
    with (folder / "floor.txt").open("wb") as output:
        running = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_for(port, [running], folder)
        yield port, running.pid
    finally:
        running.terminate()
        running.wait()


async def main(folder: str, port: str) -> None:
    """Serve until it is ended."""
    floor = Floor(Path(folder))
    server = await asyncio.get_running_loop().create_server(lambda: Client(floor), "127.0.0.1", int(port))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
