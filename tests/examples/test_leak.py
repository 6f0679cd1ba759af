"""The page docs/leak.md says what happens, and the leak is closed where its answer is known exactly."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lightgbm import LGBMClassifier

from examples.flights import leak
from tenfold import Events, Label, Model, col
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS, to_us
from tenfold.processing import quarantine
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.processing.quarantine import Quarantine
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.sources.sqlite import SQLiteDatabase
from tenfold.store.materialize import LakeSink
from tenfold.store.offline import History
from tenfold.training.folds import Split

PAGE = (Path(__file__).parents[2] / "docs" / "leak.md").read_text()
DAY = datetime(2013, 7, 1, tzinfo=UTC)
FLIGHT = {
    "flight_id": "A",
    "origin": "JFK",
    "scheduled": DAY + timedelta(hours=10),
    "departed": DAY + timedelta(hours=14),
    "dep_delay": 240.0,
}


@pytest.fixture(scope="module")
def page():
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(block, names)
    return names


def fill(lake, folder, source, rows, *, clock=None):
    """Load rows as history, or as arriving now on a clock."""
    now = clock or VirtualClock(to_us("2014-02-01"))
    log = MemoryLog(now)
    with closing(SQLiteDatabase(folder / f"{source.name}.db", quarantine.SCHEMA)) as database:
        aside = Quarantine(database, now)
        done = ingest(source, rows, log=log, quarantine=aside, clock=now, history=clock is None)
    assert (done.stored, done.rejected) == (len(rows), 0)
    LakeSink(log, lake, [source.name]).flush()


def delay(history, view, clock_time):
    hour, minute = map(int, clock_time.split(":"))
    at = column("time", [to_us(DAY + timedelta(hours=hour, minutes=minute))]).values
    return history.features(view, [column("str", ["JFK"])], at)["delay"].plain()[0]


def test_the_page_declares_what_is_measured(page):
    assert [page[name].fingerprint for name in ("HONEST", "MISTAKEN", "CURED")] == [
        model.fingerprint for model in leak.SMALL
    ]
    for honest, mistaken, cured in (leak.SMALL, leak.WHOLE):
        assert honest.columns == mistaken.columns == cured.columns
        assert (honest.lead_us, mistaken.lead_us, cured.lead_us) == (UNITS["h"], 0, UNITS["h"])


def test_the_page_says_what_each_declaration_sees(page, tmp_path):
    table = re.findall(r"^\| (\d\d:\d\d)[^|]*\| (\S+) \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
    assert len(table) == 4
    lake = MemoryLake()
    fill(lake, tmp_path, page["honest"].source, [FLIGHT])
    for moment, *cells in table:
        for name, cell in zip(("honest", "mistaken", "cured"), cells, strict=True):
            seen = delay(leak.AsDeclared(lake), page[name], moment)
            said = None if cell == "nothing" else float(cell.strip("*"))
            assert seen == said, (moment, name)


def test_stamps_of_the_honest_declaration_hide_the_outcome_from_the_mistaken_one(page, tmp_path):
    lake = MemoryLake()
    fill(lake, tmp_path, page["honest"].source, [FLIGHT])
    assert delay(History(lake), page["mistaken"], "11:00") is None
    assert delay(History(lake), page["mistaken"], "14:01") == 240


def test_what_arrives_live_is_not_known_before_even_when_declared_wrongly(page, tmp_path):
    lake = MemoryLake()
    arrival = VirtualClock(to_us(FLIGHT["departed"]))
    fill(lake, tmp_path, page["mistaken"].source, [FLIGHT], clock=arrival)
    assert delay(History(lake), page["mistaken"], "14:00") is None
    assert delay(History(lake), page["mistaken"], "14:01") == 240


class Flight:
    flight_id: str
    origin: str
    scheduled: datetime
    published: datetime


def model(page, departures, lead):
    """Very late or not, from the delay of the flight before."""
    return Model(
        "very_late",
        spine=Events("schedule", Flight, time="scheduled", known="published", id="flight_id"),
        lead=lead,
        features=[page["recent"](departures)],
        label=Label(departures, on="flight_id", value=col("dep_delay") > 200, horizon="24h"),
        estimator=LGBMClassifier(n_estimators=5, min_child_samples=1, n_jobs=1, verbosity=-1),
        metrics=["roc_auc"],
    )


def flights(days):
    """Return (departures, schedule): each day two flights share one fate, and leave after the second was decided."""
    departures, schedule = [], []
    for day in range(days):
        late = timedelta(minutes=240 if day % 2 else 180)
        for name, hour in (("A", 10), ("B", 11)):
            planned = DAY + timedelta(days=day, hours=hour)
            flight = {"flight_id": f"{name}{day}", "origin": "JFK", "scheduled": planned}
            departures.append(flight | {"departed": planned + late, "dep_delay": late.total_seconds() / 60})
            if name == "B":
                schedule.append(flight | {"published": planned - timedelta(days=1)})
    return departures, schedule


@pytest.mark.parametrize(
    ("name", "lead"), [("honest", "60m"), ("cured", "60m"), ("cured", None)], ids=lambda value: str(value)
)
def test_a_leak_that_is_perfect_offline_is_worth_nothing_served(page, tmp_path, name, lead):
    departures, schedule = flights(90)
    right, wrong = model(page, page[name].source, lead), model(page, page["mistaken"].source, None)
    lake = MemoryLake()
    fill(lake, tmp_path, page["honest"].source, departures)
    fill(lake, tmp_path, right.spine, schedule)
    start, middle, end = (to_us(DAY + timedelta(days=days)) for days in (0, 60, 90))
    split = Split((start, middle), (middle, end), to_us("2014-02-01"))
    steps = []
    found = leak.compare(lake, right, wrong, model(page, page["cured"].source, lead), split, steps.append)
    assert found == {"honest": 0.5, "offline": 1.0, "served": 0.5, "cured": 0.5}
    assert len(steps) == 3
