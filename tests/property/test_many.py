"""Many keys at once have the values of one key after the other, and of all history, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Entity, FeatureView, col, count
from tenfold.features.state import families, joined, many, planned
from tenfold.features.state.many import many_reader_of
from tenfold.processing.batches import read_frame
from tenfold.processing.bring import as_decimal
from tenfold.processing.frame import column
from tenfold.serving.answer import service
from tenfold.serving.rows.plan import vector
from tenfold.store import offline
from tenfold.store.many import LookupMany
from tenfold.store.online import Lookup
from tests.property import shop
from tests.property.test_state import ALL, HOUR, OVERS, features, filled, good, named, sales, steps
from tests.property.tried import tried
from tests.property.world import World, folded, mismatches
from tests.prove import checks, generate
from tests.prove.choose import Seeded

price, units, paid, word, total = (col(name) for name in ("price", "units", "paid", "word", "total"))
LOOK_UPS = [
    FeatureView(
        f"many_{name}",
        entity=Entity("shop", key="shop"),
        source=good,
        features={"count": count(**over)}
        | named("price", features(price, **over))
        | named("units", features(units, **over))
        | named("paid", features(paid, **over))
        | {"word": word.last(**over), "first_word": word.first(**over), "word_2": word.lag(1, **over)}
        | {
            "note": (word == "up").last(**over),
            "old": word.lag(2),
            "all": total.sum(),
            "few": units.last(rows=2),
        }
        | {"age": col("at").last(**over).age("h"), "ratio": total.sum(**over) / count(**over)},
    )
    for name, over in OVERS.items()
]


def test_the_views_are_read_as_columns():
    assert all(many_reader_of(view).together for view in LOOK_UPS)
    assert not any(many_reader_of(view).together for view in ALL[:-1])


asked = st.lists(
    st.tuples(st.sampled_from([0, 1, 7]), st.sampled_from([1, 1, 1, HOUR, 40 * HOUR, -HOUR // 2, 1 - HOUR])),
    max_size=12,
)


@tried(60)
@given(
    steps,
    st.lists(st.integers(1, 3), max_size=6),
    st.sampled_from([*LOOK_UPS, *LOOK_UPS, *ALL]),
    asked,
    st.sampled_from([64, 1000, 2**16, 2**16]),
)
def test_many_keys_have_the_values_of_each(history, sizes, view, asked, large):
    log, now = filled(history)
    store = folded([view], log, sizes)
    keys = {"shop": column("int", [shop for shop, _ in asked])}
    at = np.array([now + later for _, later in asked], dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many, "LARGE", large)
        found = LookupMany([view])(store, keys, at)[0]
    one = [Lookup([view])(store, {"shop": shop}, now + later)[0] for shop, later in asked]
    assert found.newest.tolist() == [item.newest or 0 for item in one]
    truth = offline.features(view, read_frame(sales, log.read("sales", 0, limit=1000)), [keys["shop"]], at)
    for place, (name, item) in enumerate(truth.items()):
        mine = found.features[name]
        assert mine.type == item.type
        assert list(map(repr, mine.plain())) == [repr(each.values[place]) for each in one], name
        assert list(map(repr, mine.plain())) == list(map(repr, item.plain())), name


@tried(25)
@given(shop.histories, st.lists(shop.order, min_size=1, max_size=12))
def test_rows_of_a_model_have_the_features_of_each(history, raws):
    world = World().play(history)
    at = world.service.mark().at
    world.fold()
    rows = [row for raw in raws if (row := shop.order_row(raw, at))["units"] > 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "FEW", 0)
        found = world.service.features_many(rows, at)
    world.asked = [(row, moment) for row, moment in zip(rows, found.at.tolist(), strict=True)]
    each = [world.service.features(row, at) for row in rows]
    assert found.at.tolist() == [one.at for one in each]
    for name, item in found.columns().items():
        assert [repr(as_decimal(value, item.type)) for value in item.plain()] == [
            repr(one.values[name]) for one in each
        ], name
    X = found.matrix(shop.CATEGORIES)
    if rows:
        alone = np.concatenate([vector(one, shop.CATEGORIES) for one in each])
        assert mismatches(X, alone) == []
        assert mismatches(X, world.by_lake()) == []


# The test of the tests: each of these faults is found -------------------------------------------------


def closed_end(patch):
    plain = joined.Joined.before
    patch.setattr(joined.Joined, "before", lambda self, size, moment: plain(self, size, moment + 1))


def nothing_behind(patch):
    patch.setattr(joined.Joined, "behind", lambda self, column, hi: 0)


def all_visible(patch):
    patch.setattr(joined.Joined, "visible", lambda self, at: self.count)


def everyone_takes_part(patch):
    patch.setattr(families.Picks, "_member", lambda self, ranges, _, *way: self._plain(ranges, *way))


def last_rows_of_all(patch):
    patch.setattr(planned, "_last_rows", lambda _, member, hi, size: np.maximum(hi - size, 0))


def extremes_to_the_end(patch):
    patch.setattr(families.Extremes, "_compare", lambda *_: None)


def unsafe_states(patch):
    patch.setattr(many, "_alone", lambda *_: np.zeros(0, dtype=np.int64))


def kinds_mixed_up(patch):
    plain = planned.Planned._units_of
    patch.setattr(planned.Planned, "_units_of", lambda self, kinds, count: plain(self, kinds[:1], count[:1]))


SUMS, PICKS, EXTREMES = ("count", "sum", "mean"), ("first", "last", "lag"), ("min", "max")
FAULTS = {
    closed_end: (SUMS, 80),
    nothing_behind: (SUMS, 10),
    all_visible: (SUMS, 10),
    everyone_takes_part: (PICKS, 30),
    last_rows_of_all: (SUMS, 20),
    extremes_to_the_end: (EXTREMES, 145),
    unsafe_states: (SUMS, 5),
    kinds_mixed_up: (SUMS, 5),
}
"""Each with the aggregates that it is about, and a seed from which on it is soon found."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found(fault, monkeypatch):
    fault(monkeypatch)
    fns, first = FAULTS[fault]
    declared = checks.SMALL | checks.LOOK_UPS | {"fns": fns}
    for seed in range(first, first + 400):
        world = generate.unmoved(generate.world(Seeded(seed), **declared))
        try:
            if checks.failing("many at once", world, seed)[0]:
                return
        except (IndexError, ValueError):
            return
    pytest.fail("not found")
