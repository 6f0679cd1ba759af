"""Nothing leaves the machine unless it is configured: every process of a running project is watched for foreign addresses.

Each Python process refuses and reports what it is about to connect to or look up; what libraries do beside Python is seen in the
kernel's tables of sockets.
"""

import ipaddress
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tenfold import Client
from tenfold.core.clock import SystemClock
from tests.examples import tiny

ROOT = Path(__file__).parents[2]
GUARD = """
import os, sys
LOCAL = ("127.", "::1", "localhost", "/", "\\0")
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else address
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode(errors="replace") if isinstance(host, bytes) else host
    if host and not str(host).startswith(LOCAL):
        with open(os.environ["REPORT"], "a") as file:
            file.write(f"{event} {host} {sys.argv}\\n")
        raise OSError(f"foreign address {host}")
sys.addaudithook(watch)
with open(os.environ["REPORT"], "a") as file:
    file.write(f"watched {sys.orig_argv}\\n")
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return the environment in which every Python process is watched, and the file of what it reports."""
    folder = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD)
    report = folder / "report"
    report.touch()
    path = os.pathsep.join([str(folder), str(ROOT / "src"), str(ROOT)])
    return os.environ | {"PYTHONPATH": path, "REPORT": str(report)}, report


def foreign(report):
    return [line for line in report.read_text().splitlines() if not line.startswith("watched ")]


class Sockets(threading.Thread):
    """Collects the addresses to which sockets of a process and its children lead, as the kernel knows them."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self._pid, self.ended, self.found, self.looks = pid, threading.Event(), set(), 0

    def run(self):
        while not self.ended.wait(0.1):
            for pid in family(self._pid):
                self.found |= remote(pid)
            self.looks += 1


def family(pid):
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def remote(pid):
    """Return the remote addresses of a process's sockets."""
    inodes = set(sockets_of(pid))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):  # it has ended
            rows = map(str.split, Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:])
            found |= {address(row[2]) for row in rows if row[9] in inodes}
    return found


def sockets_of(pid):
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # it was closed meanwhile
                if kind := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}")):
                    yield kind[1]


def address(text):
    """Return an address of /proc/net: words of four bytes, each in the machine's order."""
    digits = text.partition(":")[0]
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    found = ipaddress.ip_address(b"".join(words))
    return getattr(found, "ipv4_mapped", None) or found


@contextmanager
def running(home, env):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    place = ["tests/examples/tiny.py", "--home", str(home), "--clock", str(home / "clock")]
    command = [sys.executable, "-m", "tenfold.cli", "run", *place, "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    sockets = Sockets(process.pid)
    sockets.start()
    try:
        yield port, sockets
    finally:
        process.terminate()
        told = process.communicate(timeout=60)[1]
        sockets.ended.set()
        sockets.join()
    for name in ("worker", "controller", "server"):
        assert f"{name} started" in told


def test_the_watch_sees_and_refuses_a_foreign_address(watched):
    env, report = watched
    code = "import socket; socket.socket().connect(('192.0.2.1', 9))"
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "foreign address 192.0.2.1" in found.stderr
    assert [line.split()[1] for line in foreign(report)] == ["192.0.2.1"]
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_connection(there.getsockname()):
        assert ipaddress.ip_address("127.0.0.1") in remote(os.getpid())
    report.write_text("")


def test_a_running_project_talks_to_nobody_else(watched, tmp_path):
    env, report = watched
    tiny.build(tmp_path)
    with running(tmp_path, env) as (port, sockets), Client(f"http://127.0.0.1:{port}", retries=9) as client:
        while True:
            try:
                assert client.health()["models"] == {"late_order": 1}
                break
            except Exception:  # noqa: BLE001 - it is still starting
                SystemClock().sleep(0.1)
        assert client.send("visits", [tiny.visit(1)])["stored"] == 1
        answer = client.predict("late_order", tiny.order(1))
        assert client.explain("late_order", tiny.order(1))["score"] == answer["score"]
    assert foreign(report) == []
    assert report.read_text().count("watched ") >= 4  # run, worker, controller, server
    assert sockets.looks > 10
    assert [found for found in sockets.found if not (found.is_loopback or found.is_unspecified)] == []
