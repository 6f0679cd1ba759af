"""Awkward records: announced ahead, too large, oddly named."""

import numpy as np
import pytest

from tenfold import Derived, FeatureView, col
from tenfold.core.errors import DefinitionError
from tenfold.features.records import identities
from tenfold.processing.frame import column
from tests.property.shop import HOUR, MINUTE, card, order_row, orders
from tests.property.world import World, mismatches


def test_an_event_announced_for_tomorrow_does_not_push_out_todays():
    world = World()
    now = world.clock.now()
    ahead = order_row({"order_id": "o2", "amount": 1.0, "units": 1, "late": -30 * HOUR}, now)
    ahead["placed"] = ahead["at"]  # as when the source does not say from when a record is known
    world.arrive("orders", [order_row({"order_id": "o0", "amount": 1.0, "units": 1, "late": 0}, now), ahead])
    world.clock.set(now + MINUTE)
    world.ask(ahead)
    world.sink.flush()
    assert mismatches(world.by_request(), world.by_lake()) == []


def test_a_correction_may_end_a_record_older_than_the_lateness():
    world = World()
    for number, units in ((0, 1), (6, 2), (12, 0), (6, 0)):  # the second order is cancelled 40 hours later
        now = world.clock.now() + 20 * HOUR
        world.clock.set(now)
        raw = {"order_id": f"o{number}", "amount": 1.0, "units": units, "late": 0}
        world.arrive("orders", [order_row(raw, now)])
        world.fold()
    world.clock.set(now + MINUTE)
    world.ask(order_row(raw | {"order_id": "o12", "units": 1}, now + MINUTE))
    world.sink.flush()
    assert mismatches(world.by_request(), world.by_lake()) == []


@pytest.mark.parametrize("largest", [4_111_111_111_111_111, 2**53 - 1])
def test_whole_numbers_are_exact_to_the_last_one(largest):
    world = World()
    for number, units in enumerate((1, largest, 0, 2)):
        now = world.clock.now() + 2 * HOUR
        world.clock.set(now)
        raw = {"order_id": f"o{6 * number}", "amount": 2.0**-20, "units": units, "late": 0}
        world.arrive("orders", [order_row(raw, now)])
        world.fold()
        world.ask(order_row(raw | {"order_id": f"o{6 * number + 60}"}, now + MINUTE))
    world.sink.flush()
    assert largest in world.by_lake()
    assert mismatches(world.by_request(), world.by_lake()) == []


def test_a_sum_of_integers_is_exact_or_refused():
    world = World()
    now = world.clock.now()
    raw = {"amount": 1.0, "units": 2**53 - 1, "late": 1}
    world.arrive("orders", [order_row(raw | {"order_id": f"o{2 * number}"}, now) for number in range(1100)])
    world.sink.flush()
    large = Derived("large", source=orders, added={"times": col("units") - 1})
    view = FeatureView("view", entity=card, source=large, features={"sum": col("times").sum(window="1h")})
    with pytest.raises(
        DefinitionError, match=r"^card=1 as of .*, times: the values of a window cannot be summed exactly"
    ):
        world.history().features(view, [column("int", [1])], np.array([now + 1]))


@pytest.mark.parametrize("pair", [(["b", "b"], ["a", "a\0"]), (["a\x1fb", "a"], ["c", "b\x1fc"])])
def test_different_ids_have_different_identities(pair):
    one, two = identities([column("str", values) for values in pair]).tolist()
    assert one != two
