"""What a request may be as bytes: who is asked, and where it ends."""

import gzip
import json
import socket
import struct

import pytest

from tenfold.serving.http.connection import PIPELINED
from tests.examples import tiny

BODY = json.dumps(tiny.order()).encode()
CLOSE = b"connection: close"


def request(line, *headers, body=None):
    """Return the bytes of a request."""
    lines = [line, *headers]
    if body is not None:
        lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", b""]) + (body or b"")


def answers(port, *parts):
    """Return status and content of each answer to what is sent on one connection, until the server ends it."""
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
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
        port, request(line % named + b" HTTP/1.1", b"host: localhost", CLOSE, body=body)
    )
    foreign = named.rpartition(b"@")[2].decode()
    assert (status, answer["error"]["kind"]) == (400, "WrongHost")
    assert answer["error"]["message"].startswith(
        f'host "{foreign}" is not served here. Ask for one of 127.0.0.1, ::1, localhost, or start'
    )


@pytest.mark.parametrize("named", [b"http://localhost", b"http://127.0.0.1:80", b"HTTP://[::1]:8000"])
def test_a_request_line_that_names_this_server_is_answered(port, named):
    def asked(line, host=b"localhost", body=None):
        ((status, answer),) = answers(port, request(line + b" HTTP/1.1", b"host: " + host, CLOSE, body=body))
        return status, answer

    plain = asked(b"POST /predict", body=BODY)
    assert plain[0] == 200
    assert asked(b"POST %b/predict" % named, body=BODY) == plain
    assert asked(b"POST %b/predict" % named, b"evil.example", BODY) == plain
    for path in (b"", b"/nothing?x=1", b"//health", b"?/health"):
        assert asked(b"GET " + named + path)[0] == 404


@pytest.mark.parametrize(
    "host", [b"localhost:80@evil.example", b"localhost:evil.example", b"[::1].evil.example", b"[::1"]
)
def test_what_only_begins_like_a_known_host_is_another_one(port, host):
    found = answers(port, request(b"POST /predict HTTP/1.1", b"host: " + host, CLOSE, body=BODY))
    assert [(status, answer["error"]["kind"]) for status, answer in found] == [(400, "WrongHost")]


def test_several_hosts_are_refused_whatever_the_request_line_names(port):
    hosts = b"host: localhost", b"host: localhost"
    found = answers(port, request(b"GET http://localhost/health HTTP/1.1", *hosts, CLOSE))
    assert [(status, answer["error"]["kind"]) for status, answer in found] == [(400, "WrongHost")]


def chunked(body, trailer=b""):
    """Return a body in two chunks."""
    parts = body[:9], body[9:]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


def in_chunks(trailer, *headers):
    head = request(
        b"POST /predict HTTP/1.1",
        b"host: localhost",
        b"content-type: application/json",
        b"transfer-encoding: chunked",
        *headers,
    )
    return head + chunked(BODY, trailer)


HEALTH = request(b"GET /health HTTP/1.1", b"host: localhost", CLOSE)
UPGRADE = (
    b"connection: upgrade, http2-settings",
    b"upgrade: h2c",
    b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


def predicted(port):
    ((status, answer),) = answers(
        port, request(b"POST /predict HTTP/1.1", b"host: localhost", CLOSE, body=BODY)
    )
    assert status == 200
    return status, answer


def test_a_body_is_read_of_who_asks_for_another_protocol_too(port):
    """As Java's client asks with every first request to an address without TLS."""
    asking = request(b"POST /predict HTTP/1.1", b"host: localhost", *UPGRADE, body=BODY)
    plain, health = predicted(port), answers(port, HEALTH)
    assert answers(port, asking + HEALTH) == [plain, *health]
    assert answers(port, in_chunks(b"", *UPGRADE) + HEALTH) == [plain, *health]
    asking = request(b"GET /health HTTP/1.1", b"host: localhost", *UPGRADE)
    assert answers(port, asking * 90 + HEALTH) == health * 91


def test_a_body_that_comes_later_is_read_of_who_asks_for_another_protocol(port):
    asking = request(b"POST /predict HTTP/1.1", b"host: localhost", *UPGRADE, CLOSE, body=BODY)
    plain = predicted(port)
    for cut in (20, asking.index(b"h2c") + 1, asking.index(BODY) - 2, asking.index(BODY), len(asking) - 3):
        assert answers(port, asking[:cut], asking[cut:]) == [plain]


@pytest.mark.parametrize("trailer", [b"host: evil.example", b"origin: http://evil.example"])
def test_what_comes_behind_a_body_is_no_header(port, trailer):
    sent = in_chunks(trailer + b"\r\n") + HEALTH
    assert answers(port, sent) == [predicted(port), *answers(port, HEALTH)]


def test_a_client_of_before_is_not_told_to_go_on(port):
    sent = request(b"POST /predict HTTP/1.0", b"host: localhost", b"expect: 100-continue", body=BODY)
    assert answers(port, sent) == [predicted(port)]


GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"POST /nothing HTTP/1.1", 404), (b"PUT /predict HTTP/1.1", 405), (b"POST /predict HTTP/1.1", 415)],
)
def test_who_is_refused_instead_of_told_to_go_on_is_told_that_the_connection_ends(port, line, status):
    sent = request(line, b"host: localhost", b"expect: 100-continue", b"content-length: 9")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as answer:
            whole = answer.read()
    assert whole.startswith(b"HTTP/1.1 %d " % status)
    assert whole.count(b"HTTP/1.1 ") == whole.count(CLOSE) == 1


def test_who_was_told_to_go_on_may_ask_again(port):
    asking = request(b"POST /predict HTTP/1.1", b"host: localhost", b"expect: 100-continue", body=BODY)
    head = asking[: -len(BODY)]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for _ in range(2):
            connection.sendall(head)
            with connection.makefile("rb") as answer:
                assert answer.read(len(GO_ON)) == GO_ON
                connection.sendall(BODY)
                assert answer.readline().startswith(b"HTTP/1.1 200 ")
                size = next(int(line[16:]) for line in answer if line.startswith(b"content-length: "))
                rest = next(answer)
                while rest != b"\r\n":
                    assert rest.rstrip() != CLOSE
                    rest = next(answer)
                assert len(answer.read(size)) == size


@pytest.mark.parametrize("before", [1, 3])
@pytest.mark.parametrize("kind", [b"host: localhost", b"host: localhost\r\nx-more: 1\r\nexpect: "])
def test_requests_before_what_is_no_http_are_answered(port, kind, before):
    """As of a client whose content-length is too small: what it asked for was done."""
    asking = request(b"POST /predict HTTP/1.1", kind, body=BODY)
    broken = 400, {"error": {"kind": "NotHTTP", "message": "this is no HTTP request, or too many at once."}}
    good = predicted(port)
    for garbage in (
        b"x",
        b"}\n",
        b"GET / HTTP/1.1\r\na\r\n\r\n",
        b"GET /health HTTP/1.1\r\n: a\r\n\r\n" + HEALTH,
    ):
        assert answers(port, asking * before + garbage) == [good] * before + [broken]
        assert answers(port, asking * before, garbage) == [good] * before + [broken]


def test_a_request_with_two_keys_is_refused(port):
    keys = [b"idempotency-key: " + key for key in (b"a", b"b")]
    asking = request(b"POST /predict HTTP/1.1", b"host: localhost", *keys, CLOSE, body=BODY)
    ((status, answer),) = answers(port, asking)
    assert (status, answer["error"]["message"]) == (
        422,
        "the request has 2 headers idempotency-key. Send one.",
    )


def test_of_too_many_requests_at_once_those_that_fit_are_answered(port):
    asking = request(b"POST /predict HTTP/1.1", b"host: localhost", body=BODY)
    *good, (status, last) = answers(port, asking * (PIPELINED + 50))
    assert good == [predicted(port)] * (PIPELINED + 1)
    assert (status, last["error"]["kind"]) == (400, "NotHTTP")


def test_who_goes_while_requests_wait_leaves_no_trace(port):
    """The end of the server looks at its log."""
    asking = request(b"POST /predict HTTP/1.1", b"host: localhost", body=BODY)
    for count in (2, 20):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(asking * count)
    assert predicted(port)[0] == 200


def test_rows_that_are_stored_are_told_so_whatever_follows(port):
    asking = request(
        b"POST /events/visits HTTP/1.1", b"host: localhost", body=json.dumps([tiny.visit("wire")]).encode()
    )
    stored, broken = answers(port, asking + b"}")
    assert (stored[0], stored[1]["stored"], broken[0]) == (200, 1, 400)


@pytest.mark.parametrize(
    "path", [b"/predict", b"/events/visits", b"/invocations", b"/v2/models/late_order/infer", b"/explain"]
)
def test_a_body_that_is_compressed_is_refused_with_what_to_do(port, path):
    asking = request(
        b"POST " + path + b" HTTP/1.1",
        b"host: localhost",
        b"content-encoding: gzip",
        CLOSE,
        body=gzip.compress(BODY),
    )
    ((status, answer),) = answers(port, asking)
    assert status == 415
    assert 'the body is sent with "content-encoding: gzip". Send it as it is' in json.dumps(answer).replace(
        '\\"', '"'
    )


def test_a_body_that_says_that_it_is_as_it_is_is_taken(port):
    coding = b"content-encoding: identity"
    asking = request(b"POST /predict HTTP/1.1", b"host: localhost", coding, CLOSE, body=BODY)
    assert answers(port, asking) == [predicted(port)]
