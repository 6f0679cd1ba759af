"""Every function of the expression language against plain Python, compared bit by bit; one row and many alike."""

from datetime import UTC, datetime, timedelta
from math import isfinite
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold import col
from tenfold.core.expr import AS_OF, Expr, lit
from tenfold.core.infer import infer
from tenfold.core.times import UNITS, to_us
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import DTYPES, column

ZONES = [
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Monrovia",
    "Europe/Amsterdam",
]
TYPES = {
    "i": "int",
    "j": "int",
    "f": "float",
    "g": "float",
    "b": "bool",
    "c": "bool",
    "s": "str",
    "t": "time",
}
NUMERIC = st.sampled_from(["int", "float", "bool"])

# The oracle: the meaning of an expression for one row, written to be read -----------------------------


def meaning(expr, row, at):
    if expr.fn == "col":
        return row[expr.args[0]]
    if expr.fn == "lit":
        return expr.args[0]
    values = [meaning(arg, row, at) for arg in expr.args if isinstance(arg, Expr)]
    if expr.fn in NULLS:
        return promoted(NULLS[expr.fn](*values), expr)
    if None in values:
        return None
    if expr.fn == "age":
        return float(at - values[0]) / values[1]
    if expr.fn in CALENDAR:
        return calendar(expr.fn, values[0], expr.args[1].args[0])
    return representable(STRICT[expr.fn](*values))


NULLS = {
    "is_null": lambda a: a is None,
    "fill_null": lambda a, b: b if a is None else a,
    "and": lambda a, b: False if a is False or b is False else None if None in (a, b) else True,
    "or": lambda a, b: True if a is True or b is True else None if None in (a, b) else False,
}
CALENDAR = ["hour", "minute_of_day", "weekday", "month"]
STRICT = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: None if b == 0 else float(a) / float(b),
    "neg": lambda a: -a,
    "abs": lambda a: abs(a),
    "not": lambda a: not a,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def representable(value):
    """Null is what would wrap around, be infinite, or be inexact as a float."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, bool) or abs(value) < 2**53 else None


def promoted(value, expr):
    kind = infer(expr, TYPES | {AS_OF: "time"}, "")
    return (
        value
        if value is None or kind in ("str", "time")
        else {"int": int, "float": float, "bool": bool}[kind](value)
    )


def calendar(fn, us, zone):
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(ZoneInfo(zone))
    if fn == "minute_of_day":
        return local.hour * 60 + local.minute
    return {"hour": local.hour, "weekday": local.weekday(), "month": local.month}[fn]


# Generated expressions and rows ---------------------------------------------------------------------

EDGES = [
    "1899-12-31T23:59:59.999999+00:00",
    "1937-06-30T23:40:27.999999+00:00",  # Amsterdam leaves a local time of 19 min 32 s, not on a quarter of an hour
    "1969-12-31T23:59:59.999999+00:00",
    "1972-01-07T00:44:29.999999+00:00",  # Monrovia leaves a local time of 44 min 30 s
    "1972-01-07T00:44:30+00:00",
    "2000-02-29T23:59:59+00:00",
    "2013-03-10T06:59:59.999999+00:00",  # New York: the clocks go forward
    "2013-03-10T07:00:00+00:00",
    "2013-11-03T05:30:00+00:00",  # New York: 01:30 for the first and for the second time
    "2013-11-03T06:30:00+00:00",
    "2013-04-06T15:00:00+00:00",  # Lord Howe: half an hour back
    "2100-02-28T23:59:59+00:00",
    "2199-12-31T23:59:59.999999+00:00",
]
LARGEST = 2**43 - 1
ints = st.one_of(st.sampled_from([0, 1, -1, 2**26, LARGEST, -LARGEST]), st.integers(-LARGEST, LARGEST))
floats = st.one_of(
    st.sampled_from([0.0, -0.0, 0.1, -1.5, 5e-324, 1e-300, float(LARGEST)]),
    st.floats(-(2.0**42), 2.0**42, allow_subnormal=True),
)
times = st.one_of(
    st.sampled_from([to_us(text) for text in EDGES]), st.integers(to_us("1890-01-01"), to_us("2200-01-01"))
)
words = st.sampled_from(["", "a", "b", "ab", "Z", "é", "支", "\U0001f600"])
VALUES = {"int": ints, "float": floats, "bool": st.booleans(), "str": words, "time": times}
rows = st.fixed_dictionaries({name: st.none() | VALUES[kind] for name, kind in TYPES.items()})


@st.composite
def expressions(draw, kind, depth=3):
    leaves = [col(name) for name, type_ in TYPES.items() if type_ == kind]
    if depth == 0 or kind in ("str", "time") or draw(st.integers(0, 3)) == 0:
        leaf = draw(st.sampled_from([*leaves, None]))
        leaf = leaf if leaf is not None or kind == "time" else lit(draw(VALUES[kind]))
        leaf = leaves[0] if leaf is None else leaf
        return leaf.fill_null(draw(st.sampled_from(leaves))) if draw(st.booleans()) else leaf

    def sub(type_):
        return draw(expressions(type_, depth - 1))

    return draw(st.sampled_from(MAKE[kind]))(sub, draw)


def number(sub, draw, kind):
    """Return an arithmetic expression of a type: a float as soon as one input is."""
    one, two = (
        (sub("float"), sub(draw(NUMERIC)))
        if kind == "float"
        else (sub("int"), sub(draw(st.sampled_from(["int", "bool"]))))
    )
    one, two = draw(st.permutations([one, two]))
    return draw(st.sampled_from([one + two, one - two, one * two, one.fill_null(two)]))


def compared(sub, draw):
    kind = draw(st.sampled_from(["number", "str", "time", "bool"]))
    one, two = (sub(draw(NUMERIC)), sub(draw(NUMERIC))) if kind == "number" else (sub(kind), sub(kind))
    return draw(st.sampled_from([one == two, one != two, one < two, one <= two, one > two, one >= two]))


MAKE = {
    "int": [
        lambda sub, draw: number(sub, draw, "int"),
        lambda sub, draw: -sub("int"),
        lambda sub, draw: -sub("bool"),
        lambda sub, draw: sub("int").abs(),
        lambda sub, draw: sub("time").hour(draw(st.sampled_from(ZONES))),
        lambda sub, draw: sub("time").minute_of_day(draw(st.sampled_from(ZONES))),
        lambda sub, draw: sub("time").weekday(draw(st.sampled_from(ZONES))),
        lambda sub, draw: sub("time").month(draw(st.sampled_from(ZONES))),
    ],
    "float": [
        lambda sub, draw: number(sub, draw, "float"),
        lambda sub, draw: sub(draw(NUMERIC)) / sub(draw(NUMERIC)),
        lambda sub, draw: -sub("float"),
        lambda sub, draw: sub("float").abs(),
        lambda sub, draw: sub("time").age(draw(st.sampled_from(sorted(UNITS)))),
    ],
    "bool": [
        compared,
        lambda sub, draw: sub("bool") & sub("bool"),
        lambda sub, draw: sub("bool") | sub("bool"),
        lambda sub, draw: ~sub("bool"),
        lambda sub, draw: sub(draw(st.sampled_from(["int", "float", "bool", "str", "time"]))).is_null(),
        lambda sub, draw: sub("bool").fill_null(sub("bool")),
    ],
}


def frame_of(given_rows, at):
    frame = {name: column(kind, [row[name] for row in given_rows]) for name, kind in TYPES.items()}
    return frame | {AS_OF: column("time", [at] * len(given_rows))}


@settings(max_examples=500, deadline=None)
@given(st.data(), st.lists(rows, min_size=1, max_size=6), times)
def test_an_expression_means_what_plain_python_says(data, given_rows, at):
    kind = data.draw(st.sampled_from(["int", "float", "bool", "str", "time"]))
    expr = data.draw(expressions(kind))
    got = evaluate(expr, frame_of(given_rows, at), len(given_rows))
    assert [repr(value) for value in got.plain()] == [
        repr(wanted(meaning(expr, row, at), got.type)) for row in given_rows
    ]
    assert got.type == infer(expr, TYPES | {AS_OF: "time"}, "test") == kind
    assert got.values.dtype == DTYPES[kind]
    assert not got.values[~got.valid].any(), "a null value is 0, false or None"
    one_by_one = [evaluate(expr, frame_of([row], at), 1).plain()[0] for row in given_rows]
    assert repr(one_by_one) == repr(got.plain())


def wanted(value, kind):
    """Python adds booleans to ints and ints to floats; a column has one type."""
    return (
        value
        if value is None or kind in ("str", "time", "bool")
        else {"int": int, "float": float}[kind](value)
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(times, min_size=1, max_size=20),
    st.sampled_from(ZONES),
    st.sampled_from(CALENDAR),
)
def test_the_calendar_is_zoneinfo(moments, zone, fn):
    expr = getattr(col("t"), fn)(zone)
    got = evaluate(expr, {"t": column("time", moments)}, len(moments))
    assert got.plain() == [calendar(fn, moment, zone) for moment in moments]


def test_the_calendar_is_zoneinfo_around_every_change_of_a_year():
    moments = [to_us("2013-01-01") + hour * UNITS["h"] // 2 for hour in range(2 * 8760)]
    for zone in ("America/New_York", "Australia/Lord_Howe"):
        got = evaluate(col("t").minute_of_day(zone), {"t": column("time", moments)}, len(moments))
        assert got.plain() == [calendar("minute_of_day", moment, zone) for moment in moments]
