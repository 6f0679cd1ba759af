"""A key of which nothing is known that is young enough has no features, online as offline."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History
from tenfold.store.online import Lookup
from tests.property.tried import tried

START = to_us("2024-05-01T00:00:00+00:00")
HOUR = UNITS["h"]
SHOP = Entity("shop", key="shop")


class Sale:
    sale_id: int
    shop: str
    amount: float
    at: datetime


sales = Events("sales", Sale, time="at", id="sale_id")


def view(**options):
    features = {"sales": count(), "newest": col("amount").last(), "sum_2h": col("amount").sum(window="2h")}
    return FeatureView("of_shop", entity=SHOP, source=sales, features=features, **options)


fresh, always = view(ttl="6h"), view()


@tried(30)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9)), min_size=1, max_size=8))
def test_features_are_null_from_the_ttl_on(steps):
    clock = VirtualClock(START)
    log, lake, store = MemoryLog(clock), MemoryLake(), MemoryOnlineStore()
    moments, answers, newest = [], [], None
    for place, (gap, late) in enumerate(steps):
        clock.set(clock.now() + gap * HOUR + 1)
        moments.append(clock.now())
        answers.append(Lookup([fresh, always])(store, {"shop": "a"}, moments[-1]))
        young = newest is not None and newest > moments[-1] - 6 * HOUR
        assert answers[-1][0].values == (answers[-1][1].values if young else [None] * 3)
        assert answers[-1][0].newest == newest
        happened = clock.now() - late * HOUR
        newest = happened if newest is None else max(newest, happened)
        row = {"sale_id": place, "shop": "a", "amount": place / 2, "at": to_datetime(happened)}
        ingest(sales, [row], log=log, quarantine=None, clock=clock)
        StateSink(log, store, [fresh, always]).advance()
    LakeSink(log, lake, ["sales"]).flush()
    found = History(lake).features(fresh, [column("str", ["a"] * len(moments))], np.array(moments))
    offline = [list(row) for row in zip(*(item.plain() for item in found.values()), strict=True)]
    assert offline == [answer[0].values for answer in answers]


def test_a_ttl_is_part_of_the_definition():
    assert fresh.fingerprint != always.fingerprint
    with pytest.raises(DefinitionError, match='ttl="6 hours" is not a duration'):
        view(ttl="6 hours")
    with pytest.raises(DefinitionError, match="has a ttl and no entity"):
        FeatureView("row", source=sales, features={"amount": col("amount")}, ttl="6h")
