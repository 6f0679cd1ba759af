"""Decimals of any places and up to 18 digits: the history, the states and the reference agree to the bit."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Entity, Events, FeatureView, col
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, iso, to_datetime, to_us
from tenfold.processing.batches import read_frame
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLog
from tenfold.store import offline
from tenfold.store.online import lookup
from tests.property import reference
from tests.property.tried import tried
from tests.property.world import folded

START, MINUTE = to_us("2024-05-01"), UNITS["m"]
d = col("d")
OVERS = {"all": {}, "rows": {"rows": 3}, "window": {"window": "3m"}, "back": {"offset": "2m"}}
FNS = ("sum", "mean", "min", "max", "first", "last", "mode", "n_unique", "var", "std")
EXPRS = {f"{fn}_{name}": getattr(d, fn)(**over) for fn in FNS for name, over in OVERS.items()}
EXPRS |= {"before": d.lag(1), "up": d.last() - d.first(), "above": d.last() > d.mean()}


def view_of(places):
    hints = {"name": str, "shop": str, "d": Annotated[Decimal, places] | None, "at": datetime}
    source = Events("rows", type("Row", (), {"__annotations__": hints}), time="at", id="name")
    return FeatureView("shop", entity=Entity("shop", key="shop"), source=source, features=EXPRS)


VIEWS = {places: view_of(places) for places in (0, 2, 9, 18)}
small = st.integers(-(2**30), 2**30) | st.sampled_from([0, 1, -1])
large = st.integers(-(2**53) + 1, 2**53 - 1)
huge = st.integers(-(10**17), 10**17)


def exact(units, places):
    return None if units is None else Decimal(units).scaleb(-places)


def drivers(places, values):
    """Return the features after the last record: as of it, of the history, of the states and of the reference."""
    view, clock = VIEWS[places], VirtualClock(START)
    log = MemoryLog(clock)
    for place, units in enumerate(values):
        clock.set(START + place * MINUTE)
        value = exact(units, places)
        row = {"name": f"r{place}", "shop": "a", "d": value, "at": to_datetime(clock.now())}
        assert ingest(view.source, [row], log=log, quarantine=None, clock=clock).rejected == 0
    at = clock.now() + 1
    frame = read_frame(view.source, log.read("rows", 0))
    whole = offline.features(view, frame, [column("str", ["a"])], np.array([at]))
    online = lookup(folded([view], log, [2]), [view], {"shop": "a"}, at).features["shop"]
    records = [
        {
            "id": f"r{place}",
            "shop": "a",
            "d": exact(units, places),
            "event": event,
            "known": event,
            "offset": place,
        }
        for place, units in enumerate(values)
        for event in [START + place * MINUTE]
    ]
    return whole, online, reference.features(view, records, ("a",), at)


@pytest.mark.parametrize("places", VIEWS)
@tried(40)
@given(values=st.lists(st.none() | small, min_size=1, max_size=9))
def test_small_values(places, values):
    agree(places, values, EXPRS)


@pytest.mark.parametrize("places", VIEWS)
@tried(40)
@given(values=st.lists(st.none() | huge | large | small, min_size=1, max_size=9))
def test_values_that_no_float_holds(places, values):
    limited = [None if units is None else max(min(units, 2**53 - 1), 1 - 2**53) for units in values]
    agree(places, limited, [name for name in EXPRS if name[:3] not in ("var", "std")])
    with pytest.MonkeyPatch.context() as patch:  # a variance is refused where squares are not exact
        view = VIEWS[places]
        features = {name: expr for name, expr in EXPRS.items() if name[:3] not in ("var", "std")}
        patch.setitem(
            VIEWS, places, FeatureView("shop", entity=view.entity, source=view.source, features=features)
        )
        agree(places, values, features)


def agree(places, values, names):
    whole, online, wanted = drivers(places, values)
    for name in names:
        kind = VIEWS[places].plan.types[name]
        assert (whole[name].type, online[name].type) == (kind, kind)
        item = wanted[name]
        expected = int(item.scaleb(int(kind[8:-1]))) if isinstance(item, Decimal) else item
        assert repr(whole[name].plain()) == repr(online[name].plain()) == repr([expected]), name


@pytest.mark.parametrize("read", ["history", "states"])
def test_a_sum_of_more_than_18_digits_is_refused(read):
    view, clock = VIEWS[2], VirtualClock(START)
    log = MemoryLog(clock)
    rows = [
        {"name": name, "shop": "a", "d": "9999999999999999.99", "at": to_datetime(START)}
        for name in ("r1", "r2")
    ]
    ingest(view.source, rows, log=log, quarantine=None, clock=clock)
    one = FeatureView("shop", entity=view.entity, source=view.source, features={"sum": d.sum()})
    other = FeatureView("shop", entity=view.entity, source=view.source, features={"spread": d.std()})

    def ask(view):
        if read == "states":
            return lookup(folded([view], log, []), [view], {"shop": "a"}, START + 1)
        return offline.features(
            view, read_frame(view.source, log.read("rows", 0)), [column("str", ["a"])], np.array([START + 1])
        )

    with pytest.raises(DefinitionError) as caught:
        ask(one)
    assert str(caught.value) == (
        f'shop="a" as of {iso(START + 1)}: view "shop", d: the sum of a window has more than 18 digits, 2 of them places. '
        "Shorten the window, leave such values out (where=, or valid= of the source), or aggregate the nearest floats, "
        '.cast("float").'
    )
    with pytest.raises(DefinitionError) as caught:
        ask(other)
    assert str(caught.value) == (
        f'shop="a" as of {iso(START + 1)}: view "shop", d: the squares of the values of a window cannot be summed exactly '
        "(up to 2^19 values below 2^53 units). Shorten the window, leave such values out (where=, or valid= of the source), "
        'or aggregate the nearest floats, .cast("float").'
    )
