"""What the loop does while a candidate is on its way: it watches, and lets a candidate keep its place or not."""

from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from tenfold import Platform, Project, Release, VirtualClock, checks
from tenfold.core.times import UNITS, iso
from tenfold.platform import SCHEMA
from tenfold.registry.versions import Stage
from tenfold.sources.sqlite import SQLiteDatabase
from tenfold.training.folds import Split
from tests.examples import tiny
from tests.unit.rolled import BETTER, EQUAL, NO_PAIRS, Rolled
from tests.unit.tiny_home import one_version, own_copy

NOW, DAY, WEEK = tiny.ASK_AT, UNITS["d"], UNITS["w"]
NAME = tiny.late_order.name
RELEASE = Release(tiny.late_order, gates=[checks.at_least("roc_auc", 0.0)], shadow="2d", retrain_every="1d")


built = pytest.fixture(scope="module")(one_version)
home = pytest.fixture(own_copy)


@contextmanager
def opened(home, now=NOW, **how):
    """Yield the app of a home, under the release with some words changed."""
    project = Project("tiny", releases=[replace(RELEASE, **how)])
    with project.open(Platform(home=home, clock=VirtualClock(now))) as app:
        yield app


def watched(app):
    """Return the weeks in which a monitor was judged, with what it said."""
    return [(item.at // WEEK - NOW // WEEK, item.decision) for item in app.audit.list(NAME, "monitor")]


def test_monitors_are_judged_every_week_while_a_rollout_is_paused_and_nothing_is_trained(home):
    monitor = checks.at_least("roc_auc", 1.1, window="100d", then="retrain")
    with opened(home, monitors=[monitor], cooldown="1d") as app:
        app.score(tiny.late_order, NOW - 20 * DAY, NOW)
        app.promote(NAME, app.train(NAME).number)
        app.rollout().pause(by="ann", why="holidays")
        for day in range(21):
            app.clock.set(NOW + day * DAY)
            assert app.loop().tick() == []
        assert watched(app) == [(week, "degraded") for week in range(4)]
        app.rollout().undo(by="ann")
        assert app.loop().tick()[0].startswith("schedule/late_order/")


def test_a_held_candidate_is_replaced_only_when_its_outcomes_have_had_their_time(home):
    with opened(home, shadow="12h") as app:
        app.promote(NAME, app.train(NAME).number)
        app.clock.set(NOW + DAY // 2)
        app.score(tiny.late_order, NOW - 20 * DAY, NOW)
        takes = tiny.late_order.label.takes_us
        assert takes == DAY
        for since in (DAY // 2, DAY, 3 * DAY // 2, 2 * DAY - 1):
            app.clock.set(NOW + since)
            assert app.loop().tick() == []
            rollout = app.rollouts.open(NAME)
            assert (rollout.candidate, rollout.held) == (2, True)
        app.clock.set(NOW + 2 * DAY)
        assert len(app.loop().tick()) == 1
        assert app.rollouts.open(NAME).candidate == 3


@pytest.mark.parametrize(
    ("how", "known", "asked", "keeps"),
    [
        ({}, EQUAL, 20, True),
        ({}, NO_PAIRS, 20, True),
        ({}, NO_PAIRS, 19, False),  # no outcomes are to come
        ({"approval": True}, EQUAL, 20, True),
        ({"approval": True}, BETTER, 20, False),  # it waits for a person
    ],
)
def test_what_is_held_keeps_its_place_while_outcomes_are_to_come(tmp_path, how, known, asked, keeps):
    Rolled.prepare(tmp_path / "state.db")
    release = Release(tiny.late_order, shadow="1h", **how)
    with closing(SQLiteDatabase(tmp_path / "state.db", SCHEMA)) as database:
        rolled = Rolled(database, VirtualClock(0), release)
        rolled.begin()
        assert rolled.rolling.busy()
        assert rolled.advance(known, hours=1, asked=asked).startswith("held in shadow")
        assert rolled.rolling.busy() == keeps
        rolled.clock.set(2 * DAY)
        assert not rolled.rolling.busy()


def test_a_candidate_whose_champion_has_seen_all_test_rows_is_compared_in_shadow(home):
    with opened(home, gates=[checks.beats_champion("roc_auc", by=0.5)]) as app:
        late = app.train(NAME, Split((0, NOW - DAY), (NOW - 6 * DAY, NOW - DAY), NOW)).number
        for stage in (Stage.STAGING, Stage.PRODUCTION):
            app.registry.move(NAME, late, stage, by="ann", why="a test", evidence={})
        number = app.train(NAME).number
        why = app.promote(NAME, number)
        assert "the champion may have learned from 59 of 59 test rows, and is not compared on them" in why
        assert app.rollouts.open(NAME).candidate == number


def test_what_a_monitor_asks_for_is_trained_once_and_said_once_where_the_cooldown_is_short(home):
    monitor, said = checks.at_least("roc_auc", 1.1, window="100d", then="retrain"), []
    monday = NOW + WEEK - NOW % WEEK
    with opened(home, now=monday, shadow=None, retrain_every=None, monitors=[monitor], cooldown="1d") as app:
        app.score(tiny.late_order, NOW - 20 * DAY, NOW)
        loop, causes = app.loop(), []
        for hour in (0, 1, 24, 25, 48, 7 * 24 - 1):
            app.clock.set(monday + hour * UNITS["h"])
            causes += [(hour, cause) for cause in loop.tick(said.append)]
        assert [hour for hour, _ in causes] == [0]
        told = app.audit.list(NAME, "training")
    assert [(item.decision, item.at - monday, item.why) for item in told] == [("waits", DAY, said[0])]
    assert said == [
        f"nothing is trained until the monitors are judged again, on {iso(monday + WEEK)[:10]}: "
        f"{told[0].evidence['run']} was trained because of what they said last "
        "(degraded: roc_auc 1.0000, at least 1.1 needed over 227 matured predictions)"
    ]


def test_what_a_monitor_said_that_is_declared_no_more_trains_nothing(home):
    strict, loose = (checks.at_least("roc_auc", bound, window="100d", then="retrain") for bound in (1.1, 0.1))
    quiet = checks.at_least("roc_auc", 1.1, window="100d")
    monday = NOW + WEEK - NOW % WEEK
    for place, declared in enumerate(([loose], [quiet], [])):
        copy = own_copy(home, home.with_name(f"home {place}"))
        how = {"shadow": None, "retrain_every": None, "cooldown": "1d"}
        with opened(copy, now=monday, monitors=[strict], **how) as app:
            app.score(tiny.late_order, NOW - 20 * DAY, NOW)
            app.loop()._watch(monday)
            assert watched(app) == [(1, "degraded")]
        with opened(copy, now=monday + DAY, monitors=declared, **how) as app:
            assert app.loop().tick() == []
            assert watched(app)[1:] == ([(1, "healthy")] if declared == [loose] else [])


def test_a_monitor_that_is_declared_in_the_middle_of_a_week_is_judged_then(home):
    monday = NOW + WEEK - NOW % WEEK
    first, second = (
        checks.at_least(metric, 0.1, window="100d") for metric in ("roc_auc", "average_precision")
    )
    with opened(home, now=monday, monitors=[first]) as app:
        app.score(tiny.late_order, NOW - 20 * DAY, NOW)
        app.loop().tick()
    with opened(home, now=monday + DAY, monitors=[first, second]) as app:
        app.loop().tick()
        said = app.audit.list(NAME, "monitor")
    assert [(item.at - monday, item.evidence["check"]) for item in said] == [
        (0, first.text),
        (DAY, second.text),
    ]
