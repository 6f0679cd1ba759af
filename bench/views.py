"""What is declared: the same windows for the batch, the stream and the request benchmarks."""

from datetime import datetime

import numpy as np

from bench.data import FUNCTIONS, WINDOWS, Stream
from tenfold import Entity, Events, FeatureView, col, count
from tenfold.features.records import OFFSET
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Column, Frame

CARD = Entity("card", key="card")


class InCents:
    """A payment, money as a whole number."""

    payment: int
    card: int
    cents: int
    at: datetime


class InFloats:
    """A payment, money as a float."""

    payment: int
    card: int
    amount: float
    at: datetime


in_cents = Events("payments", InCents, time="at", id="payment")
in_floats = Events("float_payments", InFloats, time="at", id="payment")


def windows(source: Events, field: str) -> FeatureView:
    """Return count, sum, mean and max of a field over four windows: 16 features, such as sum_24h."""
    over = {"sum": col(field).sum, "mean": col(field).mean, "max": col(field).max}
    features = {
        f"{fn}_{window}": count(window=window) if fn == "count" else over[fn](window=window)
        for window in WINDOWS
        for fn in FUNCTIONS
    }
    return FeatureView("card_windows", entity=CARD, source=source, features=features)


by_cents = windows(in_cents, "cents")
of_values = FeatureView(
    "card_values",
    entity=CARD,
    source=in_cents,
    features={"mode_30d": col("cents").mode(window="30d"), "values_30d": col("cents").n_unique(window="30d")},
)
by_floats = windows(in_floats, "amount")


def whole(type_: str, values: np.ndarray) -> Column:
    """Return a column without nulls."""
    return Column(type_, values, np.ones(len(values), dtype=np.bool_))


def frame(stream: Stream, *, floats: bool = False) -> Frame:
    """Return a stream as the columns of its source, with known times and places in the log."""
    place = np.arange(len(stream.key))
    money = {"amount": whole("float", stream.amount)} if floats else {"cents": whole("int", stream.cents)}
    columns = {
        "payment": whole("int", place),
        "card": whole("int", stream.key),
        **money,
        "at": whole("time", stream.time),
    }
    return columns | {KNOWN: whole("int", stream.known), OFFSET: whole("int", place)}
