"""windows: 16 trailing-window features for each event, strictly before it, from columns in memory.

Money is whole cents here, so that the sums of every engine are exact and can be compared. All give the same numbers;
ours come back in the order of the events, those of the peers in the order they like.
"""

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench import data
from bench.harness import Bench, Entry, check_equal
from bench.timing import timed

FULL = 10_000_000
CHUNK = 100_000
WORKERS = 2
HERE = "bench.windows"
GOAL = "3.5 M"


def main(bench: Bench) -> list[Entry]:
    """Measure at 10 M events; DuckDB at 1 M, as its time grows faster than its rows."""
    rows, fewer = bench.size(FULL), bench.size(FULL // 10)
    bench.warm(rows * 800 / 1e9)
    ours = bench.run(f"{HERE}:ours", repeat=2, rows=rows)
    kernel = bench.run(f"{HERE}:kernel", repeat=2, rows=rows)
    polars = bench.run(f"{HERE}:with_polars", repeat=2, rows=rows)
    ours_of_fewer = bench.run(f"{HERE}:ours", repeat=2, rows=fewer)
    duckdb = bench.run(f"{HERE}:with_duckdb", repeat=2, rows=fewer)
    for mine, peer in ((ours, polars), (ours, kernel), (ours_of_fewer, duckdb)):
        check_equal("windows", mine, peer, within=1e-9)
    rate, peer_rate = rows / ours["seconds"], rows / polars["seconds"]
    return [
        Entry("windows", rate, "rows/s", rows, "Polars", peer_rate, f"{GOAL}, 2.5x"),
        Entry(
            "windows",
            fewer / ours_of_fewer["seconds"],
            "rows/s",
            fewer,
            "DuckDB",
            fewer / duckdb["seconds"],
            "12x",
            "fewer rows, which favours DuckDB",
        ),
        Entry(
            "windows/kernel",
            rows / kernel["seconds"],
            "rows/s",
            rows,
            "Polars",
            peer_rate,
            GOAL,
            "on records sorted before",
        ),
        Entry("windows/memory", ours["peak"], "GB", rows, "Polars", polars["peak"]),
    ]


def check(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return what must be equal in all engines: totals of the features, null and empty counted as nothing."""
    found = {}
    for name, values in columns.items():
        if values.dtype == np.float64:
            found[name] = float(values[~np.isnan(values)].sum())
        else:
            found[name] = int(values.sum(dtype=np.int64))
    return found


def ours(rows: int) -> dict[str, Any]:
    """The whole call: checks of versions, keys, order, kernel, features in the order asked."""
    import pyarrow as pa

    from bench import views
    from tenfold.store.offline import features

    pa.array(np.zeros(1))  # what it imports once a process is not measured
    stream = data.events(rows)
    frame, keys = views.frame(stream), [views.whole("int", stream.key)]
    found, seconds = timed(lambda: features(views.by_cents, frame, keys, stream.time))
    return {"seconds": seconds, "check": check({name: item.values for name, item in found.items()})}


def kernel(rows: int) -> dict[str, Any]:
    """The kernel alone, on records in its order, in pieces of whole keys on two threads."""
    from bench import views
    from tenfold.features.kernel.compute import aggregate
    from tenfold.features.records import rows_of

    stream = data.events(rows)
    order = np.argsort(stream.key, kind="stable")
    group, at = stream.key[order], stream.time[order]
    records = rows_of(views.by_cents, views.frame(stream), rows)[1].records(stream.key).take(order)
    cuts = np.unique(np.searchsorted(group, group[::CHUNK]))

    def piece(ends: tuple[int, int]) -> list[Any]:
        mine = slice(*ends)
        return aggregate(records.take(mine), group[mine], at[mine], views.by_cents.plan.aggregates)

    def run() -> list[list[Any]]:
        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(piece, itertools.pairwise([*cuts.tolist(), rows])))

    parts, seconds = timed(run)
    columns = {
        name: np.concatenate([part[place].values for part in parts])
        for place, name in enumerate(views.by_cents.features)
    }
    return {"seconds": seconds, "check": check(columns)}


def with_polars(rows: int) -> dict[str, Any]:
    """Polars: one rolling group-by per window, over events sorted by key first: that is ten times faster than by time."""
    import polars as pl

    stream = data.events(rows)
    table = pl.DataFrame({"key": stream.key, "time": stream.time, "cents": stream.cents})

    def run() -> list[pl.DataFrame]:
        by_key = table.sort("key", maintain_order=True)
        return [
            by_key.rolling("time", period=f"{size}i", closed="none", group_by="key").agg(
                pl.len().cast(pl.Int64).alias(f"count_{name}"),
                pl.col("cents").sum().alias(f"sum_{name}"),
                pl.col("cents").mean().alias(f"mean_{name}"),
                pl.col("cents").max().alias(f"max_{name}"),
            )
            for name, size in data.WINDOWS.items()
        ]

    parts, seconds = timed(run)
    columns = {
        name: part[name].fill_null(0).to_numpy()
        for part in parts
        for name in part.columns
        if name not in ("key", "time")
    }
    return {"seconds": seconds, "check": check(columns)}


def with_duckdb(rows: int) -> dict[str, Any]:
    """DuckDB: one named frame per window, on integer microseconds."""
    import duckdb
    import pyarrow as pa

    stream = data.events(rows)
    base = duckdb.connect()
    base.register("events", pa.table({"key": stream.key, "time": stream.time, "cents": stream.cents}))
    frames = ", ".join(
        f'"{name}" AS (PARTITION BY key ORDER BY time RANGE BETWEEN {size - 1} PRECEDING AND 1 PRECEDING)'
        for name, size in data.WINDOWS.items()
    )
    columns = ", ".join(
        f'count(*) OVER "{name}" AS count_{name}, sum(cents) OVER "{name}" AS sum_{name}, '
        f'avg(cents) OVER "{name}" AS mean_{name}, max(cents) OVER "{name}" AS max_{name}'
        for name in data.WINDOWS
    )
    query = f"SELECT {columns} FROM events WINDOW {frames}"
    found, seconds = timed(lambda: base.execute(query).to_arrow_table())
    totals = {
        name: found[name]
        .cast(pa.float64() if name.startswith("mean") else pa.int64())
        .fill_null(0)
        .to_numpy()
        for name in found.column_names
    }
    return {"seconds": seconds, "check": check(totals)}
