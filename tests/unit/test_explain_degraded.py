"""What is explained where there is no exact answer is what would be answered."""

import shutil

import pytest

from tenfold import Platform, Project, Release, VirtualClock, col
from tests.examples import tiny

WHY = ("raw_score", "base", "approximate", "contributions")
simple = tiny.model([tiny.this_order], name="simple", outputs={"by": col("score") * 0 + 1})


def opened(home, degraded):
    releases = [Release(tiny.late_order, degraded=degraded), Release(simple)]
    return Project("tiny", releases=releases).open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT)))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("degraded")
    with opened(home, "refuse") as app:
        tiny.load(app)
        for model in (tiny.late_order, simple):
            app.promote(model, app.train(model).number)
    return home


@pytest.fixture
def home(built, tmp_path):
    return shutil.copytree(built, tmp_path / "home")


def away(home):
    """Put something else where the states are."""
    (home / "online").rename(home / "elsewhere")
    (home / "online").write_text("no folder")


def both(app):
    """Return what is answered about a row, and what is explained of it, each with its status."""
    api = app.asgi(wait=0.5)
    asked = {"model": "late_order", "row": tiny.order(1)}
    return [tiny.in_process(api, path, asked) for path in ("/predict", "/explain")]


def check(found, names):
    """What is explained is the answer without its id, and the contributions of these features add up to its raw score."""
    (status, answer), (explained, told) = found
    assert (status, explained) == (200, 200)
    why = {name: told.pop(name) for name in WHY}
    assert told == {name: value for name, value in answer.items() if name != "prediction_id"}
    assert {one["feature"] for one in why["contributions"]} == set(names)
    together = why["base"] + sum(one["contribution"] for one in why["contributions"])
    assert together == pytest.approx(why["raw_score"], abs=1e-9)
    return answer


def test_states_that_lag_are_explained_as_they_are(home):
    with opened(home, "stale") as app:
        app.ingest("visits", [tiny.visit("new")])
        answer = check(both(app), tiny.late_order.columns)
        assert (answer["degraded"], answer["behind"]["shop_visits"]["records"]) == ("stale", 1)
        app.process()
        assert "degraded" not in check(both(app), tiny.late_order.columns)


@pytest.mark.parametrize("way", ["behind", "away"])
def test_the_answer_of_another_model_is_explained_by_its_features(home, way):
    if way == "away":
        away(home)
    with opened(home, simple) as app:
        if way == "behind":
            app.ingest("visits", [tiny.visit("new")])
        answer = check(both(app), simple.columns)
        assert (answer["model"], answer["degraded"], answer["answered_by"]) == (
            "late_order",
            "fallback",
            "simple",
        )


@pytest.mark.parametrize(("degraded", "gone"), [("refuse", False), ("stale", True)])
def test_where_there_is_no_answer_there_is_nothing_to_explain(home, degraded, gone):
    if gone:
        away(home)
    with opened(home, degraded) as app:
        app.ingest("visits", [tiny.visit("new")])
        (status, answer), (explained, told) = both(app)
    assert (status, explained) == (503, 503)
    assert told == answer
