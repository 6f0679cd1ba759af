"""The bridge to MLflow: against its own store of files in `make test`, against a started server with the slow tests."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from dataclasses import replace

import numpy as np
import pytest
from xgboost import XGBClassifier

from tenfold import Platform, Project, Release
from tenfold.automation import contract
from tenfold.core.clock import SharedClock, SystemClock
from tenfold.core.errors import NotFound, SchemaError, Unavailable
from tenfold.registry.versions import Stage
from tenfold.training.package import load
from tests.contracts import mlflow_there as there
from tests.examples import tiny

pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: pip install 'tenfold[mlflow]'")

from tenfold.adapters.mlflow import MLflowMirror, MLflowSource
from tenfold.adapters.mlflow.client import client

SERVED = pytest.param("server", marks=pytest.mark.slow)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    program, why = there.command()
    if program is None:
        pytest.skip(why)
    started = there.Server(tmp_path_factory.mktemp("mlflow"), program).start()
    yield started.url
    started.kill()


@pytest.fixture(params=["files", SERVED])
def url(request, tmp_path, monkeypatch):
    """A place of MLflow's; its stores of files look at more than they are asked, by this variable."""
    if request.param == "server":
        return request.getfixturevalue("server")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.chdir(tmp_path)
    return f"file://{tmp_path}/mlruns"


@pytest.fixture
def name():
    """An experiment, and a prefix of models, that no other test has."""
    return f"x{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home = tmp_path_factory.mktemp("tiny") / "home"
    tiny.build(home)
    return home


def opened(home, *mirrors, project=tiny.project):
    clock = SharedClock(home / "clock") if (home / "clock").exists() else SystemClock()
    return project.open(Platform(home=home, clock=clock, mirrors=mirrors))


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


def make_legacy(url, name, tmp_path):
    """Leave in MLflow what a team may have there: runs that ended in every way, and models in several formats."""
    import lightgbm
    import mlflow.lightgbm
    import mlflow.xgboost
    import xgboost
    from mlflow.entities import Metric, Param

    theirs = client(url)
    experiment = theirs.create_experiment(name)
    X = np.random.default_rng(1).normal(size=(200, 2))
    y = (X[:, 0] > 0).astype(float)
    params = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lightgbm.train(params, lightgbm.Dataset(X, y), 3)
    trees = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, y), 2)
    made = {}
    for place, ended in enumerate(["FINISHED", "FAILED", None, "FINISHED", "FINISHED", "KILLED"]):
        run = theirs.create_run(
            experiment, start_time=1_000 * (place + 1), run_name=f"n{place} <b>", tags={"team": "<red>"}
        )
        made[place] = run.info.run_id
        metrics = [
            Metric("auc", value, 1_500 + step, step) for step, value in enumerate((0.5, float("nan"), 0.75))
        ]
        metrics.append(Metric("gain", float("inf"), 1_500, 0))
        theirs.log_batch(
            run.info.run_id, metrics, [Param("depth", "9"), Param("rate", "0.10"), Param("bag", "True")]
        )
        if ended:
            theirs.set_terminated(run.info.run_id, ended, 5_000 * (place + 1))
    mlflow.lightgbm.save_model(booster, str(tmp_path / "lgb"), pip_requirements=["lightgbm"])
    mlflow.xgboost.save_model(trees, str(tmp_path / "xgb"), pip_requirements=["xgboost"])
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "MLmodel").write_text("flavors:\n  lightgbm:\n    data: ../../../../etc/passwd\n")
    for place, folder in ((0, "lgb"), (3, "xgb"), (4, "bad")):
        theirs.log_artifacts(made[place], str(tmp_path / folder), "model")
    theirs.create_registered_model(f"{name}-risk")
    for place in (0, 3, 4, 0):
        artefacts = theirs.get_run(made[place]).info.artifact_uri
        theirs.create_model_version(f"{name}-risk", f"{artefacts}/model", made[place], await_creation_for=0)
    theirs.set_registered_model_alias(f"{name}-risk", "champion", "1")
    return made, booster


def shown_there(url, name):
    """Return how many runs and versions there are, and who is champion."""
    seen = there.see(url, name, f"{name}-")
    return len(seen.runs), len(seen.versions), seen.champions


@pytest.mark.filterwarnings("ignore")  # of what MLflow says when it saves a model
def test_what_is_taken_over_comes_once_and_goes_back_without_duplicates(url, name, tmp_path):
    made, booster = make_legacy(url, name, tmp_path)
    mirror = MLflowMirror(url, experiment=name)
    with opened(tmp_path / "home", mirror) as app:
        taken = app.elsewhere.take(MLflowSource(url), [name])
        assert taken.runs == [made[place] for place in (0, 1, 3, 4, 5)]
        assert taken.versions == [f"{name}-risk/1", f"{name}-risk/2"]
        assert taken.notes == [
            f'run {made[2]} of "{name}" is RUNNING: import it again when it has ended',
            f'{name}-risk version 3: only its run r0004 was taken over, because "../../../../etc/passwd" is no name of a model file',
            f"{name}-risk version 4: its run r0001 made version 1 too, which was taken over instead",
        ]
        runs = app.runs.list()
        first = runs[-1]
        assert (first.started, first.finished, first.title, first.subject) == (
            1_000_000,
            5_000_000,
            "n0 <b>",
            f"{name}-risk",
        )
        assert first.params == {"depth": 9, "rate": "0.10", "bag": True}
        assert first.metrics == {"auc": 0.75, "gain": float("inf")}
        assert first.environment == {}
        assert first.code["mlflow_run"] == made[0]
        assert [run.status for run in runs] == ["failed", "done", "done", "failed", "done"]
        document = app.show(first.id).document
        assert [point["step"] for point in document["curves"]["auc"]] == [0, 1, 2]
        assert document["tags"]["team"] == "<red>"
        assert "<red>" not in app.show(first.id).page
        version = app.registry.get(f"{name}-risk", 1)
        with pytest.raises(SchemaError, match="taken over from another system"):
            load(app.blobs.get(version.artefact), tiny.late_order)
        files = app.blobs.get(version.artefact)
        assert files["model.txt"] == booster.model_to_string().encode()
        assert version.info["mlflow"]["aliases"] == ["champion"]

        again = app.elsewhere.take(MLflowSource(url), [name])
        assert (again.runs, again.versions, len(app.runs.list())) == ([], [], 5)

        before = shown_there(url, name)
        assert before == (6, 4, {"risk": 1})
        app.elsewhere.send()
        assert shown_there(url, name) == before
        assert client(url).get_run(made[0]).data.tags["tenfold.run"] == first.id
        app.registry.move(f"{name}-risk", 2, Stage.STAGING, by="ann", why="better", evidence={})
        app.registry.move(f"{name}-risk", 2, Stage.PRODUCTION, by="ann", why="better", evidence={})
        app.elsewhere.send()
        assert shown_there(url, name) == (6, 4, {"risk": 2})
        assert app.elsewhere.take(MLflowSource(url), [name]).runs == []


@pytest.mark.filterwarnings("ignore")
def test_what_was_shown_from_here_is_not_taken_back(trained, url, name):
    with opened(trained, MLflowMirror(url, experiment=name, prefix=f"{name}-")) as app:
        app.elsewhere.send()
        taken = app.elsewhere.take(MLflowSource(url), [name])
        assert (taken.runs, taken.versions) == ([], [])
        assert taken.known == len(app.runs.list())


def test_an_interrupted_import_goes_on(url, name, tmp_path, monkeypatch):
    made, *_ = make_legacy(url, name, tmp_path)

    class Cut(MLflowSource):
        def runs(self, experiments):
            for place, run in enumerate(super().runs(experiments)):
                if place == 3:
                    raise Unavailable("gone.")
                yield run

    with opened(tmp_path / "home") as app:
        with pytest.raises(Unavailable):
            app.elsewhere.take(Cut(url), [name])
        assert len(app.runs.list()) == 2
        app.elsewhere.take(MLflowSource(url), [name])
        assert [run.code["mlflow_run"] for run in app.runs.list()] == [
            made[place] for place in (5, 4, 3, 1, 0)
        ]


def test_an_experiment_that_is_not_there_is_named(url, name, tmp_path):
    client(url).create_experiment(f"{name}s")
    with opened(tmp_path / "home") as app, pytest.raises(NotFound, match=f'Did you mean "{name}s"'):
        app.elsewhere.take(MLflowSource(url), [name])


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
    both = [subprocess.Popen(command, cwd=there.ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=120)[0])["mirrors"][0] for process in both]
    codes = [process.returncode for process in both]
    assert set(codes) <= {0, 75}
    assert 0 in codes
    assert all((code == 75) == bool(item["problem"]) for code, item in zip(codes, told, strict=True))
    assert len(there.see(server, name).runs) == 10
