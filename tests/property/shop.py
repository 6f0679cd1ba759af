"""A small project, and generated histories of it."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import numpy as np
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, Label, Model, col, count
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.training.package import Manifest, Package
from tests.property.arrays import hashed, likeness

HOUR, MINUTE = UNITS["h"], UNITS["m"]
START = to_us("2013-03-09T12:00:00+00:00")  # a day before New York's clocks go forward
ZONE = "America/New_York"
WORDS = ["", "up", "down", "Übung"]


class Order:
    order_id: str
    card: int
    shop: str | None
    amount: float | None
    units: int
    price: Annotated[Decimal, 2] | None
    at: datetime
    placed: datetime


class Login:
    login_id: int
    card: int
    word: str | None
    paid: bool
    at: datetime
    published: datetime


class Outcome:
    order_id: str
    late: bool | None
    cancelled: bool
    at: datetime


orders = Events("orders", Order, time="at", known="placed", id="order_id", lateness="12h")
logins = Events("logins", Login, time="at", known="published", id=("card", "login_id"), lateness="12h")
outcomes = Events("outcomes", Outcome, time="at", id="order_id", delay="10m", lateness="12h")
sold = Derived(
    "sold",
    source=orders,
    where=col("units") > 0,
    added={"total": col("units") * col("amount"), "day": col("at").weekday(ZONE)},
)
card, corner = Entity("card", key="card"), Entity("corner", key=("card", "shop"))

by_corner = FeatureView(
    "by_corner",
    entity=corner,
    source=sold,
    features={
        "sold_1h": count(window="1h"),
        "total_3h": col("total").sum(window="3h"),
        "mean_1h": col("total").mean(window="1h", where=col("units") > 1),
        "least_3h": col("amount").min(window="3h"),
        "most_1h": col("units").max(window="1h"),
        "last_total": col("total").last(),
        "paid_3h": (col("price") * col("units")).sum(window="3h"),
        "price_3h": col("price").mean(window="3h"),
        "price_std": col("price").std(),
        "last_price": col("price").last(),
        "usual_price": col("price").mode(),
        "recent_price": col("price").decayed_sum(half_life="1h"),
        "hours_since": col("at").last(where=col("units") > 1).age("h"),
        "share": count(window="1h") / count(window="3h"),
    },
)
by_card = FeatureView(
    "by_card",
    entity=card,
    source=orders,
    features={"units_3h": col("units").sum(window="3h"), "mean_3h": col("units").mean(window="3h")},
)
word_vector = col("word").apply(hashed, returns="float", size=3)
of_logins = FeatureView(
    "of_logins",
    entity=card,
    source=logins,
    features={
        "word": col("word").last(window="3h"),
        "paid_1h": col("paid").sum(window="1h"),
        "paid_share": col("paid").mean(window="3h"),
        "last_word": col("word").last(),
        "logins_3h": count(window="3h", where=(col("word") == "up") | col("paid")),
        "last_vector": word_vector.last(window="3h"),
        "mean_vector": word_vector.mean(window="3h", where=word_vector[0] > 0),
        "lags": word_vector.last_n(2),
        "of_last": col("word").last().apply(hashed, returns="float", size=3),
    },
)
by_day = FeatureView(
    "by_day",
    entity=Entity("day", key=("day", "card")),
    source=sold,
    features={"sold_3h": count(window="3h"), "cheapest": col("total").min(window="3h")},
)
request = FeatureView(
    "request",
    source=sold,
    features={
        "hour": col("at").hour(ZONE),
        "weekday": col("at").weekday(ZONE),
        "age": col("at").age("m"),
        "shop": col("shop"),
        "ratio": col("total") / by_corner["total_3h"],
        "price": col("price"),
        "dearer": col("price") - by_corner["last_price"].fill_null(Decimal("0.005")),
        "dear": col("price") > by_corner["price_3h"],
        "share": col("price") * col("units") / by_corner["paid_3h"],
        "idle": (by_card["units_3h"] - by_corner["sold_1h"]).fill_null(0.5),
        "shop_vector": col("shop").apply(hashed, returns="float", size=3),
        "alike": of_logins.vector("mean_vector").apply(
            likeness,
            col("shop").apply(hashed, returns="float", size=3),
            by_corner["sold_1h"],
            returns="float",
            size=2,
            row_by_row=True,
        ),
    },
)


class Nothing:
    """An estimator and a predictor of nothing: what is compared is what goes in."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def files(self):
        return {}


model = Model(
    "late",
    spine=sold,
    features=[by_corner, by_card, of_logins, by_day, request],
    label=Label(
        Derived("kept", source=outcomes, where=~col("cancelled")),
        on="order_id",
        value=col("late"),
        horizon="2h",
    ),
    estimator=Nothing(),
)
CATEGORIES = {name: sorted([*WORDS, "a", "b"]) for name, kind in model.columns.items() if kind == "str"}
BLANK = {name: {} for name in Manifest.__struct_fields__} | {
    "categories": CATEGORIES,
    "threshold": 0.5,
    "kind": "binary",
    "label": "",
    "columns": dict(model.columns),
}
PACKAGE = Package(Nothing(), Manifest(**BLANK))
SOURCES = {source.name: source for source in (orders, logins, outcomes)}


gaps = st.sampled_from([0, 1, MINUTE, HOUR - 1, HOUR, HOUR + 1, 3 * HOUR, 9 * HOUR])
late = st.sampled_from([0, 0, 0, 1, MINUTE, HOUR, 5 * HOUR, -1, -HOUR])  # below 0: known before it happens
amounts = (
    st.none()
    | st.sampled_from([0.1, -0.1, 0.0, 1e6, 3.25])
    | st.integers(-(2**20), 2**20).map(lambda n: n / 1024 + 0.1)
)
prices = st.none() | (st.sampled_from([0, 5, -150, 10**12]) | st.integers(-999, 99_999)).map(
    lambda units: Decimal(units).scaleb(-2)
)
order = st.fixed_dictionaries(
    {
        "order_id": st.sampled_from([f"o{number}" for number in range(12)]),
        "amount": amounts,
        "price": prices,
        "units": st.integers(-1, 4),
        "late": late,
    }
)
login = st.fixed_dictionaries(
    {
        "login_id": st.integers(1, 6),
        "card": st.integers(1, 2),
        "word": st.none() | st.sampled_from(WORDS),
        "paid": st.booleans(),
        "late": late,
        "ahead": st.sampled_from([0, 0, MINUTE, 2 * HOUR]),
    }
)
steps = st.one_of(
    st.tuples(st.just("orders"), gaps, st.lists(order, min_size=1, max_size=4)),
    st.tuples(st.just("logins"), gaps, st.lists(login, min_size=1, max_size=3)),
    st.tuples(st.just("predict"), gaps, order),
    st.tuples(st.just("fold"), st.just(0), st.none()),
)
histories = st.lists(steps, min_size=1, max_size=25)


def order_row(raw, now):
    """Return an order; its id decides its key, as a correction does not move a record to another key."""
    number = int(raw["order_id"].split("-")[0][1:])
    return {
        "order_id": raw["order_id"],
        "card": number % 2 + 1,
        "shop": ["a", "b", None][number % 3],
        "amount": raw["amount"],
        "units": raw["units"],
        "price": raw.get("price"),
        "at": to_datetime(now - raw["late"]),
        "placed": to_datetime(now),
    }


def login_row(raw, now):
    """Return a login; it may be published before it happens."""
    plain = {name: raw[name] for name in ("login_id", "card", "word", "paid")}
    return plain | {
        "at": to_datetime(now - raw["late"] + raw["ahead"]),
        "published": to_datetime(now - raw["late"]),
    }


def of_these_hours(raw, now):
    """Return a record with an id that is used for five hours only: a correction comes within the lateness."""
    hours = (now - START) // (5 * HOUR)
    if "order_id" in raw:
        return raw | {"order_id": f"{raw['order_id']}-{hours}"}
    return raw | {"login_id": raw["login_id"] + 100 * hours}


MAKE = {"orders": order_row, "logins": login_row}
