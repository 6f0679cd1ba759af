"""Columns in memory: numpy values with a mask of what is not null, to and from Arrow and rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.decimals import DIGITS, PLACES
from tenfold.processing import units

if TYPE_CHECKING:
    import pyarrow as pa

    from tenfold.sources.declare import Field

DTYPES: Mapping[str, Any] = {
    "int": np.int64,
    "float": np.float64,
    "bool": np.bool_,
    "time": np.int64,
    "str": object,
    **dict.fromkeys(PLACES, np.int64),
}

SAMPLE = 10_000
"""Rows that show whether the texts of a column repeat."""


@dataclass(frozen=True)
class Column:
    """Values of one type with their validity.

    `type` is "int", "float", "bool", "time" (int64 microseconds UTC), "str", or "decimal(2)" (int64 units of so many
    places); `values` has shape (n,) and its numpy dtype (object for text); `valid` has shape (n,), bool. Where `valid` is
    false the value is 0, false or None.
    """

    type: str
    values: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray | slice) -> "Column":
        """Return the rows at positions, or where a mask is true; those of a slice are no copies."""
        return Column(self.type, self.values[rows], self.valid[rows])

    @cached_property
    def coded(self) -> tuple[np.ndarray, "pa.Array"]:
        """Codes from 0 per distinct value in order of appearance, and those values; null is one of them."""
        import pyarrow as pa

        kind = pa.string() if self.type == "str" else None
        found = pa.array(self.values, type=kind).dictionary_encode(null_encoding="encode")
        return found.indices.to_numpy(), found.dictionary

    def numbers(self) -> np.ndarray:
        """Return float64 values with NaN for null, as estimators take them; of decimals the nearest."""
        out = (
            units.floats(self.values, PLACES[self.type])
            if self.type in PLACES
            else self.values.astype(np.float64)
        )
        out[~self.valid] = np.nan
        return out

    def plain(self) -> list[Any]:
        """Return Python values with None for null: of times microseconds, of decimals units."""
        return [
            value if ok else None for value, ok in zip(self.values.tolist(), self.valid.tolist(), strict=True)
        ]


Frame = Mapping[str, Column]


def column(type_: str, values: Iterable[Any]) -> Column:
    """Return a column of Python values, None for null.

    Examples
    --------
    >>> column("int", [1, None]).plain()
    [1, None]
    """
    items = list(values)
    if None not in items:
        return Column(type_, _array(items, type_), np.ones(len(items), dtype=np.bool_))
    valid = np.array([item is not None for item in items], dtype=np.bool_)
    blank = None if type_ == "str" else 0
    filled = [blank if item is None else item for item in items]
    return Column(type_, _array(filled, type_), valid)


def _array(items: Sequence[Any], type_: str) -> np.ndarray:
    out = np.empty(len(items), dtype=DTYPES[type_])
    out[:] = items
    return out


def constant(type_: str, value: Any, rows: int) -> Column:
    """Return a column that repeats one value."""
    values = np.empty(rows, dtype=DTYPES[type_])
    values[:] = value if value is not None or type_ == "str" else 0
    return Column(type_, values, np.full(rows, value is not None))


def concat(parts: Sequence[Column]) -> Column:
    """Return columns of one type, one after the other."""
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate([part.values for part in parts])
    return Column(parts[0].type, values, np.concatenate([part.valid for part in parts]))


def from_arrow(table: "pa.Table", types: Mapping[str, str]) -> dict[str, Column]:
    """Return the columns of an Arrow table that `types` names, which have these types there."""
    return {name: _from_arrow(table.column(name), type_) for name, type_ in types.items()}


def _from_arrow(chunks: "pa.ChunkedArray", type_: str) -> Column:
    import pyarrow as pa

    array = chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    valid = np.ones(len(array), dtype=np.bool_)
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False)
    if type_ == "str":
        return _texts(array, valid)
    if type_ in PLACES:
        found, _ = units.from_arrow(array, PLACES[type_])
        return Column(type_, np.where(valid, found, 0), valid)
    if type_ == "time":
        array = array.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if array.null_count:
        array = array.fill_null(False if type_ == "bool" else 0)
    values = np.asarray(array.to_numpy(zero_copy_only=False)).astype(DTYPES[type_], copy=False)
    return Column(type_, values, valid)


def _texts(array: "pa.Array", valid: np.ndarray) -> Column:
    """Return texts; where values repeat, each is one object and the codes are there already."""
    import pyarrow.compute as pc

    first = array[:SAMPLE]
    if len(array) <= SAMPLE or pc.count_distinct(first).as_py() > SAMPLE // 2:
        return Column("str", array.to_numpy(zero_copy_only=False), valid)
    found = array.dictionary_encode(null_encoding="encode")
    codes = found.indices.to_numpy()
    item = Column("str", found.dictionary.to_numpy(zero_copy_only=False)[codes], valid)
    item.__dict__["coded"] = codes, found.dictionary  # as the cached property would find them
    return item


def arrow_type(type_: str) -> Any:
    """Return the Arrow type a column is stored as."""
    import pyarrow as pa

    if type_ in PLACES:
        return pa.decimal128(DIGITS, PLACES[type_])
    stored = {
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "str": pa.string(),
        "time": pa.timestamp("us", "UTC"),
    }
    return stored[type_]


def to_arrow(frame: Frame) -> "pa.Table":
    """Return the columns as an Arrow table, with nulls."""
    import pyarrow as pa

    return pa.table([_to_arrow(item) for item in frame.values()], names=list(frame))


def _to_arrow(item: Column) -> "pa.Array":
    import pyarrow as pa

    if item.type in PLACES:
        return units.to_arrow(item.values, item.valid, PLACES[item.type])
    stored = pa.int64() if item.type == "time" else arrow_type(item.type)
    return pa.array(item.values, type=stored, mask=~item.valid).cast(arrow_type(item.type))


def types_of(fields: Mapping[str, "Field"]) -> dict[str, str]:
    """Return the column types of a source's fields."""
    return {name: item.type for name, item in fields.items()}
