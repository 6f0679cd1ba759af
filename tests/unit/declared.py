"""Declarations to write mistakes around."""

from __future__ import annotations

from datetime import datetime

from tenfold import Entity, Events, FeatureView, Label, Model, col, count


class Payment:
    payment_id: str
    card_id: str
    shop: int
    amount: float
    note: str | None
    at: datetime
    seen: datetime | None


class Fraud:
    payment_id: str
    fraud: bool
    score: float | None
    at: datetime


class Odd:
    payment_id: float
    card_id: int
    shop: int | None
    flag: bool
    at: datetime


class Visit:
    visit_id: str
    card_id: str
    at: datetime


class Learner:
    def fit(self, X, y):
        return self


payments = Events("payments", Payment, time="at", id="payment_id")
frauds = Events("frauds", Fraud, time="at", id="payment_id")
odd = Events("odd", Odd, time="at", id="card_id")
card = Entity("card", key="card_id")
by_card = FeatureView("by_card", entity=card, source=payments, features={"count_1h": count(window="1h")})
label = Label(frauds, on="payment_id", value=col("fraud"), horizon="7d")


def events(schema=Payment, **given):
    return Events("payments", schema, **{"time": "at", "id": "payment_id"} | given)


def view(features, name="view", source=payments, entity=card):
    return FeatureView(name, entity=entity, source=source, features=features)


def model(**given):
    wanted = {"spine": payments, "features": [by_card], "label": label, "estimator": Learner()}
    return Model("model", **wanted | given)


def schema(**fields):
    return type(
        "Thing", (), {"__annotations__": {"id": "str", "at": "datetime"} | fields, "__module__": __name__}
    )
