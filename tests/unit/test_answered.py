"""An answer is stored before it is given, once per key, and is the same whenever it is asked for again."""

from datetime import timedelta

import numpy as np
import pytest

from tenfold import FeatureView, Platform, Project, Release, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, NotFound, SchemaError, Unavailable
from tenfold.processing.batches import to_table
from tenfold.serving.answer.predictions import ONLINE, TOPIC
from tests.examples import tiny
from tests.unit.predicted import same


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    return folder


@pytest.fixture
def app(home):
    with tiny.project.open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT))) as opened:
        yield opened


def logged(app):
    return [row for batch in app.log.read(TOPIC, 0) for row in to_table(batch).to_pylist()]


def test_an_answer_is_in_the_log_with_its_row(app):
    answer = app.predict(tiny.late_order, tiny.order(1, gift=True), key="logged")
    row = next(row for row in logged(app) if row["prediction_id"] == "logged")
    assert (row["model"], row["mode"], row["row_id"], row["label_key"]) == (
        "late_order",
        ONLINE,
        "new-1",
        "new-1",
    )
    assert row["score"] == answer["score"]
    assert '"gift":true' in row["request"]
    assert len(row["features"]) == len(tiny.late_order.columns)


def test_an_unknown_entity_counts_nothing_and_has_no_age(app):
    answer = app.predict(tiny.late_order, tiny.order(2, shop="never seen"), key="unknown")
    row = next(row for row in logged(app) if row["prediction_id"] == "unknown")
    served = dict(zip(tiny.late_order.columns, row["features"], strict=True))
    assert served["shop_visits.visits_1d"] == 0
    assert np.isnan(served["shop_visits.minutes_1d"])
    assert answer["ages_s"] == {"shop_visits": None}


def test_the_same_key_answers_the_same_after_data_and_version_changed(tmp_path):
    tiny.build(tmp_path)
    clock = VirtualClock(tiny.ASK_AT)
    with tiny.project.open(Platform(home=tmp_path, clock=clock)) as app:
        first = app.predict(tiny.late_order, tiny.order(), key="k")
        app.ingest("visits", [tiny.visit(place) for place in range(50)])
        clock.set(tiny.ASK_AT + 86_400_000_000)
        second = app.train(tiny.late_order).number
        app.promote(tiny.late_order, second)
        later = tiny.order("later", due=(tiny.NOW + timedelta(days=2)).isoformat())
        assert app.predict(tiny.late_order, later)["version"] == second
        assert app.predict(tiny.late_order, tiny.order(), key="k") == first
    views = [
        FeatureView(
            "more", entity=tiny.shop_visits.entity, source=tiny.visits, features={"n": count(window="1h")}
        )
    ]
    changed = Project("tiny", releases=[Release(tiny.model([*views, tiny.this_order]))])
    with changed.open(Platform(home=tmp_path, clock=clock)) as app:
        model = changed.releases[0].model
        assert app.predict(model, tiny.order(), key="k") == first
        with pytest.raises(Unavailable) as error:
            app.predict(model, later)
    assert str(error.value) == (
        "late_order version 2 was trained on other features than are declared now: "
        "missing shop_visits.minutes_1d, shop_visits.visits_1d; new more.n. "
        "Train again, or run the declaration it was trained with."
    )


def test_the_same_key_for_another_row_is_a_conflict(app):
    app.predict(tiny.late_order, tiny.order(3), key="taken")
    with pytest.raises(Conflict) as error:
        app.predict(tiny.late_order, tiny.order(4), key="taken")
    assert str(error.value) == (
        'key "taken" was already used for another row of model "late_order". The first answer counts; '
        "give another row a new key."
    )
    same_instant = tiny.order(3, due="2024-05-21T03:00:00+02:00")
    assert app.predict(tiny.late_order, same_instant, key="taken")["prediction_id"] == "taken"


def test_a_row_that_does_not_fit_is_not_answered(app):
    before = len(logged(app))
    with pytest.raises(SchemaError) as error:
        app.predict(tiny.late_order, tiny.order(amont=1))
    assert str(error.value) == (
        'the row does not fit source "orders": unknown column "amont". Did you mean "amount"? '
        "Known: amount, due, gift, items, order_id, placed, shop."
    )
    assert len(logged(app)) == before


def test_the_moment_asked_about_may_be_given(app):
    answer = app.service(tiny.late_order).predict(tiny.order(5), at=tiny.ASK_AT - 1_000_000)
    assert answer["as_of"] == "2024-05-20T23:59:59+00:00"
    assert answer["prediction_id"] == f"late_order/new-5/{tiny.ASK_AT - 1_000_000}"


def test_no_version_in_production_says_what_to_type(tmp_path):
    platform = Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))
    with tiny.project.open(platform) as app, pytest.raises(NotFound) as error:
        app.predict(tiny.late_order, tiny.order())
    assert str(error.value) == (
        'no version in production of model "late_order". Train one and promote it: tenfold train PROJECT.py, '
        "then tenfold promote PROJECT.py late_order 1."
    )


def test_an_unknown_feature_names_the_nearest():
    with pytest.raises(NotFound) as error:
        tiny.shop_visits["visit_1d"]
    assert str(error.value) == (
        'no feature "visit_1d" in feature view "shop_visits". Did you mean "visits_1d"? Known: minutes_1d, visits_1d.'
    )


def test_batch_answers_are_logged_once_per_period_and_equal_online_ones(app):
    due = (tiny.NOW + timedelta(hours=1, seconds=2)).isoformat()
    row = tiny.order("both", due=due)
    app.ingest("visits", [tiny.visit("both")])
    app.ingest("orders", row, history=True)
    app.process()
    at = tiny.ASK_AT + 2_000_000
    first = app.score(tiny.late_order, at, at + 1)
    assert same(app.score(tiny.late_order, at, at + 1), first)
    online = app.service(tiny.late_order).predict(row, key="both", at=at)
    stored = next(item for item in logged(app) if item["prediction_id"] == "both")
    assert [stored["row_id"]] == first.row
    assert stored["features"] == first.features[0].tolist()
    assert stored["features"][0] > 0
    assert [online["score"]] == first.score.tolist()
    assert len(app.score(tiny.late_order, 0, 1)) == 0
