"""What a client keeps of the connections that a burst of calls made."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tenfold.core.clock import SystemClock
from tenfold.serving.connections import LONGEST_IDLE, Each
from tests.unit.ticking import Ticking

GIVEN = {"method": "GET", "url": "/"}


@contextmanager
def service(together):
    """Give an address that answers so many calls when all of them have come, then each at once."""
    held = threading.Barrier(together)

    class Held(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/held":
                held.wait(30)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    class Service(ThreadingHTTPServer):
        request_queue_size = 128

    with Service(("127.0.0.1", 0), Held) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def each(url, clock):
    """Give what shares connections, and all that it made."""
    made, context = [], httpx.create_ssl_context()

    def make():
        made.append(httpx.Client(base_url=url, timeout=20.0, verify=context, trust_env=False))
        return made[-1]

    shared = Each(make, clock, 1e9, httpx.ReadTimeout)
    try:
        yield shared, made
    finally:
        shared.close()


def burst(shared, calls):
    threads = [
        threading.Thread(target=shared.request, args=({"method": "GET", "url": "/held"},))
        for _ in range(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def is_open(made):
    return [http for http in made if not http.is_closed]


def test_what_a_burst_left_is_closed_when_it_was_idle_for_long():
    clock = Ticking()
    with service(12) as url, each(url, clock) as (shared, made):
        burst(shared, 12)
        assert len(is_open(made)) == 12
        clock.at += LONGEST_IDLE
        shared.request(GIVEN)
        assert len(is_open(made)) == 12
        clock.at += 1
        shared.request(GIVEN)
        assert len(is_open(made)) == 1
        assert len(shared._idle) == 1
        clock.at += 10 * LONGEST_IDLE
        shared.request(GIVEN)  # the one left is taken, however long it was idle
        assert len(made) == 12


def test_what_is_used_again_stays():
    clock = Ticking()
    with service(4) as url, each(url, clock) as (shared, made):
        for _ in range(5):
            burst(shared, 4)
            clock.at += LONGEST_IDLE
        assert len(is_open(made)) == len(made) == 4


def test_what_is_given_back_after_the_end_is_closed():
    with service(1) as url, each(url, Ticking()) as (shared, made):
        taken = shared._taken()
        shared.close()
        assert not taken.is_closed
        shared._give_back(taken)
        assert is_open(made) == []


def test_threads_that_close_what_is_old_lose_nothing():
    class Hurried(SystemClock):
        """A minute is over in 0.6 ms, so that each call finds old ones."""

        def elapsed(self):
            return super().elapsed() * 100_000

    with service(1) as url, each(url, Hurried()) as (shared, made):

        def ask():
            for _ in range(30):
                assert shared.request(GIVEN).status_code == 200

        failed = []
        threads = [threading.Thread(target=caught, args=(ask, failed)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(shared._idle) == len(is_open(made)) <= 8
    assert is_open(made) == []


def caught(act, failed):
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - told by the test
        failed.append(error)
