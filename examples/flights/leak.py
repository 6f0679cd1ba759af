"""The usual mistake with delays: better than the truth offline, worse than it when served. See docs/leak.md.

python -m examples.flights.leak      # 75 s of processor time
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sklearn.base import clone

from examples.flights import project as example
from examples.flights.data import load
from examples.flights.project import (
    ESTIMATOR,
    LATE,
    Arrival,
    Departure,
    aircraft,
    carrier,
    dest,
    origin,
    plane,
    project,
    route,
    schedule,
    station,
    trip,
)
from tenfold import App, Derived, Events, FeatureView, Label, Model, Platform, col, count
from tenfold.core.clock import SystemClock
from tenfold.core.times import to_us
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Column
from tenfold.sources.base import Lake
from tenfold.store.offline import History
from tenfold.store.pieces import Past
from tenfold.training.dataset import Dataset
from tenfold.training.fit import fit, scores
from tenfold.training.folds import Split
from tenfold.training.metrics import roc_auc
from tenfold.training.package import Package
from tenfold.training.rows import TrainingSet
from tenfold.ui.terminal import Progress, console, table

WINDOWS = ("1h", "3h", "24h")


def declare(departures: Events, *, lead: str | None = "60m") -> Model:
    """Declare a model on plan, weather, the delays of others, and the plane's last flight and how long ago it was."""
    delays = Derived("delays", source=departures, added={"late": col("dep_delay") > LATE})
    late, delay = col("late"), col("dep_delay")
    windows = [
        FeatureView(
            f"of_{entity.name}",
            entity=entity,
            source=delays,
            features={f"flights_{w}": count(window=w) for w in WINDOWS}
            | {f"delay_{w}": delay.mean(window=w) for w in WINDOWS}
            | {f"late_{w}": late.mean(window=w) for w in WINDOWS},
        )
        for entity in (origin, carrier, route, dest)
    ]
    last_flight = FeatureView(
        "last_flight",
        entity=aircraft,
        source=delays,
        features={
            "delay": delay.last(window="48h"),
            "minutes_ago": col(departures.time).last(window="48h").age("m"),
        },
    )
    return Model(
        "late_departure",
        spine=schedule,
        lead=lead,
        features=[trip, plane, station, *windows, last_flight],
        label=Label(delays, on="flight_id", value=late, horizon="24h"),
        estimator=clone(ESTIMATOR).set_params(n_estimators=300),
        metrics=["roc_auc"],
    )


BELIEVED = Events("departures", Departure, time="scheduled", id="flight_id")
STAMPED = Events("departures", Departure, time="scheduled", known="departed", id="flight_id")
HONEST = declare(example.departures)
MISTAKEN = declare(BELIEVED, lead=None)
CURED = declare(STAMPED)
SMALL = (HONEST, MISTAKEN, CURED)
WHOLE = (
    example.late_departure,
    example.declare(BELIEVED, Events("arrivals", Arrival, time="scheduled", id="flight_id"), lead=None),
    example.declare(STAMPED, Events("arrivals", Arrival, time="scheduled", known="arrived", id="flight_id")),
)
"""The same three with all features of the example, which have no `minutes_ago`."""

SPLIT = Split(
    train=(to_us("2013-01-01"), to_us("2013-09-01T04:00:00+00:00")),  # midnight in New York
    test=(to_us("2013-09-01T04:00:00+00:00"), to_us("2014-01-01T05:00:00+00:00")),
    now=to_us("2014-02-01"),
)
PROTOTYPE = {"honest": 0.7664, "offline": 0.7829, "served": 0.7438}
"""What the research before this project measured, with a feature set much like this one."""

ROWS = {
    "honest": "windows by departure, read 60 minutes before the schedule",
    "offline": "the mistake on its own test rows: windows by schedule, read at the schedule",
    "served": "the same model on what is known 60 minutes before",
    "cured": 'windows by schedule, known="departed", read 60 minutes before',
}


class AsDeclared(History):
    """History that believes the declaration it is asked for: the lake's stamps are the honest declaration's."""

    def past(self, source: Events) -> Past:
        found = super().past(source)
        moment = found.frame[source.known or source.time]
        delay = 0 if source.known else source.delay_us
        return replace(
            found, frame={**found.frame, KNOWN: Column("int", moment.values + delay, moment.valid)}
        )


def measure(
    lake: Lake,
    progress: Callable[[str], object],
    models: tuple[Model, Model, Model] = SMALL,
) -> dict[str, float]:
    """Return the ROC AUC of September to December after training on January to August.

    Parameters
    ----------
    lake
        Holds the year.
    progress
        Is told what begins.
    models
        Honest, mistaken and cured.

    Returns
    -------
    dict
        `honest`; `offline` and `served`, the mistake as its author sees it and as its users do; and `cured`.
    """
    return compare(lake, *models, SPLIT, progress)


def compare(
    lake: Lake,
    honest: Model,
    mistaken: Model,
    cured: Model,
    split: Split,
    progress: Callable[[str], object],
) -> dict[str, float]:
    """Return the ROC AUC of each declaration on its own test rows, and of the mistaken one on the honest rows."""
    progress("train on the honest declaration")
    right, true = _trained(honest, lake, split)
    progress("train on the mistaken declaration")
    wrong, imagined = _trained(mistaken, lake, split)
    progress("train on the cured declaration")
    healed, known = _trained(cured, lake, split)
    return {
        "honest": _auc(right, true),
        "offline": _auc(wrong, imagined),
        "served": _auc(wrong, true),
        "cured": _auc(healed, known),
    }


def _trained(model: Model, lake: Lake, split: Split) -> tuple[Package, TrainingSet]:
    """Return a version and its test rows."""
    dataset = Dataset(model, AsDeclared(lake))
    rows = dataset.training_set(split.now, start=split.test[0], end=split.test[1])
    return fit(model, dataset, split), rows


def _auc(package: Package, rows: TrainingSet) -> float:
    return roc_auc(rows.y, scores(package, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="build/leak.json", help="where the figures go")
    parser.add_argument("--home", default="build/leak", help="a project folder that has, or gets, the year")
    parser.add_argument("--whole", action="store_true", help="with all features of the example")
    options = parser.parse_args()
    with Progress(SystemClock()) as progress, project.open(Platform(home=Path(options.home))) as app:
        progress.step("load the flights of 2013")
        _load(app)
        found = measure(app.lake, progress.step, WHOLE if options.whole else SMALL)
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    prototype = {} if options.whole else PROTOTYPE
    rows = [(name, text, found[name], prototype.get(name)) for name, text in ROWS.items()]
    title = "Late departures, September to December 2013: ROC AUC"
    table(console(), title, ["score", "what it is", "measured", "prototype"], rows)


def _load(app: App) -> None:
    if any(app.lake.version(name) < 0 for name in app.project.sources):
        for name, rows in load().items():
            app.ingest(name, rows, history=True, key=name)
    app.flush()  # also what an interrupted run left in the log


if __name__ == "__main__":
    main()
