"""Functions of functions: expressions put together by chance mean the same in every form."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tenfold.core.errors import DefinitionError
from tenfold.core.expr import Expr
from tenfold.core.infer import infer
from tenfold.processing.compiled import compile_row
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column, to_arrow
from tenfold.processing.to_sql import to_sql
from tests.conformance import spark_there
from tests.conformance.cases import CASES
from tests.conformance.test_conformance import fetched
from tests.conformance.values import TYPES, rows

ALL = rows()
ROWS = [ALL[place] for place in np.random.default_rng(3).choice(len(ALL), size=150, replace=False)]
FRAME = {name: column(kind, [row[name] for row in ROWS]) for name, kind in TYPES.items()}


@cache
def by_type():
    """Return all cases by the type of their result."""
    found = {}
    for exprs in CASES.values():
        for expr in exprs:
            found.setdefault(infer(expr, TYPES, "test"), []).append(expr)
    return found


def nested(expr, chance, depth):
    """Return the expression with some of its columns as other cases of the same type."""
    if not isinstance(expr, Expr):
        return expr
    if expr.fn == "col":
        if depth == 0 or chance.random() < 0.3:
            return expr
        options = by_type()[TYPES[expr.args[0]]]
        return nested(options[chance.integers(len(options))], chance, depth - 1)
    return replace(expr, args=tuple(nested(arg, chance, depth) for arg in expr.args))


def expressions(seed):
    chance = np.random.default_rng(seed)
    exprs = [expr for options in by_type().values() for expr in options]
    return [nested(exprs[chance.integers(len(exprs))], chance, 2) for _ in range(40)]


@pytest.mark.parametrize("seed", range(6))
def test_a_row_a_column_and_duckdb_are_equal(seed):
    import duckdb

    exprs = {f"e{place}": expr for place, expr in enumerate(expressions(seed))}
    row = compile_row(exprs, TYPES)
    by_row = list(zip(*map(row, ROWS), strict=True))
    with duckdb.connect() as connection:
        connection.register("data", to_arrow(FRAME))
        for expr, got in zip(exprs.values(), by_row, strict=True):
            whole = [repr(value) for value in evaluate(expr, FRAME, len(ROWS)).plain()]
            assert [repr(value) for value in got] == whole, expr.text
            try:
                sql = to_sql(expr, TYPES)
            except DefinitionError:
                continue  # log1p and expm1
            sql = f"epoch_us({sql})" if infer(expr, TYPES, "") == "time" else sql
            found = connection.execute(f"SELECT {sql} FROM data").fetchall()
            assert [repr(fetched(value)) for (value,) in found] == whole, f"{expr.text}\n{sql}"


@pytest.fixture(scope="module")
def spark_rows(spark):
    spark_there.hold(spark, "nested", ROWS)
    return spark


@pytest.mark.filterwarnings("default")  # the client of Spark leaves sockets open
@pytest.mark.parametrize("seed", range(4))
def test_a_column_and_spark_are_equal(seed, spark_rows):
    exprs = [expr for expr in expressions(seed) if spark_knows(expr)]
    for expr, (text, found) in zip(exprs, spark_there.asked(spark_rows, "nested", exprs), strict=True):
        whole = [repr(value) for value in evaluate(expr, FRAME, len(ROWS)).plain()]
        assert [repr(fetched(value)) for value in found] == whole, f"{expr.text}\n{text}"


def spark_knows(expr):
    """Return whether an expression can be SQL for Spark."""
    try:
        to_sql(expr, TYPES, "spark")
    except DefinitionError:
        return False
    return True
