"""A row that is asked about is checked by a function written for its fields, as a row that is stored is."""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated

import pytest

from tenfold import Derived, Events, col
from tenfold.core.errors import SchemaError
from tenfold.processing.conform import Misfit, checked
from tenfold.serving.rows.asked import Asked


class Sale:
    sale: str
    units: int
    price: float
    due: Annotated[Decimal, 2]
    gift: bool | None
    note: str | None
    born: datetime | None
    at: datetime


sales = Events("sales", Sale, time="at", id="sale")
PLAIN = {
    "sale": "s1",
    "units": 3,
    "price": 1.5,
    "due": Decimal("2.50"),
    "gift": True,
    "note": "fine",
    "born": "1980-02-29T00:00:00+00:00",
    "at": "2024-03-01T00:00:00.000001+00:00",
}
FITS = [
    {},
    {"gift": None, "note": None},
    {"units": 3.0, "price": 2, "due": "2.5"},
    {"note": "grüß\n dich", "sale": "é"},
    {"price": float("1e12"), "units": 1 - 2**53, "due": 7},
    {"at": datetime(2024, 3, 1, tzinfo=UTC)},
    {"at": datetime(2024, 3, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))},
    {"at": "2024-03-01T00:00:00+05:30"},
    {"gift": float("nan")},
    {"born": None},
    {"born": "1955-03-03T00:00:00+01:00"},
    {"born": datetime(9999, 12, 31, tzinfo=UTC)},
]
FAILS = [
    {"units": True},
    {"units": 1.5},
    {"units": 2**53},
    {"price": float("nan")},
    {"price": "1"},
    {"price": None},
    {"due": "2.505"},
    {"gift": 1},
    {"note": 5},
    {"note": "\0"},
    {"sale": "\x1f"},
    {"sale": "s" * 2_000},
    {"at": "2024-03-01T00:00:00"},
    {"at": datetime(2024, 3, 1)},  # noqa: DTZ001 - that it has no zone is what is wrong
    {"at": "2300-01-01T00:00:00+00:00"},
    {"at": "1969-12-31T23:59:59.999999+00:00"},
    {"born": "0001-01-01T00:00:00+01:00"},
    {"born": "1955-03-03"},
    {"at": 5},
    {"at": "2024-03-01"},
    {"other": 1},
]


def told(check, row):
    """Return the values with their types, or what is wrong."""
    try:
        return [(name, type(value), value) for name, value in check(row).items()]
    except (Misfit, SchemaError) as error:
        return str(error).rstrip(".")


def both(row):
    mine = told(Asked(sales), row)
    stored = told(lambda given: checked(sales, given), row)
    said = 'the row does not fit source "sales": '
    return mine.removeprefix(said) if isinstance(mine, str) else mine, stored


@pytest.mark.parametrize("change", FITS)
def test_a_row_that_fits_has_the_values_of_a_stored_one(change):
    mine, stored = both(PLAIN | change)
    assert mine == stored
    assert isinstance(mine, list)


@pytest.mark.parametrize("change", FAILS)
def test_a_row_that_does_not_fit_is_refused_with_the_same_words(change):
    mine, stored = both(PLAIN | change)
    assert mine == stored
    assert isinstance(mine, str)


@pytest.mark.parametrize("name", list(PLAIN))
def test_a_field_may_be_left_out_where_null_fits_and_no_other_may_stand_for_it(name):
    short = {key: value for key, value in PLAIN.items() if key != name}
    mine, stored = both(short)
    assert mine == stored
    assert isinstance(mine, list) == (name in ("gift", "note", "born"))
    assert both(short | {"othr": 1})[0].startswith('unknown column "othr"')


def test_rows_of_another_kind_are_judged_alike():
    for row in (OrderedDict(PLAIN), 5, [], "row", None):
        mine, stored = both(row)
        assert mine == stored


def test_rules_and_conditions_hold_for_each_row():
    ruled = Events("sales", Sale, time="at", id="sale", valid={"units are positive": col("units") > 0})
    assert Asked(ruled)(PLAIN)["units"] == 3
    with pytest.raises(SchemaError, match="not true: units are positive"):
        Asked(ruled)(PLAIN | {"units": 0})
    few = Derived("few", source=ruled, where=col("units") < 10)
    assert Asked(few)(PLAIN)["units"] == 3
    with pytest.raises(SchemaError, match="it does not meet its where"):
        Asked(few)(PLAIN | {"units": 10})
