"""Decimals in a project: exact in features, explanations, training sets, the lake, the log and over HTTP."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec
import pyarrow as pa
import pytest

from tenfold import Derived, Entity, Events, FeatureView, Label, Model, Platform, Project, Release, col
from tenfold.core.clock import VirtualClock
from tenfold.core.times import to_us
from tenfold.monitoring.skew import skew
from tests.examples import tiny
from tests.property.shop import PACKAGE, START, model, order_row
from tests.property.world import World
from tests.unit.sales import AT, sale, sales

price = col("price")
shop = FeatureView(
    "shop",
    entity=Entity("shop", key="shop"),
    source=Derived("sold", source=sales, added={"with_tax": price + Decimal("0.005")}),
    features={
        "sum": price.sum(),
        "mean": price.mean(),
        "least": price.min(),
        "most": col("with_tax").max(),
        "last": price.last(),
        "before": price.lag(1),
        "usual": price.mode(),
        "values": price.n_unique(),
        "spread": price.std(),
    },
)


class Outcome:
    sale_id: str
    refund: Annotated[Decimal, 2]
    at: datetime


outcomes = Events("outcomes", Outcome, time="at", id="sale_id")
this = FeatureView(
    "this", source=sales, features={"price": price, "over": price - shop["mean"], "up": price - shop["last"]}
)


refund = Model(
    "refund",
    spine=sales,
    features=[shop, this],
    label=Label(outcomes, on="sale_id", value=col("refund"), horizon="1h"),
    estimator=tiny.late_order.estimator,
    test_window="1d",
)
project = Project("decimals", releases=[Release(refund)])
PRICES = [Decimal("0.10"), Decimal("0.20"), None, Decimal("0.20"), Decimal("-1.05")]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    clock = VirtualClock(to_us(AT) + 10 * 86_400_000_000)
    with project.open(Platform(home=tmp_path_factory.mktemp("home"), clock=clock)) as app:
        app.ingest(sales, [sale(place, value) for place, value in enumerate(PRICES)], history=True)
        rows = [
            {"sale_id": f"s{place}", "refund": "0.05", "at": AT + timedelta(minutes=place + 30)}
            for place in range(5)
        ]
        app.ingest(outcomes, rows, history=True)
        app.process()
        yield app


ASKED = {
    "shop.sum": Decimal("-0.55"),
    "shop.mean": -0.1375,
    "shop.least": Decimal("-1.05"),
    "shop.most": Decimal("0.205"),
    "shop.last": Decimal("-1.05"),
    "shop.before": Decimal("0.20"),
    "shop.usual": Decimal("0.20"),
    "shop.values": 3,
    "this.price": Decimal("12.30"),
    "this.over": 12.3 + 0.1375,
    "this.up": Decimal("13.35"),
}


def ask(app, **changed):
    return (
        sale(9, "12.30", at=app.clock.now() and datetime.fromtimestamp(app.clock.now() / 1e6, UTC)) | changed
    )


def test_features_are_exact_decimals(app):
    found = app.features(refund, ask(app))["features"]
    spread = found.pop("shop.spread")
    assert {name: repr(value) for name, value in found.items()} == {
        name: repr(value) for name, value in ASKED.items()
    }
    assert spread == pytest.approx(0.61015708)
    assert msgspec.json.decode(msgspec.json.encode(found))["shop.sum"] == "-0.55"


def test_an_explanation_shows_exact_text(app):
    found = app.explain(shop["sum"], "a")
    (part,) = found.parts
    assert (found.value, part.value) == ("-0.55", "-0.55")
    assert [record["value"] for record in part.records] == ["-1.05", "0.20", None, "0.20", "0.10"]
    assert app.explain(shop["mean"], "a").parts[0].value == -0.1375


def test_a_training_set_has_decimals_and_the_matrix_floats(app):
    found = app.training_set(refund)
    assert found.y.tolist() == [0.05] * 5
    table = found.to_arrow()
    assert table.schema.field("shop.sum").type == pa.decimal128(18, 2)
    assert table.schema.field("shop.most").type == pa.decimal128(18, 3)
    sums = [None, Decimal("0.10"), Decimal("0.30"), Decimal("0.30"), Decimal("0.50")]
    assert table.column("shop.sum").to_pylist() == sums
    pandas = found.to_pandas()["shop.sum"]
    assert (str(pandas.dtype), pandas[1:].tolist()) == ("decimal128(18, 2)[pyarrow]", sums[1:])
    polars = found.to_polars()
    assert (str(polars.schema["shop.sum"]), polars["shop.sum"].to_list()) == (
        "Decimal(precision=18, scale=2)",
        sums,
    )
    assert "decimal(2)" in str(found.report)


def test_the_lake_is_read_by_others(app):
    import duckdb
    from deltalake import DeltaTable

    folder = app.platform.home / "lake" / "sales"
    assert "decimal(18,2)" in DeltaTable(folder).schema().to_json()
    kind, total = duckdb.sql(
        f"SELECT any_value(typeof(price)), sum(price) FROM read_parquet('{folder}/**/*.parquet')"
    ).fetchall()[0]
    assert (kind, total) == ("DECIMAL(18,2)", Decimal("-0.55"))
    assert app.lake.read("sales", where="price > 0.15").num_rows == 2


@pytest.mark.parametrize("given", ["12.30", 12.3, Decimal("12.3")])
def test_a_prediction_logs_the_exact_text_and_is_the_same_when_it_is_computed_again(given):
    world = World()
    for name, amount in (("o0", "0.10"), ("o6", "0.20")):
        world.arrive("orders", [bought(name, amount, START)])
    world.clock.set(START + 1)
    world.ask(bought("o12", given, START + 1))
    world.sink.flush()
    (request,) = world.served().request
    assert msgspec.json.decode(request)["price"] == "12.30"
    matrix = dict(zip(model.columns, world.by_request()[0].tolist(), strict=True))
    names = [
        "by_corner.paid_3h",
        "by_corner.price_3h",
        "by_corner.last_price",
        "request.dearer",
        "request.dear",
    ]
    assert [matrix[name] for name in names] == [0.3, 0.15, 0.2, 12.1, 1.0]
    found = skew(model, world.dataset, [world.served()], lambda _: PACKAGE.manifest)
    assert (found.mismatches, found.cells) == (0, len(model.columns))


def bought(name, amount, now):
    return order_row({"order_id": name, "amount": 1.0, "units": 1, "late": 0, "price": amount}, now)


def test_http_takes_text_and_numbers_by_the_same_rule(app):
    asgi = app.asgi(wait=5)
    row = tiny.in_process
    for place, (given, wanted) in enumerate(
        [("12.30", 200), (12.3, 200), (7, 200), (0.125, 422), ("1e3", 422)]
    ):
        new = sale(100 + place, given) | {"at": (AT + timedelta(minutes=1)).isoformat()}
        assert row(asgi, "/events/sales", new)[0] == wanted, given
    status, answer = row(asgi, "/events/sales", sale(200, "1.234") | {"at": AT.isoformat()})
    assert (status, answer["error"]["message"]) == (
        422,
        '1 of 1 rows of source "sales" were set aside: "price" has more than 2 places (1). Nothing was stored. '
        "See: tenfold rejects PROJECT.py sales",
    )
    assert app.quarantine.rows("sales", 1)[0]["row"]["price"] == "1.234"
