"""How old the newest known record of a key is: the same for a request and for the same row scored in batch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.times import UNITS
from tenfold.serving import batch
from tenfold.serving.answer.predictions import BATCH, read
from tenfold.serving.scores import Partition
from tenfold.store.online import lookup
from tenfold.training.dataset import Dataset
from tenfold.training.ranges import Ranges
from tenfold.training.vector import keys_of
from tests.property.shop import START, gaps, histories, model, order
from tests.property.tried import tried
from tests.property.world import NoRollouts, World

asked = order.map(lambda raw: raw | {"units": max(raw["units"], 1)})
WITHIN = 12 * UNITS["h"]


def without_corrections(history):
    """Return a history in which each id occurs once and nothing is older than states reach back."""
    seen, passed, kept = set(), 0, []
    for kind, gap, given_rows in history:
        passed += gap
        if passed > WITHIN:
            break
        rows = given_rows if isinstance(given_rows, list) else []
        fresh = []
        for raw in rows:
            name = raw.get("order_id") or (raw["card"], raw["login_id"])
            if name not in seen:
                seen.add(name)
                fresh.append(raw)
        if kind in ("orders", "logins") and not fresh:
            continue
        kept.append((kind, gap, fresh if isinstance(given_rows, list) else given_rows))
    return kept


@tried(60)
@given(histories, st.tuples(st.just("predict"), gaps, asked))
def test_ages_of_the_lake_are_those_of_the_states(history, last):
    kept = without_corrections(history)
    world = World().play([*kept, last])
    online = world.served().ages
    keys = keys_of(model, world.spine)
    for place, view in enumerate(model.stored):
        newest = world.history().newest(view, [keys[name] for name in view.keys], world.at)
        ages = np.where(newest.valid, world.at - newest.values, np.nan)
        assert repr(ages.tolist()) == repr(online[:, place].tolist()), view.name


def test_a_day_scored_in_batch_logs_the_ages_a_request_is_told():
    hour = UNITS["h"]
    orders = [
        {"order_id": f"o{number}", "amount": 1.0, "units": 1, "late": number % 3 * UNITS["m"]}
        for number in range(9)
    ]
    login = {"login_id": 1, "card": 1, "word": "up", "paid": True, "late": 0, "ahead": 0}
    steps = [("orders", hour, [raw]) for raw in orders]
    world = World().play([*steps[:3], ("logins", 0, [login]), *steps[3:]])
    dataset = Dataset(model, world.history())
    part = Partition(model.name, START, START + 24 * hour)
    ranges = Ranges(model, world.history(), lambda: dataset)
    ranges.times(part.start, part.end)
    batch.score(ranges, part, world.lake, NoRollouts(world.clock), run=1)
    scored = read(world.lake, model.name, BATCH, part.start, part.end)
    assert len(scored) == len(orders)
    newest_at = len(scored) - 1  # states answer for the present
    keys = {name: item.plain()[newest_at] for name, item in keys_of(model, dataset.spine).items()}
    told = lookup(world.store, model.stored, keys, int(scored.at[newest_at])).ages
    assert [None if np.isnan(age) else age for age in scored.ages[newest_at]] == list(told.values())
    assert None in told.values()
    assert any(age is not None for age in told.values())
    assert np.isnan(scored.ages[0]).all()
