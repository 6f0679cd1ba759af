"""Every function of the expression language against plain Python, compared bit by bit; one row and many alike."""

import math
from datetime import UTC, datetime, timedelta
from math import isfinite
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold import col
from tenfold.core.expr import AS_OF, Expr, lit
from tenfold.core.infer import infer
from tenfold.core.times import UNITS, to_us
from tenfold.processing.compiled import compile_row
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
    "when": lambda condition, a, b: a if condition is True else b,
    "least": lambda a, b: a if b is None else b if a is None else min(a, b),
    "null_if": lambda a, b: None if a == b else a,
}
CALENDAR = {
    "hour": lambda local: local.hour,
    "minute": lambda local: local.minute,
    "second": lambda local: local.second,
    "minute_of_day": lambda local: local.hour * 60 + local.minute,
    "weekday": lambda local: local.weekday(),
    "is_weekend": lambda local: local.weekday() >= 5,
    "day": lambda local: local.day,
    "day_of_year": lambda local: local.timetuple().tm_yday,
    "week": lambda local: local.isocalendar().week,
    "month": lambda local: local.month,
    "quarter": lambda local: (local.month + 2) // 3,
    "year": lambda local: local.year,
}
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
    "floordiv": lambda a, b: None if b == 0 else a // b,
    "mod": lambda a, b: None if b == 0 else a % b + (0.0 if isinstance(a % b, float) else 0),
    "sign": lambda a: -1 if a < 0 else 1 if a > 0 else 0,
    "length": len,
    "contains": lambda a, b: b in a,
    "floor": lambda a: float(math.floor(a)),
    "round": lambda a, digits: half_even(a, digits),
    "exp": lambda a: math.exp(a) if a < 709 else None if a > 710 else representable_exp(a),
    "ln": lambda a: math.log(a) if a > 0 else None,
    "to_float": float,
}


def representable_exp(value):
    try:
        return math.exp(value)
    except OverflowError:
        return None


def half_even(value, digits):
    scaled = value * 10.0**digits
    if abs(scaled) >= 2.0**52:
        return value
    below = math.floor(scaled)
    rest = scaled - below
    up = rest > 0.5 or (rest == 0.5 and below % 2 == 1)
    return (below + up) / 10.0**digits


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


def local_time(us, zone):
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(ZoneInfo(zone))


def calendar(fn, us, zone):
    return CALENDAR[fn](local_time(us, zone))


def began(unit, us, zone):
    """The first instant of a local day, week, month, quarter or year: of the second midnight or after a gap, fold=0."""
    local = local_time(us, zone)
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "week":
        first = (first.replace(tzinfo=None) - timedelta(days=local.weekday())).replace(tzinfo=first.tzinfo)
    elif unit != "day":
        month = {"month": local.month, "quarter": (local.month - 1) // 3 * 3 + 1, "year": 1}[unit]
        first = first.replace(month=month, day=1)
    return (first - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


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
LARGEST, WHOLE = 2**43 - 1, 2**53 - 1
ints = st.one_of(
    st.sampled_from([0, 1, -1, 2**26, LARGEST, -LARGEST, WHOLE, -WHOLE]),
    st.integers(-LARGEST, LARGEST),
    st.integers(-WHOLE, WHOLE),
)
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
        lambda sub, draw: getattr(
            sub("time"), draw(st.sampled_from([fn for fn in CALENDAR if fn != "is_weekend"]))
        )(draw(st.sampled_from(ZONES))),
        lambda sub, draw: sub("int") // sub(draw(st.sampled_from(["int", "bool"]))),
        lambda sub, draw: sub("int") % sub("int"),
        lambda sub, draw: sub("bool").then(sub("int"), sub("int")),
        lambda sub, draw: sub("float").sign(),
        lambda sub, draw: sub("str").length(),
    ],
    "float": [
        lambda sub, draw: number(sub, draw, "float"),
        lambda sub, draw: sub(draw(NUMERIC)) / sub(draw(NUMERIC)),
        lambda sub, draw: -sub("float"),
        lambda sub, draw: sub("float").abs(),
        lambda sub, draw: sub("float").round(draw(st.integers(0, 15))),
        lambda sub, draw: sub("float").floor(),
        lambda sub, draw: sub("float") % sub("float"),
        lambda sub, draw: sub("float").exp(),
        lambda sub, draw: sub(draw(NUMERIC)).ln(),
        lambda sub, draw: sub("bool").then(sub("float"), sub("int")),
        lambda sub, draw: sub("float").least(sub("int")),
        lambda sub, draw: sub("int").null_if(sub("int")).cast("float"),
        lambda sub, draw: sub("time").age(draw(st.sampled_from(sorted(UNITS)))),
    ],
    "bool": [
        compared,
        lambda sub, draw: sub("bool") & sub("bool"),
        lambda sub, draw: sub("bool") | sub("bool"),
        lambda sub, draw: ~sub("bool"),
        lambda sub, draw: sub(draw(st.sampled_from(["int", "float", "bool", "str", "time"]))).is_null(),
        lambda sub, draw: sub("bool").fill_null(sub("bool")),
        lambda sub, draw: sub("time").is_weekend(draw(st.sampled_from(ZONES))),
        lambda sub, draw: sub("str").contains(sub("str")),
    ],
}


def frame_of(given_rows, at):
    frame = {name: column(kind, [row[name] for row in given_rows]) for name, kind in TYPES.items()}
    return frame | {AS_OF: column("time", [at] * len(given_rows))}


@settings(max_examples=300, deadline=None)
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
    compiled = compile_row({"it": expr}, TYPES | {AS_OF: "time"})
    assert [repr(compiled(row | {AS_OF: at})[0]) for row in given_rows] == [
        repr(value) for value in got.plain()
    ]


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
    st.sampled_from(sorted(CALENDAR)),
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


@settings(max_examples=200, deadline=None)
@given(
    st.lists(times, min_size=1, max_size=10),
    st.sampled_from([*ZONES, "America/Havana", "America/Sao_Paulo", "Asia/Beirut"]),
    st.sampled_from(["day", "week", "month", "quarter", "year"]),
)
def test_a_day_begins_when_zoneinfo_says(moments, zone, unit):
    got = evaluate(col("t").date_trunc(unit, zone), {"t": column("time", moments)}, len(moments))
    assert got.plain() == [began(unit, moment, zone) for moment in moments]


def test_days_begin_at_their_first_instant_around_every_change_of_a_year():
    moments = [to_us("2013-01-01") + 6 * hour * UNITS["h"] for hour in range(4 * 365)]
    for zone in (
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Havana",
        "America/Sao_Paulo",
        "Asia/Beirut",
    ):
        got = evaluate(col("t").date_trunc("day", zone), {"t": column("time", moments)}, len(moments))
        assert got.plain() == [began("day", moment, zone) for moment in moments]
        assert all(
            local_time(moment, zone).date() == local_time(start, zone).date()
            for moment, start in zip(moments, got.plain(), strict=True)
        )
        assert all(
            local_time(start - 1, zone).date() < local_time(start, zone).date() for start in got.plain()
        )
