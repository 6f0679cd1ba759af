"""MLflow's scoring protocol: every form in which its clients send rows, and its own client against a running server."""

import json
import warnings

import pandas as pd
import pytest

from tests.examples import tiny
from tests.examples.asked import asked
from tests.examples.served import serving

ROW = tiny.order(1)
COLUMNS, VALUES = list(ROW), list(ROW.values())
CSV = ",".join(COLUMNS) + "\n" + ",".join("" if value is None else str(value) for value in VALUES) + "\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    return folder


@pytest.fixture(scope="module")
def client(home):
    with asked(home) as found:
        yield found


@pytest.fixture(scope="module")
def answer(client):
    return client.post("/predict", json=ROW).json()


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": COLUMNS, "data": [VALUES]}},
        {"dataframe_split": {"index": [0], "columns": COLUMNS[::-1], "data": [VALUES[::-1]]}},
        {"dataframe_records": [ROW]},
        {"instances": [ROW]},
        {"instances": [VALUES]},
        {"inputs": ROW},
        {"inputs": [ROW]},
        {"inputs": {name: [value] for name, value in ROW.items()}},
    ],
    ids=lambda body: next(iter(body)),
)
@pytest.mark.parametrize("path", ["/invocations", "/invocations/late_order"])
def test_every_form_of_rows_is_answered_as_predict_does(client, answer, path, body):
    assert client.post(path, json=body).json() == {"predictions": [answer["decision"]]}
    whole = {**body, "params": {"model": "late_order", "returns": "answer"}}
    assert client.post(path, json=whole).json() == {"predictions": [answer]}


def test_a_table_as_text_is_answered_too(client, answer):
    kind = {"content-type": "text/csv; charset=utf-8"}
    assert client.post("/invocations", content=CSV, headers=kind).json() == {
        "predictions": [answer["prediction"]]
    }
    scores = client.post("/invocations/late_order?returns=score", content=CSV, headers=kind)
    assert scores.json() == {"predictions": [answer["score"]]}


def test_nan_stands_for_null(client, answer):
    body = json.dumps({"instances": [ROW | {"gift": float("nan")}]})
    found = client.post("/invocations", content=body, headers={"content-type": "application/json"})
    assert found.json() == {"predictions": [answer["decision"]]}
    assert client.post("/invocations", json={"instances": []}).json() == {"predictions": []}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ([], 400, "the body is not an object. Send one of dataframe_split, "),
        ({}, 400, "the body must have exactly one of dataframe_split, "),
        ({"inputs": [], "instances": []}, 400, "the body must have exactly one of "),
        ({"instanzes": []}, 400, 'the body has an unknown field "instanzes". Did you mean "instances"?'),
        ({"instances": {}}, 400, "the rows are not a list."),
        ({"instances": [[1]]}, 400, "data[0] is not a list of 7 values: order_id, shop, amount, "),
        ({"dataframe_split": [1]}, 400, '"dataframe_split" is not {"columns": [...]'),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, 400, '"dataframe_split": columns must be'),
        ({"inputs": {"shop": ["a"], "items": [1, 2]}}, 400, '"inputs": every column must be a list'),
        ({"instances": [ROW | {"amount": "x"}]}, 400, "rows[0]: the row does not fit source"),
        ({"instances": [], "params": []}, 200, None),
        ({"instances": [], "params": [1]}, 400, '"params" is not an object.'),
        ({"instances": [], "params": {"modle": 1}}, 400, 'params has an unknown field "modle". Did you mean'),
        (
            {"instances": [], "params": {"returns": "scores"}},
            400,
            'params: no returns "scores". Did you mean',
        ),
        (
            {"instances": [ROW], "params": {"returns": "probabilities"}},
            400,
            'params: the model "late_order" gives no probabilities.',
        ),
        ({"instances": [], "params": {"model": "x"}}, 404, 'no model "x".'),
    ],
)
def test_what_does_not_fit_says_why_in_mlflows_form(client, body, status, message):
    found = client.post("/invocations", json=body)
    assert found.status_code == status
    if message is not None:
        codes = {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST"}
        assert found.json()["error_code"] == codes[status]
        assert found.json()["message"].startswith(message)


def test_other_content_and_torn_tables_are_refused(client):
    plain = client.post("/invocations", content=CSV, headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    assert plain.json()["message"].endswith(
        'Send the header "content-type: application/json" or "content-type: text/csv".'
    )
    torn = client.post("/invocations", content=CSV + "a,b\n", headers={"content-type": "text/csv"})
    assert torn.json()["message"].startswith("the body is not CSV: a line has other columns than the first")
    assert client.post("/invocations", content=b"", headers={"content-type": "text/csv"}).status_code == 400


@pytest.mark.slow  # importing its scoring client alone takes seconds
def test_mlflows_own_client_is_answered(home, answer):
    with warnings.catch_warnings(action="ignore"):
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient
    table = pd.DataFrame([tiny.order(place) for place in range(1, 4)])
    table.loc[2, "items"] = None
    with serving(home, tiny) as port:
        client = ScoringServerClient("127.0.0.1", port)
        client.wait_server_ready()
        assert client.get_version() == "0.1.0"
        found = client.invoke(table, params={"returns": "score"}).get_predictions()
    assert found.shape == (3, 1)
    assert found.iloc[0, 0] == answer["score"]
