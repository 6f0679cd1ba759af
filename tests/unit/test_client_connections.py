"""What a client does with connections: none is shared with a forked process, or with an event loop that is over."""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress

import pytest

from tenfold import AsyncClient, Client
from tenfold.core.clock import SystemClock
from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.core.times import UNITS


@contextmanager
def listening(act):
    """Give the address at which each connection is given to a function in a thread of its own."""

    def accept():
        while True:
            try:
                there, _ = server.accept()
            except OSError:  # it is over
                return
            threads.append((threading.Thread(target=within, args=(there,)), there))
            threads[-1][0].start()

    def within(there):
        with there, suppress(OSError):  # the client went
            act(there)

    threads = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for thread, there in threads:
        with suppress(OSError):  # it is over
            there.shutdown(socket.SHUT_RDWR)
        thread.join()


def whole(content):
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def names_itself(there):
    """Answer each request with the number of the connection's other end."""
    while there.recv(65_536):
        there.sendall(whole(json.dumps(there.getpeername()[1]).encode()))


def drips(there):
    """Answer with a piece each tenth of a second, for ever."""
    there.recv(65_536)
    there.sendall(whole(b"1" * 1_000)[:-1_000])
    while True:
        there.sendall(b"1")
        SystemClock().sleep(0.1)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_answer_that_comes_in_drops_is_late(kind):
    with listening(drips) as url:
        client = kind(url, timeout=0.5, retries=0)
        begun = SystemClock().elapsed()
        with pytest.raises(Unavailable, match=r"none within timeout=0\.5 s\."):
            asked(client)
        assert SystemClock().elapsed() - begun < 20 * UNITS["s"]
        closed(client)


def asked(client):
    """Return what a client is told, whether it is to be awaited or not."""
    return finished(client.health())


def closed(client):
    finished(client.close())


def finished(told):
    async def wait():
        return await told

    return asyncio.run(wait()) if asyncio.iscoroutine(told) else told


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of loops that ended first
def test_a_client_that_is_awaited_is_used_in_one_event_loop_after_another():
    with listening(names_itself) as url:
        client = AsyncClient(url, retries=0)
        assert len({asked(client) for _ in range(3)}) == 3
        closed(client)
        del client
        gc.collect()


@pytest.mark.skipif(sys.platform != "linux", reason="it forks a process that has threads")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a loop that ended first
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_forked_process_has_connections_of_its_own(kind):
    with listening(names_itself) as url:
        client = kind(url, retries=0)
        mine = asked(client)
        here, there = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(60)  # it fails rather than hangs
            os.write(there, str(asked(client)).encode())
            os._exit(0)
        os.close(there)
        os.waitpid(child, 0)
        assert int(os.read(here, 100)) != mine
        if kind is Client:
            assert asked(client) == mine, "the parent keeps its own"
        closed(client)
        del client
        gc.collect()
        os.close(here)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE"), ("ALL_PROXY", "socks5://127.0.0.1:9", "socks")],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_environment_that_cannot_be_followed_is_told(kind, name, value, told, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(DefinitionError, match=told):
        kind("http://192.0.2.1:9")


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_is_asked_for_this_machine(name, host, monkeypatch):
    async def awaited(url):
        async with AsyncClient(url, retries=0) as client:
            return await client.health()

    for no in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(no, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with listening(names_itself) as url:
        here = url.replace("127.0.0.1", host)
        with Client(here, retries=0) as client:
            assert client.health() > 0
        assert asyncio.run(awaited(here)) > 0
