"""Every function through every form of evaluation, on edge values; the bits are compared."""

from decimal import Decimal

import pytest

from tenfold import col
from tenfold.core.decimals import PLACES
from tenfold.core.errors import DefinitionError
from tenfold.core.expr import lit
from tenfold.core.functions import FUNCTIONS
from tenfold.core.infer import infer
from tenfold.core.times import to_us
from tenfold.processing.compiled import compile_row
from tenfold.processing.decimals_sql import sql_type
from tenfold.processing.dialects import DIALECTS
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column, to_arrow
from tenfold.processing.one_row import compile_columns
from tenfold.processing.to_sql import to_sql, zone_check
from tests.conformance import spark_there
from tests.conformance.cases import CASES
from tests.conformance.values import TYPES, ZONES, rows

ROWS = rows()
FRAME = {name: column(kind, [row[name] for row in ROWS]) for name, kind in TYPES.items()}
FUNCTION_NAMES = sorted(CASES)


def shown(values):
    """Return values so that they are equal only when their bits and types are."""
    return [repr(value) for value in values]


def vectorised(expr):
    return evaluate(expr, FRAME, len(ROWS)).plain()


def fetched(value):
    """Return what a decimal of an engine is as units; its type must have 18 digits."""
    return int(value.scaleb(-value.as_tuple().exponent)) if isinstance(value, Decimal) else value


def difference(expr, got, wanted):
    """Return the first row that differs, for the message."""
    for row, one, other in zip(ROWS, shown(got), shown(wanted), strict=True):
        if one != other:
            inputs = {name: row[name] for name in sorted(expr.columns())}
            return f"{expr.text} of {inputs}: {one}, not {other}"
    return None


def test_every_function_has_cases():
    assert set(CASES) == set(FUNCTIONS)
    for fn, exprs in CASES.items():
        used = {node.fn for expr in exprs for node in expr.walk()}
        assert fn in used, fn


@pytest.mark.parametrize("fn", FUNCTION_NAMES)
def test_a_row_and_a_column_are_equal(fn):
    exprs = {str(place): expr for place, expr in enumerate(CASES[fn])}
    row = compile_row(exprs, TYPES)
    by_row = list(zip(*map(row, ROWS), strict=True))
    for expr, got in zip(exprs.values(), by_row, strict=True):
        assert difference(expr, got, vectorised(expr)) is None


@pytest.mark.parametrize("fn", FUNCTION_NAMES)
def test_any_number_of_rows_has_the_same_bits(fn):
    for expr in CASES[fn]:
        whole = shown(vectorised(expr))
        assert evaluate(expr, {name: item.take(slice(0, 0)) for name, item in FRAME.items()}, 0).plain() == []
        for size, start in [(1, 0), (1, 17), (1, 333), (2, 40), (3, 500), (7, 91), (64, 801)]:
            some = {name: item.take(slice(start, start + size)) for name, item in FRAME.items()}
            assert shown(evaluate(expr, some, size).plain()) == whole[start : start + size]


@pytest.mark.parametrize("fn", FUNCTION_NAMES)
def test_a_result_has_the_declared_type(fn):
    for expr in CASES[fn]:
        kind = infer(expr, TYPES, "test")
        assert evaluate(expr, FRAME, len(ROWS)).type == kind
        types = {type(value) for value in vectorised(expr) if value is not None}
        assert types <= {{"int": int, "float": float, "bool": bool, "str": str, "time": int}.get(kind, int)}


@pytest.mark.parametrize("fn", FUNCTION_NAMES)
def test_a_frame_of_one_row_compiled(fn):
    exprs = {str(place): expr for place, expr in enumerate(CASES[fn])}
    one = compile_columns(exprs, TYPES)
    for place in range(0, len(ROWS), 97):
        frame = {name: item.take(slice(place, place + 1)) for name, item in FRAME.items()}
        for name, got in one(frame).items():
            wanted = evaluate(exprs[name], frame, 1)
            assert (got.type, got.values.dtype) == (wanted.type, wanted.values.dtype)
            assert shown([got.values[0], got.valid[0]]) == shown([wanted.values[0], wanted.valid[0]])


# DuckDB -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def duckdb_rows():
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'; SET threads = 1")
        connection.register("data", to_arrow(FRAME))
        yield connection


@pytest.mark.parametrize("fn", [fn for fn in FUNCTION_NAMES if fn not in DIALECTS["duckdb"].refused])
def test_duckdb_computes_the_same_bits(fn, duckdb_rows):
    for expr in CASES[fn]:
        sql = to_sql(expr, TYPES, "duckdb")
        sql = f"epoch_us({sql})" if infer(expr, TYPES, "") == "time" else sql
        found = duckdb_rows.sql(f"SELECT {sql} AS found FROM data")
        if infer(expr, TYPES, "") in PLACES:
            assert str(found.types[0]) == sql_type(infer(expr, TYPES, ""), DIALECTS["duckdb"]).replace(
                ", ", ","
            )
        got = [fetched(value) for (value,) in found.fetchall()]
        assert difference(expr, got, vectorised(expr)) is None, sql


@pytest.mark.parametrize("zone", ZONES)
def test_duckdb_has_the_same_rules_of_the_zones_used_here(zone, duckdb_rows):
    assert duckdb_rows.execute(zone_check(zone)).fetchall() == [(0,)]


def test_other_rules_of_a_zone_are_noticed(duckdb_rows):
    asked = zone_check("America/New_York").replace("'America/New_York'", "'America/Havana'")
    assert duckdb_rows.execute(asked).fetchall()[0][0] > 100


def test_instants_far_apart(duckdb_rows):
    first, last = to_us("0001-01-02"), to_us("9999-12-30T23:59:59.999999+00:00")
    odd = [60234778447276078, -60984862024132546]  # the distance is rounded to a float before it is divided
    others = [-41501533523567663, 80761506841165274]
    frame = {
        "t": column("time", [first, last, last, None, *odd]),
        "v": column("time", [last, first, last - 1, 0, *others]),
    }
    duckdb_rows.register("far", to_arrow(frame))
    t, v = col("t"), col("v")
    for expr in [
        t.since(v, "ms"),
        t.since(v, "w"),
        t.epoch("ms"),
        t.offset_by("2d").epoch(),
        t.offset_by("-2d").epoch(),
    ]:
        whole = shown(evaluate(expr, frame, 6).plain())
        row = compile_row({"it": expr}, {"t": "time", "v": "time"})
        pairs = zip(frame["t"].plain(), frame["v"].plain(), strict=True)
        assert shown(row({"t": one, "v": two})[0] for one, two in pairs) == whole
        sql = to_sql(expr, {"t": "time", "v": "time"})
        assert shown(value for (value,) in duckdb_rows.execute(f"SELECT {sql} FROM far").fetchall()) == whole
    for zone in ZONES:
        assert evaluate(t.date_trunc("year", zone), frame, 6).valid.tolist() == [
            True,
            True,
            True,
            False,
            True,
            True,
        ]


# Spark ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark_rows(spark):
    spark_there.hold(spark, "data", ROWS)
    return spark


@pytest.mark.filterwarnings("default")  # the client of Spark leaves sockets open
@pytest.mark.parametrize("fn", [fn for fn in FUNCTION_NAMES if fn not in DIALECTS["spark"].refused])
def test_spark_computes_the_same_bits(fn, spark_rows):
    for expr, (text, got) in zip(CASES[fn], spark_there.asked(spark_rows, "data", CASES[fn]), strict=True):
        assert difference(expr, map(fetched, got), vectorised(expr)) is None, text


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("zone", ZONES)
def test_spark_has_the_same_rules_of_the_zones_used_here(zone, spark_rows):
    assert [tuple(row) for row in spark_rows.sql(zone_check(zone, "spark")).collect()] == [(0,)]


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_what_a_dialect_cannot_do_is_refused_by_name(dialect):
    for fn in DIALECTS[dialect].refused:
        for expr in CASES[fn]:
            with pytest.raises(DefinitionError, match=rf"cannot be SQL for {dialect}: "):
                to_sql(expr, TYPES, dialect)


def test_constants_alone_are_expressions_too():
    assert evaluate(lit("x"), {}, 2).plain() == ["x", "x"]
    assert compile_row({"x": lit(1.5) + 1}, {})({}) == (2.5,)


def test_an_expression_reads_the_ones_before_it():
    x = col("x")
    exprs = {"double": x * 2, "x": x + 1, "again": x + 1, "sum": x + col("double")}
    row = compile_row(exprs, {"x": "int"})
    frame = {"x": column("int", [5])}
    columns = compile_columns(exprs, {"x": "int"})(frame)
    assert {name: item.plain() for name, item in columns.items()} == {
        "double": [10],
        "x": [6],
        "again": [7],
        "sum": [16],
    }
    for name, expr in exprs.items():
        frame[name] = evaluate(expr, frame, 1)
    assert row({"x": 5}) == tuple(frame[name].plain()[0] for name in exprs) == (10, 6, 7, 16)
