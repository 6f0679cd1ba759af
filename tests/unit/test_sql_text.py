"""SQL text as an expression: what it becomes, and what it says when it cannot be read."""

import subprocess
import sys
from decimal import Decimal

import pytest

import tenfold
from tenfold import col, sql
from tenfold.core.errors import DefinitionError

x, y, s, t = (col(name) for name in "xyst")
ZONE = "America/New_York"


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("amount / nullif(mean_30d, 0) > 2", col("amount") / col("mean_30d").null_if(0) > 2),
        ("x + 1.5 * -y", x + 1.5 * -y),
        ("-2 * x", -2 * x),
        ("x // 3 + x % 3", x // 3 + x % 3),
        ("mod(x, 3) + power(x, 2) + x ** 0.5", x % 3 + x**2 + x**0.5),
        ("not (x > 1 and y < 2) or x <> y", ~((x > 1) & (y < 2)) | (x != y)),
        ("x is null", x.is_null()),
        ("x is not null", x.is_not_null()),
        ("(x > 1) is true", (x > 1).fill_null(False)),
        ("x in (1, 2)", x.is_in([1, 2])),
        ("s not in ('a', 'b')", ~s.is_in(["a", "b"])),
        ("x between 1 and y", x.between(1, y)),
        ("coalesce(x, y, 0)", x.coalesce(y, 0)),
        ("ifnull(x, 0)", x.fill_null(0)),
        (
            "case when x > 1 then 'a' when x > 0 then 'b' else 'c' end",
            (x > 1).then("a", (x > 0).then("b", "c")),
        ),
        ("case x when 1 then 2 end", (x == 1).then(2)),
        ("case when x > 1 then null else x end", (~(x > 1).fill_null(False)).then(x)),
        ("if(x > 1, x, y)", (x > 1).then(x, y)),
        (
            "cast(x as decimal(18, 2)) > cast('0.05' as numeric(18, 2))",
            x.cast("decimal(2)") > Decimal("0.05"),
        ),
        ("cast(7 as decimal(18, 1)) * x", Decimal("7.0") * x),
        ("cast(x as bigint) + s::double", x.cast("int") + s.cast("float")),
        ("log10(x) + ln(x) + log1p(x)", x.log10() + x.ln() + x.log1p()),
        ("round(x, 2) + round(x)", x.round(2) + x.round()),
        ("greatest(x, y, 0)", x.greatest(y, 0)),
        ("lower(trim(s)) || '-' || upper(s)", s.strip().lower().concat("-").concat(s.upper())),
        ("substring(s, 2, 3)", s.slice(1, 3)),
        ("left(s, 2) = right(s, 2)", s.slice(0, 2) == s.slice(-2)),
        (
            "s like 'a%' or s like '%b' or s like '%c%'",
            s.starts_with("a") | s.ends_with("b") | s.contains("c"),
        ),
        ("length(s) > 3 and starts_with(s, 'it''s')", (s.length() > 3) & s.starts_with("it's")),
        ("hour(t)", t.hour()),
        (f"extract(hour from t at time zone '{ZONE}')", t.hour(ZONE)),
        (f"minute_of_day(t, '{ZONE}')", t.minute_of_day(ZONE)),
        ("date_part('isodow', t)", t.weekday() + 1),
        ("date_trunc('day', t)", t.date_trunc("day")),
        (f"date_trunc('week', t, '{ZONE}')", t.date_trunc("week", ZONE)),
        ("t + interval '7 days'", t.offset_by("7d")),
        ("t - interval 90 minute", t.offset_by("-90m")),
        ("since(t, u, 'h')", t.since(col("u"), "h")),
        ('"A b" * 2', col("A b") * 2),
        ("hash_bucket(s, 10)", s.hash_bucket(10)),
    ],
)
def test_text_is_the_same_tree(text, expr):
    assert sql(text).text == expr.text


def test_names_stand_for_other_expressions():
    total = x.sum(window="7d")
    assert sql("x / total", total=total).text == (x / total).text
    with pytest.raises(DefinitionError) as caught:
        sql("x / total", totl=total)
    assert str(caught.value) == 'sql("x / total") reads no "totl". Did you mean "total"? Known: total, x.'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sql('') is not text. Write for example sql(\"amount / nullif(mean, 0)\")."),
        ("x >", 'sql("x >") cannot be read'),
        ("x; y", 'sql("x; y") is not one expression.'),
        ("lenght(s)", 'lenght(s) has an unknown function. Did you mean "length"?'),
        ("sum(x)", 'aggregates. Pass it by name: sql("... total ...", total=col(...).sum(window='),
        ("row_number() over ()", "is nothing a row-by-row expression is made of"),
        ("(select 1)", "is nothing a row-by-row expression is made of"),
        ("t.x", "t.x names a table. Write x, or pass x=... to sql for another expression."),
        ("log(x)", "means another thing in every engine. Write ln, log2 or log10."),
        ("dayofweek(t)", "Write weekday(t), Monday = 0."),
        ("date_diff('hour', t, u)", "Write since(later, earlier, 'h')."),
        (
            "t + interval '1 month'",
            "Intervals are whole numbers of millisecond, second, minute, hour, day, week.",
        ),
        ("s like 'a_b'", "is a pattern"),
        ("cast(x as blob)", "casts to none of BIGINT, DOUBLE, BOOLEAN, VARCHAR and DECIMAL(18, places)"),
        ("cast(x as decimal(10, 2))", "is no decimal of 18 digits. Write for example DECIMAL(18, 2)."),
        ("cast(x as decimal(18, 19))", "is no decimal of 18 digits. Write for example DECIMAL(18, 2)."),
        ("cast('1.234' as decimal(18, 2))", "does not cast a number of at most 18 digits, 2 of them places"),
        ("to_decimal(x, 2)", "is written CAST(x AS DECIMAL(18, 2)), with the places last."),
        ("ln(x, 2)", "has 2 inputs, which ln does not take"),
        ("extract(hours from t)", 'has an unknown part "hours". Did you mean "hour"?'),
        ("hour(t, 'America/New_Yrok')", 'Did you mean "America/New_York"?'),
        ("x is distinct from y", "is nothing a row-by-row expression is made of"),
        ("case when x then null end", "CASE has null in every branch."),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(DefinitionError) as caught:
        sql(text)
    assert message in str(caught.value)


def test_without_the_package_it_says_what_to_install():
    code = """
import sys
sys.modules["sqlglot"] = None
import tenfold
try:
    tenfold.sql("x")
except tenfold.core.errors.MissingExtra as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == 'SQL text needs an extra package. Run: pip install "tenfold[sql]"'


def test_it_is_a_public_name():
    assert "sql" in tenfold.__all__
    assert len(tenfold.__all__) <= 20
