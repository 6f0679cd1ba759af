"""Rows as bytes of the log without Arrow: to write and to open a stream costs more than all else that few rows need.

A byte that no MessagePack begins with, then a MessagePack array: how many rows, the names of the columns with their types,
and each column in the form that costs least. Another form has its number between the two, 2 to 127, which begins no array; in form 2,
which is what is written, the array's length as four bytes and the array as an LZ4 block follow: half as much to write and to keep.
What is of a later form, or has a column of an unknown type, is refused by those who do not know it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain, groupby, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tenfold.core.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

MARK = 0xC1
"""The first byte."""
_LZ4 = 2
_HEAD = bytes((MARK, _LZ4))
_BLOCK = len(_HEAD) + 4
"""Where the block begins, after the length of what it holds."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode
ARRAYS = {*range(0x90, 0xA0), 0xDC, 0xDD}
"""The bytes that a MessagePack array begins with."""
_OWN = 2
"""How many values stand before the columns."""
_NUMBERS = {"ints": "<i8", "times": "<i8", "floats": "<f8", "lists": "<f8"}


@cache
def kinds_of(types: str) -> Sequence[tuple[str, str]]:
    """Return the names of columns with their types, from how they are written: "id:texts x:lists"."""
    found = tuple((name, kind) for name, _, kind in (item.partition(":") for item in types.split(" ")))
    if strange := {kind for _, kind in found} - _READ.keys():
        raise unknown(f"columns of type {min(strange)}")
    return found


def pack(types: str, rows: int, columns: Sequence[Any]) -> bytes:
    """Return n rows as bytes.

    Parameters
    ----------
    types
        The names of the columns with their types: `texts` are n texts, or the same as UTF-8, `flags` n truth values or None,
        `text` the text and `names` the list of texts that all rows have, `ints`, `floats` and `times` (n,) int64,
        float64 and int64 microseconds UTC, and `lists` (n, any) float64.

    Examples
    --------
    >>> data = pack("id:texts model:text x:lists", 2, [["a", "b"], "m", np.array([[1.0, 2.0], [3.0, 4.0]])])
    >>> unpack([data]).to_pylist()
    [{'id': 'a', 'model': 'm', 'x': [1.0, 2.0]}, {'id': 'b', 'model': 'm', 'x': [3.0, 4.0]}]
    >>> columns_of(data)["id"]
    ['a', 'b']
    """
    cells = [
        np.asarray(column, _NUMBERS[kind]).tobytes() if kind in _NUMBERS else column
        for (_, kind), column in zip(kinds_of(types), columns, strict=True)
    ]
    held = _encode([rows, types, *cells])
    return _HEAD + len(held).to_bytes(4, "little") + _codec().compress(held, asbytes=True)


def columns_of(data: bytes) -> dict[str, Any]:
    """Return the columns by name as they are stored."""
    _, types, *cells = _opened(data)
    return {name: cell for (name, _), cell in zip(kinds_of(types), cells, strict=True)}


def unpack(each: Sequence[bytes]) -> "pa.Table":
    """Return what was packed, one after the other, as a table; a column that one of them lacks is null there."""
    import pyarrow as pa

    held = [_opened(data) for data in each]
    tables = [_table(types, list(part)) for types, part in groupby(held, key=itemgetter(1))]
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def _opened(data: bytes) -> list[Any]:
    """Return how many rows there are, the types, and the columns."""
    if data[1] in ARRAYS:  # an older one
        held: list[Any] = _decode(memoryview(data)[1:])
        return held
    if data[1] != _LZ4:
        raise unknown(f"form {data[1]}")
    size = int.from_bytes(data[_BLOCK - 4 : _BLOCK], "little")
    return list(_decode(_codec().decompress(data[_BLOCK:], size, asbytes=True)))


@cache
def _codec() -> "pa.Codec":
    import pyarrow as pa

    return pa.Codec("lz4_raw")


def unknown(what: str) -> SchemaError:
    """Return the error of a batch whose form a later tenfold wrote."""
    return SchemaError(
        f"the log holds rows that a later version of tenfold wrote, in a form that this one does not know ({what}). Run that "
        "version. Nothing was changed."
    )


def _table(types: str, held: list[list[Any]]) -> "pa.Table":
    import pyarrow as pa

    rows = [values[0] for values in held]
    columns = {
        name: _READ[kind]([values[place] for values in held], rows)
        for place, (name, kind) in enumerate(kinds_of(types), start=_OWN)
    }
    return pa.table(columns)


def _texts(parts: Sequence[Sequence[str | bytes]], _: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(list(chain.from_iterable(parts)), pa.string())


def _flags(parts: Sequence[Sequence[bool | None]], _: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(list(chain.from_iterable(parts)), pa.bool_())


def _text(parts: Sequence[str], rows: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(list(chain.from_iterable(map(repeat, parts, rows))), pa.string())


def _ints(parts: Sequence[bytes], _: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(_numbers(parts, "ints"))


def _times(parts: Sequence[bytes], _: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(_numbers(parts, "times")).view(pa.timestamp("us", "UTC"))


def _floats(parts: Sequence[bytes], _: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(_numbers(parts, "floats"))


def _lists(parts: Sequence[bytes], rows: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    numbers = _numbers(parts, "lists")
    widths = [len(part) // (numbers.itemsize * count) for part, count in zip(parts, rows, strict=True)]
    return pa.ListArray.from_arrays(_offsets(widths, rows), pa.array(numbers))


def _names(parts: Sequence[Sequence[str]], rows: Sequence[int]) -> "pa.Array":
    import pyarrow as pa

    every = [name for names, count in zip(parts, rows, strict=True) for name in (*names,) * count]
    return pa.ListArray.from_arrays(
        _offsets([len(names) for names in parts], rows), pa.array(every, pa.string())
    )


def _numbers(parts: Sequence[bytes], kind: str) -> np.ndarray:
    return np.frombuffer(b"".join(parts), dtype=_NUMBERS[kind])


def _offsets(widths: Sequence[int], rows: Sequence[int]) -> "pa.Array":
    """Return where the lists of all rows begin, and the end of the last, when those of a part are of one width."""
    import pyarrow as pa

    return pa.array(np.concatenate([[0], np.cumsum(np.repeat(widths, rows))]).astype(np.int32))


_READ: Mapping[str, Callable[[Sequence[Any], Sequence[int]], Any]] = {
    "texts": _texts,
    "flags": _flags,
    "text": _text,
    "names": _names,
    "ints": _ints,
    "times": _times,
    "floats": _floats,
    "lists": _lists,
}
"""Per type what makes an array of the stored columns of several parts, with how many rows each has."""
