"""Types that a lake keeps: returned as they were written, and never changed."""

from typing import TYPE_CHECKING

from tenfold.core.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = (
    "bool, int8 to int64, float, double, string, binary, date32, decimal128, timestamp[us, tz=UTC], "
    "or a list, struct or map of them"
)


def storable(rows: "pa.Table", table: str) -> "pa.Table":
    """Return rows without metadata and with nullable columns; SchemaError when a type would not survive storing.

    Examples
    --------
    >>> import pyarrow as pa
    >>> storable(pa.table({"n": pa.array([1], pa.uint64())}), "payments")
    Traceback (most recent call last):
    tenfold.core.errors.SchemaError: table "payments" cannot keep column "n" of type uint64. Cast it to one of ...
    """
    import pyarrow as pa

    for field in rows.schema:
        if not _keeps(field.type):
            raise SchemaError(
                f'table "{table}" cannot keep column "{field.name}" of type {field.type}. Cast it to one of {KEPT}.'
            )
    return rows.cast(pa.schema([(field.name, field.type) for field in rows.schema]))


def _keeps(kind: "pa.DataType") -> bool:
    from pyarrow import types

    if types.is_timestamp(kind):
        return bool(kind.unit == "us" and kind.tz == "UTC")
    if types.is_list(kind) or types.is_struct(kind) or types.is_map(kind):
        return all(_keeps(kind.field(place).type) for place in range(kind.num_fields))
    plain = (types.is_boolean, types.is_signed_integer, types.is_float32, types.is_float64, types.is_string)
    return any(test(kind) for test in (*plain, types.is_binary, types.is_date32, types.is_decimal128))


class OtherType(SchemaError):
    """Rows have a column of another type than those that are stored."""

    def __init__(self, table: str, column: str, stored: "pa.DataType", new: "pa.DataType") -> None:
        self.column, self.stored, self.new = column, stored, new
        super().__init__(
            f'column "{column}" of table "{table}" is {stored}, but the rows have {new}. '
            f"Cast it to {stored}, or write to another table."
        )


def lacking(rows: "pa.Table") -> "pa.Schema":
    """Return the columns of rows, nullable where rows lack them.

    Examples
    --------
    >>> import pyarrow as pa
    >>> [field.nullable for field in lacking(pa.table({"a": [1, 2], "b": [1, None]}))]
    [False, True]
    """
    import pyarrow as pa

    return pa.schema([item.with_nullable(rows[item.name].null_count > 0) for item in rows.schema])


def check_types(table: str, stored: "pa.Schema", new: "pa.Schema") -> None:
    """Raise OtherType when a column that both schemas have changed its type."""
    for field in new:
        held = stored.field(field.name).type if field.name in stored.names else field.type
        if held != field.type:
            raise OtherType(table, field.name, held, field.type)
