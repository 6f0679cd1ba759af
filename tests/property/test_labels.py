"""Labels over a horizon: what plain Python says of the events in [t, t + horizon] that are known by now."""

from datetime import datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Events, Label, col, count, exists
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS, to_datetime
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.materialize import LakeSink
from tenfold.store.offline import History
from tenfold.training.dataset import outcomes
from tests.property.tried import tried

HOUR = UNITS["h"]


class Sale:
    sale_id: int
    shop: str
    units: int | None
    at: datetime
    booked: datetime


sales = Events("sales", Sale, time="at", known="booked", id="sale_id")
LABELS = {
    "sold": (col("units").sum().fill_null(0), lambda found: float(sum(units or 0 for units in found))),
    "none": (~exists(), lambda found: float(not found)),
    "several": (
        count(where=col("units") > 1) > 1,
        lambda found: float(sum((units or 0) > 1 for units in found) > 1),
    ),
    "last": (
        col("units"),
        lambda found: float("nan") if not found or found[-1] is None else float(found[-1]),
    ),
}

events = st.lists(
    st.tuples(
        st.integers(0, 8).map(lambda n: n * HOUR // 2),
        st.sampled_from(["a", "b"]),
        st.none() | st.integers(0, 3),
        st.sampled_from([0, 0, 1, HOUR]),
    ),
    max_size=12,
)
asked = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 8).map(lambda n: n * HOUR // 2)), min_size=1, max_size=6
)


@tried(60)
@given(events, asked, st.integers(0, 12).map(lambda n: n * HOUR // 2), st.sampled_from(sorted(LABELS)))
def test_a_label_is_a_function_of_the_events_within_its_horizon(events, asked, now, name):
    value, meaning = LABELS[name]
    label = Label(sales, on="shop", value=value, horizon="1h")
    keys, at = [key for key, _ in asked], np.array([at for _, at in asked], dtype=np.int64)
    found = outcomes(label, History(lake_of(events)), column("str", keys), at, now).values
    for row, (key, t) in enumerate(asked):
        mine = [
            (event, number, units)
            for number, (event, shop, units, late) in enumerate(events)
            if shop == key and t <= event <= t + HOUR and event + late < now
        ]
        expected = meaning([units for _, _, units in sorted(mine, key=lambda sale: (sale[0], str(sale[1])))])
        assert repr(found[row].item()) == repr(expected)


def lake_of(events):
    """Return a lake that holds sales, each under its number."""
    clock = VirtualClock(100 * HOUR)
    log, lake = MemoryLog(clock), MemoryLake()
    rows = [
        {
            "sale_id": number,
            "shop": shop,
            "units": units,
            "at": to_datetime(at),
            "booked": to_datetime(at + late),
        }
        for number, (at, shop, units, late) in enumerate(events)
    ]
    ingest(sales, rows, log=log, quarantine=None, clock=clock, history=True)
    LakeSink(log, lake, ["sales"]).flush()
    return lake
