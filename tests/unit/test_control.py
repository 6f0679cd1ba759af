"""The controller: what it looks at while it is busy, what fails for one release only, and two of them at once."""

import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tenfold import Model, Platform, Project, Release, VirtualClock
from tenfold.automation.control import control
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS
from tenfold.registry.rollouts import UNDONE
from tests.examples import rolling, tiny
from tests.examples.rolling import LATE, RAISES
from tests.unit.rolled import NO_PAIRS

OTHER = Model(
    "other",
    spine=tiny.orders,
    lead="1h",
    features=[tiny.this_order],
    label=LATE.label,
    estimator=tiny.ESTIMATOR,
    test_window="5d",
)
RELEASES = [Release(LATE, canary=(0.5,), bake="1h"), Release(OTHER, retrain_every="1d")]
LATER = tiny.ASK_AT + 2 * UNITS["d"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("control")
    rolling.build(home)
    with opened(home) as app:
        app.promote(OTHER, app.train(OTHER).number)
    return home


@pytest.fixture
def home(built, tmp_path):
    shutil.copytree(built, tmp_path / "home")
    return tmp_path / "home"


@contextmanager
def opened(home, *releases):
    project = Project("rolling", releases=releases or RELEASES)
    with project.open(Platform(home=home, clock=Moved(tiny.ASK_AT))) as app:
        yield app


class Moved(VirtualClock):
    """A clock that can be set back too."""

    def set(self, now):
        self._now = now


@contextmanager
def controlled(loops, clock, said):
    """Have a controller run in a thread."""
    ended = threading.Event()
    thread = threading.Thread(target=control, args=(loops, clock, ended.is_set), kwargs={"tell": said.append})
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def until(holds):
    while not holds():
        SystemClock().sleep(0.02)


def candidate(app, fault=rolling.FINE):
    number = app.train(rolling.model(fault)).number
    app.promote(LATE, number)
    return number


def phase(app):
    return app.rollouts.newest(LATE.name).phase


def test_a_candidate_that_fails_is_undone_while_the_controller_trains_another_model(home):
    training, go_on, said = threading.Event(), threading.Event(), []
    with opened(home) as app:
        mine, other = app.loop(LATE), app.loop(OTHER)

        def dataset():
            training.set()
            go_on.wait()
            return other.dataset()

        candidate(app, RAISES)
        app.clock.set(LATER)
        with controlled([replace(other, dataset=dataset), mine], app.clock, said):
            training.wait()
            app.traffic.counters.add(LATE.name, 2, rows=1_000, took=500, raised=100)
            until(lambda: phase(app) == UNDONE)
            go_on.set()
            until(lambda: any("other: trained because of schedule" in line for line in said))
    assert said[0].startswith("late_order: candidate undone: it raised for 100")


def test_the_controller_says_what_outcomes_or_time_decided(home):
    said = []
    with opened(home) as app:
        candidate(app)
        app.clock.set(LATER)
        with controlled([app.loop(LATE)], app.clock, said):
            until(lambda: said)
    assert said[0].startswith("late_order: candidate held in canary at 50%: ")


def test_a_controller_that_is_told_to_stop_finishes_what_it_does_and_begins_nothing_more(home):
    ended, said = threading.Event(), []
    with opened(home) as app:
        mine, other = app.loop(LATE), app.loop(OTHER)

        def dataset():
            ended.set()
            return other.dataset()

        candidate(app)
        app.clock.set(LATER)
        control([replace(other, dataset=dataset), mine], app.clock, ended.is_set, tell=said.append)
    assert [line.partition(":")[0] for line in said] == ["other"], said
    assert said[0].startswith("other: trained because of schedule")


def test_what_fails_for_one_release_holds_up_no_other(home, caplog):
    said = []
    with opened(home) as app:
        mine, other = app.loop(LATE), app.loop(OTHER)

        def broken(_):
            raise RuntimeError("no disk")

        candidate(app)
        app.clock.set(LATER)
        broken_loop = replace(mine, rolling=replace(mine.rolling, outcomes=broken))
        with controlled([broken_loop, other], app.clock, said):
            until(lambda: len(said) == 2)
    assert said[0] == "late_order: RuntimeError: no disk; it is tried again"
    assert said[1].startswith("other: trained because of schedule")
    assert "the controller failed model=late_order" in caplog.text


def test_that_something_is_away_is_told_once_and_without_a_trace(home, caplog):
    said, tried = [], []
    with opened(home) as app:
        loop = app.loop(LATE)

        def away(_):
            tried.append(app.clock.now())
            if len(tried) <= 3:
                raise Unavailable("the database does not answer.")
            return NO_PAIRS

        candidate(app)
        with controlled([replace(loop, rolling=replace(loop.rolling, outcomes=away))], app.clock, said):
            for minute in range(1, 5):
                until(lambda minute=minute: len(tried) == minute)
                app.clock.set(tiny.ASK_AT + minute * UNITS["m"])
            until(lambda: len(tried) == 5)
    assert said == [
        "late_order: Unavailable: the database does not answer; it is tried again",
        "late_order: works again",
    ]
    assert caplog.text == ""


def test_a_clock_that_is_set_back_does_not_stop_the_controller(home):
    said, looked = [], []
    with opened(home) as app:
        loop = app.loop(LATE)

        def outcomes(_):
            looked.append(app.clock.now())
            return NO_PAIRS

        candidate(app)
        with controlled([replace(loop, rolling=replace(loop.rolling, outcomes=outcomes))], app.clock, said):
            until(lambda: looked)
            app.clock.set(tiny.ASK_AT - UNITS["d"])
            until(lambda: looked[-1] == tiny.ASK_AT - UNITS["d"])
            count = len(looked)
            app.clock.set(tiny.ASK_AT - UNITS["d"] + UNITS["m"])
            until(lambda: len(looked) > count)
    assert said == []


def test_two_controllers_train_once_and_neither_calls_it_a_failure(home):
    training, go_on, trained = threading.Event(), threading.Event(), []
    with opened(home) as app:
        app.clock.set(LATER)
        loop = app.loop(OTHER)

        asked = []

        def dataset():
            asked.append(threading.current_thread())
            if (
                asked[-1] is slow and asked.count(slow) == 2
            ):  # the first time it asks which rows there are, and has no run yet
                training.set()
                go_on.wait()
            return loop.dataset()

        mine = replace(loop, dataset=dataset)
        slow = threading.Thread(target=lambda: trained.extend(mine.tick()))
        slow.start()
        training.wait()
        assert mine.tick() == [], "the other one is at it"
        assert mine.resume() == 0
        go_on.set()
        slow.join()
        assert len(trained) == 1
        assert app.audit.list("other", "training") == []
        assert mine.tick() == []
        assert [version.number for version in app.registry.versions("other")] == [1, 2]


def test_a_training_whose_owner_died_is_gone_on_with_by_a_controller_that_lives(home):
    said = []
    with opened(home) as app:
        loop = app.loop(LATE)
        with controlled([loop], app.clock, said):
            died = loop._begun("died", "asked for", "loop")
            app.clock.set(tiny.ASK_AT + UNITS["m"])
            until(lambda: app.journal.get(died).status == "done")
            until(lambda: said)
    assert said == ["late_order: finished 1 interrupted trainings"]


@pytest.mark.parametrize("release", [rolling.CANARY, rolling.SHADOW])
def test_a_candidate_whose_files_are_gone_goes_no_further(home, release):
    with opened(home, release) as app:
        number = candidate(app)
        app.traffic.counters.add(LATE.name, number, rows=1_000, took=500)
        app.clock.set(tiny.ASK_AT + 8 * UNITS["d"])
        app.rollout().approve(by="ann")
        app.blobs.delete(app.registry.get(LATE.name, number).artefact)
        gone = f"undone: it cannot be loaded any more: the files of late_order version {number} are gone"
        assert app.rollout().advance().startswith(gone)
        assert phase(app) == UNDONE
        assert app.registry.production(LATE.name).number == 1
