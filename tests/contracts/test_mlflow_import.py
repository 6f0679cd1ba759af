"""Runs and versions of MLflow are taken over once, and go back without duplicates."""

import numpy as np
import pytest

from tenfold.core.errors import NotFound, SchemaError, Unavailable
from tenfold.registry.versions import Stage
from tenfold.training.package import load
from tests.contracts import mlflow_there as there
from tests.contracts.mlflow_there import opened
from tests.examples import tiny

pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: pip install 'tenfold[mlflow]'")

from tenfold.adapters.mlflow import MLflowMirror, MLflowSource
from tenfold.adapters.mlflow.client import client


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


@pytest.mark.filterwarnings("ignore")
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
