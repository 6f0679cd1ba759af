"""spine: 16 window features of a training set, as known then: float values, a tenth as many rows asked for as events.

A fifth of the events become known up to two days after they happened, and count from then on only. Polars has no notion
of that: it is given the same events as if each had been known at once, and so are we for the comparison of results. A
sample of the rows as known then is counted again one by one.
"""

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import data
from bench.harness import Bench, Entry, check_equal
from bench.timing import spent
from bench.windows import check

if TYPE_CHECKING:
    import polars as pl

FULL = 10_000_000
LATE = 0.2
SAMPLE = 200
HERE = "bench.spine"


def main(bench: Bench) -> list[Entry]:
    """Measure 1 M rows over 10 M events."""
    rows = bench.size(FULL)
    bench.warm(rows * 400 / 1e9)
    runs = {"late": LATE, "at once": 0.0}
    found = bench.turns(
        3,
        {name: (f"{HERE}:ours", {"rows": rows, "late": late}) for name, late in runs.items()}
        | {"Polars": (f"{HERE}:with_polars", {"rows": rows})},
    )
    ours, at_once, polars = found["late"], found["at once"], found["Polars"]
    check_equal("spine", at_once, polars, within=1e-9)
    name, less = "Polars", "Polars takes every event as known at once"
    return [
        Entry("spine", ours["seconds"], "s", rows, name, polars["seconds"], "6 s", less),
        Entry("spine/at once", at_once["seconds"], "s", rows, name, polars["seconds"], "", "the same work"),
        Entry("spine/cpu", ours["cpu"], "s", rows, name, polars["cpu"], "", less),
        Entry("spine/at once/cpu", at_once["cpu"], "s", rows, name, polars["cpu"], "", "the same work"),
        Entry("spine/memory", ours["peak"], "GB", rows, name, polars["peak"], "3 GB", less),
    ]


def ours(rows: int, late: float) -> dict[str, Any]:
    """The features of the spine from columns in memory, in the order of the spine."""
    import pyarrow as pa

    from bench import views
    from tenfold.features.kernel.twin import choice
    from tenfold.store.offline import features

    pa.array(np.zeros(1))  # what is imported or compiled once a process is not measured
    stream = data.events(rows, late=late)
    key, at = data.spine(rows // 10)
    frame, keys = views.frame(stream, floats=True), [views.whole("int", key)]
    os.environ[choice.SETTING] = "on"
    choice.loops(rows)
    found, took = spent(lambda: features(views.by_floats, frame, keys, at))
    values = {name: item.values for name, item in found.items()}
    _count_again(stream, key, at, values)
    return took | {"check": check(values)}


def _count_again(stream: data.Stream, key: np.ndarray, at: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Compare a sample of the rows with the definition, event by event."""
    amount = stream.amount
    for row in np.random.default_rng(3).integers(0, len(at), SAMPLE).tolist():
        seen = np.flatnonzero(stream.key == key[row])
        seen = seen[(stream.known[seen] < at[row]) & (stream.time[seen] < at[row])]
        for name, size in data.WINDOWS.items():
            inside = amount[seen[stream.time[seen] > at[row] - size]].tolist()
            count, total, most = (found[f"{fn}_{name}"][row].item() for fn in ("count", "sum", "max"))
            exact = count == len(inside) and most == max(inside, default=0.0)
            if not exact or not math.isclose(total, math.fsum(inside), rel_tol=1e-14):
                raise ValueError(
                    f"spine row {row}, window {name}: {count}, {total}, {most} is not what its events say."
                )


def with_polars(rows: int) -> dict[str, Any]:
    """Polars: events and spine as one table in the order of time, one rolling group-by per window, the spine kept."""
    import polars as pl

    stream = data.events(rows)
    key, at = data.spine(rows // 10)
    table = pl.DataFrame({"key": stream.key, "time": stream.time, "amount": stream.amount})
    asked = pl.DataFrame({"key": key, "time": at}).with_columns(amount=pl.lit(None, pl.Float64))

    def run() -> list[pl.DataFrame]:
        both = pl.concat([table.with_columns(ask=False), asked.with_columns(ask=True)]).sort("key", "time")
        return [_windows(both, size, name).filter(both["ask"]) for name, size in data.WINDOWS.items()]

    parts, took = spent(run)
    columns = {name: part[name].fill_null(0).to_numpy() for part in parts for name in part.columns[2:]}
    return took | {"check": check(columns)}


def _windows(both: "pl.DataFrame", size: int, name: str) -> "pl.DataFrame":
    """Return four features per row, in the order of the rows: they are sorted by key."""
    import polars as pl

    amount = pl.col("amount")
    return both.rolling("time", period=f"{size}i", closed="none", group_by="key").agg(
        amount.count().cast(pl.Int64).alias(f"count_{name}"),
        amount.sum().alias(f"sum_{name}"),
        amount.mean().alias(f"mean_{name}"),
        amount.max().alias(f"max_{name}"),
    )
