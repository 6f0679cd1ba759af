"""Expressions that cover every function of the closed list; a function without any fails a test."""

from decimal import Decimal

from tenfold import col
from tenfold.core.dates import TRUNCATIONS
from tenfold.core.expr import lit
from tenfold.core.times import UNITS
from tests.conformance.values import ZONES

a, b, i, j, p, q, s, u, t, v, d, e, k = (col(name) for name in "abijpqsutvdek")
CENT = Decimal("0.01")


def unary(fn, *columns):
    return [getattr(column, fn)() for column in columns]


def parts(fn):
    return [getattr(t, fn)(zone) for zone in ZONES]


CASES = {
    "add": [a + b, i + j, a + i, p + q, i + p, a + 1, 0.1 + a, i + 3, (i + j) + i],
    "sub": [a - b, i - j, j - a, p - q, 1 - i, a - 0.5],
    "mul": [a * b, i * j, a * j, p * i, i * j * i, a * b * a, i * 1024],
    "div": [a / b, i / j, a / i, p / q, 1 / a, (a * b) / a, (a + b) / (a - b), a / (a * b)],
    "floordiv": [a // b, i // j, a // i, i // b, p // q, a // 0.1, i // -3, (a * b) // (a - b)],
    "mod": [a % b, i % j, a % i, i % b, p % q, a % 0.1, i % -3, (a * b) % (a - b), a % -2.5],
    "pow": [a**b, i**j, a**2, a**0.5, 2**i, p**q, (a - b) ** (a + b)],
    "neg": [-a, -i, -p, -(a * b)],
    "abs": unary("abs", a, i, p, a * b),
    "sign": unary("sign", a, i, p, a * b),
    "floor": unary("floor", a, i, p, a * b / 3),
    "ceil": unary("ceil", a, i, p, a * b / 3),
    "trunc": unary("trunc", a, i, p, a * b / 3),
    "round": [a.round(), a.round(1), a.round(2), a.round(15), i.round(2), p.round(), (a / b).round(3)],
    "clip": [
        a.clip(-1, 2.5),
        i.clip(-2, 7),
        i.clip(-0.5, 2.5),
        a.clip(b, 3),
        i.clip(j, i),
        p.clip(1, 2),
        a.clip(lower=0),
        a.clip(upper=b),
    ],
    "least": [a.least(b), a.least(b, 0.0), i.least(j), i.least(a), p.least(q), s.least(u), t.least(v)],
    "greatest": [
        a.greatest(b),
        a.greatest(b, 0),
        i.greatest(j),
        i.greatest(a),
        p.greatest(q),
        s.greatest(u),
        t.greatest(v),
        p.greatest(i),
    ],
    **{
        fn: unary(fn, a, i, p, a / b)
        for fn in (
            [
                "sqrt",
                "exp",
                "expm1",
                "ln",
                "log2",
                "log10",
                "log1p",
                "sin",
                "cos",
                "tan",
                "asin",
                "acos",
                "atan",
                "tanh",
                "sigmoid",
                "degrees",
                "radians",
            ]
        )
    },
    "atan2": [a.atan2(b), i.atan2(j), a.atan2(1), (a * b).atan2(a - b)],
    "eq": [a == b, i == j, a == i, p == q, i == p, s == u, t == v, s == "ab", ~p == q],
    "ne": [a != b, i != j, a != i, p != q, s != u, t != v, a / b != 1],
    "lt": [a < b, i < j, a < i, p < q, s < u, t < v, s < "b"],
    "le": [a <= b, i <= j, a <= i, p <= q, s <= u, t <= v],
    "gt": [a > b, i > j, a > i, p > q, s > u, t > v, a / b > 2, a * b > a],
    "ge": [a >= b, i >= j, a >= i, p >= q, s >= u, t >= v],
    "is_in": [
        a.is_in([0, 2.5, -1]),
        i.is_in([1, 2, -7]),
        s.is_in(["", "ab", "it's 100% \\ {0}"]),
        i.is_in([0.5, 2.0]),
        p.is_in([True]),
        a.between(-1, b),
        s.between("a", "b"),
        i.between(j, 10),
    ],
    "and": [p & q, (a > b) & p, (p & q) & (a > 0)],
    "or": [p | q, (a > b) | p, (p | q) | (a > 0)],
    "not": [~p, ~(a > b)],
    "when": [
        p.then(a, b),
        p.then(a, i),
        p.then(i, q),
        p.then(s, "no"),
        (a > b).then(t),
        (a > 0).then(1, 2),
        (a > b).then("x", p.then("y", s)),
        p.then(a * b, i / j),
        (a > 0).then(1.5),
    ],
    "is_null": unary("is_null", a, i, p, s, t, a / b, i * j),
    "is_not_null": unary("is_not_null", a, i, p, s, t, a * b),
    "fill_null": [
        a.fill_null(0),
        a.fill_null(b),
        i.fill_null(0.5),
        i.fill_null(j),
        p.fill_null(q),
        p.fill_null(2),
        s.fill_null(""),
        t.fill_null(v),
        (a / b).fill_null(-1),
    ],
    "coalesce": [
        a.coalesce(b, 0),
        i.coalesce(a, 1),
        s.coalesce(u, "none"),
        t.coalesce(v),
        p.coalesce(q, True),
    ],
    "null_if": [
        a.null_if(0),
        i.null_if(j),
        i.null_if(1.0),
        s.null_if(""),
        p.null_if(q),
        t.null_if(v),
        a.null_if(i),
        a / (a - b).null_if(0),
    ],
    "lower": [s.lower(), s.concat(u).lower()],
    "upper": [s.upper(), s.concat(u).upper()],
    "length": [s.length(), s.length() * s.length()],
    "contains": [s.contains(u), s.contains("a"), s.contains(""), s.contains("%")],
    "starts_with": [s.starts_with(u), s.starts_with("a"), s.starts_with("")],
    "ends_with": [s.ends_with(u), s.ends_with("b"), s.ends_with("")],
    "strip": [s.strip(), u.concat(s, " ").strip()],
    "replace": [s.replace("a", "bb"), s.replace("aa", ""), s.replace("\\", "'"), s.replace("支", "é")],
    "slice": [
        s.slice(0, 2),
        s.slice(1),
        s.slice(-1),
        s.slice(-2, 1),
        s.slice(40, 3),
        s.slice(-50, 3),
        s.slice(0, 0),
    ],
    "split_part": [s.split_part(",", 1), s.split_part(",", 3), s.split_part("a", 2), s.split_part("ab", 9)],
    "concat": [s.concat(u), s.concat("-", u), s.concat("'")],
    "hash_bucket": [
        s.hash_bucket(7),
        i.hash_bucket(1000),
        p.hash_bucket(2),
        s.hash_bucket(2**31),
        (i + 1).hash_bucket(9),
    ],
    **{
        fn: parts(fn)
        for fn in (
            [
                "year",
                "quarter",
                "month",
                "week",
                "day",
                "day_of_year",
                "weekday",
                "is_weekend",
                "hour",
                "minute",
                "second",
                "minute_of_day",
            ]
        )
    },
    "date_trunc": [t.date_trunc(unit, zone) for unit in TRUNCATIONS for zone in ZONES],
    "offset_by": [t.offset_by(by) for by in ("90m", "-7d", "365000d", "-365000d", "1ms")],
    "since": [t.since(v, unit) for unit in UNITS],
    "age": [t.age(unit) for unit in UNITS],
    "epoch": [t.epoch(unit) for unit in UNITS],
    "from_epoch": [i.from_epoch(unit) for unit in UNITS] + [p.from_epoch("d")],
    "to_int": [
        a.cast("int"),
        i.cast("int"),
        p.cast("int"),
        s.cast("int"),
        (a / b).cast("int"),
        u.concat(s).cast("int"),
    ],
    "to_float": [
        a.cast("float"),
        i.cast("float"),
        p.cast("float"),
        s.cast("float"),
        u.concat(s).cast("float"),
    ],
    "to_bool": [a.cast("bool"), i.cast("bool"), p.cast("bool"), (a - b).cast("bool")],
    "to_str": [i.cast("str"), p.cast("str"), s.cast("str"), a.cast("int").cast("str")],
}
CASES["add"] += [lit(1) + 2, lit(0.5) + i]
DECIMALS = {
    "add": [d + e, d + k, d + i, d + p, d + a, d + 1, 0.1 + d, d + Decimal("0.005"), i + CENT, d + d + d],
    "sub": [d - e, k - d, i - d, d - a, 1 - d, d - Decimal("9999999999999999.99")],
    "mul": [d * i, i * d, p * d, d * 3, d * e, d * a, d * CENT, k * i * j],
    "div": [d / e, d / i, a / d, d / 4, i / CENT],
    "floordiv": [d // e, d // 7, i // d],
    "mod": [d % e, d % 7, i % d],
    "pow": [d**2, i**d],
    "neg": [-d, -(d + e), -k],
    "abs": unary("abs", d, d - e),
    "sign": unary("sign", d, d - e),
    "floor": unary("floor", d, k),
    "ceil": unary("ceil", d, k),
    "trunc": unary("trunc", d, k),
    "round": [d.round(), d.round(1), k.round(3)],
    "clip": [d.clip(0, 100), d.clip(e, k), d.clip(-0.5, 2), i.clip(d, e), d.clip(CENT, 5), d.clip(lower=0)],
    "least": [d.least(e), d.least(k, i), d.least(a), d.least(0), p.least(d)],
    "greatest": [d.greatest(e), d.greatest(k, i), d.greatest(0.5), d.greatest(CENT, 0)],
    **{
        fn: [getattr(d, fn)()]
        for fn in ("sqrt", "exp", "ln", "log10", "sin", "atan", "tanh", "sigmoid", "radians")
    },
    "atan2": [d.atan2(k)],
    "eq": [d == e, d == k, d == i, d == a, d == 1, d == CENT, d == 12.3, p == d, d == Decimal("12.300")],
    "ne": [d != e, d != k, d != i],
    "lt": [d < e, d < k, d < i, d < a, d < Decimal("0.0000000000001")],
    "le": [d <= e, k <= d, d <= 100],
    "gt": [d > e, d > k, i > d, d > Decimal(99999999999999999), d > 0.05],
    "ge": [d >= e, d >= k, p >= d],
    "is_in": [
        d.is_in([0, 1, CENT]),
        d.is_in([Decimal("12.300"), Decimal("0.001")]),
        d.is_in([12.3, 0.01]),
        i.is_in([Decimal("7.0"), Decimal("0.5")]),
        a.is_in([Decimal("0.1"), 2]),
        k.between(d, e),
    ],
    "when": [
        p.then(d, e),
        p.then(d, k),
        p.then(d, i),
        p.then(a, d),
        p.then(d),
        p.then(d, 0),
        p.then(CENT, i),
    ],
    "is_null": unary("is_null", d, d + e),
    "is_not_null": unary("is_not_null", d, d * i),
    "fill_null": [
        d.fill_null(0),
        d.fill_null(e),
        d.fill_null(k),
        d.fill_null(0.5),
        i.fill_null(d),
        (d / e).fill_null(d),
    ],
    "coalesce": [d.coalesce(e, 0), d.coalesce(i, a), p.coalesce(d, CENT), k.coalesce(d)],
    "null_if": [
        d.null_if(0),
        d.null_if(e),
        d.null_if(k),
        d.null_if(a),
        i.null_if(d),
        a.null_if(d),
        d.null_if(CENT),
    ],
    "hash_bucket": [d.hash_bucket(100), (d + k).hash_bucket(7)],
    "to_int": [d.cast("int"), k.cast("int"), (d - e).cast("int")],
    "to_float": [d.cast("float"), k.cast("float"), (d + k).cast("float")],
    "to_bool": [d.cast("bool"), (d - e).cast("bool")],
    "to_str": [d.cast("str"), k.cast("str"), (d + k).cast("str")],
    "to_decimal": [
        d.cast("decimal(2)"),
        d.cast("decimal(5)"),
        k.cast("decimal(2)"),
        k.cast("decimal(0)"),
        i.cast("decimal(2)"),
        i.cast("decimal(18)"),
        p.cast("decimal(2)"),
        s.cast("decimal(2)"),
        u.concat(s).cast("decimal(5)"),
        d.cast("str").concat("000").cast("decimal(2)"),
    ],
}
for fn, exprs in DECIMALS.items():
    CASES[fn] = CASES.get(fn, []) + exprs
