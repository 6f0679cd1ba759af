"""What is added to a source that a version in Production reads: fields, conditions and columns that none of its features read."""

from datetime import UTC, datetime, timedelta

import pytest
from lightgbm import LGBMClassifier

from tenfold import Derived, Entity, Events, FeatureView, Label, Model, Platform, Project, Release, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable


class Order:
    order_id: str
    shop: str
    amount: float
    at: datetime


class Noted(Order):
    note: str | None


class Outcome:
    order_id: str
    late: bool
    at: datetime


NOW = datetime(2024, 6, 1, tzinfo=UTC)
outcomes = Events("outcomes", Outcome, time="at", id="order_id")


def declared(schema=Order, double=2, more=None, **how):
    """Return a project whose features read amounts, doubled amounts and shops of a source that may say more."""
    orders = Events("orders", schema, time="at", id="order_id", **how)
    added = {"double": col("amount") * double, "shown": col("double") + 1, **(more or {})}
    priced = Derived("priced", source=orders, where=col("amount") >= 0, added=added)
    shop = FeatureView(
        "shop",
        entity=Entity("shop", key="shop"),
        source=priced,
        features={"n": count(window="1d"), "spent": col("shown").sum(window="1d")},
    )
    this = FeatureView("this", source=orders, features={"amount": col("amount")})
    model = Model(
        "late",
        spine=orders,
        features=[this, shop],
        label=Label(outcomes, on="order_id", value=col("late"), horizon="1h"),
        estimator=LGBMClassifier(n_estimators=5, min_child_samples=5, verbosity=-1, n_jobs=1),
        test_window="5d",
    )
    return Project("p", releases=[Release(model)])


OTHERS = {
    "a field": declared(Noted),
    "a condition": declared(valid={"amount is no more than a million": col("amount") <= 1e6}),
    "a column": declared(more={"half": col("amount") / 2}),
    "a column of a new field": declared(Noted, more={"said": col("note") == "x"}),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    given = [
        {
            "order_id": f"f{n}",
            "shop": "ab"[n % 2],
            "amount": float(n % 9),
            "at": NOW - timedelta(hours=500 - n),
        }
        for n in range(480)
    ]
    done = [{"order_id": row["order_id"], "late": row["amount"] > 4, "at": row["at"]} for row in given]
    with declared().open(Platform(home=folder, clock=VirtualClock(NOW))) as app:
        app.ingest("orders", given, history=True)
        app.ingest("outcomes", done, history=True)
        app.process()
        app.promote("late", app.train("late").number)
    return folder


def answered(home, project, name="new"):
    with project.open(Platform(home=home, clock=VirtualClock(NOW))) as app:
        return app.predict("late", {"order_id": name, "shop": "a", "amount": 3.0, "at": NOW})["score"]


@pytest.mark.parametrize("project", OTHERS.values(), ids=OTHERS)
def test_a_version_answers_on_from_the_same_states(home, project):
    assert answered(home, project) == answered(home, declared())
    with project.open(Platform(home=home, clock=VirtualClock(NOW))) as app:
        assert not app.retire()


def test_a_column_that_is_read_through_another_one_makes_it_another_feature(home):
    with pytest.raises(
        Unavailable, match=r"other features than are declared now: changed shop\.spent\. Train"
    ):
        answered(home, declared(double=3))


def test_a_lateness_is_no_other_feature(home):
    with declared(lateness="2h").open(Platform(home=home, clock=VirtualClock(NOW))) as app:
        app.process()  # states keep more from now on
    assert answered(home, declared(lateness="2h"), "later") == answered(home, declared(), "later")
