"""How often each value occurs in a range of the records of a divided state: what modes and numbers of different values are of.

The columns of the chunks are read as they lie; no record is unpacked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.features.kernel.compute import Aggregate
from tenfold.features.state.across import Chunks, Point
from tenfold.features.state.layout import HEADER
from tenfold.features.state.lookups import text_before

Tally = tuple[Sequence[Any], np.ndarray]
"""The different values in their order, and how often each occurs."""
TALLIED = ("mode", "n_unique")


def tallied(item: Aggregate, given: Chunks, lo: Point, hi: Point) -> Any:
    """Return an aggregate of the records from one point to another."""
    place, kind = item.input, given.made.needs[item.input].type
    key = place, lo, hi
    if key not in given.tallies:
        given.tallies[key] = (_texts if kind == "str" else _numbers)(given, *key)
    values, counts = given.tallies[key]
    if item.fn == "n_unique":
        return len(counts)
    if len(counts) <= item.n:
        return None
    # Of values that occur equally often the least comes first.
    found = values[int(np.argsort(-counts, kind="stable")[item.n])]
    return found if kind == "str" else bool(found) if kind == "bool" else found.item()


def _numbers(given: Chunks, place: int, lo: Point, hi: Point) -> Tally:
    real = given.made.needs[place].type == "float"
    found = [np.zeros(0, dtype=np.float64 if real else np.int64)]
    found += [given.values(place, *part) for part in given.ranges(lo, hi)]
    values = np.concatenate(found)
    distinct, counts = np.unique(values + values.dtype.type(0), return_counts=True)
    return distinct, counts


def _texts(given: Chunks, place: int, lo: Point, hi: Point) -> Tally:
    import pyarrow as pa

    found = [pa.array([], pa.large_binary())]
    for chunk, begin, end in given.ranges(lo, hi):
        words, kind = given.chunk(chunk)
        shape = given.made.shape(kind)
        first = HEADER + shape.inputs[place].values * words.rows
        ends = np.concatenate([[0], np.asarray(words.words[first : first + words.rows])])[begin : end + 1]
        data = words.raw[text_before(place, given.made.needs, shape)(words) :]
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
        texts = pa.Array.from_buffers(pa.large_binary(), end - begin, buffers)
        used = given.used(place, chunk, begin, end)
        found.append(texts if used is None else texts.filter(pa.array(used)))
    counted = pa.chunked_array(found).value_counts()
    values, counts = counted.field("values").to_pylist(), counted.field("counts").to_numpy()
    order = sorted(range(len(values)), key=values.__getitem__)
    return [values[at].decode() for at in order], counts[order]
