"""Feast as a peer, in an environment of its own: it needs other versions than ours, and 560 MB."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.timing import timed


@contextlib.contextmanager
def _store(offline: str) -> Iterator[Any]:
    """Open an empty feature store in a folder of its own; what Feast prints is not shown."""
    os.environ["FEAST_USAGE"] = "False"
    from feast import FeatureStore, RepoConfig

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = RepoConfig(
            project="bench",
            provider="local",
            registry=f"{folder}/registry.db",
            online_store={"type": "sqlite", "path": f"{folder}/online.db"},
            offline_store={"type": offline},
            entity_key_serialization_version=3,
        )
        yield FeatureStore(config=config), Path(folder)


def _view(name: str, path: Path, columns: tuple[str, ...]) -> tuple[Any, Any]:
    from datetime import timedelta

    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    card = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
    source = FileSource(name=f"{name}_file", path=str(path), timestamp_field="at")
    schema = [Field(name=column, dtype=Float64) for column in columns]
    return card, FeatureView(name=name, entities=[card], ttl=timedelta(0), schema=schema, source=source)


def _write(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stamps = pa.array(columns["at"]).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(columns | {"at": stamps}), path)


def history(rows: int) -> dict[str, Any]:
    """Feast's historical features: the tables of `asof` as parquet files, a data frame in, a data frame out."""
    import pandas as pd

    from bench import asof

    with _store("duckdb") as (store, folder):
        made = []
        for place, name in enumerate(asof.VIEWS):
            _write(folder / f"{name}.parquet", asof.table(rows, place))
            made += _view(name, folder / f"{name}.parquet", asof.COLUMNS)
        store.apply(list(made))
        key, at = asof.asked(rows)
        spine = pd.DataFrame({"card": key, "event_timestamp": pd.to_datetime(at, unit="us", utc=True)})
        wanted = [f"{name}:{column}" for name in asof.VIEWS for column in asof.COLUMNS]
        found, seconds = timed(
            lambda: store.get_historical_features(spine, wanted, full_feature_names=True).to_df()
        )
    totals = {
        f"{name}_{column}": found[f"{name}__{column}"].to_numpy()
        for name in asof.VIEWS
        for column in asof.COLUMNS
    }
    return {"seconds": seconds, "check": asof.check(totals)}


def online(rows: int, asked: int) -> dict[str, Any]:
    """Feast's online features: two views of 20 and 16 values a key in its SQLite store, as a dict."""
    import numpy as np
    import pandas as pd

    from bench import data, lookup

    columns = [f"f{place}" for place in range(lookup.VALUES)]
    values = np.array(lookup.value_rows())
    table = pd.DataFrame(values, columns=columns)
    table["card"] = np.arange(data.KEYS)
    table["at"] = pd.to_datetime(data.END, unit="us", utc=True)
    with _store("duckdb") as (store, folder):
        wanted = []
        for name, part in (("stored", columns[:20]), ("windows", columns[20:])):
            made = _view(name, folder / f"{name}.parquet", tuple(part))
            nothing = np.zeros(1, dtype=np.int64)
            _write(
                folder / f"{name}.parquet",
                {"at": nothing, "card": nothing, **dict.fromkeys(part, np.zeros(1))},
            )
            store.apply(list(made))
            store.write_to_online_store(name, table[["card", "at", *part]])
            wanted += [f"{name}:{column}" for column in part]

        def read(many: list[dict[str, Any]]) -> Any:
            cards = [{"card": row["card"]} for row in many]
            return store.get_online_features(features=wanted, entity_rows=cards).to_dict()

        found = read([{"card": 7}])
        if [found[column][0] for column in columns] != values[7].tolist():
            raise ValueError("Feast does not return what was written.")
        return lookup.measure(lambda row: read([row]), read, rows, asked)
