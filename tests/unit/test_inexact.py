"""What cannot be summed exactly for one key costs no other key anything, and whoever asks is told which key it was."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import numpy as np
import pytest
from lightgbm import LGBMClassifier

from tenfold import (
    Derived,
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
    exists,
)
from tenfold.core.errors import Inexact
from tenfold.core.times import to_us
from tenfold.processing.frame import column
from tenfold.store.many import LookupMany
from tenfold.store.offline import History
from tenfold.training.dataset import Dataset

START = datetime(2024, 5, 1, tzinfo=UTC)
NOW = START + timedelta(hours=10)
WHY = (
    "the values of a window cannot be summed exactly (up to 2^20 values, sum below 2^43). Shorten the window, leave such "
    "values out (where=, or valid= of the source), or divide the column by a constant in a Derived source."
)


class Payment:
    payment_id: str
    card: str
    shop: int
    amount: float
    price: Annotated[Decimal, 2]
    at: datetime


payments = Events("payments", Payment, time="at", id="payment_id", lateness="1d")
of_card = FeatureView(
    "of_card",
    entity=Entity("card", key="card"),
    source=payments,
    features={
        "spent": col("amount").sum(window="3h"),
        "spread": col("amount").std(window="3h"),
        "recent": col("amount").decayed_sum(half_life="1h", window="3h"),
        "paid": col("price").sum(window="3h"),
        "payments": count(window="3h"),
    },
)
shared = Derived("shared", source=payments, added={"before": of_card["spent"]})
of_shop = FeatureView(
    "of_shop",
    entity=Entity("shop", key="shop"),
    source=shared,
    features={"before": col("before").last(), "unknown": count(where=col("before").is_null())},
)


def model(view, value):
    label = Label(payments, on="card", value=value, horizon="1h")
    estimator = LGBMClassifier(n_estimators=2, min_child_samples=2, verbosity=-1)
    return Model("risk", spine=payments, features=[view], label=label, estimator=estimator, test_window="2h")


def payment(number, card, hours, amount, price="1.00"):
    at = START + timedelta(hours=hours)
    return {"payment_id": f"p{number}", "card": card, "shop": 1, "amount": amount, "price": price, "at": at}


@pytest.fixture
def opened(tmp_path):
    """Open a project with payments of two cards each hour; three of `large` are so large that two are too much."""

    @contextmanager
    def open_(view, value=exists()):  # noqa: B008 - an expression is a value
        project = Project("bank", releases=[Release(model(view, value))])
        with project.open(Platform(home=tmp_path, clock=VirtualClock(NOW))) as app:
            rows = [payment(hour, "small", hour, float(hour)) for hour in range(9)]
            for hour in range(9):
                much = (2.0**42, "9999999999999999.99") if hour in (1, 2, 3) else (1.0, "1.00")
                rows.append(payment(9 + hour, "large", hour + 0.5, *much))
            app.ingest("payments", rows, history=True)
            app.process()
            yield app

    return open_


def ask(card, hours=4.0, number=99):
    return payment(number, card, hours, 1.0)


def test_rows_without_features_are_left_out_of_a_training_set_and_counted(opened, caplog):
    with opened(of_card) as app:
        learned = app.training_set("risk")
        assert learned.dropped["too large to sum exactly"] == 4
        assert {f"p{number}".encode() for number in range(18)} - set(learned.ids.tolist()) == {
            b"p11",
            b"p12",
            b"p13",
            b"p14",
        }
        assert 'rows without features model=risk why=card="large" as of 2024-05-01T0' in caplog.text
        assert "too large to sum exactly 4" in str(learned.report)
        with pytest.raises(Inexact, match=r'^card="large" as of 2024-05-01T0'):
            _ = app.dataset("risk").columns


def test_rows_without_features_are_left_out_of_a_batch_and_cost_no_other_row_its_answer(opened, caplog):
    with opened(of_card, col("amount") > 4) as app:
        app.promote("risk", app.train("risk").number)
        done = app.batch("risk", START, NOW)
        assert (done.rows, done.left_out) == (14, 4)
        parts = app.batch("risk", START, NOW, every="10m", again=True).partitions.values()
        assert {(part["rows"] > 0, part["left_out"] > 0) for part in parts} == {(False, True), (True, False)}
        assert sum(part["left_out"] for part in parts) == 4
        scored = app.score("risk", START, NOW)
        assert sorted(scored.row) == sorted(
            f"p{number}" for number in range(18) if number not in range(11, 15)
        )
        assert 'rows without features model=risk rows=4 why=card="large" as of 2024-05-01T0' in caplog.text


def test_who_asks_is_told_which_key_it_was_and_other_keys_are_answered(opened):
    with opened(of_card) as app:
        at = to_us(START + timedelta(hours=4))
        assert app.features("risk", ask("small"))["features"]["of_card.spent"] == 5.0
        with pytest.raises(Inexact) as caught:
            app.features("risk", ask("large"))
        assert (
            str(caught.value)
            == f'card="large" as of 2024-05-01T04:00:00+00:00: view "of_card", amount: {WHY}'
        )
        keys = {"card": column("str", ["small", "large"])}
        with pytest.raises(Inexact) as many:
            LookupMany([of_card])(app.online, keys, np.array([at, at]))
        assert str(many.value) == str(caught.value)


@pytest.mark.parametrize("memory", [None, 1_000])
def test_a_source_that_reads_such_a_feature_has_null_there_and_nothing_is_held_up(opened, memory):
    with opened(of_shop) as app:
        assert app.process() == 0
        online = [app.features("risk", ask("small", hours))["features"] for hours in (2.0, 4.0, 6.0)]
        asked = [ask("small", hours, place) for place, hours in enumerate((2.0, 4.0, 6.0))]
        app.flush()
        found = Dataset(app.dataset("risk").model, History(app.lake, memory=memory), asked).columns
        offline = [
            dict(zip(found, values, strict=True))
            for values in zip(*(item.plain() for item in found.values()), strict=True)
        ]
        assert online == offline
        assert [row["of_shop.unknown"] for row in online] == [2, 4, 6]


def test_a_label_that_cannot_be_summed_is_no_label(opened):
    with opened(of_shop, col("amount").sum() > 1) as app:
        learned = app.training_set("risk")
        assert learned.dropped["too large to sum exactly"] == 2
        assert learned.dropped["no label event"] == 0


def test_explain_shows_the_records_and_why_there_is_no_value(opened):
    with opened(of_card) as app:
        found = app.explain(of_card["spent"], "large", START + timedelta(hours=4))
        assert found.value is None
        assert [item["value"] for item in found.parts[0].records if item["status"] == "counted"] == [
            2.0**42
        ] * 3
        assert found.note == f'It has no value: view "of_card", amount: {WHY}'
        assert app.explain(of_card["payments"], "large", START + timedelta(hours=4)).value == 3


def test_a_window_that_a_value_beyond_any_sum_has_left_is_exact_again(opened):
    source = Derived("cents", source=payments, added={"cents": col("amount") * 1e9})
    cents = col("cents")
    features = {
        "sum": cents.sum(window="2h"),
        "var": cents.var(window="2h"),
        "recent": cents.decayed_sum(half_life="1h", window="2h"),
        "largest": cents.max(),
    }
    view = FeatureView("cents", entity=Entity("card", key="card"), source=source, features=features)
    with opened(view) as app:
        with pytest.raises(Inexact):
            app.features("risk", ask("large", 4.0))
        online = app.features("risk", ask("large", 7.0))["features"]
        assert (online["cents.sum"], online["cents.var"]) == (2e9, 0.0)
        assert online["cents.largest"] == 2.0**42 * 1e9
        app.flush()
        found = app.dataset("risk").of([ask("large", 7.0)]).columns
        assert online == {name: item.plain()[0] for name, item in found.items()}
