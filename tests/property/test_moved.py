"""A later version of a record may lie at another key: states follow it."""

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
from tenfold.store.moved import INDEX
from tenfold.store.offline import History
from tenfold.store.online import Lookup, prefix
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


sales = Events("sales", Sale, time="at", id="sale_id")
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
        st.sampled_from([0, 0, 1, 5, -2, -40]),
        st.booleans(),
        st.sampled_from([0, 1, 1, 1, 6, 25]),
    ),
    min_size=1,
    max_size=16,
)


def filled(steps):
    clock = VirtualClock(START)
    log = MemoryLog(clock)
    batch = []
    for sale_id, shop, amount, late, send, gap in steps:
        clock.set(clock.now() + gap * HOUR)
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


@settings(max_examples=30, deadline=None)
@given(steps, st.lists(st.integers(1, 3), max_size=6))
def test_where_versions_lie_is_forgotten_when_no_window_reaches_them(steps, sizes):
    sent = [(*step[:4], True, step[5]) for step in steps]
    log, _ = filled([*sent, (99, "a", 1, 0, True, 50)])
    store = folded(VIEWS, log, sizes)
    kept = [key for key, _ in store.items(prefix(VIEWS[1]) + INDEX)]
    ahead = [key for key in kept if not key.endswith(b"99")]
    assert len(kept) - len(ahead) == 1
    assert not ahead or any(step[3] < 0 for step in steps), "only of a time that is still to come"
    every = {step[0] for step in steps} | {99}
    assert len(list(store.items(prefix(VIEWS[0]) + INDEX))) == len(every), "all of a view without an end"


def test_a_version_behind_the_horizon_leaves_no_trace_of_batches():
    """Five versions of one record, a day apart each, at two keys; the view reaches back ten hours."""
    steps = [(1, SHOPS[place % 2], 1 + place, 0, True, 24) for place in range(5)]
    log, _ = filled(steps)
    stores = [dict(folded(VIEWS, log, sizes).items()) for sizes in ([], [1] * 5, [2, 1, 2])]
    assert stores[0] == stores[1] == stores[2]
