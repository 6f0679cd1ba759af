"""The function that is written for a view reads several windows and columns of a state as the kernel computes them."""

from contextlib import suppress
from datetime import datetime

import numpy as np
import pytest

from tenfold import Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.features.state import reading, written
from tenfold.processing.batches import read_frame
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLog
from tenfold.store import offline
from tenfold.store.online import Lookup
from tests.property.world import folded

START, HOUR = to_us("2024-05-01T00:00:00+00:00"), UNITS["h"]


class Sale:
    sale: int
    shop: int
    price: float
    units: int
    paid: bool
    tip: float | None
    at: datetime
    due: datetime
    shelf: int
    rate: float


sales = Events("sales", Sale, time="at", id="sale")
price, units, tip = col("price"), col("units"), col("tip")


def view():
    """Return a view that no other test has read; its windows stand in no order."""
    over = [{"window": "3h"}, {"window": "30h"}, {}, {"window": "9h"}, {"window": "9h", "offset": "2h"}]
    windows = {
        f"{name}_{place}": expr
        for place, how in enumerate([*over, {"rows": 4}])
        for name, expr in {
            "count": count(**how),
            "sum": units.sum(**how),
            "mean": price.mean(**how),
            "max": units.max(**how),
            "min": price.min(**how),
            "tips": tip.sum(**how),
            "tip": tip.last(**how),
            "first": price.first(**how),
        }.items()
    }
    names = ("price", "rate", "units", "shelf", "paid", "due", "tip")
    last = {f"last_{name}": col(name).last() for name in names}
    newest = {f"newest_{name}": col(name).last(window="9h") for name in names}
    return FeatureView(
        "written", entity=Entity("shop", key="shop"), source=sales, features=last | windows | newest
    )


def history(seed, tips):
    """Return a log of two shops, with the moment after it."""
    made = np.random.default_rng(seed)
    clock = VirtualClock(START)
    log = MemoryLog(clock)
    for place in range(made.integers(1, 40)):
        clock.set(clock.now() + int(made.choice([1, HOUR, 4 * HOUR])))
        row = {
            "sale": place,
            "shop": int(made.integers(2)),
            "price": round(float(made.normal(0, 50)), 3),
            "units": int(made.integers(-9, 9)),
            "paid": bool(made.random() < 0.5),
            "tip": float(made.random()) if made.random() < tips else None,
            "at": to_datetime(clock.now()),
            "due": to_datetime(clock.now() + HOUR),
            "shelf": place * 7,
            "rate": float(made.random()),
        }
        ingest(sales, [row], log=log, quarantine=None, clock=clock)
    return log, clock.now()


def differing(chosen, seeds=8):
    """Return how many answers of single keys are not those of history."""
    found = 0
    for seed in range(seeds):
        log, now = history(seed, tips=[0.0, 0.5, 1.0][seed % 3])
        store = folded([chosen], log, [])
        asked = [(shop, now + later) for shop in (0, 1, 7) for later in (1, HOUR, 5 * HOUR, 20 * HOUR)]
        truth = offline.features(
            chosen,
            read_frame(sales, log.read("sales", 0, limit=1000)),
            [column("int", [shop for shop, _ in asked])],
            np.array([at for _, at in asked]),
        )
        wanted = zip(*[list(map(repr, item.plain())) for item in truth.values()], strict=True)
        for (shop, at), values in zip(asked, wanted, strict=True):
            mine = Lookup([chosen])(store, {"shop": shop}, at)[0].values
            found += tuple(map(repr, mine)) != values
    return found


@pytest.fixture
def unread():
    """Return a view whose functions are written anew in this test."""

    reading.reader_of.cache_clear()
    yield view()
    reading.reader_of.cache_clear()


def test_it_gives_the_values_of_history(unread, monkeypatch):
    monkeypatch.setattr(reading, "unpack", None)  # nothing is given to the kernel
    assert differing(unread) == 0


def test_windows_that_do_not_begin_where_longer_ones_do_are_found(unread, monkeypatch):
    monkeypatch.setattr(written, "sorted", lambda places, **_: places, raising=False)
    assert differing(unread) > 0


def test_columns_that_do_not_lie_beside_each_other_are_found(unread, monkeypatch):
    monkeypatch.setattr(written, "_beside", lambda one, other: one[0].fn == other[0].fn == "last")
    found = 1
    with suppress(ValueError):  # the slice may be of another length
        found = differing(unread)
    assert found > 0
