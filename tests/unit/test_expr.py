"""The expression language: what is written, what it means, and what it says when it cannot be."""

import pytest

from tenfold import col, count
from tenfold.core.errors import DefinitionError
from tenfold.core.expr import AS_OF, lit
from tenfold.core.infer import infer
from tenfold.core.times import to_us
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column

x, y = col("x"), col("y")
ZONE = "America/New_York"


def compute(expr, **columns):
    """Return the values of an expression over columns given as (type, values)."""
    frame = {name: column(kind, values) for name, (kind, values) in columns.items()}
    return evaluate(expr, frame, len(next(iter(frame.values())))).plain()


def message(write):
    with pytest.raises(DefinitionError) as caught:
        write()
    return str(caught.value)


# What is written ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (x + 1, "(x + 1)"),
        (1 - x, "(1 - x)"),
        (2 / x, "(2 / x)"),
        (-x * 2.5, "(neg(x) * 2.5)"),
        ((x > 1) & ~(y == "a"), "((x > 1) & not((y == 'a')))"),
        (x.is_null() | (x != True), "(is_null(x) | (x != True))"),  # noqa: E712
        (x.fill_null(0).abs(), "abs(fill_null(x, 0))"),
        (x.hour(ZONE), "hour(x, 'America/New_York')"),
        (x.sum(window="90m", where=y > 0), "sum(x, window=5400s, where=(y > 0))"),
        (x.last(), "last(x)"),
        (count(window="10ms"), "count(1, window=10ms)"),
    ],
)
def test_text(expr, text):
    assert expr.text == text


def test_different_windows_have_different_texts():
    windows = ["1000001s", "1000002s", "1ms", "1001ms", "1s", "12w", "84d"]
    assert len({x.sum(window=window).text for window in windows}) == 6  # 12 weeks are 84 days


def test_an_expression_knows_its_columns_and_aggregates():
    expr = x.mean(window="1h", where=y > 0) / (1 + count(window="1h"))
    assert expr.columns() == {"x", "y"}
    assert [node.fn for node in expr.aggregates()] == ["mean", "count"]


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (
            lambda: (x > 1) and (y > 1),
            "an expression has no truth value while it is being declared. "
            "Combine conditions with &, | and ~ instead of and, or and not.",
        ),
        (
            lambda: 1 < x < 3,
            "an expression has no truth value while it is being declared. "
            "Combine conditions with &, | and ~ instead of and, or and not.",
        ),
        (lambda: col(""), "col('') is not a column name. Write for example col(\"amount\")."),
        (lambda: col(3), 'col(3) is not a column name. Write for example col("amount").'),
        (
            lambda: x == None,  # noqa: E711
            "None cannot be part of an expression. To ask whether a value is missing, write .is_null().",
        ),
        (
            lambda: x * [1],
            "[1] cannot be part of an expression. Use a number, text, True or False, or col(...).",
        ),
        (lambda: x > float("nan"), "nan cannot be part of an expression. Numbers are smaller than 2^43."),
        (lambda: x > float("inf"), "inf cannot be part of an expression. Numbers are smaller than 2^43."),
        (
            lambda: x > 2.0**43,
            "8796093022208.0 cannot be part of an expression. Numbers are smaller than 2^43.",
        ),
        (
            lambda: x > 2**53,
            "9007199254740992 cannot be part of an expression. Whole numbers are smaller than 2^53.",
        ),
        (
            lambda: x.sum(window="1 month"),
            'window="1 month" is not a duration. Write a whole number and one of ms, s, m, h, d, w, '
            'for example window="10m" or window="30d".',
        ),
        (
            lambda: x.sum(window="0h"),
            'window="0h" is not a duration. Write a whole number and one of ms, s, m, h, d, w, '
            'for example window="10m" or window="30d".',
        ),
        (lambda: x.sum(window="99999999w"), 'window="99999999w" is longer than 1,000 years.'),
        (
            lambda: count(windw="1h"),
            'count takes no "windw". Did you mean "window"? Known: include_self, offset, rows, session, where, window, zone.',
        ),
        (lambda: count(window="1h", rows=3), "count is over window and rows. Give one of them."),
        (lambda: x.sum(rows=0), "sum: rows=0 is not a whole number from 1 to 10,000."),
        (
            lambda: x.sum(window="3h", zone="UTC"),
            'sum: window="3h" with a zone is not whole days. Write for example window="7d".',
        ),
        (
            lambda: x.sum(zone="UTC"),
            'sum: zone="UTC" says whose days count. Give a window of days, such as window="7d".',
        ),
        (lambda: x.sum(include_self=1), "sum: include_self=1 is neither True nor False."),
        (lambda: x.lag(-1), "lag(-1): write a whole number from 0 to 9,999."),
        (lambda: x.approx_quantile(2), "approx_quantile: q=2 is not between 0 and 1."),
        (
            lambda: count(window="1h", where=True),
            'where of count is True, not an expression. Write for example col("amount").',
        ),
        (
            lambda: x.sum(window="1h").mean(window="1d"),
            "mean of sum(x, window=3600s) aggregates an aggregate. "
            "Compute the inner one in a feature view of its own.",
        ),
        (
            lambda: count(window="1h", where=x.last() > 0),
            "count of last(x) aggregates an aggregate. Compute the inner one in a feature view of its own.",
        ),
        (
            lambda: x.age("minutes"),
            'age("minutes") is not a unit of time. Known: d, h, m, ms, s, w.',
        ),
    ],
)
def test_what_cannot_be_written(write, text):
    assert message(write) == text


@pytest.mark.parametrize("zone", ["America/New_Yrok", "America", "../UTC", "", None, 3])
def test_an_unknown_zone_is_refused(zone):
    assert message(lambda: x.hour(zone)).startswith(f'"{zone}" is not a time zone.')


def test_an_unknown_zone_names_the_nearest():
    assert 'Did you mean "America/New_York"?' in message(lambda: x.hour("America/New_Yrok"))


# Types ----------------------------------------------------------------------------------------------

TYPES = {"n": "int", "f": "float", "b": "bool", "s": "str", "t": "time", AS_OF: "time"}
n, f, b, s, t = (col(name) for name in "nfbst")


@pytest.mark.parametrize(
    ("expr", "kind"),
    [
        (n + n, "int"),
        (n + f, "float"),
        (b + b, "int"),
        (b * 2.0, "float"),
        (-b, "int"),
        (n / n, "float"),
        (n > f, "bool"),
        (s == "a", "bool"),
        (t < t, "bool"),
        (s.is_null(), "bool"),
        (b.fill_null(False), "bool"),
        (b.fill_null(2), "int"),
        (n.fill_null(0.5), "float"),
        (f.fill_null(0), "float"),
        (s.fill_null(""), "str"),
        (t.fill_null(t), "time"),
        (t.hour(), "int"),
        (t.age("d"), "float"),
    ],
)
def test_type(expr, kind):
    assert infer(expr, TYPES, "test") == kind


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (s + 1, "test: (s + 1) does not fit columns of type str and int."),
        (s > 1, "test: (s > 1) does not fit columns of type str and int."),
        (
            t - t,
            "test: (t - t) does not fit columns of type time and time. "
            'For the time between two instants, write .since(other, "h").',
        ),
        (t > 5, "test: (t > 5) does not fit columns of type time and int."),
        (n & b, "test: (n & b) does not fit columns of type int and bool."),
        (~n, "test: not(n) does not fit columns of type int."),
        (n.hour(), "test: hour(n, 'UTC') does not fit columns of type int."),
        (f.age(), "test: age(f, 1000000) does not fit columns of type float."),
        (s.fill_null(0), "test: fill_null(s, 0) does not fit columns of type str and int."),
        (s.abs(), "test: abs(s) does not fit columns of type str."),
        (col("m"), 'test reads column "m", which is not there. Known: b, f, n, s, t.'),
        (
            n.last() + 1,
            "test uses last(n) where rows are computed one by one. Use it in a feature view.",
        ),
        (3, 'test is 3, not an expression. Write for example col("amount").'),
    ],
)
def test_what_does_not_fit_is_refused(expr, text):
    assert message(lambda: infer(expr, TYPES, "test")) == text


def test_age_needs_a_moment_that_is_asked_about():
    assert message(lambda: infer(t.age("d"), {"t": "time"}, "test")) == (
        "test: age(t, 86400000000) depends on the moment a feature is asked for. Use age in a feature, on the result of "
        'an aggregate, for example col("at").last().age("d").'
    )


# Values ---------------------------------------------------------------------------------------------

THREE = [True, False, None]
LEFT, RIGHT = [a for a in THREE for _ in THREE], THREE * 3


@pytest.mark.parametrize(
    ("expr", "table"),
    [
        (x & y, [True, False, None, False, False, False, None, False, None]),
        (x | y, [True, True, True, True, False, None, True, None, None]),
        (x == y, [True, False, None, False, True, None, None, None, None]),
        (~x, [False] * 3 + [True] * 3 + [None] * 3),
        (x.fill_null(y), [True] * 3 + [False] * 3 + [True, False, None]),
        (x.is_null(), [False] * 6 + [True] * 3),
    ],
)
def test_three_valued_logic(expr, table):
    assert compute(expr, x=("bool", LEFT), y=("bool", RIGHT)) == table


def test_division_by_zero_is_null():
    assert compute(x / y, x=("int", [1, 0, 1, None]), y=("float", [0.0, -0.0, 2.0, 1.0])) == [
        None,
        None,
        0.5,
        None,
    ]


def test_integers_never_wrap_around():
    big = 2**43 - 1
    values = ("int", [big, -big, 1024, 1023])
    assert compute(x * x, x=values) == [None, None, 2**20, 1023**2]
    assert compute(x * 1024, x=values) == [big * 1024, -big * 1024, 2**20, 1023 * 1024]
    assert compute(x * 1024 + x, x=values)[:2] == [None, None]
    assert compute(x * x * x * x, x=values)[:2] == [None, None]


def test_the_largest_integer():
    assert compute(lit(2**26) * x, x=("int", [2**27 - 1, 2**27])) == [2**53 - 2**26, None]


def test_floats_are_finite():
    tiny = ("float", [5e-324, 1.0])
    assert compute(1.0 / x, x=tiny) == [None, 1.0]
    assert compute(1.0 / (x * 1e-300), x=("float", [1e-8])) == [1e308]
    assert compute((1.0 / (x * 1e-300)) * 100, x=("float", [1e-8])) == [None]


def test_filling_never_cuts_a_number():
    assert compute(x.fill_null(0.5), x=("int", [1, None])) == [1.0, 0.5]
    assert compute(x.fill_null(2), x=("bool", [True, None])) == [1, 2]


def test_text_compares_by_code_point():
    assert compute(x < "b", x=("str", ["a", "b", "é", "", None, "B"])) == [
        True,
        False,
        False,
        True,
        None,
        True,
    ]


def test_local_hours_around_daylight_saving():
    moments = [
        "2013-03-10T06:30:00+00:00",  # 01:30 EST
        "2013-03-10T07:00:00+00:00",  # 03:00 EDT: there is no 02:00
        "2013-11-03T05:30:00+00:00",  # 01:30 EDT
        "2013-11-03T06:30:00+00:00",  # 01:30 EST, for the second time
    ]
    times = ("time", [to_us(moment) for moment in moments])
    assert compute(x.hour(ZONE), x=times) == [1, 3, 1, 1]
    assert compute(x.minute_of_day(ZONE), x=times) == [90, 180, 90, 90]


def test_dates_before_1970_and_leap_days():
    moments = ["1969-12-31T23:59:59+00:00", "1972-02-29T12:00:00+00:00", "2000-03-01"]
    times = ("time", [to_us(moment) for moment in moments] + [None])
    assert compute(x.weekday(), x=times) == [2, 1, 2, None]
    assert compute(x.month(), x=times) == [12, 2, 3, None]
    assert compute(x.hour(), x=times) == [23, 12, 0, None]


def test_an_offset_that_changes_within_a_quarter_of_an_hour():
    before = to_us("1972-01-07T00:44:29+00:00")
    assert compute(x.minute_of_day("Africa/Monrovia"), x=("time", [before, before + 1_000_000])) == [1439, 44]


def test_age():
    frame = {"x": column("time", [0, None]), AS_OF: column("time", [90_000_000, 90_000_000])}
    assert evaluate(x.age(), frame, 2).plain() == [90.0, None]
    assert evaluate(x.age("m"), frame, 2).plain() == [1.5, None]
