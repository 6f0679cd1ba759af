"""The client, against a server process: what it returns, what it raises, and what it repeats."""

import asyncio
import re
import select
import socket
import socketserver
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from tenfold import AsyncClient, Client
from tenfold.core.errors import Conflict, DefinitionError, NotFound, SchemaError, TenfoldError, Unavailable
from tenfold.serving.sending import Call
from tests.examples import bare
from tests.examples.served import serving
from tests.unit.downstream import certified


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    bare.build(folder)
    with serving(folder) as found:
        yield found


@pytest.fixture
def client(port):
    with Client(f"http://127.0.0.1:{port}") as found:
        yield found


@contextmanager
def losing(port, times):
    """Stand between client and server: pass on what is asked, and lose the first answers after the server gave them.

    All tries of a call carry the same id.
    """
    left, ids = [times], []

    class Lost(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.create_connection(("127.0.0.1", port)) as server:
                while True:
                    ready, _, _ = select.select([self.request, server], [], [])
                    told = ready[0].recv(65536)
                    if not told:
                        return
                    ids.extend(re.findall(rb"(?i)idempotency-key: (\w+)", told))
                    if ready[0] is server and left[0]:
                        left[0] -= 1
                        return
                    (self.request if ready[0] is server else server).sendall(told)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lost) as between:
        between.daemon_threads = True
        threading.Thread(target=between.serve_forever, daemon=True).start()
        try:
            yield between.server_address[1]
        finally:
            between.shutdown()
    assert not left[0], "no answer was lost, so nothing was repeated"
    assert len(ids) >= times
    assert len(set(ids)) == 1


def test_one_row_many_rows_events_and_health(client):
    one = client.predict("late_order", bare.order(1))
    assert one["decision"] == (one["score"] >= one["threshold"])
    many = client.predict_many("late_order", [bare.order(1), bare.order(2)])
    assert many[0]["score"] == one["score"]
    assert client.send("visits", [bare.visit(90)])["stored"] == 1
    assert client.health() == {"status": "ok", "models": {"late_order": 1}}


def test_the_same_id_returns_the_first_answer(client):
    first = client.predict("late_order", bare.order(3), id="mine")
    assert client.predict("late_order", bare.order(3), id="mine") == first
    assert first["prediction_id"] == "mine"
    with pytest.raises(Conflict, match='key "mine" was already used for another row'):
        client.predict("late_order", bare.order(4), id="mine")


@pytest.mark.parametrize("lost", [1, 3])
def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_happens_twice(port, client, lost):
    with losing(port, lost) as between, Client(f"http://127.0.0.1:{between}") as through:
        answer = through.predict("late_order", bare.order(5))
    assert client.predict("late_order", bare.order(5), id=answer["prediction_id"]) == answer
    with losing(port, lost) as between, Client(f"http://127.0.0.1:{between}") as through:
        assert through.send("visits", [bare.visit(91 + lost)])["stored"] == 1


def test_it_gives_up_after_its_retries(port):
    with (
        losing(port, 2) as between,
        Client(f"http://127.0.0.1:{between}", retries=1) as through,
        pytest.raises(Unavailable, match="Is the service running"),
    ):
        through.predict("late_order", bare.order(6))


@pytest.mark.parametrize(
    ("ask", "kind", "message"),
    [
        (
            lambda it: it.predict("late_order", bare.order(1) | {"amont": 1}),
            SchemaError,
            'Did you mean "amount"',
        ),
        (lambda it: it.predict("late_ordr", bare.order(1)), NotFound, 'Did you mean "late_order"'),
        (lambda it: it.send("visit", [bare.visit(1)]), NotFound, 'Did you mean "visits"'),
        (lambda it: it.predict("late_order", [1]), TenfoldError, "the row does not fit"),
    ],
)
def test_what_the_service_refuses_is_raised_as_in_this_process(client, ask, kind, message):
    with pytest.raises(kind, match=message):
        ask(client)


def test_values_of_numpy_and_pandas_are_sent_as_what_they_are(client):
    row = bare.order(20, amount=2.5, items=3)
    at = datetime.fromisoformat(row["due"])
    same = row | {"amount": np.float64(2.5), "items": np.int32(3), "gift": np.nan, "due": pd.Timestamp(at)}
    assert client.predict("late_order", same, id="numpy") == client.predict("late_order", row, id="numpy")


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize("missing", [pd.NaT, pd.NA, np.datetime64("NaT")])
def test_times_of_numpy_count_as_utc_and_what_is_missing_as_null(client, unit, missing):
    row = bare.order(21)
    due = np.datetime64(datetime.fromisoformat(row["due"]).replace(tzinfo=None), unit)
    same = row | {"due": due, "gift": missing}
    assert client.predict("late_order", same, id="times") == client.predict("late_order", row, id="times")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([bare.order(1, amount=float("inf"))], "a number is infinite. Send a finite one, or None"),
        ([bare.order(1, amount=np.float32("-inf"))], "a number is infinite"),
        ((row for row in [bare.order(1)]), "a value is of type builtins.generator. Send dicts of texts"),
        ([bare.order(1, amount=object())], "a value is of type builtins.object"),
    ],
)
def test_what_json_has_no_form_for_is_refused_before_it_is_sent(client, rows, message):
    with pytest.raises(SchemaError, match=re.escape(message)):
        client.predict_many("late_order", rows)


@pytest.mark.parametrize("given", ["ä", "a\nb", 5])
def test_an_id_that_no_header_carries_is_refused_at_once(client, given):
    with pytest.raises(SchemaError, match="is not a text of printable ASCII characters"):
        client.predict("late_order", bare.order(1), id=given)


@pytest.mark.parametrize("given", ["a ", " a", " "])
def test_an_id_with_a_blank_at_an_end_is_refused_at_once(given):
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(SchemaError, match="has a blank at an end"),
    ):
        client.predict("late_order", bare.order(1), id=given)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "127.0.0.1", "", "ftp://x", None, "http://", "http://127.0.0.1:port", "http://[::1"],
)
def test_what_is_no_address_is_refused_at_once(url):
    with pytest.raises(DefinitionError, match=r'Write for example "http://127\.0\.0\.1:8000"'):
        Client(url)


def test_a_service_that_takes_too_long_is_told_apart_from_one_that_is_away():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        async def ask():
            async with AsyncClient(url, timeout=0.05, retries=0) as there:
                await there.health()

        for act in (lambda: asyncio.run(ask()), Client(url, timeout=0.05, retries=0).health):
            with pytest.raises(Unavailable) as error:
                act()
            assert str(error.value) == (
                f"no answer from {url}: none within timeout=0.05 s. Give it longer, or fewer rows. Is the service "
                "running? tenfold serve PROJECT.py"
            )


@pytest.mark.parametrize("timeout", [0, -1, "5", None, float("nan")])
def test_what_is_no_time_to_wait_is_refused_at_once(timeout):
    with pytest.raises(DefinitionError, match=r"Write for example timeout=10\.0\.$"):
        Client("http://127.0.0.1:9", timeout=timeout)


@pytest.mark.parametrize("retries", [-1, 1.5, None])
def test_what_is_no_number_of_retries_is_refused_at_once(retries):
    with pytest.raises(DefinitionError, match=r"Write for example retries=4\.$"):
        Client("http://127.0.0.1:9", retries=retries)


def test_who_writes_https_to_a_plain_service_is_told_so(port, client):
    client.health()  # it has started

    async def ask():
        async with AsyncClient(f"https://127.0.0.1:{port}", retries=0) as there:
            await there.health()

    for act in (lambda: asyncio.run(ask()), Client(f"https://127.0.0.1:{port}", retries=0).health):
        with pytest.raises(Unavailable) as error:
            act()
        assert f" A service without a proxy speaks plain HTTP: write http://127.0.0.1:{port}. " in str(
            error.value
        )


def test_a_certificate_of_an_unknown_authority_is_said_to_be_one(tmp_path):
    context, _ = certified(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake():
            connection, _ = server.accept()
            with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
                pass

        threading.Thread(target=shake, daemon=True).start()
        with (
            Client(f"https://127.0.0.1:{server.getsockname()[1]}", retries=0) as client,
            pytest.raises(Unavailable, match=r"certificate verify failed.*SSL_CERT_FILE=PATH\."),
        ):
            client.health()


def test_threads_that_share_one_do_not_wait_for_each_other():
    threads = 120
    together = threading.Barrier(threads)

    class Service(socketserver.ThreadingTCPServer):
        request_queue_size = threads
        daemon_threads = True

    class Held(socketserver.StreamRequestHandler):
        def handle(self):
            while head := list(iter(lambda: self.rfile.readline().strip(), b"")):
                if head[0].startswith(b"GET /health"):
                    together.wait(30)  # nobody is answered before all have asked
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    def steps():
        """Return how many functions one call takes."""
        counted = [0]
        sys.setprofile(lambda _frame, event, _of: counted.__setitem__(0, counted[0] + (event == "call")))
        try:
            client._ask(Call("GET", "/other"))
        finally:
            sys.setprofile(None)
        return counted[0]

    with (
        Service(("127.0.0.1", 0), Held) as service,
        Client(f"http://127.0.0.1:{service.server_address[1]}", timeout=20.0, retries=0) as client,
        ThreadPoolExecutor(threads) as pool,
    ):
        threading.Thread(target=service.serve_forever, daemon=True).start()
        steps()
        alone = steps()
        assert list(pool.map(lambda _: client.health(), range(threads))) == [{}] * threads
        steps()
        assert steps() < 1.1 * alone
        service.shutdown()


def test_awaiting_is_the_same(port, client):
    async def ask():
        async with AsyncClient(f"http://127.0.0.1:{port}") as there:
            rows = [bare.order(place) for place in range(7, 12)]
            answers = await asyncio.gather(*(there.predict("late_order", row) for row in rows))
            with pytest.raises(SchemaError):
                await there.predict("late_order", {})
            return [answer["score"] for answer in answers], await there.health()

    scores, health = asyncio.run(ask())
    assert scores == [client.predict("late_order", bare.order(place))["score"] for place in range(7, 12)]
    assert health["status"] == "ok"


def test_calls_that_wait_for_others_are_not_late():
    """Each is answered in a fraction of its timeout; all of them, 32 at a time, take longer than that."""
    asked, most = 0, 0

    async def answer(reader, writer):
        with closing(writer), suppress(asyncio.IncompleteReadError):
            await answered(reader, writer)

    async def answered(reader, writer):
        nonlocal asked, most
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1]))
            asked += 1
            most = max(most, asked)
            await asyncio.sleep(0.3)
            asked -= 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")

    async def ask():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as service:
            url = f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}"
            async with AsyncClient(url, timeout=2.0, retries=0) as there:
                return await asyncio.gather(*(there.predict("m", {"row": place}) for place in range(320)))

    assert asyncio.run(ask()) == [{}] * 320
    assert most <= 32


def test_awaiting_repeats_too(port):
    async def ask(between):
        async with AsyncClient(f"http://127.0.0.1:{between}") as there:
            return await there.predict("late_order", bare.order(12))

    with losing(port, 2) as between:
        assert asyncio.run(ask(between))["model"] == "late_order"
