"""The flights example in small: real data, real processes, two hours live with a kill -9 in the middle."""

import shutil

import pandas as pd
import pytest

from examples.flights import project as flights
from examples.flights.data import known, load
from examples.flights.demo import InSeconds
from examples.flights.live import PROJECT, moments
from examples.live import Processes, free_port, play
from tenfold import Platform
from tenfold.core.clock import SharedClock
from tenfold.core.errors import GateFailed
from tenfold.core.times import DAY, UNITS, to_us
from tenfold.registry.versions import Stage
from tenfold.training.dataset import Dataset
from tenfold.training.folds import first_row, newest_split

START = to_us("2013-04-01T20:00:00+00:00")  # the busy afternoon
LIVE = 2 * UNITS["h"]
MODEL = flights.late_departure


@pytest.fixture(scope="module")
def sources():
    return load()


@pytest.fixture(scope="module")
def home(sources, tmp_path_factory):
    """Return a home with 24 days of history and a first version in production."""
    home = tmp_path_factory.mktemp("flights") / "home"
    home.mkdir()
    clock = SharedClock(home / "clock")
    clock.set(START)
    with flights.project.open(Platform(home=home, clock=clock)) as app:
        for name, rows in sources.items():
            moment = known(name, rows)
            early = pd.Timestamp(START - 24 * DAY, unit="us", tz="UTC") if name != "planes" else moment.min()
            late = pd.Timestamp(START, unit="us", tz="UTC")
            app.ingest(name, rows[(moment >= early) & (moment < late)], history=True)
        app.process()
        app.loop().retrain("first", "the first version")
    return home


@pytest.fixture
def app(home, tmp_path):
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    with flights.project.open(Platform(home=copy, clock=SharedClock(copy / "clock"))) as app:
        yield app


def test_served_features_are_the_lake_s_to_the_bit_also_after_kills(home, sources, tmp_path):
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    clock = SharedClock(copy / "clock")
    history = list(moments(sources, START, START + LIVE))
    with Processes(PROJECT, copy, copy / "clock", free_port()) as processes:
        kills = {len(history) // 3: "worker", len(history) // 2: "serve"}

        def each(place):
            if place in kills:
                processes.kill(kills[place])

        played = play(history, processes, clock, row_id="flight_id", each=each)
    asked = sum(len(moment.asked) for moment in history)
    assert played.predictions == asked > 100
    assert played.events == sum(len(rows) for moment in history for _, _, rows in moment.events)
    with flights.project.open(Platform(home=copy, clock=clock)) as app:
        app.flush()
        found = app.skew(MODEL)
        assert (found.rows, found.cells, found.mismatches) == (asked, asked * len(MODEL.columns), 0)


def test_a_training_can_be_rebuilt_from_the_table_versions_it_names(app, sources):
    run = app.runs.list("late_departure")[0]
    assert set(run.data) >= set(flights.project.sources)
    rows = sources.departures
    moment = known("departures", rows)
    later = moment >= pd.Timestamp(START, unit="us", tz="UTC")
    app.ingest("departures", rows[later].head(500), history=True)  # the tables move on
    app.flush()
    assert app.lake.version("departures") > run.data["departures"]
    assert app.rebuild(MODEL, 1)["same"]


def test_a_candidate_trained_on_delays_in_seconds_is_refused(app):
    dataset = Dataset(MODEL, InSeconds(app.lake))
    version = app.trainer.train(MODEL, dataset, newest_split(MODEL, START, first_row(dataset)))
    with pytest.raises(GateFailed, match=r"log_loss .* against the champion's"):
        app.promote(MODEL, version.number, by="a colleague")
    assert app.registry.get(MODEL.name, version.number).stage == Stage.ARCHIVED
    assert app.registry.production(MODEL.name).number == 1
    newest = app.audit.list(kind="gate")[-1]
    assert (newest.decision, newest.by) == ("refused", "a colleague")
    assert any(part["passed"] is False for part in newest.evidence["results"])


def test_a_day_is_scored_once_and_rolled_back_in_one_step(app):
    day = app.score(MODEL, START - DAY, START)
    again = app.score(MODEL, START - DAY, START)
    assert len(day) > 500
    assert day.score.tolist() == again.score.tolist()
    app.loop().retrain("second", "a second version")
    assert app.registry.production(MODEL.name).number == 2
    app.rollback(MODEL, why="a test")
    assert app.registry.production(MODEL.name).number == 1
    stages = [version.stage for version in app.registry.versions(MODEL.name)]
    assert stages.count(Stage.PRODUCTION) == 1
