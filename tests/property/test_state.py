"""A state's bytes follow from its records alone, and look-ups in them are the kernel's values to the bit."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.features.state import lookups, reading
from tenfold.processing.batches import read_frame
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLog
from tenfold.store import materialize, offline
from tenfold.store.materialize import StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.online import Lookup
from tests.property.tried import tried
from tests.property.world import folded

START = to_us("2024-05-01T00:00:00+00:00")
HOUR = UNITS["h"]


class Sale:
    sale_id: str
    shop: int
    price: float | None
    units: int | None
    paid: bool | None
    word: str | None
    at: datetime
    gone: bool


sales = Events("sales", Sale, time="at", id="sale_id", deleted="gone")
good = Derived("good", source=sales, where=col("units") != 3, added={"total": col("price") * col("units")})
price, units, paid, word, total = (col(name) for name in ("price", "units", "paid", "word", "total"))


def features(x, **over):
    """Return every aggregate that is a look-up, and some that are not, of a column."""
    return {
        "sum": x.sum(**over),
        "mean": x.mean(**over),
        "var": x.var(**over),
        "std": x.std(**over),
        "min": x.min(**over),
        "max": x.max(**over),
        "first": x.first(**over),
        "last": x.last(**over),
        "lag": x.lag(2, **over),
    }


def named(prefix, found):
    return {f"{prefix}_{name}": expr for name, expr in found.items()}


OVERS = {
    "all": {},
    "window": {"window": "3h"},
    "back": {"window": "3h", "offset": "2h"},
    "rows": {"rows": 3},
    "some": {"window": "9h", "where": units > 1},
    "rows_some": {"rows": 2, "where": units > 1, "offset": "1h"},
}
VIEWS = [
    FeatureView(
        f"by_{name}",
        entity=Entity("shop", key="shop"),
        source=good,
        features={"count": count(**over)}
        | named("price", features(price, **over))
        | named("units", features(units, **over))
        | named("paid", features(paid, **over))
        | {"word": word.last(**over), "first_word": word.first(**over), "word_2": word.lag(1, **over)}
        | {"unique": word.n_unique(**over), "mode": word.mode(**over)}
        | {"age": col("at").last(**over).age("h"), "ratio": total.sum(**over) / count(**over)},
    )
    for name, over in OVERS.items()
]
COUNTS = FeatureView(
    "counts", entity=Entity("shop", key="shop"), source=sales, features={"sales": count(window="3h")}
)
ALL = [*VIEWS, COUNTS]

prices = st.sampled_from([None, 0.1, -0.1, 0.0, -0.0, 1e6, 3.25, 1.1])
rows = st.fixed_dictionaries(
    {
        "sale_id": st.integers(0, 9).map(lambda n: "s" * (1 + 7 * (n % 3)) + str(n)),
        "price": prices,
        "units": st.sampled_from([None, 1, 2, 3, -5]),
        "paid": st.sampled_from([None, True, False]),
        "word": st.sampled_from([None, "", "up", "Übung"]),
        "hours": st.sampled_from([0, 0, 1, 2, 4, 30, -3]),
        "gone": st.sampled_from([False, False, False, True]),
    }
)
steps = st.lists(
    st.tuples(
        st.sampled_from([1, HOUR, 3 * HOUR]),
        st.lists(rows, min_size=1, max_size=4),
        st.sampled_from([False, False, True]),
    ),
    min_size=1,
    max_size=8,
)


def row_of(raw, now):
    """Return a sale; its id decides its key."""
    moment = to_datetime(now - raw["hours"] * HOUR)
    plain = {name: value for name, value in raw.items() if name != "hours"}
    return plain | {"shop": int(raw["sale_id"][-1]) % 2, "at": moment}


def filled(history):
    clock = VirtualClock(START)
    log = MemoryLog(clock)
    for gap, raws, long_known in history:
        clock.set(clock.now() + gap)
        rows = [row_of(raw, clock.now()) for raw in raws]
        ingest(sales, rows, log=log, quarantine=None, clock=clock, history=long_known)
    return log, clock.now()


@tried(30)
@given(
    steps,
    st.lists(st.integers(1, 3), max_size=6),
    st.sampled_from(ALL),
    st.sampled_from([1, HOUR, 40 * HOUR]),
    st.integers(1, 64),
)
def test_look_ups_are_the_kernels_values(history, sizes, view, later, few):
    log, now = filled(history)
    store = folded(ALL, log, sizes)
    frame = read_frame(sales, log.read("sales", 0, limit=1000))
    asked = [(shop, at) for shop in (0, 1, 7) for at in (now + later, now + 1, now - HOUR // 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookups, "FEW", few)
        answers = [Lookup([view])(store, {"shop": shop}, at)[0].values for shop, at in asked]
    keys, at = [column("int", [shop for shop, _ in asked])], np.array([at for _, at in asked])
    truth = offline.features(view, frame, keys, at)
    for place, (name, item) in enumerate(truth.items()):
        found = [values[place] for values in answers]
        assert list(map(repr, found)) == list(map(repr, item.plain())), (name, at - now)


@tried(30)
@given(steps, st.lists(st.integers(1, 3), max_size=6), st.integers(1, 3), st.sampled_from([0, 600, 10**6]))
def test_bytes_follow_from_the_records_alone(history, sizes, keys, large):
    log, _ = filled(history)
    truth = folded(ALL, log, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(materialize, "KEYS", keys)
        patch.setattr(materialize, "LARGE", large)
        store = folded(ALL, log, sizes)
    assert dict(store.items()) == dict(truth.items())
    again = MemoryOnlineStore()
    again.write(dict(truth.items()), {})  # the states, as if no offset had been committed
    sink = StateSink(log, again, ALL)
    while sink.behind():
        sink.advance()
    assert dict(again.items()) == dict(truth.items())


def test_most_states_need_no_kernel(monkeypatch):
    """A state with late, corrected and deleted records is still read by look-ups once all of them are known."""
    raws = [
        {"sale_id": f"s{n % 7}", "price": n / 3, "units": n % 4, "hours": n % 5, "gone": n == 9}
        for n in range(40)
    ]
    raws = [raw | {"paid": None, "word": "up"} for raw in raws]
    log, now = filled([(HOUR, raws[place : place + 2], False) for place in range(0, 40, 2)])
    store = folded(ALL, log, [])
    monkeypatch.setattr(reading, "unpack", None)
    assert Lookup([COUNTS])(store, {"shop": 0}, now + 1)[0].values[0] > 0
    with pytest.raises(TypeError):
        Lookup([COUNTS])(store, {"shop": 0}, now - HOUR)
