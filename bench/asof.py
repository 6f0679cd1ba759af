"""asof: what other systems call a point-in-time join: the newest of precomputed rows before each row of the spine.

Three views of five float columns. In tenfold that is `col(x).last()` over a `Table`: the newest row known before the
moment asked for, corrections included. No two rows of a key share a time, so all have the same answer; the join of Feast
also takes a row at the very moment, of which there is none here.
"""

from datetime import datetime
from typing import Any

import numpy as np

from bench import data, venv
from bench.harness import Bench, Entry, check_equal
from bench.timing import timed

FULL = 1_000_000
FEAST_LIMIT = 180.0
VIEWS = ("first", "second", "third")
COLUMNS = ("a", "b", "c", "d", "e")
HERE = "bench.asof"


def main(bench: Bench) -> list[Entry]:
    """Measure 1 M rows over 3 x 1 M."""
    rows = bench.size(FULL)
    bench.warm(rows * 2000 / 1e9)
    ours = bench.run(f"{HERE}:ours", repeat=3, rows=rows)
    duckdb = bench.run(f"{HERE}:with_duckdb", repeat=3, rows=rows)
    check_equal("asof", ours, duckdb, within=1e-9)
    entries = [
        Entry("asof", ours["seconds"], "s", rows, "DuckDB", duckdb["seconds"], "0.77x"),
        Entry("asof/memory", ours["peak"], "GB", rows, "DuckDB", duckdb["peak"]),
    ]
    name = "Feast"
    python = venv.feast(bench)
    if python is None:
        return [*entries, Entry("asof", ours["seconds"], "s", rows, name, None, "50x", bench.no_feast)]
    feast = bench.run("bench.feast_peer:history", python=python, limit=FEAST_LIMIT, rows=rows)
    if feast["seconds"] is None:
        note = f"Feast was stopped after {FEAST_LIMIT:.0f} s: the ratio is at least this"
        return [*entries, Entry("asof", ours["seconds"], "s", rows, name, FEAST_LIMIT, "50x", note)]
    check_equal("asof", ours, feast, within=1e-9)
    return [*entries, Entry("asof", ours["seconds"], "s", rows, name, feast["seconds"], "50x")]


def table(rows: int, place: int) -> dict[str, np.ndarray]:
    """Return the precomputed rows of one view, in the order of their times; no key has two at one time."""
    stream = data.events(rows, seed=10 + place)
    made = np.random.default_rng(20 + place)
    values = {name: made.random(rows) for name in COLUMNS}
    return {"card": stream.key, "at": stream.time + np.arange(rows) % 500, **values}


def asked(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (key, moment) of the spine, no moment being that of a row."""
    key, at = data.spine(rows)
    return key, at // 1000 * 1000 + 700


def check(columns: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the totals that all must agree in; NaN stands for null."""
    return {name: float(np.nansum(values)) for name, values in columns.items()}


class Row:
    """A precomputed row."""

    card: int
    a: float
    b: float
    c: float
    d: float
    e: float
    at: datetime


def ours(rows: int) -> dict[str, Any]:
    """Three views asked for the same spine, from columns in memory, in the order of the spine."""
    import pyarrow as pa

    from bench.views import CARD, whole
    from tenfold import FeatureView, Table, col
    from tenfold.features.records import OFFSET
    from tenfold.processing.conform import KNOWN
    from tenfold.store.offline import features

    pa.array(np.zeros(1))  # what it imports once a process is not measured
    views, frames = [], []
    for place, name in enumerate(VIEWS):
        source = Table(name, Row, key="card", time="at")
        wanted = {column: col(column).last() for column in COLUMNS}
        views.append(FeatureView(f"{name}_view", entity=CARD, source=source, features=wanted))
        held = table(rows, place)
        frame = {column: whole("float", held[column]) for column in COLUMNS}
        times = {"at": whole("time", held["at"]), KNOWN: whole("int", held["at"])}
        frames.append(
            {"card": whole("int", held["card"]), **frame, **times, OFFSET: whole("int", np.arange(rows))}
        )
    key, at = asked(rows)
    keys = [whole("int", key)]
    found, seconds = timed(
        lambda: [features(view, frame, keys, at) for view, frame in zip(views, frames, strict=True)]
    )
    columns = {
        f"{name}_{column}": item.values
        for name, part in zip(VIEWS, found, strict=True)
        for column, item in part.items()
    }
    return {"seconds": seconds, "check": check(columns)}


def with_duckdb(rows: int) -> dict[str, Any]:
    """DuckDB: three ASOF joins in one query, from Arrow tables to one."""
    import duckdb
    import pyarrow as pa

    base = duckdb.connect()
    for place, name in enumerate(VIEWS):
        base.register(name, pa.table(table(rows, place)))
    key, at = asked(rows)
    base.register("spine", pa.table({"card": key, "at": at}))
    columns = ", ".join(f"{name}.{column} AS {name}_{column}" for name in VIEWS for column in COLUMNS)
    joins = " ".join(
        f"ASOF LEFT JOIN {name} ON spine.card = {name}.card AND spine.at > {name}.at" for name in VIEWS
    )
    query = f"SELECT spine.card, spine.at, {columns} FROM spine {joins}"
    found, seconds = timed(lambda: base.execute(query).to_arrow_table())
    totals = {name: found[name].to_numpy() for name in found.column_names[2:]}
    return {"seconds": seconds, "check": check(totals)}
