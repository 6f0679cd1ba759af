"""MLflow as a peer, in an environment of its own: its client, embedded on SQLite."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from bench.timing import latencies

PARAMETERS, METRICS = [f"p{place}" for place in range(10)], [f"m{place}" for place in range(10)]
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}


def _client(folder: str) -> Any:
    os.environ.update(QUIET)
    from mlflow import MlflowClient

    place = f"sqlite:///{folder}/mlflow.db"
    return MlflowClient(tracking_uri=place, registry_uri=place)


def run(asked: int) -> dict[str, Any]:
    """Make runs in one batch each: one call per metric takes four times as long."""
    from mlflow.entities import Metric, Param

    with tempfile.TemporaryDirectory() as folder:
        client = _client(folder)
        experiment = client.create_experiment("bench", artifact_location=folder)
        metrics = [Metric(name, 0.5, 0, 0) for name in METRICS]
        params = [Param(name, str(place)) for place, name in enumerate(PARAMETERS)]

        def one(_: int) -> None:
            made = client.create_run(experiment).info.run_id
            client.log_batch(made, metrics=metrics, params=params)
            client.set_terminated(made)

        found = latencies(one, range(min(asked, 40)))
    return {"seconds": found["p50"] / 1e6}


def best(rows: int) -> dict[str, Any]:
    """Search the best runs by a metric, after SQLite has gathered statistics, which MLflow itself never asks for."""
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import create_engine, text

    with tempfile.TemporaryDirectory() as folder:
        client = _client(folder)
        experiment = client.create_experiment("bench", artifact_location=folder)
        engine = create_engine(f"sqlite:///{folder}/mlflow.db")
        ids = [f"{place:032x}" for place in range(rows)]
        told = [_run(name, experiment, folder) for name in ids]
        values = [
            {"run_uuid": name, "key": key, "value": place / rows, "timestamp": 0, "step": 0, "is_nan": False}
            for place, name in enumerate(ids)
            for key in METRICS
        ]
        params = [{"run_uuid": name, "key": key, "value": "1"} for name in ids for key in PARAMETERS]
        with engine.begin() as connection:
            for model, items in (
                (models.SqlRun, told),
                (models.SqlLatestMetric, values),
                (models.SqlParam, params),
            ):
                for part in _parts(items):
                    connection.execute(model.__table__.insert(), part)
            connection.execute(text("ANALYZE"))
        order = [f"metrics.{METRICS[3]} DESC"]
        asked = latencies(
            lambda _: client.search_runs([experiment], order_by=order, max_results=100), range(10)
        )
        found = client.search_runs([experiment], order_by=order, max_results=100)
        if [run.info.run_id for run in found] != ids[::-1][:100]:
            raise ValueError("MLflow does not find the runs that were written.")
    return {"seconds": asked["p50"] / 1e6}


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    return (items[first : first + 10_000] for first in range(0, len(items), 10_000))


def _run(name: str, experiment: str, folder: str) -> dict[str, Any]:
    return {
        "run_uuid": name,
        "name": "bench",
        "source_type": "LOCAL",
        "source_name": "",
        "entry_point_name": "",
        "user_id": "bench",
        "status": "FINISHED",
        "start_time": 0,
        "end_time": 1,
        "deleted_time": None,
        "source_version": "",
        "lifecycle_stage": "active",
        "artifact_uri": folder,
        "experiment_id": int(experiment),
    }


def promote(asked: int) -> dict[str, Any]:
    """Move versions to the stage Production, each in place of the one before: without a history."""
    import warnings

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        client = _client(folder)
        client.create_registered_model("m")
        count = min(asked, 40)
        for _ in range(2 * count):
            client.create_model_version("m", source=folder)
        numbers = itertools.count(1)

        def one(_: int) -> None:
            client.transition_model_version_stage(
                "m", str(next(numbers)), "Production", archive_existing_versions=True
            )

        found = latencies(one, range(count))
    return {"seconds": found["p50"] / 1e6}


def open() -> dict[str, Any]:  # noqa: A001 - named as the benchmark is
    """Let six processes open a store that is not there yet, at once."""
    from bench.tracking import at_once

    return at_once(
        "from bench.mlflow_peer import _client\nimport mlflow", "_client(sys.argv[1]).search_experiments()"
    )
