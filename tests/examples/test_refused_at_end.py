"""A server of one process that ends while a request waits: who connects then is refused at once."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tenfold.core.clock import SystemClock
from tests.examples import bare
from tests.examples.served import ROOT
from tests.unit.cli_project import start, wait_for

WAIT = 6
"""Seconds that the request under way waits for a worker that is not there."""


def test_who_connects_while_a_server_of_one_process_ends_is_refused_and_does_not_wait(tmp_path):
    home, clock = tmp_path / "home", SystemClock()
    bare.build(home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    place = ["--home", str(home), "--clock", str(home / "clock"), "--port", str(address[1])]
    process = start("serve", str(ROOT / "tests/examples/bare.py"), *place, "--wait", str(WAIT))
    wait_for(process, "serving tiny on")
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=60) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        assert client.post("/events/visits", json=[bare.visit("new")]).status_code == 200
        waits = pool.submit(client.post, "/predict", json=bare.order("waits"))
        clock.sleep(1)
        process.send_signal(signal.SIGTERM)
        clock.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1).close()
        assert not waits.done()
        assert process.poll() is None
        assert waits.result().status_code == 503
    assert process.wait(60) == 0
    process.stderr.close()
