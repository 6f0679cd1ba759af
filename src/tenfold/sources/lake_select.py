"""Reads Parquet files, or an Arrow table, by DuckDB: columns of the rows that meet an SQL condition."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tenfold.core.errors import DefinitionError, NotFound

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

OFFSET = "_offset"
USE_UTC = "SET TimeZone = 'UTC'"
FROM_FILES = "FROM read_parquet(?, union_by_name = true)"
FROM_ROWS = "FROM stored_rows"
RUNS = 10_000
"""Most runs of rows in order that are put one behind the other: of more the rows are copied, which takes less time."""
HOLDING = "SELECT DISTINCT _file FROM read_parquet(?, union_by_name = true, filename = '_file')"


def select(
    connection: "duckdb.DuckDBPyConnection",
    source: "Sequence[str] | pa.Table",
    schema: "pa.Schema",
    *,
    table: str,
    columns: Sequence[str] | None = None,
    where: str = "",
) -> "pa.Table":
    """Return columns of Parquet files or of an Arrow table, filtered and ordered by `_offset`, typed by a schema."""
    names = schema.names if columns is None else list(columns)
    unknown = [name for name in names if name not in schema.names]
    if unknown:
        raise NotFound("column", unknown[0], _plain(schema.names), within=f'table "{table}"')
    values = [source] if isinstance(source, list) else []
    if not values:
        connection.register("stored_rows", source)
    connection.execute(USE_UTC).fetchall()
    read = [*names, OFFSET] if OFFSET in schema.names and OFFSET not in names else names
    sql = _select_sql(read, FROM_FILES if values else FROM_ROWS, where)
    found = _run(connection, sql, values, where, table, schema).cast(_chosen(schema, read))
    return _in_order(found).select(names)


def _in_order(rows: "pa.Table") -> "pa.Table":
    """Return rows ordered by `_offset`, if there is one: as a rule they are, and only to look takes a tenth of sorting."""
    if OFFSET not in rows.column_names:
        return rows
    import pyarrow as pa

    offset = rows[OFFSET].to_numpy()
    # where rows begin that are in order, such as those of a file
    first = np.flatnonzero(np.append(True, offset[1:] < offset[:-1]))
    if len(first) < 2:
        return rows
    last = np.append(first[1:], len(offset)) - 1
    order = np.argsort(offset[first], kind="stable")
    mixed = (offset[last[order[:-1]]] >= offset[first[order[1:]]]).any()
    if mixed or len(first) > RUNS:
        return rows.take(np.argsort(offset, kind="stable"))
    # slices are no copies, and texts of more than 2 GB in all could not be copied
    return pa.concat_tables([rows.slice(first[at], last[at] - first[at] + 1) for at in order.tolist()])


def holding(
    connection: "duckdb.DuckDBPyConnection", files: Sequence[str], where: str, schema: "pa.Schema", table: str
) -> list[str]:
    """Return which of some Parquet files hold a row that meets a condition."""
    if not files:
        return []
    connection.execute(USE_UTC).fetchall()
    found = _run(connection, f"{HOLDING} WHERE ({where}\n)", [list(files)], where, table, schema)
    return sorted(found["_file"].to_pylist())


def _run(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    values: Sequence[object],
    where: str,
    table: str,
    schema: "pa.Schema",
) -> "pa.Table":
    import duckdb

    try:
        return connection.sql(sql, params=values).to_arrow_table()
    except (duckdb.ProgrammingError, duckdb.DataError) as error:
        raise DefinitionError(
            f'where="{where}" cannot be evaluated on table "{table}": {str(error).splitlines()[0]}. '
            f"Write an SQL condition on {', '.join(_quoted(_plain(schema.names)))}."
        ) from error


def _select_sql(names: Sequence[str], source: str, where: str) -> str:
    quoted = ", ".join(_quoted(names))
    # The line break keeps an SQL comment at the end of the condition from hiding the bracket.
    condition = f" WHERE ({where}\n)" if where else ""
    return f"SELECT {quoted} {source}{condition}"


def _plain(names: Sequence[str]) -> list[str]:
    """Return the columns a user may mean: those that begin with "_" are tenfold's own."""
    return [name for name in names if not name.startswith("_")]


def _quoted(names: Sequence[str]) -> list[str]:
    return ['"' + name.replace('"', '""') + '"' for name in names]


def _chosen(schema: "pa.Schema", names: Sequence[str]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in names])
