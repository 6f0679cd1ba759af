"""The bridge to MLflow: against its own store of files in `make test`, against a started server with the slow tests."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from xgboost import XGBClassifier

from tenfold import Project, Release
from tenfold.automation import contract
from tenfold.core.errors import Unavailable
from tenfold.registry.versions import Stage
from tests.contracts import mlflow_there as there
from tests.contracts.mlflow_there import opened
from tests.contracts.venv_there import ROOT
from tests.examples import tiny

pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: pip install 'tenfold[mlflow]'")

from tenfold.adapters.mlflow import MLflowMirror
from tenfold.adapters.mlflow.client import client


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
def test_contract(check, url, name):
    prefix = f"{name}-"
    check(
        lambda: MLflowMirror(url, experiment=name, prefix=prefix),
        lambda: there.see(url, name, prefix),
    )


ESTIMATORS = {
    "model.txt": tiny.late_order.estimator,
    "model.ubj": XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1, random_state=1),
}


@pytest.mark.filterwarnings("ignore")  # of what MLflow says when it is imported
@pytest.mark.parametrize("file", ESTIMATORS)
def test_mlflow_loads_a_version_and_gives_the_same_scores(file, trained, tmp_path, url, name, monkeypatch):
    import mlflow
    import pandas as pd

    model = replace(tiny.late_order, estimator=ESTIMATORS[file])
    home = shutil.copytree(trained, tmp_path / "home")
    mirror = MLflowMirror(url, experiment=name, prefix=f"{name}-")
    with opened(home, mirror, project=Project("tiny", releases=[Release(model)])) as app:
        if file != "model.txt":
            app.promote(model, app.train(model).number)
        app.elsewhere.send()
        version = app.registry.production("late_order")
        manifest = json.loads(app.blobs.get(version.artefact)["manifest.json"])
    columns = list(manifest["columns"])
    rows = np.frombuffer(base64.b64decode(manifest["golden_rows"])).reshape(-1, len(columns))
    wanted = np.frombuffer(base64.b64decode(manifest["golden_scores"]))
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", url)
    loaded = mlflow.pyfunc.load_model(f"models:/{name}-late_order@champion")
    assert np.array_equal(loaded.predict(pd.DataFrame(rows, columns=columns)), wanted)
    assert [item.name for item in loaded.metadata.get_input_schema()] == columns
    shown = client(url).get_model_version_by_alias(f"{name}-late_order", "champion")
    assert shown.tags["tenfold.run"] == version.run_id
    files = there.artefacts(client(url), shown.run_id)
    assert {
        "model/MLmodel",
        f"model/{file}",
        "model/manifest.json",
        "model/card.html",
        "tenfold/run.html",
    } <= set(files)
    history = client(url).get_registered_model(f"{name}-late_order").description
    assert f"version {version.number}: staging to production, by user" in history


class Gone(BaseException):
    """The process is gone: nothing handles it."""


class Dying:
    """MLflow's client, which ends the process at one call, before or after the server did what it asks."""

    def __init__(self, of, at, *, after):
        self.calls, self._of, self._at, self._after = 0, of, at, after

    def __getattr__(self, name):
        act = getattr(self._of, name)

        def call(*args, **kwargs):
            self.calls += 1
            if self.calls == self._at and not self._after:
                raise Gone
            at = self.calls
            try:
                return act(*args, **kwargs)
            finally:
                if at == self._at:
                    raise Gone

        return call


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "after", [pytest.param(False, marks=pytest.mark.slow), True], ids=["before", "after"]
)
def test_a_death_at_every_call_of_the_client_leaves_no_trace(after, url, name):
    def send(mirror):
        mirror.positions(contract.HERE, ["fraud"])
        mirror.run(contract.run("r1", status="running"))
        mirror.run(
            contract.run("r1", curves={"loss": [0.5, 0.25]}, files={"files/a.txt": b"a"}, tags={"t": "u"})
        )
        mirror.version(contract.version(1))
        mirror.stages(contract.stages(2, {1: Stage.PRODUCTION}))
        mirror.settle(contract.HERE, 1)

    def mirror_at(place, at):
        mirror = MLflowMirror(url, experiment=f"{name}{place}", prefix=f"{name}{place}-")
        mirror.__dict__["_mlflow"] = Dying(client(url), at, after=after)
        return mirror

    whole = mirror_at("whole", 0)
    send(whole)
    wanted = there.see(url, f"{name}whole", f"{name}whole-")
    calls = whole.__dict__["_mlflow"].calls
    assert calls > 20
    for at in range(1, calls + 1):
        with pytest.raises(Gone):
            send(mirror_at(at, at))
        send(mirror_at(at, 0))
        assert there.see(url, f"{name}{at}", f"{name}{at}-") == wanted, at


def test_a_server_that_was_emptied_is_shown_everything_again(trained, tmp_path, url, name):
    if not url.startswith("file:"):
        pytest.skip("the server is for the other tests too")
    mirror = MLflowMirror(url, experiment=name, prefix=f"{name}-")
    with opened(shutil.copytree(trained, tmp_path / "home"), mirror) as app:
        app.elsewhere.send()
        before = there.see(url, name, f"{name}-")
        kept = ("0", ".trash", "models")
        for folder in [*(tmp_path / "mlruns").iterdir(), *(tmp_path / "mlruns/models").iterdir()]:
            if folder.name not in kept:
                shutil.rmtree(folder)
        assert not there.see(url, name, f"{name}-").runs
        assert not app.elsewhere.outboxes[0].behind()
        app.elsewhere.send()
        assert there.see(url, name, f"{name}-") == before
        assert before.champions == {"late_order": 1}


def test_names_of_models_that_mlflow_does_not_take_hold_up_nothing(url, name, tmp_path):
    with opened(tmp_path / "home", MLflowMirror(url, experiment=name, prefix=f"{name}-")) as app:
        models = ("a/b:c", "../x", 'it\'s "one"', "it's <b>", "risk")
        for model in models:
            with app.track(model) as run:
                run.log("auc", 0.5)
            digest = app.blobs.put(run.id, {"model.bin": b"1"})
            app.registry.register(model, run_id=run.id, digest=digest, artefact=run.id, info={})
            app.registry.move(model, 1, Stage.STAGING, by="a", why="b", evidence={})
        app.elsewhere.send()
        refused = app.elsewhere.outboxes[0].behind().refused
        assert {item.partition(" ")[2] for item in refused if item.startswith("version")} == {
            "a/b:c/1",
            "../x/1",
            'it\'s "one"/1',
        }
        assert all("MLflow refuses it" in why for item, why in refused.items() if item.startswith("version"))
        shown = there.see(url, name, f"{name}-")
        assert len(shown.runs) == len(models)
        assert {place: item.stage for place, item in shown.versions.items()} == {
            ("it's <b>", 1): "staging",
            ("risk", 1): "staging",
        }
        assert not app.elsewhere.outboxes[0].behind()


def test_a_server_that_is_away_loses_nothing(tmp_path):
    with opened(tmp_path / "home", MLflowMirror("http://127.0.0.1:9")) as app:
        with app.track("try") as run:
            run.log("auc", 0.5)
        with pytest.raises(Unavailable, match="MLflow does not answer"):
            app.elsewhere.send()
        assert app.elsewhere.outboxes[0].behind().runs == 1


def test_no_password_is_told(tmp_path):
    mirror = MLflowMirror("http://ann:secret@127.0.0.1:9")
    with opened(tmp_path / "home", mirror) as app, pytest.raises(Unavailable) as caught:
        app.elsewhere.send()
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in f"{caught.value} {mirror.name}"


def test_tenfold_does_not_load_mlflow():
    code = "import sys, tenfold, tenfold.cli.elsewhere, tenfold.adapters.mlflow; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_away_dies_and_comes_back_shows_everything_once(tmp_path):
    program, why = there.command()
    if program is None:
        pytest.skip(why)
    server = there.Server(tmp_path, program)
    with opened(tmp_path / "home", MLflowMirror(server.url, experiment="shop")) as app:
        for place in range(40):
            with app.track(f"try {place}") as run:
                run.log("auc", place / 40)
                run.attach("note.txt", "look")
        outbox = app.elsewhere.outboxes[0]
        with pytest.raises(Unavailable):
            app.elsewhere.send()
        server.start()
        try:
            killed = threading.Thread(target=kill_when, args=(server, lambda: outbox.behind().runs < 30))
            killed.start()
            with pytest.raises(Unavailable):
                app.elsewhere.send()
            killed.join()
            assert 0 < outbox.behind().runs < 30
            with app.track("while it was away"):
                pass
            server.start()
            app.elsewhere.send()
            assert not outbox.behind()
            shown = there.see(server.url, "shop").runs
            assert len(shown) == 41
            assert sorted(run.metrics["auc"][0][1] for run in shown.values() if run.metrics) == [
                n / 40 for n in range(40)
            ]
            assert all(run.status == "done" and "tenfold/run.html" in run.files for run in shown.values())
        finally:
            server.kill()


def kill_when(server, reached):
    for _ in range(6_000):
        if reached():
            break
        there.CLOCK.sleep(0.01)
    server.kill()


@pytest.mark.slow
def test_two_processes_send_one_home_at_once(server, name, tmp_path):
    project = tmp_path / "shop.py"
    project.write_text(
        "from tenfold import Platform\n"
        "from tenfold.adapters.mlflow import MLflowMirror\n"
        "from tests.examples.tiny import project\n"
        f"platform = Platform(mirrors=[MLflowMirror({server!r}, experiment={name!r})])\n"
    )
    with opened(tmp_path / "home") as app:
        for place in range(10):
            with app.track(f"try {place}") as run:
                run.log("auc", place)
    command = [
        sys.executable,
        "-m",
        "tenfold.cli",
        "mirror",
        str(project),
        "--home",
        str(tmp_path / "home"),
        "--json",
    ]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=120)[0])["mirrors"][0] for process in both]
    codes = [process.returncode for process in both]
    assert set(codes) <= {0, 75}
    assert 0 in codes
    assert all((code == 75) == bool(item["problem"]) for code, item in zip(codes, told, strict=True))
    assert len(there.see(server, name).runs) == 10
