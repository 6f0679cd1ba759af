"""Columns from Arrow: texts that repeat are one object each, and their codes are those of any column."""

import numpy as np
import pyarrow as pa
import pytest

from tenfold.processing import frame
from tenfold.processing.frame import Column, from_arrow


@pytest.mark.parametrize("words", [["a", "b", None], ["", "Übung"], [f"w{n}" for n in range(40)]])
def test_repeating_texts_are_read_as_any_others(words, monkeypatch):
    values = [words[place * 7 % len(words)] for place in range(90)]
    plain = from_arrow(pa.table({"x": values}), {"x": "str"})["x"]
    monkeypatch.setattr(frame, "SAMPLE", 20)
    item = from_arrow(pa.table({"x": pa.chunked_array([values[:30], values[30:]])}), {"x": "str"})["x"]
    assert item.plain() == plain.plain() == values
    assert item.valid.tolist() == plain.valid.tolist()
    codes, held = item.coded
    assert [held[code].as_py() for code in codes.tolist()] == values
    fresh = Column("str", item.values, item.valid).coded
    assert (codes.tolist(), held.to_pylist()) == (fresh[0].tolist(), fresh[1].to_pylist())
    assert item.take(np.array([5, 1])).plain() == [values[5], values[1]]
