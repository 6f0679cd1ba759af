"""Whether requests should be sent here, and for which models, is what a request would find."""

from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tenfold import Platform, Project, Release, VirtualClock
from tenfold.core.times import UNITS
from tests.examples import tiny
from tests.examples.asked import Asked

LATER = tiny.ASK_AT + 2 * UNITS["m"]
READY = {"name": "late_order", "ready": True}


@pytest.fixture
def home(tmp_path):
    tiny.build(tmp_path)
    return tmp_path


@contextmanager
def opened(home, degraded):
    declared = Project("tiny", releases=[Release(tiny.late_order, degraded=degraded)])
    with declared.open(Platform(home=home, clock=VirtualClock(LATER))) as app:
        yield app


def told(app):
    """Return what is said of the server, of its model, and of a row, each with its status."""
    with closing(Asked(app.asgi(wait=0.2))) as client:
        while "is loading" in (ready := client.get("/ready")).text:
            pass
        model = client.get("/v2/models/late_order/ready")
        asked = client.post("/predict", json={"model": "late_order", "row": tiny.order(1)})
    return [(answer.status_code, answer.json()) for answer in (ready, model, asked)]


@pytest.mark.parametrize("degraded", ["refuse", "stale"])
def test_where_a_row_gets_no_answer_as_the_store_is_empty_neither_server_nor_model_is_ready(home, degraded):
    (home / "online").rename(home / "elsewhere")
    with opened(home, degraded) as app:
        ready, model, asked = told(app)
        app.process()
        after = told(app)
    assert (ready[0], model, asked[0]) == (503, (400, READY | {"ready": False}), 503)
    assert ready == asked
    assert 'view "shop_visits"' in ready[1]["error"]["message"]
    assert after[:2] == [(200, {"status": "ready"}), (200, READY)]


@pytest.mark.parametrize(("degraded", "statuses"), [("refuse", [503, 400, 503]), ("stale", [200, 200, 200])])
def test_states_that_lag_are_in_the_way_only_where_they_are_for_a_row(home, degraded, statuses):
    with opened(home, degraded) as app:
        app.ingest("visits", [tiny.visit("new")])
        assert [status for status, _ in told(app)] == statuses


@pytest.mark.parametrize("away", [False, True])
def test_another_model_that_has_no_version_is_no_answer_where_the_states_are_needed(home, away):
    simple = tiny.model([tiny.this_order], name="simple")
    declared = Project("tiny", releases=[Release(tiny.late_order, degraded=simple), Release(simple)])
    if away:
        (home / "online").rename(home / "elsewhere")
        (home / "online").write_text("no folder")
    with declared.open(Platform(home=home, clock=VirtualClock(LATER))) as app:
        app.ingest("visits", [tiny.visit("new")])
        before = told(app)
        app.promote(simple, app.train(simple).number)
        after = told(app)
    assert [status for status, _ in before] == [503, 400, 404]
    assert 'model "simple"' in before[0][1]["error"]["message"]
    assert [status for status, _ in after] == [200, 200, 200]


def test_a_model_whose_version_cannot_be_loaded_is_not_ready(home):
    with opened(home, "stale") as app:
        for file in filter(Path.is_file, home.glob("blobs/**/*")):
            file.chmod(0o600)
            file.write_bytes(b"other")
        ready, model, asked = told(app)
    assert (ready[0], model[0], asked[0]) == (503, 400, 503)
