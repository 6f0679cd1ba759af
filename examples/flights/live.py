"""The flights as moments: what becomes known before each question, and the flights that are asked about at it."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from examples import live
from examples.flights.data import Sources, known, microseconds
from examples.live import Moment, Row

PROJECT = "examples/flights/project.py"
LEAD = 3_600_000_000


def moments(sources: Sources, start: int, end: int) -> Iterator[Moment]:
    """Yield the instants of [start, end) at which something is asked, in order."""
    arriving = {name: _arriving(name, rows, start, end) for name, rows in sources.items()}
    flights = sources.schedule
    ask_at = microseconds(flights["scheduled"]) - LEAD
    chosen = np.flatnonzero((ask_at >= start) & (ask_at < end))
    chosen = chosen[np.lexsort((flights["flight_id"].to_numpy()[chosen].astype(str), ask_at[chosen]))]
    yield from live.moments(arriving, ask_at[chosen], as_json(flights.iloc[chosen]))


def _arriving(name: str, rows: pd.DataFrame, start: int, end: int) -> tuple[np.ndarray, list[Row]]:
    moment = microseconds(known(name, rows))
    chosen = np.flatnonzero((moment >= start) & (moment < end))
    chosen = chosen[np.argsort(moment[chosen], kind="stable")]
    return moment[chosen], as_json(rows.iloc[chosen])


def as_json(rows: pd.DataFrame) -> list[Row]:
    """Return rows as JSON values; missing ones as None."""
    columns = {}
    for name in rows.columns:
        values = rows[name]
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            columns[name] = [item.isoformat() for item in values]
        else:
            columns[name] = [
                None if pd.isna(item) else getattr(item, "item", lambda item=item: item)() for item in values
            ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
