"""One look at a clock that is far ahead, which is then set right: what goes on as if nothing had been."""

from contextlib import closing, contextmanager

import pytest

from tenfold import Platform, Project, Release, VirtualClock, checks
from tenfold.automation.control import Tries, _tick
from tenfold.core.times import UNITS, iso, to_us
from tenfold.platform import SCHEMA
from tenfold.sources.sqlite import SQLiteDatabase
from tests.examples import tiny
from tests.unit.rolled import BETTER, Rolled
from tests.unit.tiny_home import one_version, own_copy

NOW, HOUR, DAY, WEEK = tiny.ASK_AT, UNITS["h"], UNITS["d"], UNITS["w"]
FAR = 400 * DAY
NAME = tiny.late_order.name


class Clock(VirtualClock):
    """A clock that may be set back."""

    def set(self, now):
        self._now = to_us(now)


built = pytest.fixture(scope="module")(one_version)
home = pytest.fixture(own_copy)


@contextmanager
def opened(home, **how):
    """Yield the app of a home and what lets its controller look once at a moment, a time after the first."""
    release = Release(tiny.late_order, gates=[checks.at_least("roc_auc", 0.0)], **how)
    with Project("tiny", releases=[release]).open(Platform(home=home, clock=Clock(NOW))) as app:
        said = []

        def look(after):
            said.clear()
            app.clock.set(NOW + after)
            _tick([app.loop()], [app.schedule(release)], Tries(said.append))
            return list(said)

        yield app, look


def gates(app):
    return [(item.subject, item.at - NOW) for item in app.audit.list(kind="gate") if item.by == "loop"]


def test_trainings_by_schedule_go_on(home):
    with opened(home, retrain_every="1d") as (app, look):
        look(DAY)
        look(FAR)  # there are no rows to test on
        assert app.audit.newest("training", NAME, "loop").at == NOW + FAR
        for hours in (25, 36, 47):
            assert look(hours * HOUR) == []
        for hours in range(48, 97, 8):
            look(hours * HOUR)
        assert gates(app) == [(f"{NAME}/{1 + day}", day * DAY) for day in range(1, 5)]


def test_a_version_that_was_made_by_that_clock_does_not_end_the_schedule(home):
    with opened(home, retrain_every="2d") as (app, look):
        app.clock.set(NOW + 4 * DAY)
        app.promote(NAME, app.train(NAME).number)
        look(DAY)
        assert gates(app) == []
        look(2 * DAY)
        assert gates(app) == [(f"{NAME}/3", 2 * DAY)]


def test_monitors_are_judged_in_every_week_and_once(home):
    with opened(home, monitors=[checks.at_least("roc_auc", 0.5, window="7d")]) as (app, look):
        look(0)
        look(FAR)
        for day in range(1, 15):
            look(day * DAY)
        told = [item.at // WEEK - NOW // WEEK for item in app.audit.list(NAME, "monitor")]
        assert told == [0, (NOW + FAR) // WEEK - NOW // WEEK, 0, 1, 2]
        look(FAR + HOUR)  # the week that was judged before it had come
        assert app.audit.list(NAME, "monitor")[-1].at == NOW + FAR + HOUR


def test_periods_are_scored_though_they_seemed_to_be(home):
    with opened(home, score_every="1d") as (app, look):
        first = look(2 * DAY)
        assert len(first) == 1
        assert len(look(FAR)) == 1
        state = app.schedule(app.project.release()).state()
        assert state["until"] > iso(NOW + 300 * DAY)
        app.clock.set(NOW + 2 * DAY)
        assert app.schedule(app.project.release()).state()["until"] < iso(NOW + 2 * DAY + 1)
        at = NOW + 2 * DAY + HOUR
        app.ingest("orders", tiny.order(order_id="new", due=iso(at)), history=True)
        (said,) = look(4 * DAY)
        assert said.startswith(f"{NAME}: scored {iso(NOW + 2 * DAY)[:10]}")
        assert app.audit.list(NAME, "score")[-1].evidence["rows"] == 1


def test_a_period_that_ends_later_than_now_is_not_recorded_as_scored(home, monkeypatch):
    with opened(home, score_every="1d") as (app, look):
        schedule = app.schedule(app.project.release())
        run = type(schedule.scoring).run

        def set_right(self, *given, **how):
            done = run(self, *given, **how)
            app.clock.set(NOW + 2 * DAY)
            return done

        monkeypatch.setattr(type(schedule.scoring), "run", set_right)
        assert look(FAR) == []
        assert [item.decision for item in app.audit.list(NAME, "score")] == ["set back"]
        assert len(look(2 * DAY)) == 1


def test_what_was_scored_too_early_is_scored_again_when_its_time_has_come(home):
    def order(app, name, hours):
        due = iso(NOW + 2 * DAY + hours * HOUR)
        app.ingest("orders", tiny.order(order_id=name, due=due), history=True)

    with opened(home, score_every="1d") as (app, look):
        look(2 * DAY)
        start = to_us(app.schedule(app.project.release()).state()["until"])
        order(app, "before", 1)
        assert len(look(4 * DAY)) == 1  # one look by a clock that is two days ahead
        assert look(2 * DAY + HOUR) == look(2 * DAY + 2 * HOUR) == []
        told = app.audit.list(NAME, "score")[-1]
        assert (told.decision, told.evidence) == ("set back", {"end": start, "early": start + 2 * DAY})
        order(app, "after", 2)
        order(app, "tomorrow", 25)
        # also where nothing looked until after the time that the clock showed
        assert look(5 * DAY) == [f"{NAME}: scored {iso(start)}/{iso(start + 2 * DAY)}"]
        assert look(5 * DAY) == [f"{NAME}: scored {iso(start + 2 * DAY)}/{iso(start + 3 * DAY)}"]
        assert look(5 * DAY) == []
        stored = app.lake.read("scores")
        assert {"before", "after", "tomorrow"} <= set(stored.column("row_id").to_pylist())
        assert len(set(stored.column("prediction_id").to_pylist())) == stored.num_rows


@pytest.fixture
def rolled(tmp_path):
    Rolled.prepare(tmp_path / "state.db")
    with closing(SQLiteDatabase(tmp_path / "state.db", SCHEMA)) as database:
        found = Rolled(database, Clock(NOW))
        found.begin()
        yield found


def look(rolled, at, known=BETTER):
    """Look at a moment after requests, with outcomes."""
    rolled.clock.set(at)
    rolled.known = known
    rolled.rolling.counters.add(rolled.newest().model, 2, rows=100, took=500)
    rolled.rolling.counters.flush()
    return rolled.rolling.advance()


def test_the_time_of_a_step_begins_again(rolled):
    assert look(rolled, NOW + FAR).startswith("to canary at 10%")
    assert rolled.newest().since == NOW + FAR
    assert look(rolled, NOW + HOUR) is None
    assert rolled.newest().since == NOW + HOUR
    told = rolled.rolling.audit.list(kind="rollout")[-1]
    assert (told.decision, told.by) == ("began its time again", "loop")
    assert look(rolled, NOW + 2 * HOUR - 1) is None
    assert look(rolled, NOW + 2 * HOUR).startswith("to canary at 50%")
    assert look(rolled, NOW + 3 * HOUR).startswith("promoted")
    assert rolled.check() == ("done", 2)


@pytest.mark.parametrize("at", [NOW - HOUR, NOW + HOUR - UNITS["m"]])
def test_a_clock_that_is_behind_changes_nothing(rolled, at):
    look(rolled, NOW + HOUR)
    seen = rolled.newest()
    assert look(rolled, at) is None
    assert rolled.newest() == seen
