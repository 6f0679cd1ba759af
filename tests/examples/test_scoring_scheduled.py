"""Batch scoring by itself: what is due, once, also by two controllers and after a crash."""

import itertools
import threading
from dataclasses import replace
from datetime import timedelta

from tenfold import Platform, Project, Release
from tenfold.automation.control import control
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS, to_us
from tenfold.serving.answer.predictions import BATCH, read
from tests.examples import tiny

NAME = tiny.late_order.name
FIRST, END = to_us(tiny.START + timedelta(days=10)), to_us(tiny.START + timedelta(days=15))
DAY = UNITS["d"]


def scored(app, start=0, end=2**60):
    """Return how many answers are stored."""
    return len(read(app.lake, NAME, BATCH, start, end))


def scheduled(**how):
    """Return the tiny project with a schedule for whole days; orders may come an hour late."""
    late = replace(tiny.orders, lateness="1h")
    this = replace(tiny.this_order, source=late)
    model = replace(tiny.late_order, spine=late, features=[tiny.shop_visits, this])
    return Project("tiny", releases=[Release(model, score_every="1d", **how)])


def a_day_is_due(app):
    """Fill a home, train and promote, and let it be late enough on the next day to score it."""
    tiny.load(app)
    app.promote(NAME, app.train(NAME).number)
    app.clock.set(tiny.START + timedelta(days=18, hours=1))


def test_each_day_is_scored_by_itself_once_its_rows_have_had_their_time(tmp_path):
    project, home, minute = scheduled(), tmp_path / "home", timedelta(minutes=1)
    clock = VirtualClock(tiny.START + timedelta(days=17))
    with project.open(Platform(home=home, clock=clock)) as app:
        schedule = app.schedule(project.release())
        tiny.load(app)
        assert (schedule.due(), schedule.state()) == (None, {"every": "1d", "until": None, "last": None})
        app.promote(NAME, app.train(NAME).number)
        assert schedule.tick() == []
        clock.set(tiny.START + timedelta(days=18, hours=1) - minute)
        assert schedule.tick() == []
        due = (tiny.START + timedelta(days=17, hours=20)).isoformat()
        app.ingest("orders", tiny.order(order_id="new", due=due), history=True)  # it is in the log only
        clock.set(tiny.START + timedelta(days=18, hours=1))
        assert schedule.tick() == ["2024-05-18T00:00:00+00:00/2024-05-19T00:00:00+00:00"]
        assert schedule.tick() == []
        assert scored(app) == 13
        clock.set(tiny.START + timedelta(days=21))
        assert schedule.tick() == ["2024-05-19T00:00:00+00:00/2024-05-21T00:00:00+00:00"]
        assert schedule.state()["until"] == "2024-05-21T00:00:00+00:00"
        audit = app.audit.list(NAME, "score")
        assert [(item.decision, item.by, item.evidence["rows"]) for item in audit] == [
            ("scored", "schedule", 13),
            ("scored", "schedule", 11),
        ]


def test_what_a_person_scores_again_does_not_hide_how_far_the_schedule_is(tmp_path):
    project, clock = scheduled(), VirtualClock(tiny.START + timedelta(days=17))
    with project.open(Platform(home=tmp_path / "home", clock=clock)) as app:
        schedule = app.schedule(project.release())
        tiny.load(app)
        app.promote(NAME, app.train(NAME).number)
        clock.set(tiny.START + timedelta(days=18, hours=2))
        (scored,) = schedule.tick()
        until, state = scored.partition("/")[2], schedule.state()
        for place in range(100):
            app.audit.record("score", NAME, "scored again", f"day {place}", by="ann", evidence={})
        clock.set(tiny.START + timedelta(days=19, hours=2))
        app.promote(NAME, app.train(NAME).number)  # it was made on the next day, which is scored all the same
        assert schedule.state() == state
        assert schedule.due() == (to_us(until), to_us(until) + DAY)


def test_a_schedule_begins_with_the_first_version_though_another_one_was_promoted_since(tmp_path):
    project, clock = scheduled(), VirtualClock(tiny.START + timedelta(days=17))
    with project.open(Platform(home=tmp_path / "home", clock=clock)) as app:
        tiny.load(app)
        for day in (17, 19):
            clock.set(tiny.START + timedelta(days=day, hours=5))
            app.promote(NAME, app.train(NAME).number)
        assert app.schedule(project.release()).tick() == [
            "2024-05-18T00:00:00+00:00/2024-05-20T00:00:00+00:00"
        ]


def test_a_day_that_failed_is_scored_as_it_was_begun_though_partitions_are_shorter_now(tmp_path):
    project, home, clock = scheduled(), tmp_path / "home", VirtualClock(tiny.START + timedelta(days=17))
    with project.open(Platform(home=home, clock=clock)) as app:
        a_day_is_due(app)

        class Full(type(app.lake)):
            def append(self, *given, **how):
                raise Unavailable("the disk is full.")

        schedule = app.schedule(project.release())
        schedule.scoring._lake = Full(home / "lake", clock)
        assert schedule.tick() == []
        assert schedule.state()["last"] == "the disk is full."
    shorter = Project("tiny", releases=[replace(project.release(), score_every="12h")])
    with shorter.open(Platform(home=home, clock=clock)) as app:
        schedule = app.schedule(shorter.release())
        assert schedule.tick() == ["2024-05-18T00:00:00+00:00/2024-05-19T00:00:00+00:00"]
        assert (schedule.tick(), scored(app)) == ([], 12)


def test_two_controllers_score_a_day_once(tmp_path):
    project, home, clock = scheduled(), tmp_path / "home", VirtualClock(tiny.START + timedelta(days=17))
    at_it, go_on, done = threading.Event(), threading.Event(), []
    with project.open(Platform(home=home, clock=clock)) as app:
        a_day_is_due(app)

        class Slow(type(app.lake)):
            def append(self, *given, **how):
                at_it.set()
                go_on.wait()
                return super().append(*given, **how)

        one, two = app.schedule(project.release()), app.schedule(project.release())
        one.scoring._lake = Slow(home / "lake", clock)
        slow = threading.Thread(target=lambda: done.extend(one.tick()))
        slow.start()
        at_it.wait()
        assert two.tick() == []
        go_on.set()
        slow.join()
        assert len(done) == 1
        assert two.tick() == []
        assert app.journal.unfinished() == []
        assert [item.decision for item in app.audit.list(NAME, "score")] == ["scored"]
        assert scored(app) == 12


def test_the_controller_scores_what_is_due_and_goes_on_with_what_died(tmp_path):
    project, home = scheduled(), tmp_path / "home"
    clock = VirtualClock(tiny.START + timedelta(days=17))
    said = []
    with project.open(Platform(home=home, clock=clock)) as app:
        tiny.load(app)
        app.promote(NAME, app.train(NAME).number)
        given = {"model": NAME, "start": FIRST, "end": END, "every": "1d", "again": False, "by": "ann"}
        died = app.journal.begin("score", "died", given)
        clock.set(tiny.START + timedelta(days=18, hours=2))
        looks = itertools.count()
        release = project.release()
        control(
            [app.loop(release)],
            clock,
            lambda: next(looks) > 2,  # asked before each loop and schedule too
            tell=said.append,
            schedules=[app.schedule(release)],
        )
        assert app.journal.get(died).status == "done"
        assert scored(app, FIRST, END) == 60
    assert said == [
        "late_order: finished 1 interrupted scorings",
        "late_order: scored 2024-05-18T00:00:00+00:00/2024-05-19T00:00:00+00:00",
    ]
