"""What fits a declaration and what does not, for every kind of input, with the whole reason."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tenfold import Derived, Events, col
from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.core.times import to_us
from tenfold.processing.conform import KNOWN, Reject, complaint, conform

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
US = 1_714_564_800_000_000


class Sale:
    sale_id: str
    amount: float
    items: int | None
    gift: bool | None
    note: str | None
    at: datetime


SALES = Events(
    "sales", Sale, time="at", id="sale_id", delay="1h", valid={"amount above 0": col("amount") > 0}
)


class Person:
    name: str
    born: datetime | None
    since: datetime


PEOPLE = Events("people", Person, time="since", id="name")
GOOD = {"sale_id": "s1", "amount": 2.5, "items": 3, "gift": True, "note": "ok", "at": AT}


def frame(**changed):
    """Return two good rows as columns, some of them changed."""
    columns = {name: [value, value] for name, value in GOOD.items()} | {"sale_id": ["s1", "s2"]}
    return columns | changed


def values(found):
    return {name: item.plain() for name, item in found.frame.items()}


def reasons(found):
    return [(item.place, item.reason) for item in found.rejects]


def test_rows_become_columns_with_the_time_they_were_known():
    found = conform(SALES, [GOOD, {"sale_id": "s2", "amount": 1, "at": "2024-05-01T14:00:00+02:00"}])
    assert values(found) == {
        "sale_id": ["s1", "s2"],
        "amount": [2.5, 1.0],
        "items": [3, None],
        "gift": [True, None],
        "note": ["ok", None],
        "at": [US, US],
        KNOWN: [US + 3_600_000_000] * 2,
    }
    assert (found.rows, found.rejects) == (2, [])
    assert values(conform(SALES, GOOD)) == values(conform(SALES, (GOOD,)))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"amount": None}, '"amount" is missing'),
        ({"amount": float("nan")}, '"amount" is missing'),
        ({"amount": pd.NA}, '"amount" is missing'),
        ({"at": pd.NaT}, '"at" is missing'),
        ({"amount": "2.5"}, '"amount" is text, not a number'),
        ({"amount": True}, '"amount" is true or false, not a number'),
        ({"amount": Decimal("2.5")}, '"amount" is a decimal, not a float; convert it first'),
        ({"amount": float("inf")}, '"amount" is too large for exact sums (2^43)'),
        ({"amount": -(2.0**43)}, '"amount" is too large for exact sums (2^43)'),
        ({"amount": 10**400}, '"amount" is too large for exact sums (2^43)'),
        ({"items": np.int64(-(2**63))}, '"items" is too large for exact sums (2^53)'),
        ({"items": 2.5}, '"items" is a number, not a whole number'),
        ({"items": True}, '"items" is true or false, not a whole number'),
        ({"gift": 1}, '"gift" is a number, not true or false'),
        ({"note": 5}, '"note" is a number, not text'),
        ({"note": b"x"}, '"note" is bytes, not text'),
        ({"note": "\ud800"}, '"note" contains half a surrogate pair, which is not text'),
        ({"note": "a\0"}, '"note" contains a NUL character'),
        ({"sale_id": "a\x1fb"}, '"sale_id" contains the control character U+001F, which separates ids'),
        ({"sale_id": "é" * 513}, '"sale_id" is longer than 1,024 bytes, too long for an id'),
        (
            {"at": AT.replace(tzinfo=None)},
            '"at" has no time zone; write for example 2013-04-01T06:00:00+00:00',
        ),
        ({"at": "2024-05-01"}, '"at" has no time zone; write for example 2013-04-01T06:00:00+00:00'),
        ({"at": "1 May"}, '"at" is not a time such as 2013-04-01T06:00:00+00:00'),
        (
            {"at": date(2024, 5, 1)},
            '"at" is a date without a time, not a time such as 2013-04-01T06:00:00+00:00',
        ),
        ({"at": US}, '"at" is a number, not a time such as 2013-04-01T06:00:00+00:00'),
        ({"at": datetime(1900, 1, 1, tzinfo=UTC)}, '"at" is not between 1970 and 2200'),
        ({"at": datetime(2200, 1, 1, tzinfo=UTC)}, '"at" is not between 1970 and 2200'),
        ({"amount": -1}, "not true: amount above 0"),
        (
            {"amont": 1},
            'unknown column "amont". Did you mean "amount"? Known: amount, at, gift, items, note, sale_id.',
        ),
        ({5: 1}, 'unknown column "5". Known: amount, at, gift, items, note, sale_id.'),
        ({"\ud800": 1}, 'unknown column "\\ud800". Known: amount, at, gift, items, note, sale_id.'),
    ],
    ids=str,
)
def test_a_row_that_does_not_fit_is_set_aside_with_the_reason(changed, reason):
    bad = GOOD | changed
    found = conform(SALES, [GOOD, bad, GOOD])
    assert reasons(found) == [(1, reason)]
    assert found.rejects[0].row is bad
    assert found.rows == 2


@pytest.mark.parametrize(
    ("row", "kind"),
    [(None, "null"), (5, "a number"), ("x", "text"), ([1], "a list"), (True, "true or false")],
)
def test_what_is_not_a_row_is_set_aside(row, kind):
    assert reasons(conform(SALES, [row])) == [(0, f"a row is {kind}, not an object with named fields")]


def test_ids_up_to_the_limit_and_long_text_elsewhere_are_fine():
    row = GOOD | {"sale_id": "x" * 1024, "note": "y\x1f" * 100_000}
    for data in ([row], pa.Table.from_pylist([row])):
        found = conform(SALES, data)
        assert found.rows == 1
        assert found.frame["note"].plain() == [row["note"]]


def test_values_of_numpy_and_pandas_in_rows_are_what_they_look_like():
    row = GOOD | {
        "amount": np.float32(2.5),
        "items": np.float64(3.0),
        "gift": np.bool_(True),
        "note": np.str_("ok"),
        "at": pd.Timestamp(AT),
    }
    found = conform(SALES, [row])
    assert values(found) == values(conform(SALES, [GOOD]))
    assert type(found.frame["note"].plain()[0]) is str


def test_an_instant_is_rounded_down_to_microseconds():
    fine = pd.Timestamp("2024-05-01T12:00:00.123456789Z")
    for data in (
        [GOOD | {"at": fine}],
        pa.table(frame(at=pa.array([fine, fine], pa.timestamp("ns", "UTC")))),
    ):
        assert conform(SALES, data).frame["at"].plain()[0] == US + 123_456


# Data frames and Arrow tables ------------------------------------------------------------------------


def test_pandas_with_every_kind_of_null_is_read():
    data = pd.DataFrame(
        {
            "sale_id": pd.Series(["s1", "s2", "s3"], dtype="category"),
            "amount": [2.5, np.nan, 1.0],
            "items": pd.Series([3, None, 4], dtype="Int64"),
            "gift": pd.Series([True, None, pd.NA], dtype=object),
            "note": pd.Series(["ok", None, np.nan], dtype=object),
            "at": pd.Series([AT, AT, pd.NaT]).dt.tz_convert("America/New_York"),
        }
    )
    data.index = [7, 8, 7]
    found = conform(SALES, data)
    assert values(found) == values(conform(SALES, [GOOD]))
    assert reasons(found) == [(1, '"amount" is missing'), (2, '"at" is missing')]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "+05:30", "No/Where"])
def test_instants_of_any_unit_and_zone_are_the_same_instants(unit, zone):
    at = pa.array([AT, None], pa.timestamp(unit, "UTC")).cast(pa.int64()).cast(pa.timestamp(unit, zone))
    found = conform(SALES, pa.table(frame(at=at)))
    assert found.frame["at"].plain() == [US]
    assert reasons(found) == [(1, '"at" is missing')]


def test_instants_beyond_any_calendar_are_set_aside():
    for unit in ("s", "us", "ns"):
        at = pa.array([-(2**63) + 1, 2**63 - 1], pa.int64()).cast(pa.timestamp(unit, "UTC"))
        found = conform(SALES, pa.table(frame(at=at)))
        assert found.rows == 0
        assert [item.place for item in found.rejects] == [0, 1]
        assert all('"at" is' in item.reason for item in found.rejects)


@pytest.mark.parametrize(
    "born", ["0001-01-01T00:00:00+00:00", "1955-03-03T00:00:00+01:00", "9999-12-31T23:59:59.999999+00:00"]
)
def test_what_is_no_time_of_the_record_may_be_of_any_year(born):
    moment = pa.array([datetime.fromisoformat(born)], pa.timestamp("us", "UTC"))
    rows = [{"name": "ann", "born": born, "since": AT}]
    for data in (rows, pa.table({"name": ["ann"], "born": moment, "since": [AT]})):
        assert conform(PEOPLE, data).frame["born"].plain() == [to_us(born)]
    assert reasons(conform(PEOPLE, [rows[0] | {"since": datetime(1969, 12, 31, tzinfo=UTC)}])) == [
        (0, '"since" is not between 1970 and 2200')
    ]


def test_instants_that_the_calendar_does_not_have_are_set_aside():
    person = {"name": "ann", "born": "0001-01-01T00:00:00+01:00", "since": AT}
    assert reasons(conform(PEOPLE, [person])) == [(0, '"born" is not in the years 1 to 9999')]
    beyond = pa.array([-(2**63) + 1, 2**63 - 1], pa.int64()).cast(pa.timestamp("us", "UTC"))
    found = conform(PEOPLE, pa.table({"name": ["ann", "bob"], "born": beyond, "since": [AT, AT]}))
    assert [item.place for item in found.rejects] == [0, 1]


def test_a_nanosecond_before_1970_is_before_1970():
    found = conform(SALES, pa.table(frame(at=pa.array([-1, 0], pa.timestamp("ns", "UTC")))))
    assert reasons(found) == [(0, '"at" is not between 1970 and 2200')]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("sale_id", pa.array(["s1", "s2"], pa.large_string())),
        ("sale_id", pa.array(["s1", "s2"], pa.string_view())),
        ("sale_id", pa.array(["s1", "s2"]).dictionary_encode()),
        ("amount", pa.array([2.5, 2.5], pa.float32())),
        ("amount", pa.array([2.5, 2.5]).dictionary_encode()),
        ("items", pa.array([3, 3], pa.uint64())),
        ("items", pa.array([3, 3], pa.int8())),
        ("items", pa.array([3.0, 3.0])),
        ("at", pa.array([AT.isoformat()] * 2)),
    ],
    ids=str,
)
def test_other_arrow_types_that_mean_the_same_are_read(name, column):
    found = conform(SALES, pa.table(frame() | {name: column}))
    assert values(found) == values(conform(SALES, [GOOD, GOOD | {"sale_id": "s2"}]))


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("amount", pa.array([Decimal("2.5")] * 2), '"amount" is a decimal, not a float; convert it first'),
        ("amount", pa.array(["2.5"] * 2), '"amount" is text, not a number'),
        ("amount", pa.array([None, None]), '"amount" is missing'),
        ("items", pa.array([2**64 - 1] * 2, pa.uint64()), '"items" is too large for exact sums (2^53)'),
        ("items", pa.array([1.5] * 2), '"items" is a number, not a whole number'),
        ("items", pa.array([1e300] * 2), '"items" is too large for exact sums (2^53)'),
        ("gift", pa.array([1, 0]), '"gift" is a number, not true or false'),
        ("note", pa.array([[1], []]), '"note" is a list, not text'),
        ("note", pa.array([b"x", b"y"]), '"note" is bytes, not text'),
        ("note", pa.array(["a\0", "\0"]), '"note" contains a NUL character'),
        (
            "at",
            pa.array([AT.replace(tzinfo=None)] * 2),
            '"at" has no time zone; write for example 2013-04-01T06:00:00+00:00',
        ),
    ],
    ids=str,
)
def test_arrow_types_that_do_not_fit_set_each_row_aside(name, column, reason):
    found = conform(SALES, pa.table(frame() | {name: column}))
    assert reasons(found) == [(0, reason), (1, reason)]


def test_a_naive_time_among_aware_ones_is_not_taken_for_utc():
    data = pd.DataFrame(frame(at=pd.Series([AT, AT.replace(tzinfo=None)], dtype=object)))
    found = conform(SALES, data)
    assert reasons(found) == [(1, '"at" has no time zone; write for example 2013-04-01T06:00:00+00:00')]
    assert found.frame["at"].plain() == [US]


def test_mixed_objects_in_pandas_only_cost_the_bad_rows():
    note = pd.Series(["\ud800", "ok"], dtype=object)
    data = pd.DataFrame(frame(amount=pd.Series([2.5, "x"], dtype=object), note=note))
    found = conform(SALES, data)
    assert reasons(found) == [
        (0, '"note" contains half a surrogate pair, which is not text'),
        (1, '"amount" is text, not a number'),
    ]


def test_text_that_is_not_utf8_is_set_aside():
    buffers = [None, pa.py_buffer(np.array([0, 2, 3], dtype=np.int32)), pa.py_buffer(b"ok\xff")]
    broken = pa.StringArray.from_buffers(2, buffers[1], buffers[2])
    found = conform(SALES, pa.table(frame(note=broken)))
    assert reasons(found) == [(1, '"note" is not UTF-8')]
    assert found.rejects[0].row["note"] == b"\xff"
    assert found.frame["note"].plain() == ["ok"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            pa.table(frame(amont=[1, 2])),
            'source "sales" has no column "amont". Did you mean "amount"? Known: amount, at, gift, items, note, sale_id. '
            "Nothing was stored.",
        ),
        (
            pa.table(frame()).drop_columns(["items"]),
            'source "sales" misses column "items". Nothing was stored.',
        ),
        (
            pa.table(frame()).append_column("items", pa.array([1, 2])),
            'source "sales" gets column "items" twice. Nothing was stored.',
        ),
        (
            pd.DataFrame({7: [1]}),
            'source "sales" has no column "7". Known: amount, at, gift, items, note, sale_id. Nothing was stored.',
        ),
        (
            7,
            "int cannot be ingested. Give a list of dicts, an Arrow table, a data frame or a path to a file.",
        ),
        ("x.xlsx", '"x.xlsx" cannot be ingested. Known file types: .csv, .json, .ndjson, .parquet.'),
        ("no.csv", 'there is no file "no.csv".'),
    ],
    ids=["extra", "missing", "twice", "numbered", "int", "xlsx", "absent"],
)
def test_data_that_is_wrong_as_a_whole_is_refused(columns, message):
    with pytest.raises(SchemaError) as error:
        conform(SALES, columns)
    assert str(error.value) == message


def test_a_derived_source_cannot_be_ingested():
    with pytest.raises(DefinitionError, match=r'"big" is derived; ingest its source "sales" instead\.'):
        conform(Derived("big", source=SALES, added={"big": col("amount") > 10}), [GOOD])


# What is told of it --------------------------------------------------------------------------------


def test_the_complaint_counts_reasons_most_frequent_first():
    found = conform(SALES, [GOOD, {}, {}, GOOD | {"amount": -1}])
    assert complaint("sales", 4, found.rejects) == (
        '3 of 4 rows of source "sales" were set aside: "sale_id" is missing (2), not true: amount above 0 (1). '
        "The other rows were stored. See: tenfold rejects PROJECT.py sales"
    )


@pytest.mark.parametrize(("count", "more"), [(4, ""), (5, " and 1 more reason"), (6, " and 2 more reasons")])
def test_the_complaint_says_how_many_reasons_it_leaves_out(count, more):
    rejects = [Reject(place, {}, f"reason {place}") for place in range(count)]
    assert complaint("sales", count, rejects) == (
        f'{count} of {count} rows of source "sales" were set aside: '
        f"reason 0 (1), reason 1 (1), reason 2 (1), reason 3 (1){more}. "
        "Nothing was stored. See: tenfold rejects PROJECT.py sales"
    )


def test_an_empty_input_is_fine():
    for data in ([], pa.table(frame()).slice(0, 0), pd.DataFrame(frame()).iloc[:0]):
        found = conform(SALES, data)
        assert (found.rows, list(found.rejects), len(found.frame[KNOWN])) == (0, [], 0)
