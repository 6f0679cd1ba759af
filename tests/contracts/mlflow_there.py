"""What an MLflow server shows, read by MLflow's own client; and a started server."""

import math
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tenfold import Platform
from tenfold.adapters.mlflow import client as quiet
from tenfold.automation.memory import Exhibition, ShownRun, ShownVersion
from tenfold.core.clock import SharedClock, SystemClock
from tests.contracts.venv_there import made
from tests.examples import tiny

NEEDED = "mlflow>=3.17,<4"
STATUS = {"RUNNING": "running", "FINISHED": "done", "FAILED": "failed", "KILLED": "failed"}
OURS = ("mlflow.", "tenfold.")
LONG = 120
CLOCK = SystemClock()


def see(url, experiment=None, prefix=""):
    """Return everything that is shown, of one experiment and names with a prefix, in the terms of `MemoryMirror.shown`."""
    mlflow = quiet.client(url)
    runs, keys = {}, {}
    for found in mlflow.search_experiments():
        if experiment in (None, found.name):
            for run in quiet.pages(mlflow.search_runs, experiment_ids=[found.experiment_id]):
                key = keys[run.info.run_id] = run.data.tags.get("tenfold.key", run.info.run_id)
                assert key not in runs
                runs[key] = _run(mlflow, run)
    versions, champions = {}, {}
    for version in quiet.pages(mlflow.search_model_versions):
        if not version.name.startswith(prefix) or version.run_id not in keys:
            continue
        version = mlflow.get_model_version(version.name, version.version)
        model = version.name.removeprefix(prefix)
        place = (model, int(version.tags.get("tenfold.version", version.version)))
        assert place not in versions
        versions[place] = ShownVersion(version.tags.get("tenfold.stage", "none"), keys[version.run_id])
        if "champion" in version.aliases:
            champions[model] = place[1]
    return Exhibition(runs, versions, champions)


def _run(mlflow, run):
    metrics = {
        name: sorted(
            (point.step, _value(point.value)) for point in mlflow.get_metric_history(run.info.run_id, name)
        )
        for name in run.data.metrics
    }
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith(OURS)}
    files = frozenset(name for name in artefacts(mlflow, run.info.run_id) if not name.startswith("model/"))
    return ShownRun(STATUS[run.info.status], len(run.data.params), metrics, tags, files)


def _value(value):
    """MLflow's tables hold the largest number instead of infinity."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def artefacts(mlflow, run_id, folder=None):
    found = []
    for item in mlflow.list_artifacts(run_id, folder):
        found += artefacts(mlflow, run_id, item.path) if item.is_dir else [item.path]
    return found


def command():
    """Return the command of MLflow's server, or None and why there is none."""
    folder, why = made("mlflow-venv", NEEDED)
    return (str(folder / "bin/mlflow"), "") if folder else (None, why)


class Server:
    """A server that can be killed and started again at its port, with what it stored."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.program = folder, program
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        environment.pop("PYTHONPATH", None)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.program,
                    "server",
                    *place,
                    *store,
                    "--artifacts-destination",
                    str(self.folder / "artefacts"),
                ],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        for _ in range(LONG * 5):
            if answers(self.url):
                return self
            if self.process.poll() is not None:
                break
            CLOCK.sleep(0.2)
        self.kill()
        raise AssertionError((self.folder / "server.log").read_text()[-2_000:])

    def kill(self):
        """End it and its workers with SIGKILL."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


def opened(home, *mirrors, project=tiny.project):
    clock = SharedClock(home / "clock") if (home / "clock").exists() else SystemClock()
    return project.open(Platform(home=home, clock=clock, mirrors=mirrors))
