"""The closed list of functions: the rules that are pinned, and what a wrong declaration is told."""

from datetime import UTC, datetime

import pytest

from tenfold import col, count
from tenfold.core.errors import DefinitionError
from tenfold.core.functions import FUNCTIONS
from tenfold.core.infer import infer
from tenfold.core.times import to_us
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column

x, y, s, t = (col(name) for name in "xyst")
TYPES = {"x": "float", "y": "float", "n": "int", "p": "bool", "s": "str", "t": "time"}
n, p = col("n"), col("p")


def compute(expr, kind, values):
    (name,) = expr.columns()
    return evaluate(expr, {name: column(kind, values)}, len(values)).plain()


def message(write):
    with pytest.raises(DefinitionError) as caught:
        write()
    return str(caught.value)


def test_rounding_takes_ties_to_the_even_neighbour():
    ties = [0.5, 1.5, 2.5, -0.5, -1.5, 2.675, 1e300, None]
    assert compute(x.round(), "float", ties) == [0.0, 2.0, 2.0, 0.0, -2.0, 3.0, 1e300, None]
    assert compute(x.round(2), "float", [0.125, 0.375, 2.675]) == [0.12, 0.38, 2.68]
    assert repr(compute(x.round(), "float", [-0.2])[0]) == "0.0"


def test_remainders_have_the_sign_of_the_divisor():
    assert compute(n % 3, "int", [7, -7, 0, None]) == [1, 2, 0, None]
    assert compute(n % -3, "int", [7, -7]) == [-2, -1]
    assert compute(x % 2.5, "float", [-1.0, -2.5, 1e17]) == [1.5, 0.0, 0.0]
    assert compute(n // -2, "int", [7, -7]) == [-4, 3]
    assert compute(n // 0, "int", [7]) == compute(n % 0, "int", [7]) == [None]


def test_text_of_numbers():
    texts = ["7", " -08\n", "+1", "1.0", "", "9007199254740992", "1_0", "٣", None]
    assert compute(s.cast("int"), "str", texts) == [7, -8, 1, None, None, None, None, None, None]
    texts = ["2.5", "-.5e1", "5.", "1e400", "nan", "inf", "0x1", None]
    assert compute(s.cast("float"), "str", texts) == [2.5, -5.0, 5.0, None, None, None, None, None]


def test_clip_with_one_bound_is_a_condition():
    assert x.clip(lower=0).text == "when((x < 0), 0, x)"
    assert compute(x.clip(upper=1), "float", [-3.0, 3.0, None]) == [-3.0, 1.0, None]


def test_a_day_begins_after_the_gap_or_at_the_first_of_two_midnights():
    def day(zone, moment):
        return compute(t.date_trunc("day", zone), "time", [to_us(moment)])

    assert day("America/Sao_Paulo", "2013-10-20T12:00:00+00:00") == [to_us("2013-10-20T03:00:00+00:00")]
    assert day("America/Havana", "2013-11-03T12:00:00+00:00") == [to_us("2013-11-03T04:00:00+00:00")]


def test_leap_days_and_weeks_of_two_years():
    days = [to_us("2024-02-29"), to_us("2024-12-31"), to_us("2023-12-31"), to_us("2008-12-29")]
    assert compute(t.day_of_year(), "time", days) == [60, 366, 365, 364]
    assert compute(t.week(), "time", days) == [9, 1, 52, 1]
    assert compute(t.offset_by("365d").day(), "time", days[:1]) == [28]


def test_instants_that_cannot_be_are_null():
    assert compute(n.from_epoch("w").year(), "int", [0, 2**40, -(2**40)]) == [1970, None, None]
    assert compute(t.offset_by("365000d").year(), "time", [0, to_us("9500-01-01")]) == [2969, None]


def test_the_fixed_lengths_of_units_can_be_long():
    assert t.offset_by("-365d").text == "offset_by(t, -31536000000000)"


@pytest.mark.parametrize(
    ("expr", "kind"),
    [
        ((p).then(1, 2.5), "float"),
        (p.then("a", "b"), "str"),
        (p.then(t), "time"),
        (n.null_if(2.5), "int"),
        (n.coalesce(x, 1), "float"),
        (p.least(p), "bool"),
        (p.least(n), "int"),
        (x.sign(), "int"),
        (p.floor(), "int"),
        (x.floor(), "float"),
        (n**2, "float"),
        (n // p, "int"),
        (n.from_epoch(), "time"),
        (t.date_trunc("day"), "time"),
        (s.cast("float"), "float"),
    ],
)
def test_type(expr, kind):
    assert infer(expr, TYPES, "test") == kind


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (
            s + s,
            'test: (s + s) does not fit columns of type str and str. To join text, write .concat("-", col("b")).',
        ),
        (
            t + 5,
            'test: (t + 5) does not fit columns of type time and int. For a later instant, write .offset_by("90m").',
        ),
        (
            t.cast("int"),
            'test: to_int(t) does not fit columns of type time. For the seconds since 1970, write .epoch("s").',
        ),
        (
            x.cast("str"),
            "test: to_str(x) does not fit columns of type float. A float has no one text; make it whole first",
        ),
        (
            x.hash_bucket(7),
            "test: hash_bucket(x, 7) does not fit columns of type float. Floats that look equal may differ",
        ),
        (p.then(1, "a"), "test: when(p, 1, 'a') does not fit columns of type bool and int and str."),
        (n.then(1, 2), "test: when(n, 1, 2) does not fit columns of type int and int and int."),
        (x.lower(), "test: lower(x) does not fit columns of type float."),
        (s.is_in(["a", 2]), "test: is_in(s, 'a', 2) does not fit columns of type str and str and int."),
    ],
)
def test_a_wrong_type_says_what_to_write(expr, text):
    assert message(lambda: infer(expr, TYPES, "test")).startswith(text)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda: s.lenght(), 'an expression has no function "lenght". Did you mean "length"?'),
        (lambda: x.logarithm, 'an expression has no function "logarithm".'),
        (lambda: x.avg(window="1d"), 'an expression has no function "avg". Write .mean().'),
        (lambda: p.count_if(), 'an expression has no function "count_if". Write count(where=...).'),
        (
            lambda: p.ratio(),
            'an expression has no function "ratio". Write a quotient of two aggregates, such as count(where=...) / count().',
        ),
        (
            lambda: t.time_since(),
            'an expression has no function "time_since". Write the age of the last one, such as '
            'col("at").last().age("h").',
        ),
        (lambda: t.hour("new york"), '"new york" is not a time zone. Did you mean "America/New_York"?'),
        (
            lambda: t > datetime(2024, 1, 1, tzinfo=UTC),
            "datetime.datetime(2024, 1, 1, 0, 0, tzinfo=datetime.timezone.utc) cannot be part of an expression. "
            'Compare seconds since 1970, .epoch("s"), with 1704067200.',
        ),
        (lambda: x.round(-1), "round(-1): write how many decimals, 0 to 15."),
        (lambda: x.clip(), "clip() has no bound. Write for example .clip(0, 100) or .clip(upper=100)."),
        (lambda: x.least(), 'least() compares several values. Write for example col("a").least(col("b")).'),
        (lambda: x.is_in([]), 'is_in([]): write a list of constants, such as ["a", "b"].'),
        (lambda: x.is_in("ab"), 'is_in(\'ab\'): write a list of constants, such as ["a", "b"].'),
        (lambda: x.cast("integer"), "cast('integer') is not a type to cast to. Did you mean \"int\"?"),
        (lambda: s.replace("", "x"), "replace: '' is not a text of at least one character."),
        (lambda: s.split_part(",", 0), "split_part: 0 is not a whole number from 1 to 2,147,483,648."),
        (
            lambda: s.concat(),
            'concat() joins several texts. Write for example col("a").concat("-", col("b")).',
        ),
        (lambda: t.date_trunc("days"), "date_trunc: 'days' is not a unit. Did you mean \"day\"?"),
        (lambda: t.offset_by("1 month"), 'offset_by="1 month" is not a duration.'),
        (lambda: t.since(t, "hours"), 'since("hours") is not a unit of time.'),
        (lambda: t.week("Mars"), '"Mars" is not a time zone.'),
    ],
)
def test_what_cannot_be_written(write, text):
    assert message(write).startswith(text)


def test_an_unknown_function_is_no_attribute():
    assert not hasattr(x, "avg")
    assert not hasattr(count(), "__array_interface__")


def test_every_function_but_the_operators_is_a_method():
    operators = {
        "add",
        "sub",
        "mul",
        "div",
        "floordiv",
        "mod",
        "pow",
        "neg",
        *["eq", "ne", "lt", "le", "gt", "ge"],
        "and",
        "or",
        "not",
    }
    named = {"when": "then", "to_int": "cast", "to_float": "cast", "to_bool": "cast", "to_str": "cast"}
    named |= {"to_decimal": "cast"}
    for fn in set(FUNCTIONS) - operators:
        assert callable(getattr(x, named.get(fn, fn))), fn
