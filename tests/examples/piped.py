"""The shop with every part of the training pipeline declared, and a history to train on."""

from dataclasses import replace
from datetime import timedelta

from lightgbm import LGBMClassifier

from tenfold import Model, Platform, Project, Tune, VirtualClock
from tests.examples import shop

NOW = shop.FIRST + timedelta(days=70)
SMALL = {"n_estimators": 12, "num_leaves": 4, "min_child_samples": 5, "deterministic": True, "n_jobs": 1}


def model(**changed):
    given = {
        "spine": shop.orders,
        "features": [shop.this_order, shop.of_customer, shop.of_item],
        "label": shop.late_delivery.label,
        "estimator": LGBMClassifier(**SMALL, random_state=7, verbosity=-1),
        "metrics": ["roc_auc", "log_loss", "calibration_gap"],
        "test_window": "10d",
        "folds": 2,
        "tune": Tune({"num_leaves": (3, 15), "learning_rate": (0.02, 0.4, "log")}, trials=9, seed=3),
        "calibrate": "sigmoid",
        "slices": ["this_order.item", "this_order.amount"],
    }
    return Model("late_delivery", **given | changed)


def platform(home, now=NOW):
    return Platform(home=home, clock=VirtualClock(now))


def load(app, days=60):
    placed, done = shop.history(days)
    app.ingest("orders", placed, history=True, key="orders")
    app.ingest("deliveries", done, history=True, key="deliveries")
    app.flush()


def project(declared):
    return Project("shop", releases=[replace(shop.release, model=declared)])


piped = project(model())
