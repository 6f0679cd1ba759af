"""What monitors see of a model whose outcomes are known long after they happened."""

from datetime import UTC, datetime, timedelta

from lightgbm import LGBMClassifier

from tenfold import (
    Entity,
    Events,
    FeatureView,
    Label,
    Model,
    Platform,
    Project,
    Release,
    checks,
    count,
    exists,
)
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS


class Payment:
    payment: int
    card: str
    at: datetime


class Report:
    payment: int
    at: datetime


payments = Events("payments", Payment, time="at", id="payment")
reports = Events("reports", Report, time="at", id="payment", delay="7d")
by_card = FeatureView(
    "by_card",
    entity=Entity("card", key="card"),
    source=payments,
    features={"payments_7d": count(window="7d")},
)
stolen = Model(
    "stolen",
    spine=payments,
    features=[by_card],
    label=Label(reports, on="payment", value=exists(), horizon="1d"),
    estimator=LGBMClassifier(n_estimators=3, min_child_samples=2, n_jobs=1, verbosity=-1, random_state=1),
    test_window="7d",
)
START = datetime(2024, 5, 1, tzinfo=UTC)
WINDOWS = "2d", "7d", "14d"
A_DAY = 4


def ingest(app, day):
    """Ingest a day of payments, of which every second one is reported two hours later."""
    begun = START + timedelta(days=day)
    paid = [(day * A_DAY + n, begun + timedelta(hours=6 * n)) for n in range(A_DAY)]
    rows = [{"payment": number, "card": f"c{number % 2}", "at": at.isoformat()} for number, at in paid]
    app.ingest("payments", rows, history=True)
    told = [
        {"payment": number, "at": (at + timedelta(hours=2)).isoformat()} for number, at in paid if number % 2
    ]
    app.ingest("reports", told, history=True)


def test_a_monitor_sees_all_of_its_window_of_outcomes_that_are_known_late(tmp_path):
    monitors = [checks.at_least("roc_auc", 0.0, window=window) for window in WINDOWS]
    project, clock = Project("bank", releases=[Release(stolen, monitors=monitors)]), VirtualClock(START)
    with project.open(Platform(home=tmp_path, clock=clock)) as app:
        for day in range(60):
            ingest(app, day)
        clock.set(START + timedelta(days=35))
        app.process()
        app.promote(stolen, app.train(stolen).number)
        clock.set(START + timedelta(days=60))
        app.score(stolen, START + timedelta(days=35), START + timedelta(days=60))
        app.loop().tick()
        seen = {
            item.evidence["window"] // UNITS["d"]: item.why for item in app.audit.list("stolen", "monitor")
        }
    assert {days: why.partition(" over ")[2] for days, why in seen.items()} == {
        days: f"{days * A_DAY} matured predictions" for days in (2, 7, 14)
    }
