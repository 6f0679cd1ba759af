"""The forecast of the flights looks ahead only where it may: into the plan, and for its label."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from examples.flights import forecast
from examples.flights.data import Sources
from tenfold import Platform, VirtualClock
from tenfold.core.times import to_datetime, to_us
from tenfold.ui.documents import version_document

BEGIN, DAYS = datetime(2013, 1, 8, tzinfo=UTC), 40
AIRPORTS = ("EWR", "JFK")
PLACES = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(3)
    count = 3_000
    scheduled = pd.to_datetime(BEGIN) + pd.to_timedelta(rng.integers(0, DAYS * 1440, count), unit="min")
    flights = pd.DataFrame(
        {
            "flight_id": [f"F{number}" for number in range(count)],
            "number": "UA1",
            "carrier": "UA",
            "origin": rng.choice(AIRPORTS, count),
            "dest": "BOS",
            "tailnum": None,
            "distance": 200.0,
            "scheduled": scheduled.as_unit("us"),
        }
    )
    flights["published"] = flights["scheduled"] - timedelta(days=1)
    flights["dep_delay"] = rng.choice([-3.0, 5.0, 15.0, 16.0, 90.0], count)
    flights["departed"] = flights["scheduled"] + pd.to_timedelta(flights["dep_delay"], unit="min")
    hour = pd.date_range(BEGIN, periods=DAYS * 24, freq="h").as_unit("us")
    weather = pd.DataFrame({"origin": "EWR", "hour": hour} | dict.fromkeys(PLACES, 1.0))
    departures = flights.drop(columns="published")
    nothing = pd.DataFrame()
    return Sources(
        flights.drop(columns=["dep_delay", "departed"]), departures, nothing, nothing, weather, nothing
    )


@pytest.fixture(scope="module")
def app(made, tmp_path_factory):
    clock = VirtualClock(to_us(BEGIN))
    with forecast.project.open(Platform(home=tmp_path_factory.mktemp("forecast"), clock=clock)) as app:
        for name, rows in forecast.sources(made).items():
            app.ingest(name, rows, history=True)
        app.flush()
        clock.set(to_us(BEGIN + timedelta(days=DAYS + 1)))
        yield app


def test_the_plan_is_counted_ahead_and_the_past_behind(app, made):
    found = app.training_set(forecast.late_ahead, BEGIN + timedelta(days=9), BEGIN + timedelta(days=30))
    late = made.departures[made.departures["dep_delay"] > 15]
    six, day = timedelta(hours=6), timedelta(days=1)
    for row in range(0, len(found), 23):
        at, origin = pd.Timestamp(int(found.at[row]), unit="us", tz="UTC"), found["moment.origin"].values[row]

        def within(table, column, low, high, inclusive="neither", at=at, origin=origin):
            event = table.loc[table["origin"] == origin, column]
            return int(event.between(at + low, at + high, inclusive=inclusive).sum())

        values = {name: found[name].plain()[row] for name in found.columns}
        assert values["ahead.next_6h"] == within(made.schedule, "scheduled", timedelta(), six)
        assert values["lately.late_6h"] == within(late, "departed", -six, timedelta())
        assert values["lately.late_yesterday"] == within(late, "departed", -day, six - day)
        assert values["lately.late_last_week"] == within(late, "departed", -7 * day, six - 7 * day)
        assert found.y[row] == within(late, "departed", timedelta(), six, "both")
    assert row > 900


def test_a_row_is_learned_from_when_its_horizon_is_over(app):
    rows = app.dataset(forecast.late_ahead).training_set(to_us(BEGIN + timedelta(days=20)))
    newest = to_datetime(int(rows.at.max()))
    assert newest == BEGIN + timedelta(days=19, hours=17), "an hour in the past, and six hours"


def test_answers_that_need_no_model_stand_beside_the_version(app):
    small = replace(forecast.late_ahead, test_window="7d", folds=1)
    version = app.train(small)
    found = version_document(app.kept, small.name, version.number)["evaluation"]
    assert found["baselines"].keys() == {"mean", "persistence", "seasonal naive"}
    assert found["metrics"]["mean_absolute_error"]["value"] > 0
