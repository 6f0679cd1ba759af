"""A forecast over a horizon: how many flights of each airport will leave late in the next six hours, asked every hour.

python -m examples.flights.forecast      # about a minute of processor time

The label is a sum over what happens within its horizon, so a row is learned from six hours later and not before. Beside the model
stand the answers that need none: what is usual, the last six hours, the same hours a week ago. Then four months are lived
through the loop, which trains again every 30 days.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor

from examples.flights.data import Sources, load
from examples.flights.project import (
    LATE,
    ZONE,
    Flight,
    departures,
    origin,
    station,
)
from tenfold import (
    App,
    Derived,
    Events,
    FeatureView,
    Label,
    Model,
    Platform,
    Project,
    Release,
    checks,
    col,
    count,
)
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.times import to_us
from tenfold.monitoring.performance import Matured
from tenfold.ui.documents import version_document
from tenfold.ui.terminal import Progress, console, table

HORIZON = 6  # hours
START, END = "2013-01-08", "2013-12-31"
LIVE = "2013-09-01"


class Hour:
    origin: str
    at: datetime
    published: datetime


hours = Events("hours", Hour, time="at", known="published", id=("origin", "at"))
"""When a forecast is due: every hour, for every airport."""

plan = Events("plan", Flight, time="published", id="flight_id")
"""The flights of a day by when they are announced, a day ahead: so a window of this source looks into the day to come."""

delays = Derived("delays", source=departures, added={"late": col("dep_delay") > LATE})
late = col("late")

moment = FeatureView(
    "moment",
    source=hours,
    features={
        "minute_of_day": col("at").minute_of_day(ZONE),
        "weekday": col("at").weekday(ZONE),
        "origin": col("origin"),
    },
)
lately = FeatureView(
    "lately",
    entity=origin,
    source=delays,
    features={f"late_{window}": late.sum(window=window).fill_null(0) for window in ("1h", "3h", "6h", "24h")}
    | {f"delay_{window}": col("dep_delay").mean(window=window) for window in ("1h", "3h")}
    | {
        "late_yesterday": late.sum(window="6h", offset="18h").fill_null(
            0
        ),  # the same six hours, a day and a week before
        "late_last_week": late.sum(window="6h", offset="162h").fill_null(0),
        "share_7d": late.mean(window="7d"),
    },
)
ahead = FeatureView(
    "ahead",
    entity=origin,
    source=plan,
    features={
        # announced between 24 and 18 hours ago: to leave within six hours from now
        "next_6h": count(window="6h", offset="18h"),
        "next_2h": count(window="2h", offset="22h"),
    },
)

late_ahead = Model(
    "late_ahead",
    spine=hours,
    features=[moment, lately, ahead, station],
    label=Label(delays, on="origin", value=late.sum().fill_null(0), horizon=f"{HORIZON}h"),
    estimator=LGBMRegressor(
        objective="poisson",
        n_estimators=200,
        num_leaves=15,
        learning_rate=0.05,
        min_child_samples=50,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        random_state=7,
        verbosity=-1,
    ),
    metrics=["mean_absolute_error", "root_mean_squared_error"],
    folds=3,
    test_window="28d",
    slices=["moment.origin"],
)
release = Release(
    late_ahead,
    retrain_every="30d",
    gates=[checks.beats_baselines(), checks.beats_champion("mean_absolute_error", by=-0.2)],
    monitors=[checks.at_most("mean_absolute_error", 12.0, window="28d", then="retrain")],
)
project = Project("forecast", releases=[release])


@dataclass(frozen=True)
class Month:
    """A month of forecasts: how many flights left late within six hours, on average, and the mean absolute errors."""

    month: str
    forecasts: int
    late: float
    error: float
    last_week: float


def sources(made: Sources) -> dict[str, pd.DataFrame]:
    """Return the rows of the project's sources."""
    at = pd.date_range(START, END, freq="h", tz="UTC", inclusive="left").as_unit("us")
    airports = sorted(made.schedule["origin"].unique())
    due = pd.DataFrame({"origin": np.repeat(airports, len(at)), "at": np.tile(at, len(airports))})
    due["published"] = due["at"] - pd.Timedelta(days=1)
    return {
        "hours": due.sort_values(["published", "origin"], ignore_index=True),
        "plan": made.schedule,
        "departures": made.departures,
        "weather": made.weather,
    }


def run(app: App, clock: VirtualClock, progress: Callable[[str], object]) -> dict[str, Any]:
    """Train on what was known on 1 September, live through the rest of the year; return the evaluation and the months."""
    progress("load the flights of 2013")
    for name, rows in sources(load()).items():
        app.ingest(name, rows, history=True, key=name)
    app.flush()
    clock.set(to_us(LIVE))
    progress("train on what was known on 1 September")
    app.loop().retrain("first", "the first version")
    progress("live through the rest of the year")
    trained = sum(len(day.trainings) for day in app.replay(LIVE, END))
    served = app.matured(late_ahead, to_us(LIVE), to_us(END))
    return {
        "evaluation": version_document(app.kept, late_ahead.name, 1)["evaluation"],
        "months": [asdict(month) for month in months(served)],
        "trained": trained,
    }


def months(served: Matured) -> list[Month]:
    """Return what was served by month, beside what the same hours of the week before said."""
    names = list(late_ahead.columns)
    before = served.predictions.features[:, names.index("lately.late_last_week")]
    by = np.array(served.predictions.at, dtype="datetime64[us]").astype("datetime64[M]")
    found = []
    for month in np.unique(by):
        mine = by == month
        y, score = served.y[mine], served.predictions.score[mine]
        found.append(
            Month(
                str(month),
                int(mine.sum()),
                float(y.mean()),
                float(np.abs(y - score).mean()),
                float(np.abs(y - before[mine]).mean()),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="build/forecast.json", help="where the figures go")
    parser.add_argument(
        "--page", default="build/forecast.html", help="where the page of the first version goes"
    )
    parser.add_argument(
        "--home", default="build/forecast", help="a project folder; what was there is removed"
    )
    options = parser.parse_args()
    shutil.rmtree(options.home, ignore_errors=True)
    clock = VirtualClock(to_us(START))
    platform = Platform(home=Path(options.home), clock=clock)
    with Progress(SystemClock()) as progress, project.open(platform) as app:
        found = run(app, clock, progress.step)
        app.show(f"{late_ahead.name}/1").save(options.page)
    out = Path(options.out)
    out.write_text(json.dumps(found, indent=2) + "\n")
    tell(found)


def tell(found: dict[str, Any]) -> None:
    """Show the first version beside the answers that need no model, and the months it lived through."""
    known = found["evaluation"]
    own = known["metrics"]["mean_absolute_error"]
    rows = [("the model", own["value"], f"{own['low']:.2f} to {own['high']:.2f}")]
    rows += [(name, one["mean_absolute_error"], "") for name, one in known["baselines"].items()]
    title = f"Late departures within {HORIZON} hours, by airport: mean absolute error of {known['rows']['test']:,} forecasts"
    table(console(), title, ["answer", "error", "95 %"], rows)
    lived = [tuple(month.values()) for month in found["months"]]
    heads = ["month", "forecasts", "late, mean", "error", "as last week"]
    table(console(), f"Lived through, with {found['trained']} trainings", heads, lived)


if __name__ == "__main__":
    main()
