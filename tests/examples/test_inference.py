"""The Open Inference Protocol over REST: what its specification says a client sends and gets."""

import json
import struct

import numpy as np
import pytest

from tenfold import Platform, Project, Release, VirtualClock, col
from tenfold.serving.answer.predictions import TOPIC
from tests.examples import tiny
from tests.examples.asked import asked, opened

TYPES = {
    "order_id": "BYTES",
    "shop": "BYTES",
    "amount": "FP64",
    "items": "INT64",
    "gift": "BOOL",
    "due": "BYTES",
    "placed": "BYTES",
}
INFER = "/v2/models/late_order/infer"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    with asked(folder) as found:
        yield found


def tensors(*rows):
    return [
        {"name": name, "shape": [len(rows)], "datatype": kind, "data": [row[name] for row in rows]}
        for name, kind in TYPES.items()
    ]


def outputs(response):
    assert response.status_code == 200, response.text
    return {item["name"]: item for item in response.json()["outputs"]}


def test_server_and_model_say_what_they_are(client):
    assert client.get("/v2").json() == {
        "name": "tenfold",
        "version": "0.1.0",
        "extensions": ["binary_tensor_data"],
    }
    assert client.get("/v2/health/live").json() == {"live": True}
    for _ in range(1000):  # versions are being loaded
        if client.get("/v2/health/ready").status_code == 200:
            break
    assert client.get("/v2/health/ready").json() == {"ready": True}
    model = client.get("/v2/models/late_order").json()
    assert (model["name"], model["versions"]) == ("late_order", ["1"])
    assert {item["name"]: item["datatype"] for item in model["inputs"]} == TYPES
    assert [item["name"] for item in model["outputs"]] == ["score", "decision", "version", "prediction_id"]
    assert client.get("/v2/models/late_order/versions/1").json() == model
    assert client.get("/v2/models/late_order/versions/1/ready").json() == {
        "name": "late_order",
        "ready": True,
    }
    assert client.get("/v2/models/late_order/versions/2/ready").status_code == 400


def test_rows_as_tensors_are_answered_as_predict_does(client):
    rows = [tiny.order(1), tiny.order(2, shop="never seen", items=None)]
    answers = client.post("/predict", json={"rows": rows}).json()
    found = client.post(INFER, json={"inputs": tensors(*rows)})
    body = found.json()
    assert (body["model_name"], body["model_version"], "id" in body) == ("late_order", "1", False)
    given = outputs(found)
    for name, kind in {"score": "FP64", "decision": "BOOL", "version": "INT64"}.items():
        values = [answer[name] for answer in answers]
        assert given[name] == {"name": name, "datatype": kind, "shape": [2], "data": values}


def test_a_column_of_one_and_other_datatypes_are_taken(client):
    nested = [
        {**item, "shape": [1, 1], "data": [item["data"]]} if item["name"] == "items" else item
        for item in tensors(tiny.order(1))
    ]
    nested[2]["datatype"], nested[3]["datatype"] = "FP32", "UINT8"
    found = client.post(INFER, json={"inputs": nested, "outputs": [{"name": "score"}]})
    assert list(outputs(found)) == ["score"]
    assert outputs(client.post(INFER, json={"inputs": nested[:4] + nested[5:]}))  # gift may be missing


def test_the_id_comes_back_and_repeats_the_first_answer(client):
    body = {"id": "mine", "inputs": tensors(tiny.order(5))}
    first = client.post(INFER, json=body).json()
    assert first["id"] == "mine"
    assert client.post("/v2/models/late_order/versions/1/infer", json=body).json() == first
    other = client.post(INFER, json={**body, "inputs": tensors(tiny.order(6))})
    assert other.status_code == 409
    assert "was already used for another row" in other.json()["error"]


def test_values_may_follow_the_json_as_bytes(client):
    row = tiny.order(7)
    wanted = outputs(client.post(INFER, json={"inputs": tensors(row)}))
    inputs, tail = [], b""
    for item in tensors(row):
        (value,) = item.pop("data")
        if item["name"] == "gift":
            continue
        if item["datatype"] == "BYTES":
            raw = struct.pack("<I", len(value)) + value.encode()
        else:
            raw = np.array([value], {"FP64": "<f8", "INT64": "<i8"}[item["datatype"]]).tobytes()
        inputs.append({**item, "parameters": {"binary_data_size": len(raw)}})
        tail += raw
    head = json.dumps({"inputs": inputs}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    assert outputs(client.post(INFER, content=head + tail, headers=headers)) == wanted
    more = client.post(INFER, content=head + tail + b"x", headers=headers)
    assert (more.status_code, more.json()["error"][:31]) == (400, "1 bytes after the JSON belong t")
    less = client.post(INFER, content=head + tail[:-1], headers=headers)
    assert less.json()["error"].startswith('"placed": binary_data_size is not a number of the bytes')
    longer = client.post(INFER, content=head, headers={"inference-header-content-length": "99999"})
    assert longer.status_code == 400


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "amont"}, 'inputs[0]: no field "amont". Did you mean "amount"?'),
        ({"name": None}, 'inputs[0]: no field "None".'),
        ({"name": "shop"}, 'inputs[1]: "shop" comes twice.'),
        ({"shape": [1, 2]}, '"order_id" has shape [1, 2]. Send [rows] or [rows, 1].'),
        ({"shape": [-1]}, '"order_id" has shape [-1]'),
        ({"shape": [True]}, '"order_id" has shape [True]'),
        ({"shape": 1}, '"order_id" has shape 1'),
        ({"shape": [2]}, '"order_id": data is not a list of 2 values, as its shape says.'),
        ({"data": "x"}, '"order_id": data is not a list of 1 values'),
        ({"datatype": "INT8"}, '"order_id" has datatype INT8, and its field takes BYTES.'),
        ({"datatype": ["BYTES"]}, "\"order_id\" has datatype ['BYTES']"),
        ({"data": [5]}, "rows[0]: the row does not fit source"),
        ({"shape": [2], "data": ["a", "b"]}, 'inputs[1]: "shop" has 1 rows, the first input has 2.'),
        ({"parameters": {"binary_data_size": "9"}}, '"order_id": binary_data_size is not a number'),
    ],
)
def test_a_tensor_that_does_not_fit_says_why(client, change, error):
    first, *rest = tensors(tiny.order(8))
    found = client.post(INFER, json={"inputs": [first | change, *rest]})
    assert found.status_code == 400
    assert found.json()["error"].startswith(error)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (5, "the body is not an object."),
        ({}, '"inputs" is not a list of tensors.'),
        ({"inputs": []}, '"inputs" is not a list of tensors.'),
        ({"inputs": [5]}, "inputs[0] is not an object."),
        ({"input": []}, 'the body has an unknown field "input". Did you mean "inputs"?'),
        ({"id": 5, "inputs": []}, '"id" is not a text of at most 200 characters.'),
        ({"inputs": tensors(), "outputs": [{"name": "scor"}]}, 'outputs: no output "scor". Did you mean'),
        ({"inputs": tensors(), "outputs": "score"}, '"outputs" is not a list of objects with a name.'),
    ],
)
def test_a_request_that_is_none_says_why(client, body, error):
    found = client.post(INFER, json=body)
    assert found.status_code == 400
    assert found.json()["error"].startswith(error)


def test_no_rows_are_answered_by_no_rows(client):
    assert outputs(client.post(INFER, json={"inputs": tensors()}))["score"]["shape"] == [0]


def test_other_models_versions_and_content_are_refused(client):
    body = {"inputs": tensors(tiny.order(1))}
    assert client.post("/v2/models/late_ordr/infer", json=body).status_code == 404
    other = client.post("/v2/models/late_order/versions/2/infer", json=body)
    assert (other.status_code, other.json()) == (
        404,
        {"error": 'no version "2" in Production of model "late_order". Known: 1.'},
    )
    for wrong in ({"content-type": "text/plain"}, {"content-type": ""}, {"origin": "http://127.0.0.1"}):
        assert client.post(INFER, content=json.dumps(body), headers=wrong).status_code == 415
    assert client.post(INFER, content=json.dumps(body)).status_code == 200, "as Triton's client sends it"


@pytest.mark.parametrize(
    ("path", "more", "said"),
    [
        (INFER, {"outputs": [{"name": "probabilities"}]}, 'outputs: no output "probabilities".'),
        ("/invocations", {"params": {"returns": "probabilities"}}, 'params: the model "late_order" gives no'),
    ],
)
def test_a_request_that_is_refused_for_what_it_asks_back_is_not_stored(tmp_path, path, more, said):
    tiny.build(tmp_path)
    with opened(tmp_path) as app:
        rows = {"inputs": tensors(tiny.order(1))} if path == INFER else {"instances": [tiny.order(1)]}
        status, told = tiny.in_process(app.asgi(), path, rows | more)
        assert (status, said in json.dumps(told).replace('\\"', '"')) == (400, True)
        assert app.log.read(TOPIC, 0) == []
        assert tiny.in_process(app.asgi(), path, rows)[0] == 200
        assert len(app.log.read(TOPIC, 0)) == 1


def test_what_rules_make_of_a_row_is_a_tensor_and_an_answer_that_is_not_exact_says_so(tmp_path):
    ruled = tiny.model(
        [tiny.shop_visits, tiny.this_order], outputs={"large": col("amount") > 3, "odd": col("items") > 4}
    )
    project = Project("tiny", releases=[Release(ruled, degraded="stale")])
    tiny.build(tmp_path)
    with project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        rows = [tiny.order(1, amount=2.0, items=None), tiny.order(2, amount=9.0, items=5)]
        wanted = [{"name": "outputs"}]
        body = {"inputs": tensors(*rows), "outputs": wanted}
        status, exact = tiny.in_process(app.asgi(), INFER, body)
        app.ingest("visits", [tiny.visit("new")])
        body = {"inputs": tensors(tiny.order(3, amount=2.0, items=None)), "outputs": wanted}
        _, stale = tiny.in_process(app.asgi(wait=0.2), INFER, body)
        _, model = tiny.in_process(app.asgi(), "/v2/models/late_order", method="GET")
        _, document = tiny.in_process(app.asgi(), "/openapi.json", method="GET")
    (given,) = exact["outputs"]
    assert (status, "parameters" in exact, given["datatype"]) == (200, False, "BYTES")
    assert given["data"] == ['{"large":false,"odd":null}', '{"large":true,"odd":true}']
    assert stale["parameters"] == {"degraded": "stale"}
    assert stale["outputs"][0]["data"] == given["data"][:1]
    assert "outputs" in [item["name"] for item in model["outputs"]]
    told = document["components"]["schemas"]["late_order.answer"]["properties"]["outputs"]["description"]
    assert told == "What the rules make of it: large (bool), odd (bool)."
