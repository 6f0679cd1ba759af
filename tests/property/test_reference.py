"""What every aggregate and window means, as tables of small histories with the values they must have.

These tables are the reference of the reference: each line can be checked by hand. Times are minutes unless they are
written out; a history line is "id @event value", with "known" after it when the record was known later.
"""

from datetime import datetime
from decimal import Decimal

import pytest

from tenfold import col, count
from tenfold.core.times import UNITS, to_us
from tests.property import reference

MINUTE = UNITS["m"]
x = col("x")


def record(name, event, value, known=None, *, deleted=False):
    """Return a record of times in minutes; it is known when it happens unless said otherwise."""
    known = event if known is None else known
    return {"id": name, "event": event * MINUTE, "known": known * MINUTE, "x": value, "deleted": deleted}


def history(*lines):
    return [line | {"offset": place} for place, line in enumerate(lines)]


def value(expr, records, at, own=None):
    """Return the value at a time in minutes, or at a minute and some microseconds: (minute, microseconds)."""
    minute, more = at if isinstance(at, tuple) else (at, 0)
    return reference.value(expr, records, minute * MINUTE + more, own)


# One value of some records ----------------------------------------------------------------------------

PLAIN = history(
    record("a", 1, 5), record("b", 2, 3), record("c", 3, None), record("d", 4, 3), record("e", 5, -7)
)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (count(), 5),
        (x.sum(), 4),
        (x.mean(), 1.0),
        (x.min(), -7),
        (x.max(), 5),
        (x.var(), 88 / 3),  # 92 - 4 * 4 / 4, by 3
        (x.std(), (88 / 3) ** 0.5),
        (x.first(), 5),
        (x.last(), -7),
        (x.lag(0), -7),
        (x.lag(1), 3),
        (x.lag(2), None),  # the record is there, its value is not
        (x.lag(4), 5),
        (x.lag(5), None),
        (x.n_unique(), 3),
        (x.mode(), 3),
        (x.top_k(3)[1], -7),  # once each, and -7 < 5
        (x.top_k(4)[2], 5),
        (x.top_k(4)[3], None),
        (count(where=x > 0), 3),
        (count(where=x.is_null()), 1),
        (count(where=x != 3), 2),  # null is neither equal nor different
        (x.sum(where=x > 100), None),
        (x.n_unique(where=x > 100), 0),
        (count(where=x > 100), 0),
        (x.last(where=x > 0), 3),
        (x.sum() / count(), 0.8),
    ],
    ids=lambda item: getattr(item, "text", ""),
)
def test_a_value_of_all_records(expr, expected):
    assert value(expr, PLAIN, 60) == expected


@pytest.mark.parametrize(
    ("values", "expr", "expected"),
    [
        ([True, False, True], x.sum(), 2),
        ([True, False, True], x.max(), 1),
        ([True, False, None], x.mean(), 0.5),
        ([True, False], x.mode(), False),  # once each, and false comes first
        ([True, False], x.last(), False),
        (["b", "a", None], x.mode(), "a"),
        (["b", "Z", "é"], x.top_k(3)[0], "Z"),  # by code point: capitals, letters, accents
        (["b", "Z", "é"], x.top_k(3)[2], "é"),
        (["b", "b", ""], x.n_unique(), 2),
        ([0.1, 0.2], x.sum(), 0.1 + 0.2),
        ([1e6, 0.001, -1e6], x.sum(), 0.001),  # nothing is lost on the way
        ([0.0, -0.0], x.n_unique(), 1),
        ([7], x.var(), None),
        ([7, None], x.std(), None),
        ([7, 7], x.std(), 0.0),
        ([0.1, 0.1, 0.1], x.std(), 0.0),
        ([None], x.sum(), None),
        ([None], x.first(), None),
        ([], x.mean(), None),
    ],
)
def test_a_value_of_values(values, expr, expected):
    records = history(*(record(str(place), place, item) for place, item in enumerate(values)))
    assert value(expr, records, 60) == expected


def cents(*units):
    return [None if item is None else Decimal(item).scaleb(-2) for item in units]


@pytest.mark.parametrize(
    ("values", "expr", "expected"),
    [
        (cents(10, 20), x.sum(), "0.30"),
        (cents(10, 20), x.mean(), 0.15),
        (cents(10, 20, 20), x.mean(), 1 / 6),  # the float nearest to 0.50 / 3
        (cents(10**17, 1), x.sum(), "1000000000000000.01"),
        (cents(500, None, 300), x.var(), 2.0),
        (cents(500, 300), x.std(), 2.0**0.5),
        (cents(7, 7), x.std(), 0.0),
        (cents(1230, -5), x.min(), "-0.05"),
        (cents(1230, -5, 1230), x.mode(), "12.30"),
        (cents(1230, None), x.lag(1), "12.30"),
        (cents(1230, None), x.last(), None),
        (cents(10, 20), (x * 3 - Decimal("0.005")).sum(), "0.890"),
        (cents(10, 20), (x * x).sum(), 0.1 * 0.1 + 0.2 * 0.2),
        (cents(10**18 - 1), (x + Decimal("0.01")).last(), None),  # 19 digits
        (cents(10, 20), count(where=x > 0.1), 1),
        (cents(10, 20), count(where=x >= 0.1), 2),
    ],
)
def test_a_value_of_decimals(values, expr, expected):
    records = history(*(record(str(place), place, item) for place, item in enumerate(values)))
    found = value(expr, records, 60)
    assert (str(found) if isinstance(found, Decimal) else found) == expected


def test_the_smallest_of_two_zeros_is_plain_zero():
    records = history(record("a", 1, -0.0), record("b", 2, 0.0))
    assert [str(value(expr, records, 60)) for expr in (x.min(), x.max(), x.mode(), x.first())] == [
        "0.0",
        "0.0",
        "0.0",
        "-0.0",
    ]


# Windows ----------------------------------------------------------------------------------------------

TEN = history(*(record(f"r{minute}", minute, minute) for minute in (0, 10, 20, 30, 60, 61)))


@pytest.mark.parametrize(
    ("over", "at", "expected"),
    [
        ({"window": "10m"}, 30, []),  # what happens now is not known yet, what is ten minutes old is too old
        ({"window": "10m"}, (30, 1), [30]),
        ({"window": "10m"}, (30, -1), [20]),
        ({"window": "10m"}, (39, 0), [30]),
        ({"window": "10m"}, 40, []),
        ({"window": "30m"}, 40, [20, 30]),
        ({"window": "30m"}, (40, -1), [10, 20, 30]),
        ({"window": "10m", "offset": "20m"}, 50, []),
        ({"window": "10m", "offset": "20m"}, (50, -1), [20]),
        ({"window": "30m", "offset": "20m"}, 60, [20, 30]),
        ({"offset": "20m"}, 60, [0, 10, 20, 30]),
        ({"rows": 2}, 60, [20, 30]),
        ({"rows": 2}, (60, 1), [30, 60]),
        ({"rows": 9}, 25, [0, 10, 20]),
        ({"rows": 2, "where": x < 25}, 90, [10, 20]),  # the last two of those that meet it
        ({"rows": 2, "offset": "30m"}, 60, [10, 20]),
        ({"session": "10m"}, 31, [0, 10, 20, 30]),
        ({"session": "10m"}, 40, [0, 10, 20, 30]),
        ({"session": "10m"}, (40, 1), []),
        ({"session": "9m"}, 35, [30]),
        ({"session": "10m"}, 62, [60, 61]),
        ({"session": "30m"}, 62, [0, 10, 20, 30, 60, 61]),
        ({"session": "10m", "offset": "20m"}, 60, [0, 10, 20, 30]),
        ({"session": "10m", "where": x != 20}, 35, [30]),  # the pause is between those that meet it
        ({}, 60, [0, 10, 20, 30]),
        ({}, 0, []),
    ],
)
def test_what_is_in_a_window(over, at, expected):
    found = [value(item, TEN, at) for item in x.last_n(6, **over)]
    assert [item for item in reversed(found) if item is not None] == expected
    assert value(count(**over), TEN, at) == len(expected)


NEW_YORK, LORD_HOWE, KOLKATA = "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"


@pytest.mark.parametrize(
    ("window", "zone", "at", "since"),
    [
        ("1d", "UTC", "2024-02-29T12:00+00:00", "2024-02-29T00:00+00:00"),
        ("1d", "UTC", "2024-02-29T00:00+00:00", "2024-02-29T00:00+00:00"),
        ("2d", "UTC", "2024-03-01T12:00+00:00", "2024-02-29T00:00+00:00"),
        (
            "1d",
            NEW_YORK,
            "2024-03-10T12:00-04:00",
            "2024-03-10T00:00-05:00",
        ),  # the clocks went forward at 2:00
        ("2d", NEW_YORK, "2024-03-11T12:00-04:00", "2024-03-10T00:00-05:00"),
        ("1d", NEW_YORK, "2024-11-03T12:00-05:00", "2024-11-03T00:00-04:00"),  # and back
        ("7d", NEW_YORK, "2024-11-05T12:00-05:00", "2024-10-30T00:00-04:00"),
        ("1d", KOLKATA, "2024-01-01T00:10+05:30", "2024-01-01T00:00+05:30"),
        ("1d", LORD_HOWE, "2024-04-07T12:00+10:30", "2024-04-07T00:00+11:00"),  # half an hour back
        ("2d", LORD_HOWE, "2024-10-07T12:00+11:00", "2024-10-06T00:00+10:30"),
        ("1d", "UTC", "1969-12-31T12:00+00:00", "1969-12-31T00:00+00:00"),
    ],
)
def test_a_window_of_days_begins_at_a_local_midnight(window, zone, at, since):
    first, moment = to_us(datetime.fromisoformat(since)), to_us(datetime.fromisoformat(at))
    records = [
        {"id": str(edge), "event": first + edge, "known": first + edge, "offset": edge, "x": edge}
        for edge in (-1, 0, 1)
    ]
    found = reference.value(x.first(window=window, zone=zone), records, moment)
    assert found == (0 if moment > first else None)


def test_an_offset_leads_to_another_day():
    records = history(record("a", -1, 1), record("b", 0, 2), record("c", 1439, 3), record("d", 1440, 4))
    assert (
        value(x.sum(window="1d", zone="UTC", offset="1d"), records, 2880) is None
    )  # midnight: a day just begun
    assert value(x.sum(window="1d", zone="UTC", offset="1d"), records, (2880, -1)) == 5
    assert value(x.sum(window="1d", zone="UTC", offset="1d"), records, (2880, 1)) == 4


# Known later, corrected, deleted ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (6, [5]),
        (10, [5]),  # the correction becomes known now: not yet
        ((10, 1), [7]),
        (20, [7]),
        ((20, 1), []),  # it moved to minute 30
        (30, []),
        ((30, 1), [8]),
        (40, [8]),
        ((40, 1), []),  # deleted
    ],
)
def test_the_newest_known_version_counts(at, expected):
    records = history(
        record("a", 5, 5),
        record("a", 5, 7, known=10),
        record("a", 30, 8, known=20),
        record("a", 30, 8, known=40, deleted=True),
    )
    assert [value(x.sum(), records, at)] == (expected or [None])
    assert value(count(window="1d"), records, at) == len(expected)


def test_a_version_that_moves_a_record_back_counts_where_it_went():
    records = history(record("a", 50, 1), record("a", 20, 1, known=60))
    assert [value(count(window="30m"), records, at) for at in (55, 61)] == [1, 0]


def test_of_versions_known_at_once_the_later_in_the_log_counts():
    records = history(record("a", 5, 1, known=9), record("a", 5, 2, known=9))
    assert value(x.sum(), records, 10) == 2


def test_an_older_version_that_arrives_late_changes_nothing():
    records = history(record("a", 5, 1, known=9), record("a", 5, 2, known=7))
    assert [value(x.sum(), records, at) for at in (8, 10)] == [2, 1]


def test_a_late_record_counts_from_when_it_is_known_and_in_its_place():
    records = history(record("a", 10, 1), record("b", 20, 2), record("late", 15, 3, known=30))
    assert [value(x.lag(1), records, at) for at in (30, 31)] == [1, 3]
    assert [value(x.sum(window="10m"), records, at) for at in (24, 31)] == [5 - 3, None]


def test_a_record_announced_ahead_counts_when_it_happens():
    records = history(record("a", 10, 1, known=0))
    assert [value(count(), records, at) for at in (5, 10, 11)] == [0, 0, 1]


def test_an_offset_does_not_make_a_record_known_later():
    records = history(record("late", 5, 1, known=30))
    assert [value(count(window="30m", offset="20m"), records, at) for at in (28, 30, 31)] == [0, 0, 1]


def test_of_one_moment_the_order_of_ids_decides():
    records = history(record("b", 5, 2), record("a", 5, 1), record("c", 5, 3))
    assert [value(item, records, 6) for item in (x.first(), x.last(), x.lag(1))] == [1, 3, 2]
    numbered = history(record(9, 5, 9), record(10, 5, 10))
    assert value(x.last(), numbered, 6) == 9, "ids are bytes: 10 comes before 9"


# With the row itself ----------------------------------------------------------------------------------

OWN = {"id": "own", "x": 100}


@pytest.mark.parametrize(
    ("over", "at", "expected"),
    [
        ({}, 60, [0, 10, 20, 30, 100]),
        ({"window": "10m"}, 50, [100]),
        ({"window": "40m", "offset": "20m"}, 50, [0, 10, 20, 100]),
        ({"rows": 2}, 60, [30, 100]),
        ({"rows": 1}, 60, [100]),
        ({"session": "10m"}, 40, [0, 10, 20, 30, 100]),
        ({"session": "10m"}, (40, 1), [100]),
        ({"where": x < 50}, 60, [0, 10, 20, 30]),
        ({"rows": 2, "where": x < 50}, 60, [20, 30]),
        ({"session": "10m", "where": x < 50}, (40, 1), []),
        ({"where": x > 50}, 60, [100]),
    ],
)
def test_the_row_itself_is_the_newest_record(over, at, expected):
    over = over | {"include_self": True}
    found = [value(item, TEN, at, OWN) for item in x.last_n(6, **over)]
    assert [item for item in reversed(found) if item is not None] == expected
    assert value(count(**over), TEN, at, OWN) == len(expected)


def test_an_older_version_of_the_row_itself_does_not_count_beside_it():
    records = history(record("own", 5, 1), record("other", 6, 2))
    assert value(x.sum(include_self=True), records, 10, OWN) == 102
    assert value(x.sum(), records, 10, OWN) == 3
    assert value(x.sum(include_self=True, where=x < 50), records, 10, OWN) == 2
    assert value(count(rows=2, include_self=True), records, 10, OWN) == 2


def test_another_record_of_the_very_same_moment_does_not_count():
    records = history(record("other", 10, 2))
    assert value(x.sum(include_self=True), records, 10, OWN) == 100


# Decay ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [(10, None), ((10, 1), 8.0 * 2.0 ** -(1 / (10 * MINUTE))), (20, 4.0), (30, 2.0 + 8.0), (640, None)],
)
def test_a_value_counts_half_after_each_half_life(at, expected):
    records = history(record("a", 10, 8.0), record("b", 20, 16.0, known=25))
    if at == 640:  # 64 half-lives after the second
        records = [record | {"event": record["event"] - 20 * MINUTE} for record in records]
    assert value(x.decayed_sum(half_life="10m"), records, at) == expected
