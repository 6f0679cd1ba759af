"""A row that is asked about again: with a key the first answer counts, without one what is so now."""

import json
import shutil
from datetime import timedelta

import pytest
from sklearn.base import clone

from tenfold import Platform, Project, Release, VirtualClock
from tenfold.core.errors import Conflict
from tenfold.serving.answer.questions import Question
from tests.examples import grouped, tiny
from tests.examples.grouped import logged

HAPPENED = tiny.NOW - timedelta(minutes=10)
PAST = tiny.order(1, due=HAPPENED.isoformat())
MANY = [tiny.order(place, due=HAPPENED.isoformat()) for place in range(40)]
ID = f"late_order/new-1/{tiny.ASK_AT - 600_000_000}"
LATER = tiny.ASK_AT + 5_000_000
OTHER = tiny.model([tiny.shop_visits, tiny.this_order], clone(tiny.ESTIMATOR).set_params(n_estimators=6))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return grouped.made(tmp_path_factory.mktemp("again") / "home")


@pytest.fixture
def home(made, tmp_path):
    return shutil.copytree(made, tmp_path / "home")


def opened(home, **how):
    project = Project("tiny", releases=[Release(tiny.late_order, **how)])
    return project.open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT)))


@pytest.fixture
def app(home):
    with opened(home, degraded="stale") as app:
        yield app


@pytest.fixture
def service(app):
    return app.service(tiny.late_order)


def stale(app, service, row, **how):
    """Return an answer for a row while the states lag, and have them catch up."""
    grouped.late(app)
    mark = service.mark()
    answer = service.predict(row, at=mark.at, late=mark, **how)
    assert answer["degraded"] == "stale"
    app.process()
    return answer


def test_without_a_key_the_same_answer_is_stored_once(app, service):
    first = service.predict(PAST, at=tiny.ASK_AT)
    assert first["prediction_id"] == ID
    assert service.predict(PAST, at=LATER) == first
    each = service.predict_many(MANY, at=LATER)
    assert each[1] == first
    assert service.predict_many(MANY, at=LATER + 1) == each
    names = sorted(row["row_id"] for batch in logged(app) for row in batch)
    assert names == sorted(row["order_id"] for row in MANY)


def test_a_degraded_answer_does_not_keep_the_exact_one_out(app, service):
    assert stale(app, service, PAST)["prediction_id"] == ID
    exact = service.predict(PAST, at=LATER)
    assert "degraded" not in exact
    assert exact["prediction_id"].startswith(f"{ID}/")
    assert service.predict(PAST, at=LATER + 1) == exact
    (logged_stale,), (logged_exact,) = logged(app)
    assert (logged_stale["mode"], logged_exact["mode"]) == ("stale", "online")
    assert logged_exact["prediction_id"] == exact["prediction_id"]
    assert json.loads(logged_exact["answer"]) == exact


def test_of_many_rows_those_of_which_something_else_is_said_have_new_ids(app, service):
    stale(app, service, PAST)
    found = service.predict_many(MANY, at=LATER)
    assert [one["prediction_id"].count("/") for one in found] == [2, 3, *[2] * 38]
    assert all("degraded" not in one for one in found)
    assert service.predict_many(MANY, at=LATER + 1) == found
    # an answer of which one has only the id is there by that
    assert service.predict(PAST, at=LATER, key=found[1]["prediction_id"]) == found[1]


def test_the_version_in_production_answers(app, service):
    first = service.predict(PAST, at=tiny.ASK_AT)
    app.promote("late_order", app.train(OTHER).number)
    second = service.predict(PAST, at=LATER)
    assert (first["version"], second["version"]) == (1, 2)
    assert second["prediction_id"].startswith(f"{ID}/")
    assert service.predict(PAST, at=LATER + 1) == second
    app.rollback("late_order")
    assert service.predict(PAST, at=LATER + 2) == first


def test_a_row_that_was_corrected_is_answered(app, service):
    first = service.predict(PAST, at=tiny.ASK_AT)
    corrected = PAST | {"amount": 99.0}
    second = service.predict(corrected, at=tiny.ASK_AT)
    assert second["prediction_id"].startswith(f"{ID}/")
    assert second["score"] == service.predict(corrected, at=tiny.ASK_AT, key="k")["score"]
    assert service.predict(corrected, at=LATER) == second
    assert service.predict(PAST, at=LATER) == first


def test_with_a_key_the_first_answer_counts(app, service):
    first = stale(app, service, PAST, key="k")
    assert service.predict(PAST, at=LATER, key="k") == first
    with pytest.raises(Conflict, match='key "k" was already used for another row'):
        service.predict(PAST | {"amount": 99.0}, at=LATER, key="k")


@pytest.mark.parametrize("rows", [[PAST], [PAST, tiny.order(2), tiny.order(3)]], ids=len)
def test_a_key_that_is_used_for_another_number_of_rows_meanwhile_is_a_conflict(app, service, rows):
    first, both = [], [PAST, tiny.order(2)]

    def meanwhile(_):
        if not first:
            first.append(None)
            first.append(app.predict_many(tiny.late_order, both, key="k"))
        return True

    (told,) = service.answer([Question(rows, "k")], tiny.ASK_AT, wanted=meanwhile)
    assert str(told).startswith('key "k" was already used for another number of rows of model "late_order"')
    assert service.predict_many(both, at=LATER, key="k") == first[1]
    assert [row["prediction_id"] for batch in logged(app) for row in batch] == ["k/0", "k/1"]


def test_a_key_of_a_row_of_its_own_may_be_in_the_way_of_a_list(app, service):
    service.predict(PAST, at=tiny.ASK_AT, key="order-7/1")
    for rows in ([tiny.order(2)], [tiny.order(2), tiny.order(3)]):
        with pytest.raises(Conflict) as error:
            service.predict_many(rows, at=tiny.ASK_AT, key="order-7")
        assert str(error.value) == (
            'key "order-7" was already used for another number of rows of model "late_order", or key "order-7/1" for '
            "a single one. The first answer counts; give other rows a new key."
        )
