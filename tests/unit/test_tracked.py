"""Runs by hand: what is recorded of a fit, and of what is logged."""

import math

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from xgboost import XGBClassifier

from tenfold import Platform, VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.sources.memory import MemoryBlobs, MemoryLake, MemoryLog
from tenfold.tracking.details import details
from tenfold.training.tracked import CONTENT, FILES, digest
from tests.examples import shop


@pytest.fixture
def app(tmp_path):
    clock = VirtualClock(0)
    parts = {"log": MemoryLog(clock), "lake": MemoryLake(), "blobs": MemoryBlobs()}
    with shop.project.open(Platform(home=tmp_path, clock=clock, **parts)) as app:
        yield app


@pytest.fixture(scope="module")
def rows():
    chance = np.random.default_rng(7)
    X = chance.normal(size=(400, 4))
    y = (X[:, 0] + 0.5 * chance.normal(size=400) > 0).astype(np.int64)
    return X[:300], y[:300], X[300:], y[300:]


def tried(app, estimator, rows, **given):
    X, y, X2, y2 = rows
    with app.track("try") as run:
        assert run.fit(estimator, X, y, test=(X2, y2), **given) is estimator
    found = app.runs.get(run.id)
    return found, details(app.database, found).curves


def test_a_fit_is_recorded_and_not_changed(app, rows):
    X, y, X2, y2 = rows
    settings = {"n_estimators": 12, "random_state": 3, "verbosity": -1, "deterministic": True, "n_jobs": 1}
    run, curves = tried(app, LGBMClassifier(**settings), rows)
    assert (run.kind, run.subject, run.title, run.status) == ("track", "shop", "try", "done")
    assert run.params["estimator"] == "LGBMClassifier"
    assert (run.params["n_estimators"], run.params["class_weight"]) == (12, None)
    assert run.samples["train"] == {"rows": 300, "digest": digest(X, y), "labels": digest(y)}
    assert run.samples["test"]["rows"] == 100
    assert sorted(curves) == ["test.binary_logloss", "train.binary_logloss"]
    assert [point.step for point in curves["train.binary_logloss"]] == list(range(12))
    bare = LGBMClassifier(**settings).fit(X, y)
    again = LGBMClassifier(**settings)
    tried(app, again, rows)
    assert again.booster_.model_to_string() == bare.booster_.model_to_string()
    score = bare.predict_proba(X2)[:, 1]
    loss = -np.mean(np.log(np.where(y2 == 1, score, 1 - score)))
    assert run.metrics["log_loss"] == pytest.approx(loss, rel=1e-12)
    assert run.metrics["test.binary_logloss"] == pytest.approx(loss, rel=1e-9)
    assert run.metrics["train.roc_auc"] > run.metrics["roc_auc"] > 0.8
    assert run.metrics["accuracy"] == np.mean(bare.predict(X2) == y2)
    assert run.metrics["fit_seconds"] > 0


@pytest.mark.parametrize(
    ("estimator", "curve", "metric"),
    [
        (LogisticRegression(), None, "log_loss"),
        (make_pipeline(StandardScaler(), LogisticRegression(C=0.5)), None, "log_loss"),
        (LinearSVC(), None, "roc_auc"),
        (GradientBoostingClassifier(n_estimators=5), "train.score", "log_loss"),
        (MLPClassifier((4,), max_iter=300, random_state=1, early_stopping=True), "validation.score", "brier"),
        (XGBClassifier(n_estimators=5, n_jobs=1), "test.logloss", "log_loss"),
    ],
)
def test_other_estimators(app, rows, estimator, curve, metric):
    run, curves = tried(app, estimator, rows)
    assert math.isfinite(run.metrics[metric])
    assert math.isfinite(run.metrics[f"train.{metric}"])
    assert (curve in curves) == (curve is not None)
    assert run.params["estimator"] == type(estimator).__name__
    if hasattr(estimator, "steps"):
        assert run.params["logisticregression__C"] == 0.5
        assert run.params["logisticregression"] == "LogisticRegression"


def test_the_rows_of_a_test_never_decide_when_to_stop(app, rows):
    X, y, X2, y2 = rows
    quick = XGBClassifier(n_estimators=50, n_jobs=1, early_stopping_rounds=2)
    with pytest.raises(ValueError, match="Must have at least 1 validation dataset"):
        tried(app, quick, rows)
    failed = app.runs.list()[0]
    assert (failed.status, failed.metrics) == ("failed", {})
    assert failed.error.startswith("ValueError: Must have at least 1 validation")
    run, curves = tried(app, quick, (X[:200], y[:200], X2, y2), eval_set=[(X[200:], y[200:])])
    assert list(curves) == ["validation_0.logloss"]
    assert run.status == "done"


def test_numbers_and_several_classes(app, rows):
    X, y, X2, y2 = rows
    run, _ = tried(app, LGBMRegressor(n_estimators=3, verbosity=-1, n_jobs=1), (X, X[:, 1], X2, X2[:, 1]))
    assert {"mean_absolute_error", "root_mean_squared_error", "train.mean_absolute_error"} <= set(run.metrics)
    names = np.array(["a", "b", "c"])
    three = (X, names[y + (X[:, 1] > 0)], X2, names[y2 + (X2[:, 1] > 0)])
    run, _ = tried(app, LogisticRegression(), three)
    bare = LogisticRegression().fit(*three[:2])
    assert run.metrics["accuracy"] == np.mean(bare.predict(X2) == three[3])
    of_truth = bare.predict_proba(X2)[np.arange(len(X2)), np.searchsorted(names, three[3])]
    assert run.metrics["log_loss"] == pytest.approx(-np.log(of_truth).mean())


def test_a_test_with_one_class_gives_nan_not_an_error(app, rows):
    X, y, X2, _ = rows
    run, _ = tried(app, LogisticRegression(), (X, y, X2, np.ones(len(X2), dtype=np.int64)))
    assert math.isnan(run.metrics["roc_auc"])
    assert run.metrics["log_loss"] > 0


def test_what_is_logged_and_attached_stays(app, tmp_path):
    (tmp_path / "b.txt").write_text("from a file")
    with app.track("by hand", model="late_delivery", params={"seed": 7}) as run:
        for value in (0.5, 0.4, math.nan):
            run.log("loss", value)
        run.log("auc", 0.9, step=3)
        run.params(depth=np.int64(3), inner=LogisticRegression(), odd={1, 2})
        run.attach("plots/a.svg", "<svg/>")
        run.attach("b.txt", tmp_path / "b.txt")
        run.attach("c.bin", b"\x00\x01")
        run.attach("c.bin", b"\x02")
    found = app.runs.get(run.id)
    assert (found.subject, found.metrics["auc"]) == ("late_delivery", 0.9)
    assert math.isnan(found.metrics["loss"])
    assert found.params == {"seed": 7, "depth": 3, "inner": "LogisticRegression", "odd": "{1, 2}"}
    files = {file.name: file for file in details(app.database, found).files}
    assert {name: app.blobs.get(f"{FILES}/{file.digest}")[CONTENT] for name, file in files.items()} == {
        "plots/a.svg": b"<svg/>",
        "b.txt": b"from a file",
        "c.bin": b"\x02",
    }
    assert files["c.bin"].size == 1


def test_parameters_that_json_does_not_know_are_recorded_as_they_read(app):
    given = {"missing": math.nan, "far": np.float32(np.inf), "rate": np.float64(0.5), "kind": complex}
    with app.track("odd", params=given | {"steps": (1, {"at": -math.inf})}) as run:
        run.params(later=math.nan)
    assert app.runs.get(run.id).params == {
        "missing": "nan",
        "far": "inf",
        "rate": 0.5,
        "kind": "<class 'complex'>",
        "steps": [1, {"at": "-inf"}],
        "later": "nan",
    }


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../b", "a\x00b", "", "a b", "C:\\a", "a\n"])
def test_a_file_cannot_have_a_name_that_leads_elsewhere(app, name):
    with app.track("hostile") as run, pytest.raises(DefinitionError, match="cannot be the name of a file"):
        run.attach(name, b"x")
    assert details(app.database, app.runs.get(run.id)).files == []


def test_a_notebook_draws_the_run_itself(app):
    with app.track("deeper <b>trees</b>") as run:
        run.log("auc", 0.5)
        under_way = run._repr_html_()
    assert run._repr_html_() == app.show(run.id).html != under_way
    assert "<b>trees" not in under_way
    assert app.runs.get(run.id)._repr_html_() == run._repr_html_()


def test_an_interrupted_run_is_failed(app):
    def interrupted():
        with app.track("long") as run:
            run.log("loss", 1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    found = app.runs.list()[0]
    assert (found.status, found.error, found.metrics) == ("failed", "KeyboardInterrupt: ", {"loss": 1.0})


def test_equal_digests_are_equal_rows():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})
    same = [digest(frame), digest(frame.copy())]
    other = [
        digest(frame.rename(columns={"a": "c"})),
        digest(frame.assign(b=["x", "y"])),
        digest(frame[["b", "a"]]),
        digest(frame.assign(a=[1, 2])),
    ]
    assert len({*same, *other}) == 5
    assert digest(np.array([[1.0, 2.0]])) != digest(np.array([[1.0], [2.0]]))
