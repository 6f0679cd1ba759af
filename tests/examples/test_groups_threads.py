"""On which thread requests are answered, and what they wait for there."""

import asyncio
import itertools
import shutil
import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tenfold.core.clock import SystemClock
from tenfold.core.times import iso
from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.asking import Asking
from tenfold.serving.answer.groups import Groups
from tenfold.serving.answer.questions import Question
from tenfold.serving.answer.quiet import QUIET
from tenfold.serving.answer.service import Service
from tenfold.sources.log import LAYOUT
from tenfold.sources.sqlite import SQLiteDatabase
from tenfold.store import materialize
from tenfold.store.materialize import StateSink
from tests.examples import grouped, tiny
from tests.examples.grouped import ROWS, late, logged, opened
from tests.unit.ticking import Ticking

COUNTED = 0
"""The place of `visits_1d` among the features."""


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


class Still(SystemClock):
    """A clock by which nothing takes any time."""

    def elapsed(self):
        return 0


class Slow(SystemClock):
    """A clock by which everything takes as long as is said, and nothing else takes any time."""

    def __init__(self):
        self.now_at, self.step = 0, 6_000

    def elapsed(self):
        self.now_at += self.step
        return self.now_at


def quick(app, clock=None):
    """Return what answers, each group of which takes no time."""
    answering = Answering(app.service(tiny.late_order), wait=30)
    answering.groups = Groups(answering.service, wait=30, clock=clock or Still())
    return answering


def threads_of(app, monkeypatch, what="ends"):
    """Return a list that gets the name of the thread that takes each mark, or does something else with the log."""
    names, done = [], getattr(type(app.log), what)

    def named(log, *args, **kwargs):
        names.append(threading.current_thread().name)
        return done(log, *args, **kwargs)

    monkeypatch.setattr(type(app.log), what, named)
    return names


def test_small_requests_are_answered_on_the_event_loop_while_that_is_quick(app, monkeypatch):
    answering, names = quick(app), threads_of(app, monkeypatch)
    many = [tiny.order(f"large {place}") for place in range(100)]

    async def ask():
        for row in ROWS[:3]:
            await answering.one(row)
        await answering.many(many)
        await answering.one(ROWS[3])

    asyncio.run(ask())
    assert names == ["MainThread"] * 3 + ["groups", "MainThread"]


def test_slow_groups_do_not_stop_the_event_loop(app, monkeypatch):
    answering, names = quick(app, Slow()), threads_of(app, monkeypatch)
    asyncio.run(answering.one(ROWS[0]))
    asyncio.run(answering.one(ROWS[1]))
    assert names == ["MainThread", "groups"]


def test_the_event_loop_is_tried_again_after_pauses_that_grow_while_it_is_slow(app, monkeypatch):
    clock = Slow()
    answering, names = quick(app, clock), threads_of(app, monkeypatch, "append_all")
    tries = []
    for place in range(60):
        asyncio.run(answering.one(tiny.order(f"slow {place}")))
        if names.pop() == "MainThread":
            tries.append(place)
        assert not names
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert len(pauses) > 2
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses))
    clock.step = 0
    clock.now_at += 10**7
    for place in range(3):
        asyncio.run(answering.one(tiny.order(f"quick {place}")))
    assert names == ["MainThread"] * 3


@pytest.mark.parametrize(("clock", "by"), [(Still, "MainThread"), (Slow, "groups")])
def test_the_log_is_settled_behind_the_answers_so_that_none_waits_for_that(app, monkeypatch, clock, by):
    answering = quick(app, clock())
    asyncio.run(answering.one(ROWS[0]))
    names, told = threads_of(app, monkeypatch, "settle"), []

    async def ask():
        def done(_):
            told.append(by == "groups" or not names)
            asyncio.get_running_loop().call_soon(over.set)

        over = asyncio.Event()
        answering.groups.ask(Question([ROWS[1]], alone=True), done)
        await over.wait()

    asyncio.run(ask())
    answering.service.close()
    assert (names, told) == ([by], [True])


def test_what_has_to_wait_is_left_to_the_thread_until_there_is_nothing_to_wait_for(app, monkeypatch):
    answering, names = quick(app), threads_of(app, monkeypatch)
    late(app)
    names.clear()

    async def ask():
        first = asyncio.ensure_future(answering.one(ROWS[0]))
        await asyncio.sleep(0.05)
        assert names == ["MainThread", "groups"]
        await asyncio.to_thread(app.process)
        await first
        names.clear()
        await answering.one(ROWS[1])
        assert names == ["MainThread"]

    asyncio.run(ask())
    assert [row["row_id"] for batch in logged(app) for row in batch] == ["new-0", "new-1"]


@pytest.mark.parametrize("at_once", [False, True], ids=["one event at a time", "all events at once"])
def test_what_comes_while_others_wait_waits_for_its_own_events_only(app, monkeypatch, at_once):
    answering, names = quick(app), threads_of(app, monkeypatch)
    monkeypatch.setattr(materialize, "BATCHES", 100 if at_once else 1)
    sink = StateSink(app.log, app.online, tiny.late_order.stored)

    async def marked(times):
        while names.count("groups") < times:
            await asyncio.sleep(0.001)

    async def ask():
        asked = []
        for place, row in enumerate(ROWS[:9:3]):
            app.ingest("visits", tiny.visit(f"late {place}"))
            app.clock.set(app.clock.now() + 1)
            names.clear()
            asked.append(asyncio.ensure_future(answering.one(row)))
            await marked(1)
        while not all(one.done() for one in asked):
            answered = sum(one.done() for one in asked)
            sink.advance()
            while not at_once and not asked[answered].done():
                await asyncio.sleep(0.001)
            assert at_once or sum(one.done() for one in asked) == answered + 1
            await asyncio.sleep(0.001)

    asyncio.run(ask())
    batches = logged(app)
    assert [len(batch) for batch in batches] == ([3] if at_once else [1, 1, 1])
    rows = [row for batch in batches for row in batch]
    counted = [row["features"][COUNTED] for row in rows]
    assert counted[0] > 0
    assert counted == ([counted[0]] * 3 if at_once else [counted[0], counted[0] + 1, counted[0] + 2])


def test_who_is_gone_while_others_wait_keeps_nobody_from_being_answered(app, monkeypatch):
    answering = quick(app)
    monkeypatch.setattr(materialize, "BATCHES", 1)
    sink = StateSink(app.log, app.online, tiny.late_order.stored)

    async def ask():
        late(app, "first")
        first = asyncio.ensure_future(answering.one(ROWS[0]))
        await asyncio.sleep(0.05)
        late(app, "second")
        gone = answering.groups.ask(Question([ROWS[1]], alone=True), lambda _: None)
        assert answering.groups.forget(gone)
        await asyncio.sleep(0.05)
        sink.advance()
        await first
        second = asyncio.ensure_future(answering.one(ROWS[2]))
        await asyncio.sleep(0.05)
        sink.advance()
        await asyncio.wait_for(second, 10)

    asyncio.run(ask())
    assert [row["row_id"] for batch in logged(app) for row in batch] == ["new-0", "new-2"]


def test_the_event_loop_does_not_wait_for_another_writer(app, monkeypatch):
    answering, names = quick(app), threads_of(app, monkeypatch)
    writer = SQLiteDatabase(app.platform.home / "log.db", "", layout=LAYOUT)

    async def ask():
        with writer.transaction():
            asked = asyncio.ensure_future(answering.one(ROWS[0]))
            while "groups" not in names:
                await asyncio.sleep(0.001)
            assert not asked.done()
        return await asked

    assert asyncio.run(ask())["model"] == "late_order"
    assert names == ["MainThread", "groups"]
    writer.close()


def test_a_writer_that_comes_in_between_costs_no_answer_and_makes_none_twice(app, monkeypatch):
    answering, ends = quick(app), type(app.log).ends
    writer = SQLiteDatabase(app.platform.home / "log.db", "", layout=LAYOUT)
    held = ExitStack()

    def hold(log):
        found = ends(log)
        if threading.current_thread().name == "MainThread":
            held.enter_context(writer.transaction())
            threading.Timer(0.1, held.close).start()
        return found

    monkeypatch.setattr(type(app.log), "ends", hold)
    stored = asyncio.run(answering.one(ROWS[0]))["prediction_id"]
    assert [row["prediction_id"] for batch in logged(app) for row in batch] == [stored]
    writer.close()


def test_a_version_on_its_way_is_not_asked_on_the_event_loop(app, monkeypatch):
    answering, many, names = quick(app), Asking.many, []
    route = replace(app.traffic.routes.look("late_order"), candidate=2, phase="shadow")
    monkeypatch.setattr(app.traffic.routes, "look", lambda _: route)

    def asked(*given):
        names.append(threading.current_thread().name)
        return many(*given)

    monkeypatch.setattr(Asking, "many", asked)
    asyncio.run(answering.one(ROWS[0]))
    assert names == ["groups"]


@pytest.fixture
def quiet(app, monkeypatch):
    """What answers, after a while in which nothing came, its clock, and the threads that took marks for answers since."""
    clock, names, mark = Ticking(), [], Service.mark

    def named(service):
        names.append(threading.current_thread().name)
        return mark(service)

    monkeypatch.setattr(Service, "mark", named)
    app.clock.set(app.clock.now() + 1)
    answering = quick(app, clock)
    for _ in range(2):
        asyncio.run(answering.one(ROWS[0]))
        clock.at += QUIET
    asyncio.run(answering.one(ROWS[0]))
    names.clear()
    return answering, clock, names


def test_while_nothing_comes_the_log_is_looked_at_now_and_then_only(app, quiet):
    answering, clock, names = quiet
    for place in range(1, 5):
        app.clock.set(app.clock.now() + 1_000_000)
        found = asyncio.run(answering.one(ROWS[place]))
        assert found["as_of"] == iso(app.clock.now())
    assert names == []
    clock.at += QUIET
    asyncio.run(answering.one(ROWS[5]))
    assert names == ["MainThread"]


def counted(app):
    """Return what was logged of how many visits there were, by row."""
    return {row["row_id"]: row["features"][COUNTED] for batch in logged(app) for row in batch}


def asked(app):
    """Return how many rows the version in Production answered by what is counted."""
    app.traffic.counters.flush()
    return app.traffic.counters.total("late_order", 1).asked


def comes(app, place):
    """Have an event in the log and in the states, and a moment after it."""
    late(app, place)
    app.process()
    app.clock.set(app.clock.now() + 1)


def test_what_came_in_between_is_counted(app, quiet):
    answering, _, names = quiet
    asyncio.run(answering.one(ROWS[3]))
    assert names == []
    comes(app, "late")
    asyncio.run(answering.one(ROWS[6]))
    assert names == ["MainThread"]
    assert counted(app)["new-6"] == counted(app)["new-3"] + 1
    assert [len(batch) for batch in logged(app)] == [1] * 3


def test_what_comes_while_an_answer_is_made_is_counted_and_nothing_is_stored_without_it(
    app, quiet, monkeypatch
):
    answering, _, names = quiet
    asyncio.run(answering.one(ROWS[3]))
    many, came = Asking.many, []

    def slow(*args):
        if not came:
            came.append(comes(app, "late"))
        return many(*args)

    monkeypatch.setattr(Asking, "many", slow)
    before = asked(app)
    asyncio.run(answering.one(ROWS[6]))
    assert asked(app) == before + 1
    assert names == ["MainThread"]
    assert counted(app)["new-6"] == counted(app)["new-3"] + 1
    assert [len(batch) for batch in logged(app)] == [1] * 3


def test_while_events_come_the_log_is_looked_at_first(app, quiet):
    answering, clock, names = quiet
    for place in range(1, 9):
        comes(app, f"more {place}")
        asyncio.run(answering.one(ROWS[place]))
        clock.at += QUIET // 2
    assert names == ["MainThread"] * 8


def test_rows_that_nobody_waits_for_any_more_are_not_counted(app):
    service = app.service(tiny.late_order)
    questions = [Question([row], None) for row in ROWS[:3]]
    found = service.answer(questions, app.clock.now(), wanted=lambda place: place != 1)
    assert [told is None for told in found] == [False, True, False]
    assert asked(app) == 2
