"""A later version of a record may lie at another key: with `moves=True` states follow it."""

from datetime import datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.materialize import LakeSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History
from tenfold.store.online import Lookup
from tests.property.shop import folded

START = to_us("2024-05-01T00:00:00+00:00")
HOUR = UNITS["h"]
SHOPS = ["a", "b", "c"]


class Sale:
    sale_id: int
    shop: str | None
    amount: int
    word: str
    at: datetime


sales = Events("sales", Sale, time="at", id="sale_id", moves=True)
some = Derived("some", source=sales, where=col("amount") > 0)
VIEWS = [
    FeatureView(
        f"of_{source.name}",
        entity=Entity("shop", key="shop"),
        source=source,
        features={
            "sales": count(**over),
            "sum": col("amount").sum(**over),
            "most": col("amount").max(**over),
            "word": col("word").last(**over),
        },
    )
    for source, over in ((sales, {}), (some, {"window": "9h"}))
]
steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([*SHOPS, None]),
        st.integers(0, 4),
        st.sampled_from([0, 0, 1, 5]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def filled(steps):
    clock = VirtualClock(START)
    log = MemoryLog(clock)
    batch = []
    for sale_id, shop, amount, late, send in steps:
        clock.set(clock.now() + HOUR)
        at = to_datetime(clock.now() - late * HOUR)
        batch.append({"sale_id": sale_id, "shop": shop, "amount": amount, "word": f"w{late}", "at": at})
        if send:
            ingest(sales, batch, log=log, quarantine=None, clock=clock)
            batch = []
    ingest(sales, batch, log=log, quarantine=None, clock=clock)
    return log, clock.now()


@settings(max_examples=50, deadline=None)
@given(steps, st.lists(st.integers(1, 3), max_size=6), st.sampled_from([1, HOUR]))
def test_states_follow_a_record_to_its_key(steps, sizes, later):
    log, now = filled(steps)
    store, lake = folded(VIEWS, log, sizes), MemoryLake()
    LakeSink(log, lake, ["sales"]).flush()
    for view in VIEWS:
        for at in (now + later, now - HOUR // 2):
            online = [Lookup([view])(store, {"shop": shop}, at)[0].values for shop in SHOPS]
            found = History(lake).features(view, [column("str", SHOPS)], np.full(3, at))
            assert online == [
                list(row) for row in zip(*(item.plain() for item in found.values()), strict=True)
            ]
    truth = folded(VIEWS, log, [])
    assert dict(store.items()) == dict(truth.items())
    again = MemoryOnlineStore()
    again.write(dict(truth.items()), {})
    assert dict(folded(VIEWS, log, sizes, again).items()) == dict(truth.items())
