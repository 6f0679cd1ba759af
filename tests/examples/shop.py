"""A small project for tests: will an order be delivered late? Ten orders a day; sofas and one customer are slow."""

from datetime import UTC, datetime, timedelta

import numpy as np
from lightgbm import LGBMClassifier

from tenfold import Derived, Entity, Events, FeatureView, Label, Model, Project, Release, checks, col, count

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
ITEMS, CUSTOMERS = ("lamp", "sofa", "table"), 4


class Order:
    order_id: str
    customer: str
    item: str
    amount: float
    placed: datetime
    ships: datetime


class Delivery:
    order_id: str
    customer: str
    item: str
    days: float
    delivered: datetime


orders = Events(
    "orders",
    Order,
    time="ships",
    known="placed",
    id="order_id",
    valid={"amount > 0": col("amount") > 0},
)
deliveries = Events("deliveries", Delivery, time="delivered", id="order_id")
arrived = Derived("arrived", source=deliveries, added={"late": col("days") > 2})

customer = Entity("customer", key="customer")
of_customer = FeatureView(
    "of_customer",
    entity=customer,
    source=arrived,
    features={"late_14d": col("late").mean(window="14d"), "deliveries_14d": count(window="14d")},
)
of_item = FeatureView(
    "of_item",
    entity=Entity("item", key="item"),
    source=arrived,
    features={"days_7d": col("days").mean(window="7d"), "late_7d": col("late").mean(window="7d")},
)
this_order = FeatureView("this_order", source=orders, features={"amount": col("amount"), "item": col("item")})

late_delivery = Model(
    "late_delivery",
    spine=orders,
    features=[this_order, of_customer, of_item],
    label=Label(arrived, on="order_id", value=col("late"), horizon="5d"),
    estimator=LGBMClassifier(
        n_estimators=8,
        num_leaves=4,
        min_child_samples=5,
        deterministic=True,
        n_jobs=1,
        random_state=7,
        verbosity=-1,
    ),
    metrics=["roc_auc", "log_loss"],
    test_window="14d",
)
release = Release(
    late_delivery,
    retrain_every="30d",
    gates=[checks.at_least("roc_auc", 0.6)],
    monitors=[checks.at_least("roc_auc", 0.55, window="14d", then="retrain")],
)
project = Project("shop", releases=[release])


def history(days: int = 60, seed: int = 7) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Return orders that ship on each of `days` days from FIRST, and their deliveries, ten a day each."""
    chance = np.random.default_rng(seed)
    placed, done = [], []
    for place in range(10 * days):
        ships = FIRST + timedelta(minutes=144 * place)
        item, who = ITEMS[chance.integers(len(ITEMS))], int(chance.integers(CUSTOMERS))
        days_needed = float(chance.gamma(4, 0.3) + (1.5 if item == "sofa" else 0) + (0.7 if who == 0 else 0))
        order = {"order_id": f"o{place}", "customer": f"c{who}", "item": item}
        amount = round(float(chance.uniform(10, 500)), 2)
        placed.append(order | {"amount": amount, "placed": ships - timedelta(hours=6), "ships": ships})
        done.append(order | {"days": days_needed, "delivered": ships + timedelta(days=days_needed)})
    return placed, sorted(done, key=lambda row: row["delivered"])  # type: ignore[arg-type, return-value]
