"""What the client raises of answers that are none of a service."""

import asyncio
import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tenfold import AsyncClient, Client
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Conflict, DefinitionError, TenfoldError, Unavailable
from tenfold.serving.client import pause_of
from tenfold.serving.connections import Response
from tests.examples import bare


def asked(url, **settings):
    """Return what each client raises that sends an event to an address."""
    events = [bare.visit(1)]

    async def ask():
        async with AsyncClient(url, **settings) as there:
            return await there.send("visits", events)

    with Client(url, **settings) as client:
        for act in (lambda: client.send("visits", events), lambda: asyncio.run(ask())):
            with pytest.raises(TenfoldError) as error:
                act()
            yield error.value


@contextmanager
def answering(status, body=b"", **headers):
    """Give the address of what answers all requests in one way, and a list that grows with each of them."""
    seen = []

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            seen.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("status", "location", "then"),
    [
        (
            301,
            "https://api.bank.example/events/visits",
            "location https://api.bank.example/events/visits. Give that address as url, without /events/visits.",
        ),
        (302, "https://login.example/", "location https://login.example/. Give that address as url."),
        (308, "https://x/", "location https://x/. Give that address as url."),
        (304, None, "location none. Is this the address of the service?"),
    ],
)
def test_a_redirection_is_raised_with_where_it_leads(status, location, then):
    headers = {"location": location} if location else {}
    with answering(status, b"", **headers) as (url, seen):
        for error in asked(url):
            assert str(error) == f"{url}/events/visits answered with status {status} and {then}"
    assert len(seen) == 2, "it was repeated"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url", ["http://me:secret@127.0.0.1:9", "http://me:secret@[::1", "http://a/?key=secret"]
)
def test_an_address_with_a_password_is_refused_and_a_password_not_shown(kind, url):
    with pytest.raises(DefinitionError, match="url") as told:
        kind(url)
    assert "me:secret" not in str(told.value)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>log in</html>", "text/html"),
        (200, b'"\xe4"', "text/html"),
        (200, b"[" * 100_000, "application/json"),
        (200, b"", None),
        (204, b"", None),
    ],
)
def test_an_answer_that_is_not_json_is_raised(status, body, kind):
    headers = {"content_type": kind} if kind else {}
    with answering(status, body, **headers) as (url, seen):
        for error in asked(url):
            assert str(error) == (
                f"{url}/events/visits answered with something that is not JSON (status {status}, content-type: "
                f"{kind or 'none'}). Is this the address of the service?"
            )
    assert len(seen) == 2, "it was repeated"


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("body", [b"<html>busy</html>", b""])
def test_a_proxy_that_reaches_no_service_is_told_as_one_that_is_away(status, body):
    with answering(status, body) as (url, seen):
        for error in asked(url, retries=1):
            assert type(error) is Unavailable
            assert str(error) == f"/events/visits was answered with status {status}."
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, b'{"error": "no"}', TenfoldError, ' status 401: {"error": "no"}'),
        (404, b'{"error": null}', TenfoldError, ' status 404: {"error": null}'),
        (500, b"[1]", TenfoldError, " status 500: [1]"),
        (500, b'{"error": {"kind": ["a"], "message": 5}}', TenfoldError, '{"kind": ["a"], "message": 5}'),
        (500, b'{"error": {"kind": {}, "message": "so"}}', TenfoldError, "so"),
        (409, b'{"error": {"kind": "Conflict", "message": []}}', Conflict, '"message": []'),
        (403, b'{"message":\n  "no route"}', TenfoldError, ' status 403: {"message": "no route"}'),
        (503, b'{"message": "later"}', Unavailable, ' status 503: {"message": "later"}'),
        (413, b"<html>large</html>", TenfoldError, "/events/visits was answered with status 413."),
    ],
)
def test_an_error_in_another_form_is_raised_with_what_it_says(status, body, kind, said):
    with answering(status, body) as (url, _):
        for error in asked(url, retries=0):
            assert type(error) is kind
            assert said in str(error)


def test_of_a_long_error_in_another_form_the_beginning_is_shown():
    with answering(500, b'{"error": "' + b"x" * 10_000 + b'"}') as (url, _):
        for error in asked(url):
            assert 200 < len(str(error)) < 300


def test_a_service_that_says_until_when_it_is_busy_is_asked_again_then():
    clock = SystemClock()
    until = (clock.now() // 1_000_000 + 2) * 1_000_000
    with answering(503, retry_after=formatdate(until / 1e6, usegmt=True)) as (url, seen):
        each = asked(url, retries=1)
        assert str(next(each)) == "/events/visits was answered with status 503."
        assert clock.now() >= until
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Fri, 01 Mar 2999 00:00:00 GMT", 10.0),
        ("Fri, 01 Mar 2024 00:00:00 GMT", 0.05),
        ("3600", 10.0),
        ("soon", 0.05),
    ],
)
def test_a_client_waits_ten_seconds_at_most_because_it_is_told(said, seconds):
    assert pause_of(Response(503, {"retry-after": said}, "", b""), 0.05) == seconds
