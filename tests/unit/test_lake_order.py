"""Rows of a table come in the order of their offsets, whatever order its files have."""

import numpy as np
import pyarrow as pa

from tenfold.sources.lake_select import _in_order


def test_texts_of_more_than_two_gigabytes_are_brought_into_order():
    text = pa.array(["x" * (1 << 20)] * 1_000)  # in memory once
    offsets = [pa.array(np.arange(1_000) + first) for first in (2_000, 0, 1_000)]
    rows = pa.table({"_offset": pa.chunked_array(offsets), "text": pa.chunked_array([text] * 3)})
    found = _in_order(rows)
    assert found["_offset"].to_pylist() == list(range(3_000))
    assert found["text"].nbytes == rows["text"].nbytes


def test_rows_that_are_mixed_are_sorted():
    rows = pa.table({"_offset": [3, 1, 2, 0, 5, 4, 4], "name": list("abcdefg")})
    assert _in_order(rows)["name"].to_pylist() == list("dbcafge")
    assert _in_order(rows.slice(0, 0)).num_rows == 0
