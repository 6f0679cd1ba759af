"""windows: 16 trailing-window features for each event, strictly before it, from columns in memory.

Money is whole cents here, so that the sums of every engine are exact and can be compared. All give the same numbers;
ours come back in the order of the events, those of the peers in the order they like.
"""

import itertools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench import data
from bench.harness import Bench, Entry, check_equal
from bench.timing import spent

FULL = 10_000_000
CHUNK = 100_000
WORKERS = 2
HERE = "bench.windows"
GOAL = "3.5 M"


def main(bench: Bench) -> list[Entry]:
    """Measure at 10 M events; DuckDB at 1 M, as its time grows faster than its rows."""
    rows, fewer = bench.size(FULL), bench.size(FULL // 10)
    bench.warm(rows * 800 / 1e9)
    large = bench.turns(2, _runs(rows, "ours", "numpy", "kernel", "with_polars"))
    small = bench.turns(3, _runs(fewer, "ours", "with_duckdb"))
    for runs in (large, small):
        for peer in runs.values():
            check_equal("windows", runs["ours"], peer, within=1e-9)
    polars, duckdb = large["with_polars"], small["with_duckdb"]
    without, apart = "numpy alone, without numba", "on records sorted before, without numba"
    less = "fewer rows, which favours DuckDB"
    return [
        _rate("windows", large["ours"], rows, "Polars", polars, f"{GOAL}, 2.5x"),
        _rate("windows", small["ours"], fewer, "DuckDB", duckdb, "12x", less),
        _rate("windows/numpy", large["numpy"], rows, "Polars", polars, "", without),
        _rate("windows/kernel", large["kernel"], rows, "Polars", polars, GOAL, apart),
        Entry("windows/cpu", large["ours"]["cpu"], "s", rows, "Polars", polars["cpu"], "", "of a processor"),
        Entry("windows/numpy/cpu", large["numpy"]["cpu"], "s", rows, "Polars", polars["cpu"], "", without),
        Entry("windows/cpu", small["ours"]["cpu"], "s", fewer, "DuckDB", duckdb["cpu"], "", less),
        Entry("windows/memory", large["ours"]["peak"], "GB", rows, "Polars", polars["peak"]),
    ]


def _runs(rows: int, *names: str) -> dict[str, tuple[str, dict[str, Any]]]:
    return {name: (f"{HERE}:{name}", {"rows": rows}) for name in names}


def _rate(
    name: str, ours: dict[str, Any], rows: int, peer: str, theirs: dict[str, Any], goal: str, note: str = ""
) -> Entry:
    return Entry(name, rows / ours["seconds"], "rows/s", rows, peer, rows / theirs["seconds"], goal, note)


def check(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return what must be equal in all engines: totals of the features, null and empty counted as nothing."""
    found = {}
    for name, values in columns.items():
        if values.dtype == np.float64:
            found[name] = float(values[~np.isnan(values)].sum())
        else:
            found[name] = int(values.sum(dtype=np.int64))
    return found


def ours(rows: int, way: str = "on") -> dict[str, Any]:
    """The whole call: checks of versions, keys, order, kernel, features in the order asked."""
    import pyarrow as pa

    from bench import views
    from tenfold.features.kernel.twin import choice
    from tenfold.store.offline import features

    pa.array(np.zeros(1))  # what is imported or compiled once a process is not measured
    os.environ[choice.SETTING] = way
    choice.loops(rows)
    stream = data.events(rows)
    frame, keys = views.frame(stream), [views.whole("int", stream.key)]
    found, took = spent(lambda: features(views.by_cents, frame, keys, stream.time))
    return took | {"check": check({name: item.values for name, item in found.items()})}


def numpy(rows: int) -> dict[str, Any]:
    """The same without the compiled twin."""
    return ours(rows, "off")


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

    parts, took = spent(run)
    columns = {
        name: np.concatenate([part[place].values for part in parts])
        for place, name in enumerate(views.by_cents.features)
    }
    return took | {"check": check(columns)}


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

    parts, took = spent(run)
    columns = {
        name: part[name].fill_null(0).to_numpy()
        for part in parts
        for name in part.columns
        if name not in ("key", "time")
    }
    return took | {"check": check(columns)}


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
    found, took = spent(lambda: base.execute(query).to_arrow_table())
    totals = {
        name: found[name]
        .cast(pa.float64() if name.startswith("mean") else pa.int64())
        .fill_null(0)
        .to_numpy()
        for name in found.column_names
    }
    return took | {"check": check(totals)}
