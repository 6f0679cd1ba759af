"""What the loop does while a candidate is on its way: it watches, and lets a candidate keep its place or not."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from tenfold import Platform, Project, Release, VirtualClock, checks
from tenfold.core.times import UNITS
from tests.examples import tiny
from tests.unit.tiny_home import own_copy

NOW, DAY, WEEK = tiny.ASK_AT, UNITS["d"], UNITS["w"]
NAME = tiny.late_order.name
RELEASE = Release(tiny.late_order, gates=[checks.at_least("roc_auc", 0.0)], shadow="2d", retrain_every="1d")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("waits") / "home"
    tiny.build(home)
    return home


@pytest.fixture
def home(built, tmp_path):
    return own_copy(built, tmp_path)


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
