"""A table and a list of the same rows are decided alike, whatever they hold."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenfold import Events, col
from tenfold.processing.conform import conform


class Thing:
    thing_id: str
    part: int
    amount: float
    count: int | None
    flag: bool | None
    note: str | None
    price: Annotated[Decimal, 2] | None
    born: datetime | None
    at: datetime
    seen: datetime


THINGS = Events(
    "things",
    Thing,
    time="at",
    known="seen",
    id=("thing_id", "part"),
    valid={"amount below 100": col("amount") < 100},
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(
    ["", "\0", "a\x1fb", "x" * 1025, "é" * 513]
)
NUMBER = st.floats(width=64) | st.sampled_from([2.0**43, -(2.0**43), 2.0**53, 1 - 2.0**53, 99.0, 101.0, -0.0])
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
PRICE = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**16), max_value=10**16)
CENTS = st.integers(-(10**16), 10**16).map(lambda units: units / 100) | st.integers(-999, 999).map(
    lambda units: units / 100
)
DIGITS = st.from_regex(r"[+-]?[0-9]{0,20}([.][0-9]{0,4})?", fullmatch=True)
EDGES = [0, -1, 7_258_118_400_000_000, 7_258_118_399_999_999, 1_714_564_800_000_000]
INSTANT = st.integers(-(2**55), 2**55) | st.sampled_from(EDGES)
COLUMNS = {
    "thing_id": [
        (TEXT, pa.string()),
        (TEXT, pa.large_string()),
        (st.just("a"), pa.dictionary(pa.int8(), pa.string())),
    ],
    "part": [(WHOLE, pa.int64()), (st.integers(0, 2**64 - 1), pa.uint64()), (st.integers(-9, 9), pa.int8())],
    "amount": [
        (NUMBER, pa.float64()),
        (st.floats(width=32), pa.float32()),
        (WHOLE, pa.int64()),
        (TEXT, pa.string()),
    ],
    "count": [
        (WHOLE, pa.int64()),
        (NUMBER, pa.float64()),
        (st.booleans(), pa.bool_()),
        (st.none(), pa.null()),
    ],
    "flag": [(st.booleans(), pa.bool_()), (st.integers(0, 1), pa.int8())],
    "note": [
        (TEXT, pa.string()),
        (st.binary(max_size=3), pa.binary()),
        (st.lists(st.just(1)), pa.list_(pa.int8())),
    ],
    "price": [
        (PRICE, pa.decimal128(38, 2)),
        (PRICE, pa.decimal256(60, 30)),
        (st.decimals(-99, 99, places=5), pa.decimal128(20, 5)),
        (st.sampled_from([Decimal("1.50"), Decimal("1.505")]), pa.decimal128(9, 3)),
        (CENTS | st.floats(width=64), pa.float64()),
        (st.floats(width=32), pa.float32()),
        (WHOLE, pa.int64()),
        (st.integers(0, 2**64 - 1), pa.uint64()),
        (DIGITS | TEXT, pa.string()),
        (st.booleans(), pa.bool_()),
    ],
    "born": [(INSTANT, pa.timestamp("us", "UTC")), (INSTANT, pa.timestamp("us", "Asia/Tokyo"))],
    "at": [(INSTANT, pa.timestamp("us", "UTC")), (INSTANT, pa.timestamp("us", "Asia/Tokyo"))],
    "seen": [
        (INSTANT, pa.timestamp("us", "UTC")),
        (INSTANT.map(lambda us: us // 1_000_000), pa.timestamp("s", "UTC")),
        (INSTANT, pa.timestamp("us")),
        (st.just("2024-05-01T12:00:00Z") | TEXT, pa.string()),
    ],
}
USUAL = {
    "thing_id": "a",
    "part": 1,
    "amount": 1.0,
    "count": 1,
    "flag": True,
    "note": "n",
    "price": Decimal("12.30"),
    "born": -1_714_000_000_000_000,
    "at": 1_714_000_000_000_000,
    "seen": 1_714_000_000_000_000,
}


@st.composite
def tables(draw):
    """Return an Arrow table of usual values but for one or two columns, which may be of any type and hold anything."""
    rows = draw(st.integers(0, 6))
    odd = draw(st.sets(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=2))
    arrays = {name: pa.array([USUAL[name]] * rows, kinds[0][1]) for name, kinds in COLUMNS.items()}
    for name in sorted(odd):
        values, kind = draw(st.sampled_from(COLUMNS[name]))
        arrays[name] = pa.array(draw(st.lists(values | st.none(), min_size=rows, max_size=rows)), kind)
    return pa.table(arrays)


def as_rows(table):
    return [
        dict(zip(table.column_names, row, strict=True))
        for row in zip(*map(cells, table.columns), strict=True)
    ]


def cells(column):
    """Return Python values; an instant that Python cannot hold as the nearest one that it can."""
    if pa.types.is_timestamp(column.type):
        limits = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        low, high = (
            int(limit.timestamp()) + sign * 86_400 * 400 for limit, sign in zip(limits, (1, -1), strict=True)
        )
        unit = 1 if column.type.unit == "s" else 1_000_000
        whole = [
            None if item is None else min(max(item, low * unit), high * unit)
            for item in column.cast(pa.int64()).to_pylist()
        ]
        return pa.array(whole, pa.int64()).cast(column.type).to_pylist()
    return column.to_pylist()


def bits(found):
    """Return the frame as bytes, so that -0.0 is not 0.0."""
    return {
        name: item.plain()
        if item.type == "str"
        else (item.valid.tobytes(), np.ascontiguousarray(item.values).tobytes())
        for name, item in found.frame.items()
    }


@settings(max_examples=300, deadline=None)
@given(tables())
@example(pa.table({name: pa.array([], kinds[0][1]) for name, kinds in COLUMNS.items()}))
def test_a_table_and_its_rows_are_decided_alike(table):
    of_table, of_rows = conform(THINGS, table), conform(THINGS, as_rows(table))
    assert bits(of_table) == bits(of_rows)
    assert [item.place for item in of_table.rejects] == [item.place for item in of_rows.rejects]
    assert of_table.rows + len(of_table.rejects) == table.num_rows


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*COLUMNS, "other"]) | st.text() | st.integers(),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.text()
                | st.binary()
                | st.datetimes(),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
                max_leaves=4,
            ),
        )
        | st.none()
        | st.text()
        | st.integers(),
        max_size=5,
    )
)
def test_any_rows_are_either_stored_or_set_aside(rows):
    found = conform(THINGS, rows)
    assert found.rows + len(found.rejects) == len(rows)
    assert all(item.row is rows[item.place] for item in found.rejects)
