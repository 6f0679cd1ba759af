"""The project that is served: 20 stored, 16 windowed and 10 request features of a card, for `lookup` and `fresh`."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from lightgbm import LGBMClassifier

from bench import data
from bench.views import CARD, by_cents, in_cents
from tenfold import Events, FeatureView, Label, Model, Platform, Project, Release, Table, col
from tenfold.core.clock import SharedClock, VirtualClock
from tenfold.project import App

STORED = [f"s{place}" for place in range(20)]
NOW = data.END + 1_000


class Asked:
    """A payment that is to be judged."""

    ask: int
    card: int
    amount: float
    at: datetime


class Outcome:
    """What became of it."""

    ask: int
    fraud: bool
    at: datetime


Profile = type(
    "Profile", (), {"__annotations__": {"card": int, **dict.fromkeys(STORED, float), "at": datetime}}
)

asked = Events("asked", Asked, time="at", id="ask")
outcomes = Events("outcomes", Outcome, time="at", id="ask")
profiles = Table("profiles", Profile, key="card", time="at")

stored = FeatureView(
    "stored", entity=CARD, source=profiles, features={name: col(name).last() for name in STORED}
)
amount = col("amount")
request = FeatureView(
    "request",
    source=asked,
    features={
        "amount": amount,
        "hour": col("at").hour(),
        "to_mean": amount / by_cents["mean_30d"],
        "over_mean": amount - by_cents["mean_30d"],
        "record": amount > by_cents["max_30d"],
        "share": by_cents["count_24h"] / by_cents["count_30d"],
        "total": by_cents["sum_30d"] + amount,
        "limit": stored["s0"] + stored["s1"],
        "risk": stored["s2"] * amount,
        "to_limit": amount / stored["s3"],
    },
)
model = Model(
    "fraud",
    spine=asked,
    features=[stored, by_cents, request],
    label=Label(outcomes, on="ask", value=col("fraud"), horizon="1d"),
    estimator=LGBMClassifier(n_estimators=5, min_child_samples=5, n_jobs=1, verbosity=-1, random_state=1),
    test_window="30d",
)
project = Project("bench", releases=[Release(model)])


def forest(trees: int) -> LGBMClassifier:
    """Return an estimator of trees with 31 leaves."""
    return LGBMClassifier(n_estimators=trees, num_leaves=31, n_jobs=1, verbosity=-1, random_state=1)


def profile(key: int) -> list[float]:
    """Return the stored values of a card."""
    return np.random.default_rng(key).random(len(STORED)).round(6).tolist()


def stamps(times: np.ndarray) -> pa.Array:
    """Return microseconds as instants."""
    return pa.array(times).cast(pa.timestamp("us", "UTC"))


def load(app: App, rows: int) -> None:
    """Load payments as history, and the profile of every card; with few payments, of as many cards."""
    stream = data.events(rows)
    payments = {
        "payment": np.arange(rows),
        "card": stream.key,
        "cents": stream.cents,
        "at": stamps(stream.time),
    }
    app.ingest(in_cents, pa.table(payments), history=True)
    cards = min(data.KEYS, rows)
    values = np.array([profile(key) for key in range(cards)])
    since = stamps(np.full(cards, data.START))
    columns = {name: values[:, place] for place, name in enumerate(STORED)}
    app.ingest(profiles, pa.table({"card": np.arange(cards), **columns, "at": since}), history=True)


def build(home: Path, rows: int, *, trees: int = 0, versions: int = 1) -> None:
    """Make a home folder with history and versions of so many trees of 31 leaves, the last in Production, and its clock."""
    made = np.random.default_rng(5)
    judged = 20_000 if trees else 1_000
    key, at = data.spine(judged)
    money = made.uniform(1, 100, judged).round(2)
    noise = made.normal(0, 30, judged)
    ask = np.arange(judged)
    with project.open(Platform(home=home, clock=VirtualClock(NOW))) as app:
        load(app, rows)
        rows_asked = {"ask": ask, "card": key, "amount": money, "at": stamps(at)}
        app.ingest(asked, pa.table(rows_asked), history=True)
        known = {"ask": ask, "fraud": money + noise > 70, "at": stamps(at + 3_600_000_000)}
        app.ingest(outcomes, pa.table(known), history=True)
        app.process()
        for place in range(
            versions
        ):  # each of one tree more: the same training again would be the same version
            trained = replace(model, estimator=forest(trees + place)) if trees else model
            app.promote(model, app.train(trained).number)
    SharedClock(home / "clock").set(NOW)
