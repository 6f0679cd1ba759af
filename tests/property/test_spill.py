"""Sources larger than memory: divided by keys on disk, the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import SchemaError
from tenfold.core.times import to_us
from tenfold.processing.frame import column
from tenfold.sources.memory import MemoryLake
from tenfold.store import spill
from tenfold.store.materialize import LakeSink
from tenfold.store.offline import History
from tenfold.training.dataset import Dataset
from tests.property import test_growth as growth
from tests.property.shop import START, by_card, by_corner, by_day, model, of_logins
from tests.property.test_own import payments
from tests.property.test_own import view as own_view
from tests.property.test_training_set import AHEAD, HOUR, histories, lake_of

SMALL = 1
NOW = START + 9 * HOUR


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(spill, "ROWS_READ", 4)
    monkeypatch.setattr(spill, "ROWS_PER_PART", 3)


def bits(columns):
    return {
        name: (
            item.type,
            item.values.tolist() if item.type == "str" else item.values.tobytes(),
            item.valid.tobytes(),
        )
        for name, item in columns.items()
    }


queries = st.lists(
    st.tuples(st.integers(0, 3), st.none() | st.sampled_from("abc"), st.integers(-1, 6), st.integers(0, 8)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(histories, queries)
def test_features_and_ages_are_equal_to_the_bit(history, asked):
    lake = lake_of(history)
    card, shop, day, hours = zip(*asked, strict=True)
    at = START + HOUR * np.array(hours, dtype=np.int64)
    keys = {"card": column("int", card), "shop": column("str", shop), "day": column("int", day)}
    for view in (by_card, by_corner, by_day, of_logins):
        mine = [keys[name] for name in view.keys]
        whole, divided = History(lake), History(lake, memory=SMALL)
        assert bits(divided.features(view, mine, at)) == bits(whole.features(view, mine, at))
        assert bits({"age": divided.newest(view, mine, at)}) == bits({"age": whole.newest(view, mine, at)})
        assert divided.versions == whole.versions


@settings(max_examples=40, deadline=None)
@given(histories, st.sampled_from([model, AHEAD]))
def test_training_sets_are_equal_to_the_bit(history, wanted):
    lake = lake_of(history)
    whole, divided = (Dataset(wanted, History(lake, memory=memory)) for memory in (None, SMALL))
    assert bits(whole.columns) == bits(divided.columns)
    assert repr(whole.outcomes(NOW)) == repr(divided.outcomes(NOW))


def rows_of(lake, source, rows):
    """Append rows of one commit as history, with the marks that the log would give them."""
    import pyarrow as pa

    offset = lake.position(source.name, "log")
    marks = {"_known": [to_us(row["at"]) + 1 for row in rows], "_offset": range(offset, offset + len(rows))}
    table = pa.Table.from_pylist(rows)
    for name, values in marks.items():
        table = table.append_column(name, pa.array(values, pa.int64()))
    lake.append(source.name, table, writer="log", upto=offset + len(rows))


def test_a_correction_that_moves_a_record_ends_it_in_the_other_part():
    from tenfold.core.times import to_datetime

    lake = MemoryLake()
    row = {"number": 1, "key": "k0", "amount": 5, "at": to_datetime(HOUR)}
    others = [row | {"number": 10 + n, "key": f"k{n % 7}"} for n in range(20)]
    rows_of(lake, payments, [row, *others])
    rows_of(lake, payments, [row | {"key": "k3", "at": to_datetime(2 * HOUR)}])
    keys = column("str", [f"k{n}" for n in range(8)] * 2)
    at = np.repeat(np.array([HOUR + 2, 3 * HOUR]), 8)
    frame = {
        "number": column("int", range(100, 116)),
        "key": keys,
        "amount": column("int", [1] * 16),
        "at": column("time", at),
    }
    whole, divided = (
        History(lake, memory=memory).features(own_view, [keys], at, frame) for memory in (None, SMALL)
    )
    assert bits(whole) == bits(divided)
    assert whole["without"].plain()[0] - whole["without"].plain()[8] == 10
    assert whole["without"].plain()[11] - whole["without"].plain()[3] == 10


def test_a_field_that_was_added_is_null_before_and_one_that_must_be_there_is_asked_for():
    log, lake = growth.new_log(), MemoryLake()
    growth.add(log, growth.plain, 0)
    LakeSink(log, lake, ["sales"]).flush()
    at, keys = np.array([VirtualClock(to_us(growth.AT)).now() + HOUR]), [column("str", ["a"])]
    divided = History(lake, memory=SMALL)
    assert divided.features(growth.view(growth.tipped), keys, at)["tips"].plain() == [None]
    with pytest.raises(SchemaError, match='stored without the field "tip"'):
        divided.features(growth.view(growth.required), keys, at)


def test_the_folder_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lake = lake_of(
        [(0, "logins", {"login_id": 1, "card": 1, "word": "up", "paid": True, "late": 0, "ahead": 0})]
    )
    found = History(lake, memory=SMALL).features(of_logins, [column("int", [1])], np.array([NOW]))
    assert found["last_word"].plain() == ["up"]
    assert list(tmp_path.iterdir()) == []
