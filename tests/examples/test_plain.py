"""A plain request to /predict is answered without the application, and just as by it."""

import asyncio
import gc
import json
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest

from tenfold import Platform, Project, Release, VirtualClock
from tenfold.core.errors import SchemaError
from tenfold.processing.batches import to_table
from tenfold.serving.answer.predictions import TOPIC
from tenfold.serving.http.plain import GONE, Asked
from tenfold.serving.http.predicting import asked_of
from tests.examples import tiny
from tests.examples.asked import opened
from tests.unit.asking import asked

ROW = json.dumps(tiny.order()).encode()
GIVEN = {"host": "localhost", "content-type": "application/json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "home"
    tiny.build(folder)
    return folder


@pytest.fixture
def app(made, tmp_path):
    with opened(shutil.copytree(made, tmp_path / "home")) as app:
        yield app


def whole(body, headers):
    """Return a request as it is sent."""
    lines = [f"{name}: {value}" for name, value in {**headers, "content-length": len(body)}.items()]
    return "\r\n".join(["POST /predict HTTP/1.1", *lines, "", ""]).encode() + body


class Caller:
    """Who asks at the door."""

    client = ("192.0.2.7", 1)

    def __init__(self):
        self.told = asyncio.get_running_loop().create_future()

    def tell(self, status, headers, body):
        self.told.set_result((status, dict(headers), body))


def at_door(api, body, headers=GIVEN):
    """Return status, headers and body of a plain request."""

    async def ask():
        door, data, caller = api.state.door, whole(body, headers), Caller()
        head = door.head_of(data)
        assert head.whole == len(data)
        door.ask(caller, head, data[head.own :])
        return await caller.told

    return asyncio.run(ask())


def by_route(api, body, headers=GIVEN):
    """Return the same of the application."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "client": Caller.client,
        "headers": [(name.encode(), str(value).encode()) for name, value in headers.items()],
    }
    asyncio.run(api(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (ROW, ""),
        (json.dumps({"model": "late_order", "row": tiny.order()}).encode(), ""),
        (json.dumps({"rows": [tiny.order(1), tiny.order(2)]}).encode(), ""),
        (ROW, "mine"),
        (ROW, "x" * 200),
        (json.dumps(tiny.order(amount=-1)).encode(), ""),
        (b'{"model": "other", "row": {}}', ""),
        (json.dumps({"rows": [{}] * 1001}).encode(), ""),
        (b"", ""),
        (b"{", ""),
        (b"[" * 50_000, ""),
        (b'{"shop": "\xff"}', ""),
    ],
    ids=lambda item: repr(item[:9]),
)
def test_it_is_answered_as_by_the_route(app, body, key):
    api, headers = app.asgi(hosts=("localhost",)), GIVEN | ({"idempotency-key": key} if key else {})
    assert at_door(api, body, headers) == by_route(api, body, headers)


def test_a_used_key_and_states_that_lag_are_refused_as_by_the_route(app):
    api, headers = app.asgi(wait=0.1), GIVEN | {"idempotency-key": "mine"}
    assert by_route(api, ROW, headers)[0] == 200
    other = json.dumps(tiny.order(1)).encode()
    assert at_door(api, other, headers) == by_route(api, other, headers)
    assert at_door(api, other, headers)[0] == 409
    app.ingest("visits", tiny.visit("late"))
    late = at_door(api, ROW)
    assert late == by_route(api, ROW)
    assert (late[0], late[1][b"retry-after"]) == (503, b"1")


def test_no_long_head_is_kept(app):
    door = app.asgi().state.door
    assert door.head_of(whole(ROW, GIVEN | {"x": "a" * 3_000})) is not None
    assert door.head_of(whole(ROW, GIVEN | {"x": "a" * 4_096})) is None


def test_what_was_answered_is_gone_at_once(app):
    api = app.asgi()
    gc.collect()
    gc.disable()  # which would free circles too, later and all at once
    try:
        assert [at_door(api, ROW)[0] for _ in range(3)] == [200] * 3
        assert not [one for one in gc.get_objects() if isinstance(one, Asked)]
    finally:
        gc.enable()


def test_a_server_that_answers_on_and_on_holds_no_more(app):
    api = app.asgi()

    def held_after(some):
        for place in some:
            assert at_door(api, json.dumps(tiny.order(place)).encode())[0] == 200
        gc.collect()
        return len(gc.get_objects())

    held = [held_after(range(first, first + 200)) for first in range(0, 800, 200)]
    assert min(np.diff(held)) < 200  # what is made once and kept, such as SQL that is read, comes at any time


def test_a_fault_of_the_server_shows_nothing_of_it(app, monkeypatch, caplog):
    api = app.asgi()
    monkeypatch.setattr(type(app.log), "ends", lambda _: 1 / 0)
    failed = at_door(api, ROW)
    assert failed == by_route(api, ROW)
    assert failed[0] == 500
    assert caplog.text.count("ZeroDivisionError: division by zero") >= 2


@pytest.mark.parametrize(
    "changed",
    [
        {"host": "evil.example"},
        {"host": ""},
        {"origin": "http://localhost"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=utf-8"},
        {"connection": "close"},
        {"connection": "upgrade", "upgrade": "websocket"},
        {"expect": "100-continue"},
        {"transfer-encoding": "chunked"},
        {"idempotency-key": "x" * 201},
        {"x": "a\tb"},
        {"x": "ü"},
        {"x ": "a"},
        {"x": "a\r\n folded: b"},
        {"x": "a\n"},
        {"Host": "localhost"},
        {"Content-Length": "3"},
    ],
    ids=str,
)
def test_what_could_be_read_in_another_way_is_not_plain(app, changed):
    door = app.asgi(hosts=("localhost",)).state.door
    assert door.head_of(whole(ROW, GIVEN | {"accept": "*/*", "Connection": "Keep-Alive"})).key is None
    assert door.head_of(whole(ROW, GIVEN | changed)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST /predict", b"GET /predict"),
        (b"/predict", b"//predict"),
        (b"/predict", b"/predict?x=1"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"content-length: ", b"content-length: +"),
        (b"content-length: ", b"content-length: 100000"),
        (b"content-length: ", b"content-length: " + b"9" * 5_000),
        (b"content-length: ", b"content-size: "),
        (b"\r\n", b"\n"),
    ],
)
def test_another_request_is_not_plain(app, old, new):
    assert app.asgi().state.door.head_of(whole(ROW, GIVEN).replace(old, new, 1)) is None


def test_who_may_not_pass_is_told_so_as_by_the_route(app):
    secrets = {
        scope: app.tokens.create(scope, [scope], rate="3/d" if scope == "predict" else None)
        for scope in ("predict", "ingest")
    }
    revoked = app.tokens.create("revoked", ["predict"])
    app.tokens.revoke("revoked")
    api = app.asgi()
    for secret in (None, "", "x" * 500, revoked, secrets["ingest"]):
        headers = GIVEN | ({} if secret is None else {"authorization": f"Bearer {secret or '-'}"})
        refused = at_door(api, ROW, headers)
        assert refused == by_route(api, ROW, headers)
        assert refused[0] in (401, 403)
    right = GIVEN | {"authorization": f"Bearer {secrets['predict']}"}
    assert [way(api, ROW, right)[0] for way in (at_door, by_route, at_door)] == [200] * 3
    assert at_door(api, ROW, right) == by_route(api, ROW, right)
    assert at_door(api, ROW, right)[0] == 429, "both ways count in the same bucket"
    app.tokens.revoke("predict")
    assert at_door(api, ROW, right)[0] == 401, "from the next request on"


def test_requests_are_counted_as_by_the_route(app):
    api = app.asgi()
    for body in (ROW, ROW, b"{"):
        assert at_door(api, body)[0] == by_route(api, body)[0]
    requests = app.traffic.requests
    requests.flush()
    found = {
        place: sum(n for what, n in each.items() if what != "sum") for place, each in requests.all().items()
    }
    assert found == {("/predict", 200): 4, ("/predict", 422): 2}


def test_a_request_whose_client_is_gone_is_not_answered(app):
    app.ingest("visits", tiny.visit("late"))  # so that it waits for the states
    api = app.asgi(wait=30)

    async def ask():
        door, callers, asked = api.state.door, [Caller(), Caller()], []
        for place, caller in enumerate(callers):
            data = whole(json.dumps(tiny.order(place)).encode(), GIVEN)
            head = door.head_of(data)
            asked.append(door.ask(caller, head, data[head.own :]))
        while asked[1].waiting is None:
            await asyncio.sleep(0.001)
        door.forget(asked[0])
        await asyncio.to_thread(app.process)
        return (await callers[1].told)[0], callers[0].told.done()

    assert asyncio.run(ask()) == (200, False)
    stored = [row for batch in app.log.read(TOPIC, 0) for row in to_table(batch).to_pylist()]
    assert [row["row_id"] for row in stored] == ["new-1"]
    app.traffic.requests.flush()
    assert set(app.traffic.requests.all()) == {("/predict", 200), ("/predict", GONE)}


def test_traced_requests_take_the_usual_way(app, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    pytest.importorskip("opentelemetry.sdk")
    assert app.asgi().state.door is None


# On a connection ----------------------------------------------------------------------------------------


def answers(port, *parts, count):
    """Return heads and bodies of so many answers to what is sent on one connection, in parts."""
    found, held = [], b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        while len(found) < count:
            head, end, rest = held.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            size = next((int(line[16:]) for line in lines if line.startswith(b"content-length: ")), 0)
            if end and len(rest) >= size:
                found.append((sorted(line for line in lines if not line.startswith(b"date")), rest[:size]))
                held = rest[size:]
            elif not (part := connection.recv(65_536)):
                break
            else:
                held += part
    return found


PLAIN = whole(ROW, GIVEN)
USUAL = whole(ROW, GIVEN | {"content-type": "application/json; charset=utf-8"})
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


def test_the_bytes_are_those_of_the_usual_way(port):
    assert answers(port, PLAIN, count=1) == answers(port, USUAL, count=1)
    assert answers(port, PLAIN.replace(b'{"', b'["', 1), count=1) == answers(
        port, USUAL.replace(b'{"', b'["', 1), count=1
    )


def test_it_may_come_in_pieces(port):
    (plain,) = answers(port, PLAIN, count=1)
    pieces = [PLAIN[place : place + 1] for place in range(len(PLAIN))]
    assert answers(port, *pieces, count=1) == [plain]
    end = PLAIN.index(b"\r\n\r\n") + 4
    assert answers(port, PLAIN[:end], PLAIN[end : end + 9], PLAIN[end + 9 :], count=1) == [plain]
    assert answers(port, PLAIN[:end], PLAIN[end:] + HEALTH, count=2)[0] == plain


@pytest.mark.parametrize("joined", [True, False])
def test_answers_come_in_the_order_of_the_requests(port, joined):
    ways = {"plain": PLAIN, "usual": USUAL, "health": HEALTH}
    alone = {name: answers(port, request, count=1)[0] for name, request in ways.items()}
    order = ["plain", "plain", "health", "plain", "usual", "plain", "health", "usual", "plain", "plain"]
    parts = [ways[name] for name in order]
    found = answers(port, *([b"".join(parts)] if joined else parts), count=len(order))
    assert found == [alone[name] for name in order]


def test_one_that_wants_the_connection_closed_gets_it_closed(port):
    closing = whole(ROW, GIVEN | {"connection": "close"})
    found = answers(port, PLAIN, closing, count=9)
    assert [b"connection: close" in head for head, _ in found] == [False, True]


SEVERAL = (
    "This project has several models (late_again, late_order): "
    'send {"model": ..., "row": {...}}, or "rows": [{...}, ...].'
)


@pytest.mark.parametrize("body", [ROW, b"{}", b'{"row": %s}' % ROW, b'{"rows": []}', b"[%s]" % ROW])
def test_who_names_none_of_several_models_is_told_to_at_door_and_route(tmp_path, body):
    project = Project(
        "both", releases=[Release(tiny.late_order), Release(replace(tiny.late_order, name="late_again"))]
    )
    with project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        api = app.asgi(hosts=())
        status, headers, told = at_door(api, body)
        assert (status, headers, told) == by_route(api, body)
        explained = asked(api, "/explain", content=body)
    why = "the body is not an object. " if body.startswith(b"[") else "no model is named. "
    assert (status, json.loads(told)) == (422, {"error": {"kind": "SchemaError", "message": why + SEVERAL}})
    assert (explained.status_code, explained.content) == (422, told)


def test_of_many_models_some_are_named():
    with pytest.raises(
        SchemaError, match=r"several models \(m0, m1, m2, m3, m4, m5, m6, m7 and 2 more\): send"
    ):
        asked_of({f"m{number}": None for number in range(10)}, {}, None)
