"""A server process among clients that are slow, silent, endless or many: they end, and good requests are answered."""

import http.client
import json
import resource
import select
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples import bare
from tests.examples.served import process

HEAD = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
GET = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    bare.build(folder)
    return folder


@pytest.fixture(scope="module")
def impatient(home):
    """A server that gives its clients a second."""
    with process(home, timeout=1) as found:
        yield found


@pytest.fixture
def port(impatient):
    yield impatient[0]
    assert health(impatient[0]) == 200


def health(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def rest(connection):
    """Return what comes until the server ends the connection."""
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found


def told(answer):
    """Return the status and the kind of an answer that ends a connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]["kind"]


@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n",
        HEAD + b"content-length: 10\r\n\r\n{",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
    ],
)
def test_a_request_that_does_not_come_in_is_ended(port, begun):
    with connect(port) as connection:
        connection.sendall(begun)
        assert told(rest(connection)) == (408, "TooSlow")


def test_a_byte_now_and_then_does_not_help(port):
    sent = 0
    with connect(port) as connection:
        connection.settimeout(0.2)
        answer = b""
        while not answer:
            connection.sendall(b"POST /predict HTTP/1.1\r\n"[sent : sent + 1] or b"x")
            sent += 1
            try:
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
    assert told(answer) == (408, "TooSlow")


def test_a_connection_on_which_nothing_comes_is_closed(port):
    with connect(port) as connection:
        assert rest(connection) == b""


def test_a_second_request_on_a_connection_has_its_time_too(port):
    with connect(port) as connection:
        connection.sendall(GET)
        first = connection.recv(65_536)
        assert first.startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /hea")
        later = rest(connection)
        assert told(later[later.index(b"HTTP/1.1 ") :]) == (408, "TooSlow")


@pytest.mark.parametrize(
    "flood",
    [
        b"GET /health HTTP/1.1\r\nx: " + b"a" * 200_000,
        b"GET /health HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % place for place in range(20_000)),
        b"GET /" + b"a" * 200_000,
        b"\r\n" * 100_000,
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: " + b"a" * 200_000,
        HEAD + b"transfer-encoding: chunked\r\n\r\n0;" + b"a" * 200_000,
    ],
    ids=["value", "names", "path", "lines", "trailer", "extension"],
)
def test_a_flood_of_head_is_refused(port, flood):
    with connect(port) as connection:
        connection.settimeout(60)
        sent(connection, flood)
        answer = rest(connection)
    if answer:  # it may be lost when the server has ended while more was sent
        assert told(answer) in ((431, "TooLarge"), (400, "NotHTTP"))


@pytest.mark.parametrize("line", [b"GET /health HTTP/1.1", b"POST /predict HTTP/1.1\r\ncontent-length: 2"])
def test_a_head_that_is_whole_and_too_long_is_refused(port, line):
    with connect(port) as connection:
        sent(connection, line + b"\r\nhost: localhost\r\nx: " + b"a" * 32_768 + b"\r\n\r\n{}")
        assert told(rest(connection)) == (431, "TooLarge")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /x HTTP/9.9\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\0" * 50,
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(port, garbage):
    with connect(port) as connection:
        connection.sendall(garbage)
        assert told(rest(connection)) == (400, "NotHTTP")


def sent(connection, data):
    """Return whether the other end still takes something."""
    try:
        connection.sendall(data)
    except (ConnectionResetError, BrokenPipeError):
        return False
    return True


def test_a_client_that_asks_on_and_on_without_waiting_is_refused(port):
    with connect(port) as connection:
        while sent(connection, GET * 1_000):
            pass


def test_a_client_that_never_reads_is_ended(port):
    with connect(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        ask = b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        ended = False
        while not ended:
            ended = select.select([connection], [], [], 0.1)[2] != [] or not sent(connection, ask * 50)


def test_an_upgrade_is_not_taken_up(port):
    with connect(port) as connection:
        connection.sendall(GET[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def memory(pid):
    """Return the most memory that a process ever held, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("path", [b"/predict", b"/events/visits", b"/nothing"])
@pytest.mark.parametrize("how", [b"content-length: 1000000000", b"transfer-encoding: chunked"])
def test_a_body_of_a_gigabyte_is_refused_without_holding_it(impatient, path, how):
    port, pid = impatient
    health(port)
    before = memory(pid)
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    sent = 0
    with connect(port) as connection:
        connection.sendall(HEAD.replace(b"/predict", path) + how + b"\r\n\r\n")
        try:
            while sent < 1_000_000_000:
                sent += connection.send(chunk)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 100_000_000
    assert memory(pid) - before < 80_000_000
    assert health(port) == 200


def room():
    """Return how many connections this process may hold, after allowing it as many as the system lets."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(10_000, hard - 500)


def test_good_requests_are_answered_beside_ten_thousand_that_never_end(home):
    count = room()
    with process(home) as (port, _), ExitStack() as stack:
        assert health(port) == 200
        for place in range(count):
            connection = stack.enter_context(connect(port))
            connection.sendall(b"GET /health HTTP/1.1\r\nhost:"[: place % 28])
            if place % 1_000 == 0:
                assert health(port) == 200
        assert [health(port) for _ in range(20)] == [200] * 20
    if count < 10_000:
        pytest.skip(f"held {count:,} connections: the system allows no more open files")


def test_silent_connections_make_room_for_others(home):
    with process(home, connections=20) as (port, _), ExitStack() as stack:
        assert health(port) == 200
        idle = [stack.enter_context(connect(port)) for _ in range(20)]
        for connection in idle:
            connection.sendall(GET)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert [health(port) for _ in range(20)] == [200] * 20
        ended = sum(not rest(connection).startswith(b"HTTP") for connection in idle[:1])
        assert ended == 1, "the one that was silent longest"
