"""Whatever a client sends over a real connection gets a clear answer, and the server answers afterwards."""

import http.client
import json
import select
import socket
from contextlib import closing

import pytest

from tenfold import Platform
from tenfold.core.clock import SharedClock, SystemClock, VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.processing import quarantine
from tenfold.serving.http.app import application
from tenfold.serving.http.predicting import MAX_BODY
from tenfold.sources.log import SQLiteLog
from tenfold.sources.sqlite import SQLiteDatabase
from tests.examples import tiny
from tests.examples.served import serving

JSON = {"content-type": "application/json"}
NO_NUMBER = "the body is not JSON: JSON is malformed: invalid character (byte 11). JSON has no NaN and no Infinity: send null."
ROW = 'the row does not fit source "orders": '


class Client:
    def __init__(self, port, home):
        self.port, self.home = port, home

    def send(self, method, path, body=None, headers=JSON):
        """Return the status, the decoded answer and the headers of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        assert response.headers["content-type"] == "application/json"
        assert b"Traceback" not in content
        return response.status, json.loads(content) if content else None, response.headers

    def post(self, path, content, **headers):
        names = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, json.dumps(content), names)[:2]

    def error(self, method, path, body=None, headers=JSON):
        """Return status, kind and message of a request that must fail."""
        status, answer, _ = self.send(method, path, body, headers)
        return status, answer["error"]["kind"], answer["error"]["message"]

    def predict_error(self, content):
        body = content if isinstance(content, bytes) else json.dumps(content)
        return self.error("POST", "/predict", body)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    return folder


@pytest.fixture(scope="module")
def client(home):
    with serving(home, tiny) as port:
        yield Client(port, home)


@pytest.fixture(autouse=True)
def still_answers(client):
    yield
    status, answer, _ = client.send("GET", "/health", headers={})
    assert (status, answer) == (200, {"status": "ok", "models": {"late_order": 1}})


def test_a_row_is_answered(client):
    status, answer = client.post("/predict", tiny.order())
    assert status == 200
    assert answer["model"] == "late_order"
    assert answer["as_of"] == "2024-05-21T00:00:00+00:00"
    assert answer["decision"] == (answer["score"] >= answer["threshold"])
    same = client.post("/predict", {"model": "late_order", "row": tiny.order()})
    assert same == (200, answer)


def test_an_unknown_entity_is_answered_with_no_age(client):
    status, answer = client.post("/predict", tiny.order(9, shop="never seen"))
    assert (status, answer["ages_s"]) == (200, {"shop_visits": None})


def test_the_same_key_gives_the_same_answer_after_the_data_changed(client):
    first = client.post("/predict", tiny.order(1), idempotency_key="once")
    assert client.post("/events/visits", [tiny.visit(place) for place in range(5)])[0] == 200
    SharedClock(client.home / "clock").set(tiny.ASK_AT + 60_000_000)
    assert client.post("/predict", tiny.order(1), idempotency_key="once") == first
    later = client.post("/predict", tiny.order(1), idempotency_key="twice")[1]
    assert later["ages_s"] != first[1]["ages_s"]
    assert client.error(
        "POST", "/predict", json.dumps(tiny.order(2)), JSON | {"idempotency-key": "once"}
    ) == (
        409,
        "Conflict",
        'key "once" was already used for another row of model "late_order". The first answer counts; '
        "give another row a new key.",
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"amont": 1},
            'unknown column "amont". Did you mean "amount"? Known: amount, due, gift, items, order_id, ',
        ),
        ({"amount": None}, '"amount" is missing.'),
        ({"amount": "12"}, '"amount" is text, not a number.'),
        ({"amount": True}, '"amount" is true or false, not a number.'),
        ({"amount": -1}, "not true: amount > 0."),
        ({"amount": 2**70}, '"amount" is too large for exact sums (2^43).'),
        ({"items": 2**64}, '"items" is too large for exact sums (2^53).'),
        ({"items": 2.5}, '"items" is a number, not a whole number.'),
        ({"gift": "yes"}, '"gift" is text, not true or false.'),
        ({"shop": ["a"]}, '"shop" is a list, not text.'),
        (
            {"due": "2024-05-21T00:00:00"},
            '"due" has no time zone; write for example 2013-04-01T06:00:00+00:00.',
        ),
        ({"due": "1900-01-01T00:00:00+00:00"}, '"due" is not between 1970 and 2200.'),
        ({"due": "0001-01-01T00:00:00+23:59"}, '"due" is not in the years 1 to 9999.'),
        ({"due": "tomorrow"}, '"due" is not a time such as 2013-04-01T06:00:00+00:00.'),
        ({"due": 5}, '"due" is a number, not a time such as 2013-04-01T06:00:00+00:00.'),
        ({"order_id": "a\0b"}, '"order_id" contains a NUL character.'),
        ({"order_id": "x" * 1025}, '"order_id" is longer than 1,024 bytes, too long for an id.'),
        ({"order_id": "a\x1fb"}, '"order_id" contains the control character U+001F, which separates ids.'),
    ],
)
def test_a_row_that_does_not_fit_says_which_field_and_why(client, changed, reason):
    status, kind, message = client.predict_error(tiny.order(**changed))
    assert (status, kind) == (422, "SchemaError")
    assert message.startswith(ROW + reason)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty. Send JSON."),
        (b"null", 'the body is not an object. Send the row as {"field": value, ...}.'),
        (
            b"[{}]",
            'the body is not an object. Send the row as {"field": value, ...}. Several rows are sent as {"rows": [{...}, ...]}.',
        ),
        (b"{", "the body is not JSON: Input data was truncated."),
        *((b'{"amount": %b}' % name, NO_NUMBER) for name in (b"NaN", b"Infinity")),
        (b'{"amount": 1e999}', "the body is not JSON: Number out of range"),
        (b"1" * 5000, "the body is not JSON: Integer value out of range"),
        (b"[" * 500_000, "the body is not JSON: maximum recursion depth exceeded"),
        (b'{"shop": "\xff"}', "the body is not JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{"shop": "\\ud800"}', "the body is not JSON: "),
        (
            b'{"modle": "x", "row": {}}',
            'the body has an unknown field "modle". Did you mean "model"? Known: model, row, rows.',
        ),
        (
            b'{"model": "late_order"}',
            'the body has no "row" or "rows". Send {"model": "late_order", "row": {...}}, or "rows": [{...}, ...].',
        ),
        (
            b'{"row": {}, "rows": []}',
            'the body has both "row" and "rows". Send {"model": "late_order", "row": {...}}, or "rows": [{...}, ...].',
        ),
        (
            b'{"rows": {}}',
            '"rows" is not a list. Send "rows": [{...}, ...], or one row as "row": {...}.',
        ),
        (b'{"rows": [null]}', "rows[0]: " + ROW + "a row is null, not an object with named fields."),
        (b'{"row": null}', ROW + "a row is null, not an object with named fields."),
    ],
    ids=lambda item: repr(item[:12]) if isinstance(item, bytes) else "",
)
def test_a_body_that_is_not_a_row_says_why(client, body, message):
    status, kind, found = client.predict_error(body)
    assert (status, kind) == (422, "SchemaError")
    assert found.startswith(message)


@pytest.mark.parametrize("name", ["late_ordr", 5, ["late_order"], {}])
def test_an_unknown_model_names_the_nearest(client, name):
    status, kind, message = client.predict_error({"model": name, "row": tiny.order()})
    assert (status, kind) == (404, "NotFound")
    assert message.startswith(f'no model "{name}".')
    assert message.endswith("Known: late_order.")


def test_a_body_that_is_too_large_is_refused_and_not_kept(client):
    assert client.predict_error(b"x" * 10_000_000) == (
        413,
        "TooLarge",
        f"the body is larger than {MAX_BODY:,} bytes. Send fewer rows at a time.",
    )
    rows = b"[" + b"1," * 100_000 + b"1]"
    assert client.error("POST", "/events/visits", rows)[2] == (
        "the body has 100,001 rows, more than 100,000. Send fewer rows at a time."
    )


def test_a_chunked_body_that_never_ends_is_cut_off(client):
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        while not select.select([connection], [], [], 0)[0]:
            connection.sendall(chunk)
            sent += len(chunk)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")
    assert sent < 60_000_000


def test_only_json_is_taken(client):
    body = json.dumps(tiny.order())
    plain = client.error("POST", "/predict", body, {"content-type": "text/plain; charset=utf-8"})
    assert plain == (
        415,
        "WrongType",
        'the content type is "text/plain". Send the header "content-type: application/json".',
    )
    assert client.error("POST", "/predict", body, {})[:2] == (415, "WrongType")
    accepted = {"content-type": "Application/JSON; charset=utf-8"}
    assert client.send("POST", "/predict", body, accepted)[0] == 200


def test_wrong_paths_and_methods_are_answered_as_json(client):
    status, kind, message = client.error("POST", "/predct")
    assert (status, kind) == (404, "NotFound")
    assert message.startswith('no path "/predct". Did you mean "/predict"? Known: /events/SOURCE, /explain, ')
    assert client.error("GET", "/predict/")[0] == 404
    assert client.error("GET", "/%ff%00" + "x" * 5_000)[0] == 404
    assert client.error("GET", "/predict") == (405, "WrongMethod", "GET /predict is not answered. Use POST.")
    assert client.send("DELETE", "/predict")[2]["allow"] == "POST"
    assert client.send("HEAD", "/health")[:2] == (200, None)
    assert client.send("HEAD", "/predict")[:2] == (405, None)
    assert client.send("HEAD", "/nothing")[:2] == (404, None)


def test_an_unknown_source_names_the_nearest(client):
    assert client.error("POST", "/events/visit", "[]") == (
        404,
        "NotFound",
        'no source "visit". Did you mean "visits"? Known: orders, outcomes, visits.',
    )


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[::2]:80"])
def test_a_foreign_host_is_refused(client, host):
    assert client.error("GET", "/health", headers={"host": host}) == (
        400,
        "WrongHost",
        f'host "{host}" is not served here. Ask for one of 127.0.0.1, ::1, localhost, or start the server '
        "with --name and the name that is asked for.",
    )


def test_good_rows_are_stored_beside_bad_ones_once(client):
    at = tiny.NOW.isoformat()
    good = {"order_id": "o-1", "late": 1.0, "at": at}
    rows = [good, {"order_id": "o-2"}, None, good | {"late": "4"}]
    answer = {
        "stored": 1,
        "rejected": 3,
        "message": '3 of 4 rows of source "outcomes" were set aside: "late" is missing (1), a row is null, not an object '
        'with named fields (1), "late" is text, not a number (1). The other rows were stored. '
        "See: tenfold rejects PROJECT.py outcomes",
    }
    before = stored(client, "outcomes")
    for _ in range(2):
        assert client.post("/events/outcomes", rows, idempotency_key="mixed") == (200, answer)
    good_now, bad_now = stored(client, "outcomes")
    assert (good_now - before[0], bad_now - before[1]) == (1, 3)


def test_a_call_of_which_nothing_fits_fails_with_its_counts(client):
    rows = [tiny.visit("x", minutes="4"), tiny.visit("x", at="2024-05-21T00:00:00")]
    message = (
        '2 of 2 rows of source "visits" were set aside: "minutes" is text, not a number (1), '
        '"at" has no time zone; write for example 2013-04-01T06:00:00+00:00 (1). Nothing was stored. '
        "See: tenfold rejects PROJECT.py visits"
    )
    answer = {
        "stored": 0,
        "rejected": 2,
        "message": message,
        "error": {"kind": "SchemaError", "message": message},
    }
    assert client.post("/events/visits", rows, idempotency_key="all bad") == (422, answer)
    assert client.post("/events/visits", None)[1]["rejected"] == 1
    assert client.post("/events/visits", []) == (200, {"stored": 0, "rejected": 0, "message": ""})


def test_a_key_for_other_rows_is_a_conflict_and_the_first_call_counts(client):
    assert client.post("/events/visits", tiny.visit("first"), idempotency_key="k")[0] == 200
    before = stored(client, "visits")
    status, answer = client.post("/events/visits", tiny.visit("second"), idempotency_key="k")
    assert (status, answer["error"]["kind"]) == (409, "Conflict")
    assert answer["error"]["message"] == (
        'key "k" of source "visits" was already used for other rows. Those of the first call count; '
        "give other rows a new key."
    )
    assert stored(client, "visits") == before
    assert client.post("/events/visits", [], idempotency_key="x" * 201)[0] == 422


def stored(client, source):
    """Return how many rows of a source are in the log, and how many were set aside."""
    log, database = (
        SQLiteLog(client.home / "log.db", SystemClock()),
        SQLiteDatabase(client.home / "state.db", quarantine.SCHEMA),
    )
    with closing(log), closing(database):
        aside = quarantine.Quarantine(database, SystemClock()).counts(source)
        return log.ends().offsets.get(source, 0), sum(item.rows for item in aside)


def test_without_a_version_in_production_the_answer_says_what_to_type(tmp_path):
    with tiny.project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        status, answer = tiny.in_process(app.asgi(), "/predict", tiny.order())
        health = tiny.in_process(app.asgi(), "/health", method="GET")
    assert status == 404
    assert answer["error"]["message"] == (
        'no version in production of model "late_order". Train one and promote it: tenfold train PROJECT.py, '
        "then tenfold promote PROJECT.py late_order 1."
    )
    assert health == (200, {"status": "ok", "models": {"late_order": None}})


def test_a_worker_that_lags_is_unavailable(tmp_path):
    with tiny.project.open(Platform(home=tmp_path)) as app:
        app.ingest("visits", tiny.visit(1))
        status, answer = tiny.in_process(app.asgi(wait=0.1), "/predict", tiny.order())
    assert (status, answer["error"]["kind"]) == (503, "Unavailable")
    assert "it is safe to retry" in answer["error"]["message"]


@pytest.mark.parametrize("wait", [0, -1, 0.05, float("nan"), float("inf")])
def test_a_wait_in_which_nothing_could_be_answered_is_refused(wait):
    with pytest.raises(DefinitionError) as error:
        application({}, tiny.project.sources, None, wait=wait)
    assert str(error.value) == (
        f"wait={wait} is not between 0.1 and 3,600 seconds. Write wait=0.1 to have requests refused as soon as the states lag; "
        "those that find them there do not wait."
    )


def test_events_in_the_form_of_rows_to_predict_are_told_how_to_come(client):
    status, answer = client.post("/events/visits", {"rows": [tiny.visit("in rows")]})
    assert (status, answer["error"]["message"]) == (
        422,
        'the body is an object with the field "rows". Send a list of rows: [{...}, ...], or one row.',
    )


def test_a_fault_of_the_server_shows_nothing_of_it(caplog):
    def broken(*_, **__):
        raise RuntimeError("secret")

    app = application({}, tiny.project.sources, broken, wait=5)
    status, answer = tiny.in_process(app, "/events/visits", [])
    assert (status, answer["error"]["kind"]) == (500, "InternalError")
    assert "secret" not in str(answer)
    assert "secret" in caplog.text


def test_every_route_says_which_scope_it_needs():
    app = application({}, tiny.project.sources, None, wait=0.1)
    probes = {"/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"}
    assert {route.path for route in app.routes if route.needs == "open"} == probes
    assert {route.needs for route in app.routes} <= {"open", "predict", "ingest", "admin"}


def test_many_rows_get_a_list_of_answers(client):
    rows = [tiny.order(f"of many {place}", amount=1.0 + place) for place in range(40)]
    status, answers = client.post("/predict", {"rows": rows}, idempotency_key="many")
    assert status == 200
    assert [answer["prediction_id"] for answer in answers] == [f"many/{place}" for place in range(40)]
    assert client.post("/predict", {"model": "late_order", "rows": rows}, idempotency_key="many") == (
        200,
        answers,
    )
    assert client.post("/predict", {"rows": []}) == (200, [])
    status, answer = client.post("/predict", {"rows": [rows[0]] * 1_001})
    assert (status, answer["error"]["kind"]) == (413, "TooLarge")
    assert (
        answer["error"]["message"] == "the body has 1,001 rows, more than 1,000. Send fewer rows at a time."
    )
