"""A later version of a record may lie at another key: states follow it."""

from datetime import datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.features.records import Rows
from tenfold.features.state.buckets import Buckets
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.located import HASH, MEAN, OWN, located, versions
from tenfold.store.materialize import LakeSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.moved import INDEX
from tenfold.store.offline import History
from tenfold.store.online import Lookup, prefix
from tests.property.tried import tried
from tests.property.world import folded

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


@tried(50)
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


@tried(30)
@given(steps, st.lists(st.integers(1, 3), max_size=6))
def test_where_versions_lie_is_forgotten_when_no_window_reaches_them(steps, sizes):
    sent = [(*step[:4], True, step[5]) for step in steps]
    log, _ = filled([*sent, (99, "a", 1, 0, True, 50)])
    store = folded(VIEWS, log, sizes)
    kept = ids_of(store, VIEWS[1])
    assert kept.count(b"99") == 1
    assert kept == [b"99"] or any(step[3] < 0 for step in steps), "only of a time that is still to come"
    every = {b"%d" % step[0] for step in steps} | {b"99"}
    assert set(ids_of(store, VIEWS[0])) == every, "all of a view without an end"


def ids_of(store, view):
    """Return the ids of the versions of which it is stored where they are."""
    head = prefix(view) + INDEX
    buckets = Buckets(lambda _: None, mean=MEAN, words=OWN + 1)
    rows, _ = buckets.unpacked([value for key, value in store.items(head) if key != head])
    return [name for name, _ in versions(rows)]


rows = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 2), st.sampled_from(["", "a", "b\0", "longer than a word"])),
    min_size=1,
    max_size=60,
    unique=True,
)


def made(given):
    """Return rows of versions: the id, the offset and the key of each."""
    number = np.array([[offset, offset, offset] for _, offset, _ in given], dtype=np.int64).T
    ids = np.array([b"%d" % name * (1 + name // 10) for name, _, _ in given])
    keys = [key.encode() for *_, key in given]
    return located(Rows(number[0], number[1], number[0], number[2], ids, ()), keys, np.arange(len(keys)))


@tried(100)
@given(rows, st.lists(st.integers(1, 9)), st.integers(1, 4), st.integers(0, 3))
def test_buckets_are_a_function_of_their_rows(rows, sizes, mean, least):
    stores = []
    for cuts in (sizes, [], [1] * len(rows)):
        held, first = {}, 0
        for size in [*cuts, len(rows)]:
            part = rows[first : first + size]
            # Some of them come again.
            part += rows[: max(first - 1, 0)][:2]
            first += size
            if part:
                changes = dict(buckets_of(held, mean).changed(slices_of(part), made(part)))
                held = kept(held, changes)
        stores.append(held)
    assert stores[0] == stores[1] == stores[2]
    assert len(stores[0]) <= len(rows) / mean + len(set(slices_of(rows).tolist())) + 1
    some = made(rows[::2])
    hashes = np.sort(some[:, HASH].view(np.uint64))
    names = {name for name, _ in versions(some)}
    found, places = buckets_of(stores[0], mean).find(hashes, least=least)
    every = zip(versions(made(rows)), slices_of(rows).tolist(), strict=True)
    wanted = sorted((*one, place) for one, place in every if one[0] in names and place >= least)
    assert sorted((*one, at) for one, at in zip(versions(found), places.tolist(), strict=True)) == wanted
    stay = [row for row in rows if slices_of([row])[0] >= least]
    none = made(rows)[:0], np.zeros(0, dtype=np.int64)
    less = kept(stores[0], dict(buckets_of(stores[0], mean).changed(none[1], none[0], least=least)))
    alone = kept({}, dict(buckets_of({}, mean).changed(slices_of(stay), made(stay)))) if stay else {}
    assert less == alone, "as if the others had never been"
    assert kept(stores[0], dict(buckets_of(stores[0], mean).removed())) == {}


def buckets_of(held, mean):
    return Buckets(held.get, mean=mean, words=OWN + 1)


def slices_of(given):
    return np.array([name % 3 for name, *_ in given])


def kept(held, changes):
    return {key: value for key, value in (held | changes).items() if value is not None}
