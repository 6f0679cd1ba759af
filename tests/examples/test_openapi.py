"""GET /openapi.json says exactly what the server takes: every route is in it, and what it allows is answered."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Annotated

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tenfold import Events, Platform, Project, Release, col
from tenfold.core.errors import Unavailable
from tenfold.serving.door.tokens import SCOPES
from tenfold.serving.door.web import failed
from tenfold.serving.http import inference, invocations, schemas
from tenfold.serving.rows.asked import Asked
from tests.examples import tiny
from tests.examples.asked import asked
from tests.unit import asking

METHODS = {"get", "post"}


class Everything:
    key: str
    whole: int
    real: float
    flag: bool
    text: str | None
    born: datetime | None
    at: datetime
    price: Annotated[Decimal, 2]
    share: Annotated[Decimal, 18] | None
    number: Annotated[Decimal, 0]


everything = Events(
    "everything",
    Everything,
    time="at",
    id="key",
    valid={"real >= 0": col("real") >= 0, "whole < 7": col("whole") < 7, "equal": col("flag").is_not_null()},
)
GOOD = {
    "key": "é",
    "whole": -3,
    "real": 0.5,
    "flag": True,
    "text": None,
    "born": "1955-03-03T00:00:00+01:00",
    "at": "2024-02-29T23:59:59.123456+05:30",
    "price": "-12.30",
    "share": "0.000000000000000001",
    "number": 12,
}
NOT_GOOD = [
    {"key": None},
    {"key": "a\x1fb"},
    {"key": "x" * 1025},
    {"whole": 1.5},
    {"whole": True},
    {"whole": 7},
    {"whole": -(2**53)},
    {"real": -0.5},
    {"real": "1"},
    {"real": 1e300},
    {"flag": 1},
    {"text": 5},
    {"text": "\0"},
    {"at": "2024-02-29T23:59:59"},
    {"at": "1969-12-31T00:00:00Z"},
    {"at": "2200-01-01T00:00:00Z"},
    {"at": "2024-02-30T00:00:00Z"},
    {"at": 5},
    {"born": "0000-12-31T00:00:00Z"},
    {"born": "1955-03-03"},
    {"price": "1.234"},
    {"price": "12345678901234567.00"},
    {"price": 10**16},
    {"share": "1"},
    {"number": "1.5"},
    {"more": 1},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    with asked(folder) as found:
        yield found


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def validator(document, schema):
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": document["components"]}, validate_formats=True
    )


def test_every_route_is_in_it_and_nothing_else(document, tmp_path):
    with tiny.project.open(Platform(home=tmp_path)) as app:
        routes = app.asgi().routes
    told = [(method, path) for path, item in document["paths"].items() for method in METHODS & item.keys()]
    for route in routes:
        methods = {name.lower() for name in route.methods} & METHODS
        assert any(method in methods and route.path_regex.match(path) for method, path in told), route.path
    for method, path in told:
        assert any(method.upper() in one.methods and one.path_regex.match(path) for one in routes), path


def test_every_reference_leads_somewhere(document):
    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for item in node.values():
                yield from references(item)
        elif isinstance(node, list):
            for item in node:
                yield from references(item)

    found = set(references(document))
    known = document["components"]["schemas"]
    assert {name.removeprefix("#/components/schemas/") for name in found} <= known.keys()
    assert {"orders.row", "late_order.answer", "error"} <= known.keys()


def test_answers_are_as_it_says(client, document):
    one = client.post("/predict", json=tiny.order(1))
    schema = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    assert validator(document, schema).is_valid(one.json())
    assert not validator(document, schema).is_valid({**one.json(), "score": "high"})
    wrong = client.post("/predict", json={})
    assert validator(document, {"$ref": "#/components/schemas/error"}).is_valid(wrong.json())
    assert client.post("/invocations", json={}).status_code == 400
    assert validator(document, {"$ref": "#/components/schemas/mlflow_error"}).is_valid(
        client.post("/invocations", json={}).json()
    )


def test_errors_under_v2_are_as_it_says(client, document):
    told = document["paths"]["/v2/models/late_order/infer"]["post"]["responses"]
    own, other = client.get("/v2/nothing"), client.get("/nothing")
    assert (own.status_code, other.status_code) == (404, 404)
    forms = {
        status: [
            validator(document, item["content"]["application/json"]["schema"]).is_valid(answer.json())
            for answer in (own, other)
        ]
        for status, item in told.items()
    }
    assert forms.pop("200") == [False, False]
    assert {status for status, valid in forms.items() if valid == [False, True]} == {"408", "431"}
    assert {status for status, valid in forms.items() if valid == [True, False]} == {
        "400",
        "401",
        "403",
        "404",
        "409",
        "413",
        "415",
        "429",
        "503",
        "default",
    }


def refusals(app, method, path, needs):
    """Yield the answers to who may not pass: without a token, with one for something else, too often, and while none can be read."""
    ask = partial(asking.asked, app.asgi(), path, method.upper())
    name = f"{method} {path}"
    other = app.tokens.create(f"{name} other", [next(one for one in SCOPES if one != needs)])
    own = app.tokens.create(name, [needs], rate="1/h")
    yield ask()
    yield ask(token=other)
    ask(token=own)
    yield ask(token=own)
    api = app.asgi()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.tokens, "list", lambda _: away())
        yield asking.asked(api, path, method.upper())


def away():
    raise Unavailable("the database is away.")


def test_who_may_not_pass_is_told_so_as_it_says(document, tmp_path):
    with tiny.project.open(Platform(home=tmp_path)) as app:
        for path, item in document["paths"].items():
            for method in METHODS & item.keys():
                told, needs = item[method]["responses"], item[method].get("x-scope")
                if needs is None:
                    assert not {"401", "403", "429"} & told.keys()
                    continue
                found = list(refusals(app, method, path.replace("{version}", "1"), needs))
                assert [answer.status_code for answer in found] == [401, 403, 429, 503]
                for answer in found:
                    one = told.get(str(answer.status_code), told["default"])
                    sent = {"www-authenticate", "retry-after"} & answer.headers.keys()
                    assert len(sent) == 1
                    assert sent == one["headers"].keys()
                    schema = one["content"]["application/json"]["schema"]
                    assert validator(document, schema).is_valid(answer.json())


@pytest.mark.parametrize("told", [failed, invocations.told, inference.told])
def test_who_is_to_ask_again_is_told_when_in_every_form(told):
    assert told(503, "Unavailable", "no exact answer.").headers["retry-after"] == "1"
    assert "retry-after" not in told(404, "NotFound", "no model.").headers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", tiny.order(1)),
        ("/predict", {"model": "late_order", "row": tiny.order(1)}),
        ("/predict", {"rows": [tiny.order(1), tiny.order(2)]}),
        ("/invocations", {"dataframe_records": [tiny.order(1)], "params": {"returns": "score"}}),
        ("/invocations/late_order", {"inputs": {name: [value] for name, value in tiny.order(1).items()}}),
        ("/events/visits", tiny.visit(1)),
        ("/events/visits", [tiny.visit(2), tiny.visit(3)]),
    ],
)
def test_what_clients_send_is_as_it_says(document, path, body):
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert validator(document, content["schema"]).is_valid(body)
    assert not validator(document, content["schema"]).is_valid({"row": {}})


def takes(row):
    """Return whether the server takes a row, as each request is checked."""
    try:
        Asked(everything)(row)
    except ValueError:
        return False
    return True


def test_the_schema_of_a_row_takes_what_the_server_takes_and_nothing_else():
    schema = jsonschema_rs.Draft202012Validator(schemas.row(everything), validate_formats=True)
    assert schema.is_valid(GOOD)
    assert takes(GOOD)
    less = {name: value for name, value in GOOD.items() if name not in ("text", "share", "born")}
    assert schema.is_valid(less)
    assert takes(less)
    for change in NOT_GOOD:
        assert not schema.is_valid(GOOD | change), change
        assert not takes(GOOD | change), change
    for name in set(GOOD) - {"text", "share", "born"}:
        assert not schema.is_valid({key: value for key, value in GOOD.items() if key != name})


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.from_regex(schemas.row(everything)["properties"]["at"]["pattern"], fullmatch=True),
    st.decimals(-100, 100, places=2).map(str),
    st.lists(st.integers(), max_size=1),
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), VALUES, max_size=3))
@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_whatever_changes_schema_and_server_agree(change):
    schema = jsonschema_rs.Draft202012Validator(schemas.row(everything), validate_formats=True)
    row = GOOD | change
    if schema.is_valid(row):
        assert takes(row)
    elif takes(
        row
    ):  # beyond the schema only what it says in words: decimals as floats, other ways to write a time
        assert change.keys() & {"price", "share", "number", "at"}


def test_of_several_models_each_has_its_own_row_and_must_be_named(tmp_path):
    other = replace(tiny.late_order, name="late_again", features=[tiny.this_order])
    project = Project("both", releases=[Release(tiny.late_order), Release(other)])
    with asked(tmp_path, project) as client:
        document = client.get("/openapi.json").json()
        assert {"/invocations/late_order", "/v2/models/late_again/infer"} <= document["paths"].keys()
        body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        takes = validator(document, body["schema"])
        assert takes.is_valid({"model": "late_again", "row": tiny.order(1)})
        assert not takes.is_valid({"row": tiny.order(1)})
        assert not takes.is_valid(tiny.order(1))
        unnamed = client.post("/invocations", json={"instances": []})
        assert (unnamed.status_code, unnamed.json()["message"]) == (
            400,
            "no model is named. This project has several models (late_again, late_order): "
            'ask at POST /invocations/MODEL, or send "params": {"model": ...}.',
        )
        named = {"instances": [], "params": {"model": "late_again"}}
        assert client.post("/invocations", json=named).json() == {"predictions": []}
        assert client.post("/invocations/late_order", json={"instances": []}).json() == {"predictions": []}
        row = {"instances": [tiny.order(1)]}
        missing = client.post("/invocations/late_again", json=row)
        assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert client.get("/v2/models/late_again").json()["versions"] == []
        assert client.get("/v2/models/late_again/ready").status_code == 400
        assert client.post("/explain", json={"model": "late_again", "row": tiny.order(1)}).status_code == 404
