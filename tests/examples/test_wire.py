"""What a request may be as bytes: who is asked, and where it ends."""

import json
import socket

import pytest

from tests.examples import tiny
from tests.examples.served import serving

BODY = json.dumps(tiny.order()).encode()


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    with serving(folder, timeout=5) as found:
        yield found


def request(line, *headers, body=None):
    """Return the bytes of a request."""
    lines = [line, *headers]
    if body is not None:
        lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body or b""])


def answers(port, sent):
    """Return status and content of each answer to what is sent on one connection, until the server ends it."""
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as answer:
            while line := answer.readline():
                headers = dict(
                    header.rstrip().lower().split(b": ", 1) for header in iter(answer.readline, b"\r\n")
                )
                found.append((int(line.split()[1]), json.loads(answer.read(int(headers[b"content-length"])))))
    return found


@pytest.mark.parametrize(
    "named", [b"evil.example", b"localhost@evil.example:80", b"localhost:80@evil.example", b"[::2]:80"]
)
@pytest.mark.parametrize(
    ("line", "body"), [(b"GET http://%b/health", None), (b"POST http://%b/predict", BODY)]
)
def test_a_host_in_the_request_line_counts_and_the_header_does_not(port, line, body, named):
    ((status, answer),) = answers(
        port, request(line % named + b" HTTP/1.1", b"host: localhost", b"connection: close", body=body)
    )
    foreign = named.rpartition(b"@")[2].decode()
    said = f'host "{foreign}" is not served here. Ask for one of 127.0.0.1, ::1, localhost.'
    assert (status, answer) == (400, {"error": {"kind": "WrongHost", "message": said}})


@pytest.mark.parametrize("named", [b"http://localhost", b"http://127.0.0.1:80", b"HTTP://[::1]:8000"])
def test_a_request_line_that_names_this_server_is_answered(port, named):
    def asked(line, host=b"localhost", body=None):
        ((status, answer),) = answers(
            port, request(line + b" HTTP/1.1", b"host: " + host, b"connection: close", body=body)
        )
        return status, answer

    plain = asked(b"POST /predict", body=BODY)
    assert plain[0] == 200
    assert asked(b"POST %b/predict" % named, body=BODY) == plain
    assert asked(b"POST %b/predict" % named, b"evil.example", BODY) == plain
    for path in (b"", b"/nothing?x=1", b"//health", b"?/health"):
        assert asked(b"GET " + named + path)[0] == 404


def test_several_hosts_are_refused_whatever_the_request_line_names(port):
    hosts = b"host: localhost", b"host: localhost"
    found = answers(port, request(b"GET http://localhost/health HTTP/1.1", *hosts, b"connection: close"))
    assert [(status, answer["error"]["kind"]) for status, answer in found] == [(400, "WrongHost")]
