"""A running server is sent what its own /openapi.json allows, what it does not, and what no client would: it answers all of it.

No 500, no stack trace, no hang; and the process must have logged nothing when it ends, so nothing went wrong inside.
"""

import http.client
import json
import os
import warnings
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.examples import tiny
from tests.examples.served import serving

with warnings.catch_warnings(action="ignore"):
    import schemathesis
    from schemathesis import GenerationMode

SEED = int(os.environ.get("SEED", "20240501"))
SHORT, LONG = 3, 500
"""How many requests of each kind are made for each operation."""
EXACT = ("/predict", "/explain")
"""Here whatever the document allows must be answered, or refused because it happened long ago."""
POSTS = (
    "/predict",
    "/explain",
    "/events/visits",
    "/invocations",
    "/invocations/late_order",
    "/v2/models/late_order/infer",
    "/v2/models/late_order/versions/1/infer",
)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    with serving(folder, tiny) as found:
        yield found


@pytest.fixture(scope="module")
def operations(port):
    moments = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    schemathesis.openapi.format("date-time", moments.map(datetime.isoformat))
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", wait_for_schema=60)
    return [found.ok() for found in schema.get_all_operations()]


def checked(case, response):
    """Refuse what no request may be answered with."""
    assert "Traceback" not in response.text
    assert response.status_code < 500 or response.status_code == 503, response.text
    if response.status_code == 200 or "json" in response.headers.get("content-type", ""):
        case.validate_response(response, checks=[schemathesis.checks.response_schema_conformance])


def fuzz(operation, mode, times):
    @seed(SEED)
    @settings(
        max_examples=times,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case):
        response = case.call(timeout=30)
        checked(case, response)
        if mode is GenerationMode.POSITIVE and operation.path in EXACT:
            past = response.status_code == 422 and "longer before this request" in response.text
            assert past or response.status_code in (200, 409), (case.body, response.text)

    run()


def every(operations, times):
    for operation in operations:
        fuzz(operation, GenerationMode.POSITIVE, times)
        if operation.body:  # else there is nothing to get wrong
            fuzz(operation, GenerationMode.NEGATIVE, times)


@pytest.mark.filterwarnings("ignore")
def test_what_the_document_allows_and_what_it_does_not_is_answered(operations):
    every(operations, SHORT)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_the_same_for_long(operations):
    every(operations, LONG)


ROW = json.dumps(tiny.order(1))
HOSTILE = {
    "empty": b"",
    "null": b"null",
    "a number": b"1",
    "a list": b"[]",
    "nothing in it": b"{}",
    "NaN": ROW.replace("12.5", "NaN").encode(),
    "infinity": ROW.replace("12.5", "-Infinity").encode(),
    "1e400": ROW.replace("12.5", "1e400").encode(),
    "a huge number": ROW.replace("12.5", "9" * 5000).encode(),
    "an exponent without end": ROW.replace("12.5", "1e" + "9" * 5000).encode(),
    "deep lists": b"[" * 400_000,
    "deep objects": b'{"row":' * 100_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "the same key twice": b'{"row": {}, "row": 5, "row": [], "inputs": 1, "inputs": [[]]}',
    "half a surrogate": ROW.replace('"a"', '"\\ud800"').encode(),
    "half a surrogate as a name": b'{"\\udfff": 1}',
    "half a surrogate and NaN": b'{"instances": [{"\\udfff": NaN}], "\\udfff": 1}',
    "infinity and NaN": b'{"instances": [[NaN, 1e999, Infinity]]}',
    "no UTF-8": b'{"row": "\xff\xfe"}',
    "a byte order mark": b"\xef\xbb\xbf" + ROW.encode(),
    "NUL": ROW.replace('"a"', '"\\u0000"').encode(),
    "names without end": b'{"' + b"x" * 900_000 + b'": 1}',
    "many names": json.dumps({f"name{place}": place for place in range(50_000)}).encode(),
    "many rows": json.dumps({"rows": [{}] * 5_000}).encode(),
    "cut off": ROW[:-5].encode(),
    "twice": (ROW + ROW).encode(),
    "rows of nothing": b'{"rows": [null, 5, [], "x", {}]}',
    "inputs of nothing": b'{"inputs": [null, 5, [], "x", {}]}',
    "inputs of objects": b'{"inputs": {"a": {"b": {}}}}',
    "a model that is a list": b'{"model": [], "row": {}}',
    "a version of text": b'{"inputs": [{"name": {}, "shape": {}, "datatype": {}, "data": {}}]}',
    "shapes without end": b'{"inputs": [{"name": "shop", "shape": [1e308], "datatype": "BYTES", "data": []}]}',
}


def send(port, path, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused(port, name):
    for path in POSTS:
        status, content = send(port, path, HOSTILE[name], {"content-type": "application/json"})
        told = json.loads(content)
        if path == "/events/visits" and status == 200:  # nothing of it fits, so nothing is stored
            assert told["stored"] == 0, (path, content)
        elif name == "NaN" and path.startswith("/invocations"):
            assert status == 400, content
        else:
            assert 400 <= status < 500, (path, content)
            assert "error" in told or "error_code" in told


WRONG = (None, True, 0, -1, 2**63, 2**70, 1e308, -0.0, "", "x", "\x7f", "é" * 600, [], [1], {}, {"a": None})


@pytest.mark.parametrize("field", tiny.order())
def test_wrong_values_in_each_field_are_refused_or_answered(port, field):
    for value in WRONG:
        body = json.dumps({"rows": [tiny.order(f"{field} {value}"[:20]) | {field: value}]})
        status, content = send(port, "/predict", body, {"content-type": "application/json"})
        assert status in (200, 409, 422), (value, content)


@pytest.mark.parametrize(
    "kind", ["text/csv", "application/octet-stream", "application/json; charset=utf-16", ""]
)
def test_hostile_tables_and_bytes_are_refused(port, kind):
    bodies = [b"\x00\x01", b"a,b\n1\n", b'"', b",\n,\n", b"\xff", b"order_id\n" * 10_000, b"\n" * 1_000]
    for body in bodies:
        for length in ("0", "5", "-1", "9" * 50, "x"):
            headers = {"content-type": kind, "inference-header-content-length": length}
            for path in ("/invocations", "/v2/models/late_order/infer"):
                status, content = send(port, path, body, headers)
                assert 400 <= status < 500, (path, body, content)
                assert json.loads(content)
