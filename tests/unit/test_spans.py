"""Many keys over centuries: a key and a moment no longer fit one number, and nothing changes."""

import numpy as np

from tenfold.core.times import DAY, FOREVER
from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate, Input, Own, Records, aggregate
from tenfold.processing.frame import column

KEYS = 3_000
CENTURIES = 80_000 * DAY


def test_many_keys_over_centuries():
    group = np.repeat(np.arange(KEYS), 2)
    event = np.tile([0, CENTURIES], KEYS)
    whole = column("int", range(2 * KEYS))
    every = np.ones(2 * KEYS, dtype=np.bool_)
    records = Records(group, event, event, np.full(2 * KEYS, FOREVER), (Input("whole", whole, every),))
    wanted = [
        Aggregate("sum", 0, Window("all", include_self=True)),
        Aggregate("last", 0, Window("time", DAY)),
    ]
    asked = np.arange(KEYS)
    own = Own(
        (Input("whole", column("int", [1] * KEYS), np.ones(KEYS, dtype=np.bool_)),),
        np.where(asked % 2, 2 * asked, -1),
    )
    total, last = aggregate(records, asked, np.full(KEYS, CENTURIES + 1), wanted, own)
    odd = asked % 2 == 1  # there the first record is an earlier version of the row asked for
    assert (total.values == np.where(odd, 2 * asked + 2, 4 * asked + 2)).all()
    assert (last.values == 2 * asked + 1).all()
