"""POST /explain: the answer /predict would give, and why; nothing of it is logged."""

import asyncio
import json
import shutil
from contextlib import closing

import httpx
import pytest
from click.testing import CliRunner
from sklearn.ensemble import RandomForestClassifier

from tenfold import Client, Project, Release
from tenfold.cli import cli
from tenfold.core.errors import SchemaError
from tenfold.serving.http.explaining import WAITING
from tests.examples import rolling, tiny
from tests.examples.asked import Asked, opened
from tests.examples.served import serving
from tests.unit.tiny_home import own_copy


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    return folder


@pytest.fixture(scope="module")
def app(home, tmp_path_factory):
    mine = tmp_path_factory.mktemp("mine") / "tiny"  # a process may open a home once
    shutil.copytree(home, mine)
    with opened(mine) as found:
        yield found


@pytest.fixture(scope="module")
def client(app):
    with closing(Asked(app.asgi())) as found:
        yield found


def test_it_is_the_answer_of_predict_and_why(client):
    row = tiny.order(1)
    answer = client.post("/predict", json=row).json()
    found = client.post("/explain", json={"model": "late_order", "row": row}).json()
    told = {name: found.pop(name) for name in ("raw_score", "base", "approximate", "contributions")}
    assert found == {name: value for name, value in answer.items() if name != "prediction_id"}
    assert told["base"] + sum(one["contribution"] for one in told["contributions"]) == pytest.approx(
        told["raw_score"], abs=1e-9
    )
    assert told["approximate"] is False
    sizes = [abs(one["contribution"]) for one in told["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    each = {one["feature"]: one for one in told["contributions"]}
    assert each["this_order.amount"]["value"] == 12.5
    assert "age_s" not in each["this_order.amount"]
    assert each["shop_visits.visits_1d"]["age_s"] == answer["ages_s"]["shop_visits"]


def test_of_a_forest_it_says_that_it_is_approximate(tmp_path):
    forest = RandomForestClassifier(10, max_depth=4, random_state=1)
    model = tiny.model([tiny.shop_visits, tiny.this_order], forest)
    with opened(tmp_path, Project("tiny", releases=[Release(model)])) as app:
        tiny.load(app)
        app.promote(model, app.train(model).number)
        with closing(Asked(app.asgi())) as client:
            found = client.post("/explain", json=tiny.order(1)).json()
    assert found["approximate"] is True
    assert found["raw_score"] == found["score"]
    together = found["base"] + sum(one["contribution"] for one in found["contributions"])
    assert together == pytest.approx(found["score"], abs=1e-9)
    sizes = [abs(one["contribution"]) for one in found["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["contributions"][0]["error"] > 0


def test_nothing_is_logged(app, client):
    before = app.log.ends().offsets.get("predictions", 0)
    assert client.post("/explain", json=tiny.order(2)).status_code == 200
    assert app.log.ends().offsets.get("predictions", 0) == before


def test_what_is_explained_counts_for_no_version(rolling_built, tmp_path):
    row = tiny.order(amount=rolling.ODD)
    with rolling.opened(own_copy(rolling_built, tmp_path)) as app, closing(Asked(app.asgi())) as client:

        def explained(shop):
            told = client.post("/explain", json=row | {"shop": shop})
            return told.json()["version"] if told.status_code == 200 else None

        number = rolling.begun(app, rolling.FINE)
        assert {explained(f"s{place}") for place in range(30)} == {1, number}
        app.rollout().undo(by="ann")
        worse = rolling.begun(app, rolling.RAISES)
        assert {explained(f"s{place}") for place in range(30)} == {1}
        app.traffic.counters.flush()
        for version in (1, number, worse):
            served = app.traffic.counters.total(tiny.late_order.name, version)
            assert (served.asked, served.failed) == (0, 0)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"rows": [tiny.order(1)]}, 422, "one row is explained at a time."),
        ({"row": tiny.order(1, amount=-1)}, 422, 'the row does not fit source "orders"'),
        ({"model": "x", "row": {}}, 404, 'no model "x".'),
    ],
)
def test_what_does_not_fit_is_refused(client, body, status, message):
    found = client.post("/explain", json=body)
    assert found.status_code == status
    assert found.json()["error"]["message"].startswith(message)


def test_more_than_may_wait_are_told_to_come_back(app):
    async def ask(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            every = [http.post("/explain", json=tiny.order(place)) for place in range(3 * WAITING)]
            return [found.status_code for found in await asyncio.gather(*every)]

    statuses = asyncio.run(ask(app.asgi()))
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= WAITING


def test_the_client_and_the_command_line_ask_for_it_too(home):
    row = tiny.order(3)
    with serving(home, tiny) as port, Client(f"http://127.0.0.1:{port}") as client:
        found = client.explain("late_order", row)
        with pytest.raises(SchemaError):
            client.explain("late_order", {})
    place = ["tests/examples/tiny.py", "late_order", json.dumps(row), "--home", str(home)]
    clock = ["--clock", str(home / "clock")]
    told = CliRunner().invoke(cli, ["predict", *place, *clock, "--why", "--json"])
    assert json.loads(told.output) == found
    shown = CliRunner().invoke(cli, ["predict", *place, *clock, "--why"]).output
    assert shown.splitlines()[0].startswith("late_order version 1: score 0.")
    assert "this_order.amount" in shown
    both = CliRunner().invoke(cli, ["predict", *place, "--why", "--key", "k"])
    assert both.exit_code == 2
