"""What others serve: the same booster behind `mlflow models serve` and BentoML, which get 46 ready-made features and store nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import venv
from bench.fresh import free_port, wait_for
from bench.harness import Bench

NEEDED = {
    "MLflow": ("serve-mlflow", ("mlflow==3.17.2", "lightgbm==4.7.0")),
    "BentoML": ("serve-bentoml", ("bentoml==1.4.40", "lightgbm==4.7.0")),
}
ASKED = 1_000
CONNECTIONS = 64
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
SERVICE = """
import bentoml, lightgbm, numpy as np

@bentoml.service(workers=1)
class Fraud:
    def __init__(self):
        self.booster = lightgbm.Booster(model_file="model.txt")

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.booster.predict(rows, num_threads=1)
"""


def measured(bench: Bench, folder: str, seconds: float) -> list[tuple[str, dict[str, Any], str]]:
    """Return of each peer its name, what it did, and why there is nothing."""
    found = []
    for name, (place, needed) in NEEDED.items():
        python, why = (None, bench.no_peers) if bench.no_peers else venv.python(bench, place, needed)
        done = {}
        if python:
            given = {"name": name, "folder": folder, "seconds": seconds}
            done = bench.run("bench.serve_peers:ask", python=sys.executable, program=python, **given)
        found.append((name, done, why))
    return found


def fill(folder: Path) -> None:
    """Write the booster, the features of requests as each peer takes them, and what the booster says of them."""
    import lightgbm
    import numpy as np

    from bench import load, project
    from tenfold import Platform
    from tenfold.core.clock import SharedClock

    with project.project.open(Platform(home=folder, clock=SharedClock(folder / "clock"))) as app:
        version = app.registry.production("fraud")
        text = app.blobs.get(version.artefact)["model.txt"].decode()
        each = load.rows(1, 10_000)
        rows = [json.loads(next(each)) for _ in range(ASKED)]
        features = app.service(project.model).features_many(rows, project.NOW).matrix({})
    (folder / "model.txt").write_text(text)
    (folder / "service.py").write_text(textwrap.dedent(SERVICE))
    columns = lightgbm.Booster(model_str=text).feature_name()
    told = np.where(np.isfinite(features), features, 0.0).tolist()
    for name in NEEDED:
        bodies = [_body(name, columns, row) for row in told]
        (folder / f"{name}.json").write_text("\n".join(bodies))
    first = lightgbm.Booster(model_str=text).predict(np.array(told), num_threads=1)
    (folder / "said.json").write_text(json.dumps(first.tolist()))


def _body(name: str, columns: list[str], row: list[float]) -> str:
    if name == "MLflow":
        return json.dumps({"dataframe_split": {"columns": columns, "data": [row]}})
    return json.dumps({"rows": [row]})


def ask(name: str, folder: str, seconds: float, program: str) -> dict[str, Any]:
    """Start a peer, see that it says what the booster says, and ask it as ours is asked."""
    from bench.load import cycle, measure

    path = {"MLflow": "/invocations", "BentoML": "/predict"}[name]
    with _served(name, Path(folder), program) as (port, pid):
        _check(name, port, path, Path(folder))
        measure(port, path, pid, cycle(f"{folder}/{name}.json"), 4, seconds / 4)
        found = measure(port, path, pid, cycle(f"{folder}/{name}.json"), CONNECTIONS, seconds)
    if found["failed"]:
        raise RuntimeError(f"{name} failed: {found['why']}")
    return found | {"seconds": seconds}


def _check(name: str, port: int, path: str, folder: Path) -> None:
    import http.client

    body = (folder / f"{name}.json").read_text().splitlines()[0]
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("POST", path, body, {"content-type": "application/json"})
        answer = json.loads(client.getresponse().read())
    said = answer["predictions"][0] if name == "MLflow" else answer[0]
    expected = json.loads((folder / "said.json").read_text())[0]
    if abs(said - expected) > 1e-9:
        raise ValueError(f"{name} says {said}, the booster {expected}: not the same work.")


@contextlib.contextmanager
def _served(name: str, folder: Path, program: str) -> Iterator[tuple[int, int]]:
    port, environment = free_port(), os.environ | QUIET
    if name == "MLflow":
        save = (
            "import lightgbm, mlflow, sys; mlflow.lightgbm.save_model("
            "lightgbm.Booster(model_file='model.txt'), 'mlflow-model')"
        )
        subprocess.run([program, "-c", save], cwd=folder, env=environment, check=True, capture_output=True)
        command = [program, "-m", "mlflow", "models", "serve", "-m", "mlflow-model", "--env-manager", "local"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    else:
        command = [program, "-m", "bentoml", "serve", "service:Fraud", "--port", str(port)]
        command += ["--host", "127.0.0.1"]
    environment["PATH"] = f"{Path(program).parent}{os.pathsep}{environment['PATH']}"
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_for(port, [process], folder)
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
