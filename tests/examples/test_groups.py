"""Requests that wait are answered together, and each gets what it would get alone."""

import asyncio
import json
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from tenfold import Platform, Release
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.errors import Conflict, SchemaError, Unavailable
from tenfold.core.times import UNITS
from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.groups import Groups
from tenfold.serving.answer.questions import Question
from tenfold.serving.rows.degraded import Away
from tests.examples import grouped, rolling, tiny
from tests.examples.grouped import ROWS, late, logged, opened


class Jumping(SystemClock):
    """A clock that shows what it is set to."""

    at = tiny.ASK_AT

    def now(self):
        return self.at


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return grouped.made(tmp_path_factory.mktemp("groups") / "home")


@pytest.fixture
def home(made, tmp_path):
    return shutil.copytree(made, tmp_path / "home")


@pytest.fixture
def app(home):
    with opened(home) as app:
        yield app


def together(*waiting):
    """Return what each of several awaitables gives or raises, begun at once."""

    async def gather():
        return await asyncio.gather(*(one() for one in waiting), return_exceptions=True)

    return asyncio.run(gather())


def test_answers_are_those_one_by_one_to_the_bit(app, made, tmp_path):
    other_home = shutil.copytree(made, tmp_path / "other")
    answering = Answering(app.service(tiny.late_order), wait=30)
    late(app)  # so that all have come before the first one can be answered

    async def ask():
        asked = [asyncio.ensure_future(answering.one(row)) for row in ROWS[:30]]
        asked.append(asyncio.ensure_future(answering.many(ROWS[30:])))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(app.process)
        return await asyncio.gather(*asked)

    *ones, many = asyncio.run(ask())
    with opened(other_home) as other:
        late(other)
        other.process()
        service = other.service(tiny.late_order)
        alone = [service.predict(row, at=tiny.ASK_AT) for row in ROWS]
        assert len(logged(other)) == len(ROWS)
        features = {row["prediction_id"]: repr(row["features"]) for batch in logged(other) for row in batch}
    assert [*ones, *many] == alone
    rows = [row for batch in logged(app) for row in batch]
    assert {row["prediction_id"]: repr(row["features"]) for row in rows} == features
    assert len(logged(app)) <= 3


def test_a_request_that_does_not_fit_costs_no_other_its_answer(app):
    answering = Answering(app.service(tiny.late_order), wait=30)
    bad, worse = tiny.order(50, amount=-1.0), [ROWS[0], {"amont": 1}]
    found = together(
        lambda: answering.one(ROWS[1]),
        lambda: answering.one(bad),
        lambda: answering.many(worse),
        lambda: answering.many([]),
        lambda: answering.one(ROWS[2]),
    )
    assert [type(one) for one in found] == [dict, SchemaError, SchemaError, list, dict]
    assert str(found[1]) == 'the row does not fit source "orders": not true: amount > 0.'
    assert str(found[2]).startswith('rows[1]: the row does not fit source "orders": unknown column "amont".')
    assert sorted(row["row_id"] for batch in logged(app) for row in batch) == ["new-1", "new-2"]


def test_keys_within_a_group(app):
    service = app.service(tiny.late_order)
    questions = [
        Question([ROWS[0]], "k", alone=True),
        Question([ROWS[0]], "k", alone=True),
        Question([ROWS[1]], "k", alone=True),
        Question(ROWS[2:4], "k"),
    ]
    first, same, other, many = service.answer(questions, tiny.ASK_AT)
    assert first == same
    assert isinstance(other, Conflict)
    assert [one["prediction_id"] for one in json.loads(many)] == ["k/0", "k/1"]
    assert service.answer(questions[:1], tiny.ASK_AT + 9) == [first]
    assert [len(batch) for batch in logged(app)] == [3]


def test_a_key_is_for_as_many_rows_as_it_was_first_used_for(app):
    service = app.service(tiny.late_order)

    def told(*rows, key="k"):
        (found,) = service.answer([Question(rows, key)], tiny.ASK_AT)
        return found if isinstance(found, Conflict) else json.loads(found)

    assert told() == []
    both = told(*ROWS[:2])
    assert told(*ROWS[:2]) == both
    for rows in (ROWS[:1], ROWS[:3], []):
        assert str(told(*rows)).startswith(
            'key "k" was already used for another number of rows of model "late_'
        )
    assert "for another row" in str(told(ROWS[0], ROWS[2]))
    assert len(told(*ROWS[:3], key="other")) == 3
    assert [len(batch) for batch in logged(app)] == [2, 3]


def test_the_same_row_in_another_form_is_asked_after_the_first(app):
    service = app.service(tiny.late_order)
    other = ROWS[0] | {"amount": 99.0}
    first, none = service.answer([Question([ROWS[0]]), Question([other])], tiny.ASK_AT)
    assert none is None
    (later,) = service.answer([Question([other])], tiny.ASK_AT + 1)
    assert json.loads(first)[0]["prediction_id"] != json.loads(later)[0]["prediction_id"]
    # where the moment stays the same, each has an id of its own, as it would alone
    answering = Answering(service, wait=30)
    found = together(lambda: answering.one(ROWS[5]), lambda: answering.one(ROWS[5] | {"amount": 98.0}))
    one, two = (answer["prediction_id"] for answer in found)
    assert two.startswith(f"{one}/")


def test_a_row_that_fails_the_model_fails_alone(tmp_path):
    ungated = Release(rolling.LATE)
    rolling.build(tmp_path, ungated)
    clock = VirtualClock(tiny.ASK_AT)
    with rolling.project(ungated).open(Platform(home=tmp_path, clock=clock)) as app:
        answering = Answering(app.service(rolling.LATE), wait=30)
        amounts = [1.0] * 64
        amounts[40] = rolling.REFUSED
        rows = [tiny.order(place, amount=amount) for place, amount in enumerate(amounts)]
        found = together(*(lambda row=row: answering.one(row) for row in rows))
        stored = list(map(len, logged(app)))
    assert [type(one) for one in found] == [dict] * 40 + [SchemaError] + [dict] * 23
    assert (sum(stored), len(stored)) == (63, 6), "halves: 32, 16, 8, 4, 2 and 1"


@pytest.mark.parametrize("prompt", [True, False])
def test_a_clock_that_is_set_back_before_an_answer_hides_no_record_from_it(home, monkeypatch, prompt):
    clock = Jumping()
    with tiny.project.open(Platform(home=home, clock=clock)) as app:
        answering = Answering(app.service(tiny.late_order), wait=30)
        asked = answering.groups._prompt if prompt else answering.groups.service
        reached, folding = asked.reached, threading.Thread(target=app.process)

        def set_back(mark):
            """Say whether a mark is reached; before the answer to it, the clock is set back and a record comes."""
            found = reached(mark)
            if folding.ident is None:
                clock.at -= UNITS["m"] // 2
                app.ingest("visits", tiny.visit("before the moment"))
                folding.start()
            return found

        monkeypatch.setattr(asked, "reached", set_back)
        clock.at += UNITS["m"]
        if not prompt:
            answering.groups._leave(30 * UNITS["s"])
        asyncio.run(answering.one(tiny.order()))
        folding.join()
        app.flush()
        assert app.skew(tiny.late_order).mismatches == 0


def test_who_waits_for_too_long_is_refused_and_nothing_is_stored(app):
    late(app)
    answering = Answering(app.service(tiny.late_order), wait=0.2)
    found = together(lambda: answering.one(ROWS[0]), lambda: answering.many(ROWS[:3]))
    assert [type(one) for one in found] == [Unavailable, Unavailable]
    assert str(found[0]).startswith("the worker did not reach the newest acknowledged event within 0.2 s")
    assert logged(app) == []
    app.process()
    patient = Answering(app.service(tiny.late_order), wait=30)
    assert asyncio.run(patient.one(ROWS[0]))["model"] == "late_order"
    assert [len(batch) for batch in logged(app)] == [1]


def test_who_comes_behind_one_that_does_not_end_is_refused_in_time(app, monkeypatch):
    service, begun, go_on = app.service(tiny.late_order), threading.Event(), threading.Event()
    answer = service.answer

    def slowly(questions, *given, **how):
        if len(questions[0].rows) == 30:
            begun.set()
            go_on.wait()
        return answer(questions, *given, **how)

    monkeypatch.setattr(service, "answer", slowly)
    answering = Answering(service, wait=0.3)

    async def ask():
        first = asyncio.ensure_future(answering.many(ROWS[:30]))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(20):
                return await asyncio.gather(first, answering.one(ROWS[31]), return_exceptions=True)
        finally:
            go_on.set()

    told = asyncio.run(ask())
    why = "it was not answered within 0.3 s: too many requests came before this one, or"
    assert [str(one).startswith(why) for one in told] == [True, True]
    service.close()
    assert logged(app) == []


def test_what_cannot_wait_any_more_is_refused_at_once(app):
    late(app)
    service = app.service(tiny.late_order)
    groups = Groups(service, wait=30, most=5)

    async def ask():
        told = []
        groups.ask(Question([ROWS[0]]), told.append)
        while groups.rows:  # until it is in a group, which waits for the states
            await asyncio.sleep(0.001)
        groups.ask(Question(ROWS[1:5]), told.append)
        with pytest.raises(Unavailable, match=r'model "late_order" takes no more requests now: 4 rows wait'):
            groups.ask(Question(ROWS[5:7]), told.append)
        groups.ask(Question(ROWS[5:6]), told.append)
        await asyncio.to_thread(app.process)
        while len(told) < 3:
            await asyncio.sleep(0.001)
        return told

    assert [len(json.loads(answer)) for answer in asyncio.run(ask())] == [1, 4, 1]


def test_who_is_gone_is_not_answered(app):
    late(app)
    answering = Answering(app.service(tiny.late_order), wait=30)

    async def ask():
        gone, stays = (asyncio.ensure_future(answering.one(row)) for row in ROWS[:2])
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        await asyncio.to_thread(app.process)
        return await stays

    stored = asyncio.run(ask())["prediction_id"]
    assert [row["prediction_id"] for batch in logged(app) for row in batch] == [stored]


def test_small_requests_wait_for_one_large_one_at_a_time(app):
    late(app)
    answering = Answering(app.service(tiny.late_order), wait=30)
    order = []

    async def ask():
        def begin(name, awaitable):
            asyncio.ensure_future(awaitable).add_done_callback(lambda _: order.append(name))

        for name in ("large 1", "large 2", "large 3"):
            begin(name, answering.many([tiny.order(f"{name} {place}") for place in range(100)]))
            await asyncio.sleep(0)
            while name == "large 1" and answering.groups.rows:  # until it is worked on
                await asyncio.sleep(0.001)
        for place in range(5):
            begin("small", answering.one(ROWS[place]))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(app.process)
        while len(order) < 8:
            await asyncio.sleep(0.001)

    asyncio.run(ask())
    assert order == ["large 1", *["small"] * 5, "large 2", "large 3"]


def test_closing_answers_what_waits(home):
    with opened(home) as app:
        answering = Answering(app.service(tiny.late_order), wait=30)

        async def ask():
            asked = [asyncio.ensure_future(answering.one(row)) for row in ROWS[:3]]
            await asyncio.sleep(0)
            await asyncio.to_thread(answering.groups.close)
            found = await asyncio.gather(*asked)
            with pytest.raises(Unavailable):
                await answering.one(ROWS[3])
            return found

        assert len(asyncio.run(ask())) == 3


def test_who_waits_is_told_though_the_store_is_away_when_the_time_is_over(app, monkeypatch):
    late(app)
    service, over = app.service(tiny.late_order), threading.Event()
    answering = Answering(service, wait=0.2)
    here = threading.current_thread()

    def away(mark):
        if threading.current_thread() is not here:  # the thread of the groups, which is kept longer than that
            over.wait(10)
        raise Away("the states are away.")

    monkeypatch.setattr(service, "reached", away)
    found = together(lambda: answering.one(ROWS[0]), lambda: answering.many(ROWS[:3]))
    over.set()
    assert [(type(one), str(one)) for one in found] == [(Unavailable, "the states are away.")] * 2
    assert logged(app) == []


def test_a_mark_that_takes_long_keeps_nobody_else_waiting(home):
    ticks, marks = [], []

    async def tick():
        while not marks:
            ticks.append(None)
            await asyncio.sleep(0.01)

    async def reached():
        marks.append(await asyncio.gather(Answering(service, wait=0.3).moment(), return_exceptions=True))

    with opened(home) as app, closing(sqlite3.connect(home / "log.db", isolation_level=None)) as other:
        service = app.service(tiny.late_order)
        other.execute("BEGIN IMMEDIATE")
        together(reached, tick)
        other.execute("ROLLBACK")
        ((error,),) = marks
    assert isinstance(error, Unavailable)
    assert str(error).startswith("the log did not answer within 0.3 s.")
    assert len(ticks) > 5
