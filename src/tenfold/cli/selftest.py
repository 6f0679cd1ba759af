"""The one rule, tried on this machine: a tiny view computed in batch and from a stream must be equal to the bit."""

from datetime import datetime

import numpy as np

from tenfold.core.clock import VirtualClock
from tenfold.core.expr import col, count
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.features.view import Entity, FeatureView
from tenfold.processing.batches import HISTORY, read_frame, to_bytes
from tenfold.processing.conform import conform
from tenfold.processing.frame import column, to_arrow
from tenfold.sources.declare import Events
from tenfold.sources.memory import MemoryLog
from tenfold.store.materialize import StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import features
from tenfold.store.online import lookup

EVENTS, CARDS, BATCH = 200, 5, 20
START = to_us("2024-01-01")


class Payment:
    """The schema of the source."""

    payment_id: str
    card: str
    amount: float | None
    at: datetime


def compare() -> tuple[int, int]:
    """Return how many feature values were computed both ways, and how many differ.

    Examples
    --------
    >>> compare()
    (175, 0)
    """
    source = Events("payments", Payment, time="at", id="payment_id")
    amount = col("amount")
    view = FeatureView(
        "cards",
        entity=Entity("card", key="card"),
        source=source,
        features={
            "count": count(window="1h"),
            "sum": amount.sum(window="1h"),
            "mean": amount.mean(window="90m"),
            "min": amount.min(window="2h"),
            "max": amount.max(window="2h"),
            "last": amount.last(),
            "share": amount.sum(window="10m") / amount.sum(window="1h"),
        },
    )
    log, store = MemoryLog(VirtualClock(START)), MemoryOnlineStore()
    sink = StateSink(log, store, [view])
    rows = _rows()
    for first in range(0, EVENTS, BATCH):
        frame = conform(source, rows[first : first + BATCH]).frame
        table = to_arrow(frame).replace_schema_metadata(HISTORY)
        log.append(source.name, to_bytes(table), BATCH)
        sink.advance()
    asked = [
        (f"card {card}", START + minutes * UNITS["m"])
        for card in range(CARDS)
        for minutes in (240, 250, 270, 300, 400)
    ]
    keys, at = [card for card, _ in asked], np.array([moment for _, moment in asked], dtype=np.int64)
    batch = features(view, read_frame(source, log.read(source.name, 0)), [column("str", keys)], at)
    online = [lookup(store, [view], {"card": card}, moment).features[view.name] for card, moment in asked]
    differing = sum(
        _bits(batch[name].values[place], batch[name].valid[place])
        != _bits(row[name].values[0], row[name].valid[0])
        for place, row in enumerate(online)
        for name in view.features
    )
    return len(asked) * len(view.features), differing


def _rows() -> list[dict[str, object]]:
    """Return payments over four hours, some a little late, some without an amount."""
    chance = np.random.default_rng(7)
    minutes = np.sort(chance.uniform(0, 240, EVENTS)) - chance.choice([0, 20], EVENTS, p=[0.9, 0.1])
    return [
        {
            "payment_id": f"p{place}",
            "card": f"card {chance.integers(CARDS)}",
            "amount": None if chance.random() < 0.05 else float(chance.lognormal()),
            "at": to_datetime(START + int(minute * UNITS["m"])),
        }
        for place, minute in enumerate(minutes.tolist())
    ]


def _bits(value: np.generic, valid: np.bool_) -> tuple[bytes, bool]:
    return value.tobytes(), bool(valid)
