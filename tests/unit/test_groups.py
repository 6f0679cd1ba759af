"""Rows by key and by id: the fast ways say what the plain ones say."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.features import records
from tenfold.features.records import identities, total_order
from tenfold.processing.frame import column
from tenfold.store.groups import Keys, by_group, groups, repeated

texts = st.none() | st.sampled_from(["", "a", "b", "ab", "Übung", "a\x1b", "z" * 20]) | st.text(max_size=3)
numbers = st.none() | st.integers(-3, 3) | st.sampled_from([2**40, -(2**40)])
columns = st.sampled_from(
    [("str", texts), ("int", numbers), ("time", numbers), ("bool", st.none() | st.booleans())]
).flatmap(lambda pair: st.lists(pair[1], min_size=1, max_size=40).map(lambda rows: (pair[0], rows)))


def together(parts):
    rows = min(len(values) for _, values in parts)
    return [column(kind, values[:rows]) for kind, values in parts]


several = st.lists(columns, min_size=1, max_size=3).map(together)


@settings(max_examples=100, deadline=None)
@given(several)
def test_many_identities_are_each_ones_identity(fields):
    rows = len(fields[0])
    one_by_one = [identities([item.take(np.array([row])) for item in fields])[0] for row in range(rows)]
    many = records._many_identities(fields)
    assert many is None or many.tolist() == one_by_one
    assert identities([item.take(np.arange(200) % rows) for item in fields]).tolist() == [
        one_by_one[row % rows] for row in range(200)
    ]


@settings(max_examples=100, deadline=None)
@given(several)
def test_repeated_ids_are_those_with_equal_identities(fields):
    ids = identities(fields).tolist()
    assert repeated(fields).tolist() == [row for row, name in enumerate(ids) if ids.count(name) > 1]


@settings(max_examples=100, deadline=None)
@given(several, st.data())
def test_keys_are_equal_when_their_values_are(fields, data):
    rows = len(fields[0])
    split = data.draw(st.integers(0, rows))
    held, asked = ([item.take(np.arange(*edges)) for item in fields] for edges in ((0, split), (split, rows)))
    keys = Keys(held)
    mine, others = (list(zip(*(item.plain() for item in part), strict=True)) for part in (held, asked))
    assert all(code < keys.size for code in keys.codes)
    code_of = {}
    for key, code in zip(mine, keys.codes.tolist(), strict=True):
        assert (code == -1) == (None in key)
        assert code_of.setdefault(key, code) == code
    assert len(set(code_of.values()) - {-1}) == sum(None not in key for key in code_of)
    assert keys.of(held).tolist() == keys.codes.tolist()
    assert keys.codes.dtype == keys.of(held).dtype == keys.of(asked).dtype == np.int64
    for key, code in zip(others, keys.of(asked).tolist(), strict=True):
        assert (
            code == code_of[key] if key in code_of and None not in key else code not in keys.codes or code < 0
        )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-1, 5), max_size=20), st.sampled_from([1, 1 << 17, 1 << 60]))
def test_rows_are_in_their_group_in_the_order_given(codes, step):
    group = np.array([code * step if code >= 0 else -1 for code in codes], dtype=np.int64)
    expected = sorted((row for row in range(len(codes)) if codes[row] >= 0), key=lambda row: codes[row])
    assert by_group(group).tolist() == expected
    if step < 1 << 30:
        assert by_group(group.astype(np.int32)).tolist() == expected
    if step == 1:
        found = groups(group, 6)
        assert [found.order[a:b].tolist() for a, b in zip(found.first, found.first[1:], strict=False)] == [
            [row for row, code in enumerate(codes) if code == wanted] for wanted in range(6)
        ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.text("ab\x7fÜ", max_size=9), st.integers(0, 2)),
        max_size=20,
        unique_by=lambda row: row[2:],
    )
)
def test_the_total_order_is_by_group_event_id_and_known(rows):
    group, event, names, known = (list(part) for part in zip(*rows, strict=True)) if rows else ([],) * 4
    ids = np.array([name.encode() for name in names], dtype=np.bytes_) if names else np.zeros(0, "S1")
    since = np.array(known, dtype=np.int64)
    order = total_order(
        np.array(event, dtype=np.int64),
        np.array(group, dtype=np.int64),
        lambda chosen: (ids[chosen], since[chosen], chosen),
    )
    order = np.arange(len(rows)) if order is None else order
    assert order.tolist() == sorted(
        range(len(rows)), key=lambda row: (group[row], event[row], names[row].encode(), known[row])
    )
