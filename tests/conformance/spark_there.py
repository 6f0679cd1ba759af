"""A Spark of our own, and rows in it."""

import shutil

import pytest

from tenfold.core.decimals import PLACES
from tenfold.core.infer import infer
from tenfold.processing.bring import as_decimal
from tenfold.processing.decimals_sql import sql_type
from tenfold.processing.dialects import DIALECTS
from tenfold.processing.to_sql import to_sql
from tests.conformance.values import TYPES

KINDS = {"int": "bigint", "float": "double", "bool": "boolean", "str": "string", "time": "bigint"}
KINDS |= {kind: sql_type(kind, DIALECTS["spark"]) for kind in PLACES}


def started():
    """Return a session on one core in this process; skips, saying why, where it cannot be started."""
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    return (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.sql.session.timeZone", "Asia/Tokyo")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )


def hold(session, name, rows):
    """Hold rows of edge values as a table of a session."""
    schema = ", ".join(f"`{column}` {KINDS[kind]}" for column, kind in TYPES.items())
    values = [tuple(as_decimal(row[column], kind) for column, kind in TYPES.items()) for row in rows]
    columns = (f"timestamp_micros(`{n}`) AS `{n}`" if k == "time" else f"`{n}`" for n, k in TYPES.items())
    data = session.createDataFrame(values, schema).coalesce(1).selectExpr(*columns)
    data.cache().createOrReplaceTempView(name)


def asked(session, name, exprs):
    """Return the text of each expression and what it is for all rows of a table."""
    texts = [to_sql(expr, TYPES, "spark") for expr in exprs]
    texts = [
        f"unix_micros({text})" if infer(expr, TYPES, "") == "time" else text
        for expr, text in zip(exprs, texts, strict=True)
    ]
    columns = ", ".join(f"{text} AS c{place}" for place, text in enumerate(texts))
    found = zip(*session.sql(f"SELECT {columns} FROM {name}").collect(), strict=True)
    return list(zip(texts, found, strict=True))
