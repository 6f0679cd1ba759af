"""Many rows are checked, answered and stored together, and each gets what it would get alone."""

import json
from datetime import timedelta

import numpy as np
import pytest

from tenfold import Platform
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, SchemaError
from tenfold.core.times import to_datetime
from tenfold.processing.batches import to_table
from tenfold.processing.bring import as_decimal
from tenfold.serving.answer import service
from tenfold.serving.answer.predictions import TOPIC
from tenfold.serving.answer.questions import Question
from tenfold.serving.rows import many
from tenfold.training.vector import encode
from tests.examples import tiny

ROWS = [
    tiny.order(
        place,
        shop="abc"[place % 3],
        amount=1.5 + place,
        gift=[None, True, False][place % 3],
        items=None if place % 4 == 0 else place,
    )
    for place in range(30)
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    return folder


@pytest.fixture(params=[0, 10_000], ids=["as columns", "one by one"])
def app(home, request, monkeypatch):
    monkeypatch.setattr(service, "FEW", request.param)
    with tiny.project.open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT))) as opened:
        opened.ingest("visits", [tiny.visit(place, shop="ab"[place % 2]) for place in range(9)], key="seen")
        opened.process()
        yield opened


@pytest.fixture
def asked(app):
    return app.service(tiny.late_order)


def logged(app):
    return [row for batch in app.log.read(TOPIC, 0) for row in to_table(batch).to_pylist()]


def due(**past):
    return (tiny.NOW - timedelta(**past)).isoformat()


def test_with_a_lead_too_a_row_that_has_happened_is_not_answered_from_what_came_after_it(asked):
    at = tiny.ASK_AT + 1  # by now the visits are known that were five minutes ago
    before = asked.features(tiny.order("due", due=due(minutes=10)), at)
    ahead = asked.features(tiny.order("due"), at)
    assert (before.at, ahead.at) == (tiny.ASK_AT - 600_000_000, at)
    visited = "shop_visits.visits_1d"
    assert ahead.values[visited] == before.values[visited] + 5
    rows = [tiny.order("due", due=due(minutes=10)), tiny.order("ahead")]
    assert [answer["as_of"] for answer in asked.predict_many(rows, at=tiny.ASK_AT, key="due")] == [
        "2024-05-20T23:50:00+00:00",
        "2024-05-21T00:00:00+00:00",
    ]


def test_with_a_lead_too_a_row_of_long_ago_is_refused(asked):
    rows = [tiny.order("ahead"), tiny.order("past", due=due(hours=1, seconds=1))]
    with pytest.raises(SchemaError) as error:
        asked.predict_many(rows, at=tiny.ASK_AT, key="past")
    assert str(error.value) == (
        "rows[1]: the row happened at 2024-05-20T22:59:59+00:00, longer before this request, as of 2024-05-21T00:00:00+00:00, "
        "than states reach back (3600 s, the shortest lateness of the sources, an hour where none is declared). Score it in "
        "batch, or declare a longer lateness."
    )


def test_what_was_answered_is_answered_days_later_under_its_key(asked):
    rows = [tiny.order("kept"), tiny.order("too", amount=2.0)]
    one, many = (
        asked.predict(rows[0], at=tiny.ASK_AT, key="1"),
        asked.predict_many(rows, at=tiny.ASK_AT, key="2"),
    )
    later = tiny.ASK_AT + 3 * 86_400_000_000
    assert asked.predict(rows[0], at=later, key="1") == one
    assert asked.predict_many(rows, at=later, key="2") == many
    with pytest.raises(Conflict):
        asked.predict(rows[1], at=later, key="1")
    with pytest.raises(SchemaError, match=r"^rows\[0\]: the row happened"):
        asked.predict_many(rows, at=later, key="3")
    questions = [
        Question(rows, "2"),
        Question([rows[0]]),
        Question([rows[0]], "4", alone=True),
        Question(rows, "5"),
    ]
    questions.append(Question([tiny.order("ahead", due=due(days=-9))], "6", alone=True))
    told = asked.answer(questions, later)
    assert [type(one).__name__ for one in told] == ["bytes", "TooEarly", "TooEarly", "TooEarly", "bytes"]
    assert json.loads(told[0]) == many


def test_features_are_those_of_each_row(asked):
    found = asked.features_many(ROWS, tiny.ASK_AT)
    each = [asked.features(row, tiny.ASK_AT) for row in ROWS]
    assert {name: item.type for name, item in found.columns().items()} == tiny.late_order.columns
    for name, item in found.columns().items():
        assert [repr(as_decimal(value, item.type)) for value in item.plain()] == [
            repr(one.values[name]) for one in each
        ]
    assert found.at.tolist() == [one.at for one in each]
    ages = [[np.nan if age is None else age for age in one.ages.values()] for one in each]
    assert np.array_equal(found.ages, ages, equal_nan=True)
    assert np.array_equal(found.matrix({}), encode(found.columns(), {}), equal_nan=True)


def test_no_rows_have_no_features_and_no_answers(app, asked):
    before = len(logged(app))
    found = asked.features_many([], tiny.ASK_AT)
    assert found.matrix({}).shape == (0, len(tiny.late_order.columns))
    assert found.ages.shape == (0, 1)
    assert {name: len(item) for name, item in found.columns().items()} == dict.fromkeys(
        tiny.late_order.columns, 0
    )
    assert asked.predict_many([], at=tiny.ASK_AT) == []
    assert len(logged(app)) == before


def test_answers_are_those_of_each_row_and_are_stored_with_them(app, asked):
    at = tiny.ASK_AT + 1 + service.FEW
    before = len(logged(app))
    answers = asked.predict_many(ROWS, at=at)
    rows = logged(app)[before:]
    assert [row["prediction_id"] for row in rows] == [answer["prediction_id"] for answer in answers]
    assert [row["row_id"] for row in rows] == [row["order_id"] for row in ROWS]
    assert [row["label_key"] for row in rows] == [row["order_id"] for row in ROWS]
    alone = [asked.predict(row, at=at, key=f"alone {at} {place}") for place, row in enumerate(ROWS)]
    for one, many_, row in zip(alone, answers, rows, strict=True):
        assert {**one, "prediction_id": many_["prediction_id"]} == many_
        stored = next(item for item in logged(app) if item["prediction_id"] == one["prediction_id"])
        assert repr(stored["features"]) == repr(row["features"])
        assert (stored["request"], stored["score"]) == (row["request"], row["score"])
    # The same rows again, alone or together with others, have been answered.
    assert asked.predict(ROWS[3], at=at) == answers[3]
    more = [*ROWS[:2], tiny.order(f"more-{at}")]
    assert asked.predict_many(more, at=at)[:2] == answers[:2]
    assert len(logged(app)) == before + 2 * len(ROWS) + 1


def test_a_key_answers_the_same_rows_once(app, asked):
    key = f"once {service.FEW}"
    first = asked.predict_many(ROWS[:3], at=tiny.ASK_AT, key=key)
    assert [answer["prediction_id"] for answer in first] == [f"{key}/{place}" for place in range(3)]
    before = len(logged(app))
    assert asked.predict_many(ROWS[:3], at=tiny.ASK_AT + 5, key=key) == first
    assert len(logged(app)) == before
    with pytest.raises(Conflict) as error:
        asked.predict_many([ROWS[0], ROWS[5], ROWS[2]], at=tiny.ASK_AT, key=key)
    assert str(error.value).startswith(f'key "{key}/1" was already used for another row')
    for rows in (ROWS[:2], ROWS[:4]):
        with pytest.raises(Conflict, match="for another number of rows"):
            asked.predict_many(rows, at=tiny.ASK_AT, key=key)
    assert len(logged(app)) == before


@pytest.mark.parametrize("others", [ROWS[:2], ROWS[:4]])
def test_a_key_of_two_calls_at_once_is_that_of_the_first(app, asked, others):
    key = f"at once {service.FEW} {len(others)}"
    before = len(logged(app))
    questions = [Question(ROWS[:3], key), Question(others, key), Question(ROWS[:3], key)]
    first, put_off, again = asked.answer(questions, tiny.ASK_AT, wanted=lambda _: True)
    assert (put_off, again) == (None, first)
    (refused,) = asked.answer([questions[1]], tiny.ASK_AT, wanted=lambda _: True)
    assert isinstance(refused, Conflict)
    assert len(logged(app)) == before + 3


def test_a_row_that_is_asked_twice_is_stored_once(app, asked):
    at = tiny.ASK_AT + 77 + service.FEW
    before = len(logged(app))
    answers = asked.predict_many([ROWS[0], ROWS[1], ROWS[0]], at=at)
    assert answers[0] == answers[2]
    assert len(logged(app)) == before + 2
    with pytest.raises(Conflict, match=r"^two rows .* that differ have the same id and moment"):
        asked.predict_many([ROWS[0], ROWS[0] | {"amount": 3.0}], at=at)


BAD = [
    {"amont": 1.0},
    {"amount": "12"},
    {"amount": float("nan")},
    {"amount": 1e14},
    {"amount": -1.0},
    {"shop": None},
    {"shop": 5},
    {"items": 1.5},
    {"items": 2**60},
    {"gift": 1},
    {"due": "tomorrow"},
    {"due": "2024-05-21"},
    {"due": to_datetime(-5)},
    {"order_id": "a\x1fb"},
    {"order_id": "x" * 2_000},
]


@pytest.mark.parametrize("changed", BAD, ids=str)
def test_one_bad_row_among_good_ones_is_named(app, asked, changed):
    before = len(logged(app))
    rows = [*ROWS[:27], ROWS[27] | changed, ROWS[28]]
    with pytest.raises(SchemaError) as alone:
        asked.features(rows[27], tiny.ASK_AT)
    with pytest.raises(SchemaError) as together:
        asked.predict_many(rows, at=tiny.ASK_AT)
    assert str(together.value) == f"rows[27]: {alone.value}"
    with pytest.raises(SchemaError, match=r"rows\[1\]: .* a row is "):
        asked.features_many([ROWS[0], 5], tiny.ASK_AT)
    assert len(logged(app)) == before


def test_rows_as_clients_write_them(asked):
    due = tiny.NOW + timedelta(hours=2)
    rows = [
        ROWS[0] | {"amount": 12, "due": due},
        ROWS[1] | {"items": 3.0, "due": due.isoformat()},
        {name: value for name, value in ROWS[2].items() if name != "gift"},
        ROWS[3] | {"items": np.int64(3), "shop": "Übung", "amount": np.float64(2)},
    ]
    found = asked.features_many(rows, tiny.ASK_AT).columns()
    for place, row in enumerate(rows):
        one = asked.features(row, tiny.ASK_AT).values
        assert {name: item.plain()[place] for name, item in found.items()} == one
    assert many.FEW > 1
