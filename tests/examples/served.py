"""The small project of `tiny` or of `bare`, served by a process of its own."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tests.examples import bare

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(home: Path, project: ModuleType = bare, **bounds: float) -> Iterator[int]:
    """Give the port on which a home that a module built is served; in the end the server must have said nothing."""
    with process(home, project, **bounds) as (port, _):
        yield port


@contextmanager
def process(home: Path, project: ModuleType = bare, **bounds: float) -> Iterator[tuple[int, int]]:
    """Give the port, and the number of the server's process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", project.__name__, str(home), str(fd), json.dumps(bounds)]
        with (home / "server.log").open("wb") as output:
            found = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[fd], stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        try:
            yield port, found.pid
        finally:
            found.communicate(timeout=60)
    assert (home / "server.log").read_bytes() == b""
    assert found.returncode == 0
