"""Many keys at once have the values of one key after the other, and of all history, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold import Entity, FeatureView, col, count
from tenfold.features.state import many
from tenfold.features.state.many import many_reader_of
from tenfold.processing.batches import read_frame
from tenfold.processing.frame import column
from tenfold.store import offline
from tenfold.store.many import LookupMany
from tenfold.store.online import Lookup
from tests.property.shop import folded
from tests.property.test_state import ALL, HOUR, OVERS, features, filled, good, named, sales, steps

price, units, paid, word, total = (col(name) for name in ("price", "units", "paid", "word", "total"))
LOOK_UPS = [
    FeatureView(
        f"many_{name}",
        entity=Entity("shop", key=keys),
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
    for keys in ("shop",)
]


def test_the_views_are_read_as_columns():
    assert all(many_reader_of(view).together for view in LOOK_UPS)
    assert not any(many_reader_of(view).together for view in ALL[:-1])


asked = st.lists(
    st.tuples(st.sampled_from([0, 1, 7]), st.sampled_from([1, 1, 1, HOUR, 40 * HOUR, -HOUR // 2, 1 - HOUR])),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
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
