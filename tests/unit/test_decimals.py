"""What is declared and taken as decimals, and what they are computed as."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tenfold import Entity, Events, FeatureView, col, sql
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.core.infer import infer
from tenfold.core.times import to_us
from tenfold.processing.batches import Marks, encode, read_frame
from tenfold.processing.compiled import compile_row
from tenfold.processing.conform import conform
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column, from_arrow, to_arrow
from tenfold.processing.to_sql import to_sql
from tenfold.sources.memory import MemoryLog
from tests.unit.sales import AT, sale, sales

CENT = Decimal("0.01")
d, n = col("d"), col("n")
TYPES = {"d": "decimal(2)", "k": "decimal(5)", "n": "int", "x": "float"}


def refused(write, kind=DefinitionError):
    with pytest.raises(kind) as caught:
        write()
    return str(caught.value)


# Declared ---------------------------------------------------------------------------------------------


def test_a_field_says_its_places_in_any_kind_of_class():
    class Plain:
        one: Annotated[Decimal, 0]
        two: Annotated[Decimal | None, 18]
        three: "Annotated[Decimal, 3] | None"
        other: Annotated[int, "anything"] | None
        at: Annotated[datetime, 2]

    @dataclass
    class Data:
        price: Annotated[Decimal, 2]
        at: datetime

    class Struct(msgspec.Struct):
        price: Annotated[Decimal, msgspec.Meta(title="EUR"), 2]
        at: datetime

    found = Events("plain", Plain, time="at", id="at").fields
    assert {name: (item.type, item.nullable) for name, item in found.items()} == {
        "one": ("decimal(0)", False),
        "two": ("decimal(18)", True),
        "three": ("decimal(3)", True),
        "other": ("int", True),
        "at": ("time", False),
    }
    for schema in (Data, Struct):
        assert Events("some", schema, time="at", id="at").fields["price"].type == "decimal(2)"


@pytest.mark.parametrize(
    "hint", [Decimal, Decimal | None, Annotated[Decimal, 19], Annotated[Decimal, -1], Annotated[Decimal, "2"]]
)
def test_a_decimal_without_places_is_refused_with_what_to_type(hint):
    schema = type("Row", (), {"__annotations__": {"price": hint, "at": datetime}})
    assert refused(lambda: Events("rows", schema, time="at", id="at")) == (
        'source "rows": field "price" is a Decimal, whose places are not declared. Say how many of its 18 digits stand '
        "behind the point, for example `price: Annotated[Decimal, 2]`."
    )


def test_a_decimal_is_neither_id_nor_key():
    class Row:
        price: Annotated[Decimal, 2]
        at: datetime

    assert refused(lambda: Events("rows", Row, time="at", id="price")) == (
        'source "rows": id="price" is a decimal(2), which identifies nothing. Use an int or a str.'
    )
    features = {"last": col("at").last()}
    entity = Entity("price", key="price")
    assert refused(lambda: FeatureView("view", entity=entity, source=sales, features=features)) == (
        'feature view "view": key "price" of entity "price" is a decimal(2), which measures and does not name. '
        "Use an int or a str."
    )


# Taken ------------------------------------------------------------------------------------------------

TAKEN = {
    "12.30": 1230,
    "12.3000": 1230,
    f"12.3{'0' * 1_000_000}": 1230,
    "-.5": -50,
    "+7.": 700,
    5: 500,
    Decimal("-0.01"): -1,
    Decimal("1E+3"): 100_000,
    Decimal("1.5000"): 150,
    12.3: 1230,
    9_999_999_999_999.99: 999_999_999_999_999,
    -0.0: 0,
    np.int64(3): 300,
    Decimal("NaN"): None,
    float("nan"): None,
    "9999999999999999.99": 10**18 - 1,
    None: None,
}
REASONS = {
    "12.345": '"price" has more than 2 places',
    f"12.3{'0' * 1_000_000}1": '"price" has more than 2 places',
    "9" * 1_000_000: '"price" has more than 18 digits, 2 of them places',
    10**5000: '"price" has more than 18 digits, 2 of them places',
    Decimal("1E-400"): '"price" has more than 2 places',
    0.1 + 0.2: '"price" is a float of more than 15 digits; send it as text such as "12.30"',
    0.125: '"price" has more than 2 places',
    1e16: '"price" has more than 18 digits, 2 of them places',
    10**16: '"price" has more than 18 digits, 2 of them places',
    "10000000000000000": '"price" has more than 18 digits, 2 of them places',
    Decimal("1E+400"): '"price" has more than 18 digits, 2 of them places',
    Decimal("Infinity"): '"price" has more than 18 digits, 2 of them places',
    "1e3": '"price" is text, not a decimal such as "12.30"',
    " 1": '"price" is text, not a decimal such as "12.30"',
    "1_0": '"price" is text, not a decimal such as "12.30"',
    "": '"price" is text, not a decimal such as "12.30"',
    True: '"price" is true or false, not a decimal such as "12.30"',
    AT: '"price" is a time, not a decimal such as "12.30"',
}


def test_what_stands_for_a_decimal_exactly_is_taken_and_the_rest_set_aside_with_a_reason():
    found = conform(sales, [sale(place, value) for place, value in enumerate([*TAKEN, *REASONS])])
    assert found.frame["price"].plain() == list(TAKEN.values())
    assert [reject.reason for reject in found.rejects] == list(REASONS.values())


def test_files_and_data_frames(tmp_path):
    texts = ["12.30", "", "NA", "12.345", "7", "x"]
    at = AT.isoformat()
    lines = [f"s{place},a,{text},{at}" for place, text in enumerate(texts)]
    (tmp_path / "sales.csv").write_text("\n".join(["sale_id,shop,price,at", *lines]))
    found = conform(sales, tmp_path / "sales.csv")
    assert found.frame["price"].plain() == [1230, None, None, 700]
    assert [reject.reason for reject in found.rejects] == [REASONS["12.345"], REASONS["1e3"]]
    (tmp_path / "sales.json").write_text(f'[{{"sale_id": "s", "shop": "a", "price": 12.30, "at": "{at}"}}]')
    assert conform(sales, tmp_path / "sales.json").frame["price"].plain() == [1230]
    frame = pd.DataFrame([sale(0, Decimal("12.3")), sale(1, None), sale(2, Decimal("1.555"))])
    found = conform(sales, frame)
    assert (found.frame["price"].plain(), len(found.rejects)) == ([1230, None], 1)


@pytest.mark.parametrize("rows", [3, 100])
def test_a_batch_of_the_log_holds_the_exact_value(rows):
    log = MemoryLog(VirtualClock(to_us(AT)))
    found = conform(sales, [sale(place, place and Decimal(place) * CENT) for place in range(rows)])
    log.append("sales", encode(found.frame, rows, Marks()), rows)
    (batch,) = log.read("sales", 0)
    assert read_frame(sales, [batch])["price"].plain() == list(range(rows))

    class Changed:
        sale_id: str
        shop: str
        price: Annotated[Decimal, 3] | None
        at: datetime

    other = Events("sales", Changed, time="at", id="sale_id")
    assert refused(lambda: read_frame(other, [batch]), SchemaError) == (
        'source "sales": the log holds records whose field "price" is Annotated[Decimal, 2], not Annotated[Decimal, 3]. A field '
        "never changes its type: declare it as Annotated[Decimal, 2] if no record has it as Annotated[Decimal, 3]. If the log "
        "holds both, load the history again into a new home, where what comes as Annotated[Decimal, 2] has another name."
    )


def test_arrow_holds_decimals_of_18_digits():
    units = [0, -1, 10**18 - 1, -(10**18) + 1, None]
    table = to_arrow({"price": column("decimal(2)", units)})
    assert table.schema.field("price").type == pa.decimal128(18, 2)
    assert table.column("price").to_pylist() == [
        None if item is None else Decimal(item).scaleb(-2) for item in units
    ]
    table.validate(full=True)
    assert from_arrow(table.slice(1, 3), {"price": "decimal(2)"})["price"].plain() == units[1:4]


# Computed ---------------------------------------------------------------------------------------------


def compute(expr, units, kind="decimal(2)"):
    whole = evaluate(expr, {"d": column(kind, units)}, len(units))
    row = compile_row({"it": expr}, {"d": kind})
    assert [repr(row({"d": item})[0]) for item in units] == [repr(item) for item in whole.plain()]
    assert whole.type == infer(expr, {"d": kind}, "test")
    return whole.plain()


EXACT = [
    (d + CENT, "decimal(2)", 1231),
    (d - Decimal("0.005"), "decimal(3)", 12_295),
    (d * 3, "decimal(2)", 3690),
    (-d, "decimal(2)", -1230),
    ((d - 20).abs(), "decimal(2)", 770),
    ((d - 20).sign(), "int", -1),
    (d == Decimal("12.300"), "bool", True),
    (d > Decimal("12.2999"), "bool", True),
    (d == 12.3, "bool", True),
    (d.clip(0, 10), "decimal(2)", 1000),
    ((d > 12).then(d, 0), "decimal(2)", 1230),
    (d.null_if(Decimal("12.3")).fill_null(Decimal("0.125")), "decimal(3)", 125),
    (d.is_in([Decimal("12.3")]), "bool", True),
    (d.cast("str"), "str", "12.30"),
    (d.cast("int"), "int", 12),
    (d.cast("float"), "float", 12.3),
    (d.cast("decimal(4)"), "decimal(4)", 123_000),
    (d.cast("decimal(1)"), "decimal(1)", 123),
    (d.cast("decimal(0)"), "decimal(0)", None),
    (d.cast("str").cast("decimal(3)"), "decimal(3)", 12_300),
    (d / 3, "float", 12.3 / 3),
    (d * d, "float", 12.3 * 12.3),
    (d * CENT, "float", 12.3 * 0.01),
    (d + 0.5, "float", 12.8),
    (d.round(1), "float", 12.3),
    (d.sqrt(), "float", 12.3**0.5),
    (sql("d - CAST('0.30' AS DECIMAL(18, 2))"), "decimal(2)", 1200),
    (sql("CAST(d AS DECIMAL(18, 4))"), "decimal(4)", 123_000),
]


@pytest.mark.parametrize(("expr", "kind", "value"), EXACT, ids=[expr.text for expr, _, _ in EXACT])
def test_what_an_expression_of_12_30_is(expr, kind, value):
    assert infer(expr, TYPES, "test") == kind
    assert repr(compute(expr, [1230])) == repr([value])


def test_what_has_more_than_18_digits_is_null_and_compares_none_the_less():
    most = 10**18 - 1
    assert compute(d + CENT, [most, most - 1]) == [None, most]
    assert compute(d - CENT, [-most]) == [None]
    assert compute(d * 10, [10**17, 10**16]) == [None, 10**17]
    assert compute(d.fill_null(Decimal("0.001")), [most, None]) == [None, 1]
    assert compute(d.least(Decimal("0.001")), [most, -most]) == [1, None]
    assert compute(d.clip(0, Decimal("0.001")), [most, 5, -5]) == [None, 1, 0]
    assert compute(d > Decimal("0.001"), [most, -most, 0]) == [True, False, False]
    assert compute(d == Decimal("9999999999999999.99"), [most, 1]) == [True, False]


@pytest.mark.parametrize("places", [0, 2, 9, 18])
def test_a_decimal_is_the_nearest_float(places):
    units = [1, -3, 2**53 + 1, 123_456_789_012_345_678, -(10**18) + 1]
    wanted = [float(Fraction(item, 10**places)) for item in units]
    assert compute(d.cast("float"), units, f"decimal({places})") == wanted
    assert column(f"decimal({places})", units).numbers().tolist() == wanted


def test_a_function_of_arrays_gets_the_nearest_floats():
    assert compute(d.apply(as_arrays, returns="float"), [1230, None]) == [24.6, None]


def as_arrays(prices):
    return prices * 2


def test_what_cannot_be_is_refused_where_it_is_declared():
    assert refused(lambda: infer(col("x").cast("decimal(2)"), TYPES, "here")) == (
        "here: to_decimal(x, Decimal('0.00')) does not fit columns of type float. "
        "A float has no one decimal. Declare the field as a Decimal, or cast what it is made of."
    )
    assert refused(lambda: d.cast("decimal(19)")) == (
        "cast('decimal(19)') is not a type to cast to. Did you mean \"decimal(2)\"? "
        "Known: bool, decimal(2), float, int, str."
    )
    assert refused(lambda: d + Decimal("NaN")) == (
        "Decimal('NaN') cannot be part of an expression. Decimals have up to 18 digits."
    )
    assert refused(lambda: d > Decimal(1234567890123456789)) == (
        "Decimal('1234567890123456789') cannot be part of an expression. Decimals have up to 18 digits."
    )
    assert refused(lambda: infer(d == "12.30", TYPES, "here")) == (
        "here: (d == '12.30') does not fit columns of type decimal(2) and str. "
        'A decimal constant is written Decimal("12.30").'
    )
    assert refused(lambda: to_sql(d.cast("str"), {"d": "decimal(7)"}, "spark")) == (
        "a decimal with 7 places cannot be text in SQL for spark: it writes small ones with an exponent. Evaluate it in tenfold."
    )
    assert refused(lambda: sql("CAST(d AS DECIMAL(10, 2))")) == (
        'sql("CAST(d AS DECIMAL(10, 2))"): CAST(d AS DECIMAL(10, 2)) is no decimal of 18 digits. '
        "Write for example DECIMAL(18, 2)."
    )
    assert refused(lambda: sql("CAST('1.234' AS DECIMAL(18, 2))")) == (
        "sql(\"CAST('1.234' AS DECIMAL(18, 2))\"): CAST('1.234' AS DECIMAL(18, 2)) does not cast a number of at most 18 "
        "digits, 2 of them places"
    )
