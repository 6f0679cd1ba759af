"""Nothing that knows what came later answers in a replay: neither the champion nor a candidate on its way."""

import pytest

from tenfold import Platform, Project, Release, VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS
from tenfold.registry.versions import Stage
from tenfold.training.folds import Split
from tests.examples import tiny
from tests.unit.tiny_home import own_copy

NAME, NOW, DAY = tiny.late_order.name, tiny.ASK_AT, UNITS["d"]
PROJECT = Project("tiny", releases=[Release(tiny.late_order, canary=(0.5,))])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Make a home with a champion of eight days before the history ends, and a candidate of its end on its way."""
    home = tmp_path_factory.mktemp("replay") / "home"
    with PROJECT.open(Platform(home=home, clock=VirtualClock(NOW - 8 * DAY))) as app:
        tiny.load(app)
        app.promote(NAME, app.train(NAME).number)
    with PROJECT.open(Platform(home=home, clock=VirtualClock(NOW))) as app:
        app.promote(NAME, app.train(NAME).number)
    return home


@pytest.fixture
def app(built, tmp_path):
    home = own_copy(built, tmp_path)
    with PROJECT.open(Platform(home=home, clock=VirtualClock(NOW - 7 * DAY))) as app:
        yield app


def test_a_candidate_of_the_future_is_refused(app):
    with pytest.raises(DefinitionError) as told:
        app.replay(NOW - 7 * DAY, NOW - 6 * DAY)
    assert str(told.value) == (
        "version 2 on its way to production was made on 2024-05-21, after the start 2024-05-14: it knows what was not known "
        "then. Replay in a home of its own."
    )
    app.rollout().undo(by="ann")
    (day,) = app.replay(NOW - 7 * DAY, NOW - 6 * DAY)
    assert day.scored == 12


def test_a_candidate_that_was_there_is_replayed(app):
    app.clock.set(NOW)
    (day,) = app.replay(NOW, NOW + DAY)
    assert day.trainings == []


def test_a_version_that_learned_from_what_came_is_refused(app):
    app.rollout().undo(by="ann")
    split = Split((NOW - 19 * DAY, NOW - 4 * DAY), (NOW - 3 * DAY, NOW - 2 * DAY), NOW)
    learned = app.train(NAME, split)
    assert learned.created == NOW - 7 * DAY
    for stage in (Stage.STAGING, Stage.PRODUCTION):
        app.registry.move(NAME, learned.number, stage, by="ann", why="by hand", evidence={})
    with pytest.raises(DefinitionError, match="version 3 in production learned from rows until 2024-05-17"):
        app.replay(NOW - 7 * DAY, NOW - 6 * DAY)
