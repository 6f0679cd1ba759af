"""GET /metrics: what happened in every process of a home, as Prometheus reads it."""

import re
import shutil
import threading
from contextlib import closing

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenfold import Platform, Project, Release
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS
from tenfold.serving.seen import requests
from tenfold.sources.sqlite import SQLiteDatabase
from tests.examples import tiny
from tests.examples.asked import Asked, opened
from tests.examples.served import serving
from tests.states import locked
from tests.unit.downstream import Downstream


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    return folder


def samples(text):
    """Return the values by name and labels, the bound of a bucket last."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels, key="le".__eq__))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(home):
    with opened(home) as app, closing(Asked(app.asgi())) as client:
        for place in range(3):
            assert client.post("/predict", json=tiny.order(place)).status_code == 200
        assert client.post("/predict", json={"rows": [tiny.order(8), tiny.order(9)]}).status_code == 200
        assert client.post("/predict", json={}).status_code == 422
        assert client.get("/v2/models/late_order").status_code == 200
        assert client.get("/nothing").status_code == 404
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = samples(answer.text)
    assert found["tenfold_requests_total", "/predict", "200"] == 4
    assert found["tenfold_requests_total", "/predict", "422"] == 1
    assert found["tenfold_requests_total", "/v2/models/{model}", "200"] == 1
    assert found["tenfold_requests_total", "none", "404"] == 1
    assert found["tenfold_request_seconds_bucket", "/predict", "200", "+Inf"] == 4
    assert found["tenfold_request_seconds_sum", "/predict", "200"] > 0
    bounds = [
        value
        for name, value in found.items()
        if name[:3] == ("tenfold_request_seconds_bucket", "/predict", "200")
    ]
    assert bounds == sorted(bounds)
    assert found["tenfold_rows_total", "late_order", "answered", "1"] == 5
    assert found["tenfold_rows_total", "late_order", "raised", "1"] == 0
    assert found["tenfold_version_seconds_bucket", "late_order", "1", "+Inf"] == 5
    assert found["tenfold_production", "late_order"] == 1
    assert found["tenfold_lag_records", "shop_visits"] == 0
    assert found["tenfold_waiting_rows", "late_order"] == 0


def test_what_is_refused_for_its_token_or_rate_counts_at_the_route_it_asks_for(home, tmp_path):
    plain, other = "application/json", "application/json; charset=utf-8"
    with opened(shutil.copytree(home, tmp_path / "home")) as app:
        secret = app.tokens.create("shop", ["ingest"], rate="1/d")
        sent = {"authorization": f"Bearer {secret}"}
        reader = {"authorization": f"Bearer {app.tokens.create('prometheus', ['admin'])}"}
        with closing(Asked(app.asgi())) as client:
            for kind in (plain, other):
                answer = client.post("/predict", content=b"{}", headers={"content-type": kind})
                assert answer.status_code == 401
            for status in (200, 429):
                answer = client.post("/events/orders", json=[], headers=sent)
                assert answer.status_code == status, answer.text
            assert client.get("/nothing").status_code == 401
            found = samples(client.get("/metrics", headers=reader).text)
    assert found["tenfold_requests_total", "/predict", "401"] == 2
    assert found["tenfold_requests_total", "/events/{source}", "429"] == 1
    assert found["tenfold_requests_total", "none", "401"] == 1


def test_records_that_the_worker_has_not_reached_are_lag(home):
    with opened(home) as app, closing(Asked(app.asgi(wait=0.1))) as client:
        app.ingest("visits", [tiny.visit(1), tiny.visit(2)])
        assert samples(client.get("/metrics").text)["tenfold_lag_records", "shop_visits"] == 2
        app.process()
        assert samples(client.get("/metrics").text)["tenfold_lag_records", "shop_visits"] == 0


def test_processes_of_a_home_are_counted_together_and_go_on_when_started_again(home):
    name = ("tenfold_requests_total", "/version", "200")

    def asked(client, times):
        for _ in range(times):
            client.get("/version")
        return samples(client.get("/metrics").text)[name]

    with serving(home, tiny) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as there:
        with opened(home) as app, closing(Asked(app.asgi())) as here:
            before = asked(there, 1)
            assert asked(here, 2) == before + 2
        with opened(home) as app, closing(Asked(app.asgi())) as again:
            assert asked(again, 1) == before + 3
        assert asked(there, 1) == before + 4


def test_what_cannot_be_stored_now_is_told_later(home, monkeypatch):
    with opened(home) as app, closing(Asked(app.asgi())) as client:
        assert samples(client.get("/metrics").text)["tenfold_production", "late_order"] == 1

        def full(*_):
            raise Unavailable("the disk is full.")

        with monkeypatch.context() as patched:
            patched.setattr(SQLiteDatabase, "transaction", full)
            client.get("/version")
            told = samples(client.get("/metrics").text)
            assert told["tenfold_production", "late_order"] == 1
            before = told.get(("tenfold_requests_total", "/version", "200"), 0)
        assert samples(client.get("/metrics").text)["tenfold_requests_total", "/version", "200"] == before + 1


def test_a_database_that_is_locked_keeps_one_thread_waiting(home, monkeypatch):
    monkeypatch.setattr(requests, "EVERY", 10_000)

    def waiting():
        return sum(isinstance(thread, threading.Timer) for thread in threading.enumerate())

    with opened(home) as app:
        counted = requests.Requests(app.database, app.clock)
        with locked(home / "state.db"):
            for _ in range(20):
                counted.add("/here", 200, 5)
                app.clock.sleep(0.02)
                assert waiting() <= 1
        while waiting():
            app.clock.sleep(0.01)
        assert sum(app.database.query("SELECT n FROM request WHERE route = '/here' AND what = '10'")[0]) == 20


def test_a_database_that_stays_locked_holds_up_neither_the_answer_nor_the_end(home):
    name = "tenfold_requests_total", "/predict", "200"
    with opened(home) as app, closing(Asked(app.asgi())) as client:
        before = samples(client.get("/metrics").text).get(name, 0)
        with locked(home / "state.db"):
            begun = app.clock.elapsed()
            assert client.post("/predict", json=tiny.order(1)).status_code == 200
            answer = client.get("/metrics")
            app.close()
            assert app.clock.elapsed() - begun < 20 * UNITS["s"]
    assert answer.status_code == 200
    assert samples(answer.text).get(name, 0) == before


def test_without_the_library_it_says_what_to_install(home, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with opened(home) as app, closing(Asked(app.asgi())) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 501
    assert re.search(r'pip install "tenfold\[metrics\]"', answer.json()["error"]["message"])


class Wall(SystemClock):
    """A clock that can be set back."""

    ahead = 0

    def now(self):
        return tiny.ASK_AT + self.ahead


def test_what_was_counted_while_the_clock_was_ahead_does_not_stand_still(tmp_path):
    tiny.build(tmp_path)
    clock = Wall()
    name = ("tenfold_rows_total", "late_order", "answered", "1")
    with (
        tiny.project.open(Platform(home=tmp_path, clock=clock)) as app,
        closing(Asked(app.asgi())) as client,
    ):
        found = []
        for place, ahead in enumerate((0, UNITS["h"] // 2, 0, 0)):
            clock.ahead = ahead
            assert client.post("/predict", json=tiny.order(place)).status_code == 200
            found.append(samples(client.get("/metrics").text)[name])
    assert found == [1, 2, 3, 4]


def test_what_waits_and_what_was_refused_downstream_is_told(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    place = Downstream().start()
    place.statuses = [403]
    project = Project("tiny", releases=[Release(tiny.late_order, to=["table:decisions", place.url])])
    with opened(tmp_path / "home", project) as app, closing(Asked(app.asgi())) as client:

        def told(what):
            found = samples(client.get("/metrics").text)
            return [found.get((f"tenfold_downstream_{what}", to)) for to in ("table:decisions", place.url)]

        before = sum(delivery.waiting().answers for delivery in app.deliveries) / 2
        assert client.post("/predict", json={"rows": [tiny.order(20), tiny.order(21)]}).status_code == 200
        assert (told("waiting"), told("refused")) == ([before + 2, before + 2], [0, 0])
        for delivery in app.deliveries:
            delivery.send()
        assert (told("waiting"), told("refused")) == ([0, 0], [0, before + 2])
        app.database.execute("UPDATE sink_cursor SET upto = 99 WHERE sink LIKE 'table%'")
        assert told("waiting") == [None, 0], "it was sent answers of another log"
    place.stop()
