"""Will this flight leave more than 15 minutes late? Decided an hour before it should.

tenfold train examples/flights/project.py
tenfold run examples/flights/project.py      # worker and server, everything on this machine
"""

from datetime import datetime

from lightgbm import LGBMClassifier

from tenfold import (
    Derived,
    Entity,
    Events,
    FeatureView,
    Label,
    Model,
    Project,
    Release,
    Table,
    checks,
    col,
    count,
)

ZONE = "America/New_York"
LATE = 15  # minutes

# Sources: what happens, and from when it is known -------------------------------------------------


class Flight:
    flight_id: str
    number: str  # carrier and flight number
    carrier: str
    origin: str
    dest: str
    tailnum: str | None
    distance: float  # miles
    scheduled: datetime
    published: datetime


class Departure:
    flight_id: str
    number: str
    carrier: str
    origin: str
    dest: str
    tailnum: str | None
    distance: float
    scheduled: datetime
    departed: datetime
    dep_delay: float  # minutes; negative when early


class Arrival:
    flight_id: str
    carrier: str
    dest: str
    tailnum: str | None
    scheduled: datetime
    arrived: datetime
    arr_delay: float  # minutes


class Cancellation:
    flight_id: str
    carrier: str
    origin: str
    cancelled: datetime


class Weather:
    origin: str
    hour: datetime
    temp: float | None  # Fahrenheit
    dewp: float | None
    humid: float | None
    wind_speed: float | None  # miles an hour
    wind_gust: float | None
    precip: float | None
    pressure: float | None
    visib: float | None


class Plane:
    tailnum: str
    built: int | None
    seats: int
    since: datetime


DELAY = {
    "delay between -120 and 2880 minutes": (col("dep_delay") >= -120) & (col("dep_delay") <= 2880),
}
schedule = Events(
    "schedule",
    Flight,
    time="scheduled",
    known="published",
    id="flight_id",
    valid={
        "distance > 0": col("distance") > 0,
        "published before scheduled": col("published") < col("scheduled"),
    },
)
departures = Events("departures", Departure, time="departed", id="flight_id", valid=DELAY)
arrivals = Events("arrivals", Arrival, time="arrived", id="flight_id")
cancellations = Events("cancellations", Cancellation, time="cancelled", id="flight_id")
weather = Events(
    "weather",
    Weather,
    time="hour",
    delay="1h",  # the report of an hour is known when the hour is over
    id=("origin", "hour"),
    valid={
        "wind_speed up to 200": col("wind_speed") <= 200,
        "temp between -80 and 140": (col("temp") >= -80) & (col("temp") <= 140),
    },
)
planes = Table("planes", Plane, key="tailnum", time="since")

# Features: declared once, the same in backfill, stream, request and replay --------------------------

origin = Entity("origin", key="origin")
dest = Entity("dest", key="dest")
carrier = Entity("carrier", key="carrier")
route = Entity("route", key=("origin", "dest"))
carrier_here = Entity("carrier_here", key=("carrier", "origin"))
aircraft = Entity("aircraft", key="tailnum")


def declare(
    departures: Events | Derived,
    arrivals: Events | Derived,
    *,
    lead: str | None = "60m",
) -> Model:
    """Declare the features and the model over given sources, so that mistakes can be shown beside what is right."""
    delays = Derived("delays", source=departures, added={"late": col("dep_delay") > LATE})
    late, delay = col("late"), col("dep_delay")

    at_origin = FeatureView(
        "at_origin",
        entity=origin,
        source=delays,
        features={
            "departed_1h": count(window="1h"),
            "departed_3h": count(window="3h"),
            "departed_6h": count(window="6h"),
            "delay_1h": delay.mean(window="1h"),
            "delay_3h": delay.mean(window="3h"),
            "worst_3h": delay.max(window="3h"),
            "late_1h": late.mean(window="1h"),
            "late_3h": late.mean(window="3h"),
        },
    )
    of_carrier = FeatureView(
        "of_carrier",
        entity=carrier,
        source=delays,
        features={f"delay_{w}": delay.mean(window=w) for w in ("1h", "3h", "24h")}
        | {"late_3h": late.mean(window="3h"), "departed_6h": count(window="6h")},
    )
    of_carrier_here = FeatureView(
        "of_carrier_here",
        entity=carrier_here,
        source=delays,
        features={f"delay_{w}": delay.mean(window=w) for w in ("1h", "6h")}
        | {f"late_{w}": late.mean(window=w) for w in ("3h", "24h", "7d")},
    )
    to_dest = FeatureView(
        "to_dest",
        entity=dest,
        source=delays,
        features={"delay_1h": delay.mean(window="1h")}
        | {f"late_{w}": late.mean(window=w) for w in ("3h", "24h")},
    )
    on_route = FeatureView(
        "on_route", entity=route, source=delays, features={"late_7d": late.mean(window="7d")}
    )
    last_flight = FeatureView(
        "last_flight", entity=aircraft, source=delays, features={"delay": delay.last(window="48h")}
    )
    carrier_arrivals = FeatureView(
        "carrier_arrivals",
        entity=carrier,
        source=arrivals,
        features={"delay_3h": col("arr_delay").mean(window="3h")},
    )
    dest_arrivals = FeatureView(
        "dest_arrivals",
        entity=dest,
        source=arrivals,
        features={"delay_3h": col("arr_delay").mean(window="3h")},
    )
    last_arrival = FeatureView(
        "last_arrival",
        entity=aircraft,
        source=arrivals,
        features={"delay": col("arr_delay").last(window="48h")},
    )
    queue = FeatureView(  # of the flight itself: should have left by now, and has not
        "queue",
        source=schedule,
        features={
            f"waiting_{w}": planned_origin[f"planned_{w}"] - at_origin[f"departed_{w}"]
            for w in ("1h", "3h", "6h")
        }
        | {"waiting_carrier_6h": planned_carrier["planned_6h"] - of_carrier["departed_6h"]},
    )
    return Model(
        "late_departure",
        spine=schedule,
        lead=lead,
        features=[
            trip,
            plane,
            station,
            *(
                at_origin[name]
                for name in ("departed_1h", "delay_1h", "delay_3h", "worst_3h", "late_1h", "late_3h")
            ),
            *(of_carrier[name] for name in ("delay_1h", "delay_3h", "delay_24h", "late_3h")),
            of_carrier_here,
            to_dest,
            on_route,
            last_flight,
            carrier_arrivals,
            dest_arrivals,
            last_arrival,
            queue,
            cancelled,
        ],
        label=Label(delays, on="flight_id", value=late, horizon="24h"),
        estimator=ESTIMATOR,
        threshold=0.35,
        metrics=["roc_auc", "log_loss", "average_precision", "calibration_gap"],
        test_window="14d",
        slices=["trip.carrier", "trip.origin"],
    )


trip = FeatureView(  # no entity: computed from the flight that is asked about
    "trip",
    source=schedule,
    features={
        "minute_of_day": col("scheduled").minute_of_day(ZONE),
        "hour": col("scheduled").hour(ZONE),
        "weekday": col("scheduled").weekday(ZONE),
        "distance": col("distance"),
        "carrier": col("carrier"),
        "origin": col("origin"),
        "dest": col("dest"),
    },
)
plane = FeatureView(
    "plane",
    entity=aircraft,
    source=planes,
    features={"built": col("built").last(), "seats": col("seats").last()},
)
station = FeatureView(
    "station",
    entity=origin,
    source=weather,
    features={
        name: col(name).last(window="24h")
        for name in ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
    },
)
planned_origin = FeatureView(
    "planned_origin",
    entity=origin,
    source=schedule,
    features={f"planned_{w}": count(window=w) for w in ("1h", "3h", "6h")},
)
planned_carrier = FeatureView(
    "planned_carrier", entity=carrier, source=schedule, features={"planned_6h": count(window="6h")}
)
cancelled = FeatureView(
    "cancelled",
    entity=origin,
    source=cancellations,
    features={f"count_{w}": count(window=w) for w in ("3h", "24h")},
)

# Model and release -------------------------------------------------------------------------------

ESTIMATOR = LGBMClassifier(
    n_estimators=200,
    num_leaves=31,
    learning_rate=0.075,
    min_child_samples=200,
    colsample_bytree=0.4,
    reg_lambda=50,
    max_bin=127,
    cat_smooth=100,
    n_jobs=1,  # the second core serves
    deterministic=True,
    force_row_wise=True,
    random_state=7,
    verbosity=-1,
)

late_departure = declare(departures, arrivals)

release = Release(
    late_departure,
    retrain_every="30d",
    gates=[
        checks.at_least("roc_auc", 0.70),
        checks.at_most("calibration_gap", 0.10),
        checks.beats_champion("log_loss", by=-0.005),
    ],
    monitors=[
        checks.at_least("roc_auc", 0.74, window="14d", then="retrain"),
        checks.at_most("calibration_gap", 0.06, window="28d", then="retrain"),
    ],
)

project = Project("flights", releases=[release])
