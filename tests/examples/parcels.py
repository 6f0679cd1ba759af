"""Parcels with outcomes of every type: late or not, how late, a text, a whole number, and an order within routes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tenfold import (
    Entity,
    Events,
    FeatureView,
    Label,
    Model,
    Platform,
    Project,
    Release,
    VirtualClock,
    col,
    count,
)
from tests.examples.bare import in_process

START = datetime(2024, 5, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)
ROWS = 460


class Parcel:
    parcel_id: str
    shop: str | None
    route: int
    weight: float | None
    items: int
    gift: bool
    at: datetime


class Arrival:
    parcel_id: str
    minutes: float
    state: str
    stars: int
    at: datetime


parcels = Events("parcels", Parcel, time="at", id="parcel_id")
arrivals = Events("arrivals", Arrival, time="at", id="parcel_id")
of_shop = FeatureView(
    "of_shop",
    entity=Entity("shop", key="shop"),
    source=parcels,
    features={"parcels_1d": count(window="1d"), "heaviest": col("weight").max(window="2d")},
)
parcel = FeatureView(
    "parcel",
    source=parcels,
    features={
        "weight": col("weight"),
        "items": col("items"),
        "gift": col("gift"),
        "hour": col("at").hour(),
        "shop": col("shop"),
    },
)

LABELS = {
    "late": col("minutes") > 0,
    "minutes": col("minutes"),
    "state": col("state"),
    "stars": col("stars"),
}


def model(estimator, label="late", **more):
    """Return a model of one of the labels."""
    outcome = Label(arrivals, on="parcel_id", value=LABELS[label], horizon="1d")
    given = {"features": [of_shop, parcel], "test_window": "5d", "estimator": estimator} | more
    return Model("parcel", spine=parcels, label=outcome, **given)


def row(place=0, **changed):
    """Return a parcel as a client sends it."""
    return {
        "parcel_id": f"new-{place}",
        "shop": "ann",
        "route": 3,
        "weight": 2.5,
        "items": 2,
        "gift": False,
        "at": (NOW - timedelta(minutes=1)).isoformat(),
    } | changed


def history(rows=ROWS, seed=4):
    """Return twenty days of rows by source."""
    rng = np.random.default_rng(seed)
    when = [START + timedelta(hours=1 + place) for place in range(rows)]
    shops = rng.choice(["ann", "bob", "cy", "dee"], rows, p=[0.4, 0.3, 0.2, 0.1]).tolist()
    weights, items = rng.uniform(0.1, 9, rows).round(2).tolist(), rng.integers(1, 6, rows).tolist()
    sent, arrived = [], []
    for place, (at, shop, weight, many) in enumerate(zip(when, shops, weights, items, strict=True)):
        slow = weight * (1.5 if shop == "ann" else 0.7) - 4 + rng.normal()
        given = {"weight": None if place % 11 == 0 else weight, "shop": None if place % 17 == 0 else shop}
        gift = bool(rng.random() < 0.3)
        sent.append(
            row(place, parcel_id=f"p-{place}", at=at.isoformat(), items=many, route=place // 5, gift=gift)
            | given
        )
        state = "lost" if slow > 5 else "broken" if many > 4 else "fine"
        arrived.append(
            {
                "parcel_id": f"p-{place}",
                "minutes": round(slow * 10, 3),
                "state": state,
                "stars": int(np.clip(3 - slow / 2, 0, 5)),
                "at": (at + timedelta(hours=2)).isoformat(),
            }
        )
    return {"parcels": sent, "arrivals": arrived}


def opened(home, declared, given=None, **release):
    """Return an app over the history, or over the rows given, with everything processed."""
    app = Project("post", releases=[Release(declared, **release)]).open(
        Platform(home=home, clock=VirtualClock(NOW))
    )
    for name, rows in (given or history()).items():
        assert app.ingest(name, rows, history=True, key=name).rejected == 0
    app.process()
    return app


def ask(app, row):
    """Return the answer about a row over HTTP, without a server."""
    status, answer = in_process(app.asgi(), "/predict", row)
    assert status == 200, answer
    return answer


def check_shape(model, answer):
    """An answer says what its kind has to say, and nothing else."""
    common = {"prediction_id", "model", "version", "prediction", "score", "as_of", "ages_s"}
    more = {"binary": {"decision", "threshold"}, "multiclass": {"probabilities"}}.get(model.kind, set())
    assert answer.keys() == common | more
    if model.kind == "multiclass":
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["score"] == max(answer["probabilities"].values())
        assert answer["probabilities"][str(answer["prediction"])] == answer["score"]
        assert isinstance(answer["prediction"], str if model.label.type == "str" else int)
    elif model.kind == "binary":
        assert answer["prediction"] is answer["decision"] is (answer["score"] >= 0.5)
    else:
        assert answer["prediction"] == answer["score"]
