"""The training pipeline: durable wherever it dies, the same bytes however often and in however many processes."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from tenfold import Label, Tune, col
from tenfold.automation.journal import Journal
from tenfold.core.errors import DefinitionError
from tests.examples import piped, shop
from tests.examples.line import Line
from tests.unit.cli_project import start, wait_for

PLAIN = {"tune": None, "folds": 0}
STEPS = ["load", "split", "fit", "calibrate", "evaluate", "explain", "save", "register"]


NEVER = Label(shop.deliveries, on="order_id", value=col("days") > 900, horizon="5d")


class Missing:
    """An estimator that has no answer for one row."""

    classes_ = (0.0, 1.0)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        score = np.where(np.arange(len(X)) == 1, np.nan, 0.5)
        return np.column_stack([score, score])

    def get_state(self):
        return {"none": np.zeros(1)}

    @classmethod
    def from_state(cls, state):
        return cls()


class Crash(BaseException):
    """The process dies here: no `except Exception` may see it."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Return a home that has the history."""
    home = tmp_path_factory.mktemp("loaded")
    with piped.piped.open(piped.platform(home)) as app:
        piped.load(app)
    return home


@pytest.fixture
def home(loaded, tmp_path):
    return shutil.copytree(loaded, tmp_path / "home")


@pytest.fixture(scope="module")
def plain(loaded, tmp_path_factory):
    """Return the files of a version that was trained without interruption."""
    home = shutil.copytree(loaded, tmp_path_factory.mktemp("plain") / "home")
    with piped.project(piped.model(**PLAIN)).open(piped.platform(home)) as app:
        return app.blobs.get(app.train("late_delivery").artefact)


def live(home, declared, executed, dies=None, after=False):
    """Run one training as one process would, which dies before or after the work of a step; return its version."""
    with piped.project(declared).open(piped.platform(home)) as app:

        def watched(name, step):
            def run(results):
                if name == dies and not after:
                    raise Crash
                executed.append(name)
                found = step(results)
                if name == dies:
                    raise Crash
                return found

            return name, run

        journal = Journal(app.database, app.clock)
        run_id = journal.begin("train", "one", _given(app))
        steps = app.trainer.steps(declared, lambda: app.dataset(declared), run_id, processes=1)
        try:
            results = journal.run(run_id, [watched(*step) for step in steps], owner="one")
        except Crash:
            return None
        assert len(app.registry.versions("late_delivery")) == len(app.runs.list("late_delivery")) == 1
        assert app.runs.list("late_delivery")[0].status == "done"
        assert [name for name in app.blobs.names() if name.startswith("parts/")] == []
        return app.blobs.get(app.registry.get("late_delivery", results["register"]).artefact)


def _given(app):
    from tenfold.training.folds import first_row, newest_split

    declared = app.project.release("late_delivery").model
    split = newest_split(declared, app.clock.now(), first_row(app.dataset(declared)))
    return {"train": split.train, "test": split.test, "now": split.now}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", STEPS)
def test_wherever_it_dies_only_the_unfinished_step_is_repeated(plain, home, dies, after):
    declared, executed = piped.model(**PLAIN), []
    assert live(home, declared, executed, dies, after) is None
    executed.clear()
    assert live(home, declared, executed) == plain
    assert executed == STEPS[STEPS.index(dies) :]


def test_a_round_of_trials_is_never_tried_again(loaded, home):
    search = Tune({"ridge": (0.01, 100.0, "log")}, trials=9, seed=3)
    declared, executed = piped.model(estimator=Line(), tune=search), []
    assert live(home, declared, executed, "tune 2") is None
    assert executed == ["load", "split", "tune 1"]
    executed.clear()
    found = live(home, declared, executed)
    assert executed[:2] == ["tune 2", "folds"]
    other = shutil.copytree(loaded, home / "other")
    with piped.project(declared).open(piped.platform(other)) as app:
        assert (
            app.blobs.get(app.train("late_delivery", processes=2).artefact) == found
        )  # tuned in one process before


@pytest.mark.crash
def test_a_killed_training_goes_on_when_it_is_asked_for_again(home):
    target = [f"{piped.__file__}:piped", "late_delivery", "--home", str(home), "--as-of", "2024-03-11"]
    process = start("train", *target)
    wait_for(process, "trials 8 to 8")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with piped.piped.open(piped.platform(home)) as app:
        (run,) = app.journal.unfinished()
        assert list(run.results) == ["load", "split", "tune 1"]
    again = start("train", *target, "--json", stdout=-1)
    answer = json.loads(again.communicate()[0])
    assert (answer["version"], answer["run"]) == (1, "r0001")
    with piped.piped.open(piped.platform(home)) as app:
        done = app.journal.get(run.id)
        assert (done.status, done.fence, done.results["tune 1"]) == ("done", 2, run.results["tune 1"])


def test_a_training_that_fails_says_why_and_is_not_resumed(home):
    with piped.project(piped.model(groups="item", **PLAIN)).open(piped.platform(home)) as app:
        for _ in range(2):
            with pytest.raises(DefinitionError, match='every row to learn from is of a "item" that is also'):
                app.train("late_delivery")
        assert [run.status for run in app.runs.list()] == ["failed", "failed"]
        assert "is also tested on" in app.runs.list()[0].error


def test_every_part_of_the_evaluation_is_there(home):
    with piped.piped.open(piped.platform(home)) as app:
        first = app.train("late_delivery", processes=1)
        app.promote("late_delivery", first.number)
        version = app.train("late_delivery", processes=1)
        assert app.rebuild("late_delivery", version.number)["same"]
        found = app.versions.package(piped.piped.release().model, version.number).manifest.evaluation
    assert found["rows"] == {"train": 350, "test": 50}
    assert 0 < found["positives"]["test"] < 50
    for item in found["metrics"].values():
        assert item["low"] <= item["value"] <= item["high"]
    assert list(found["baselines"]) == ["majority", "persistence", "seasonal naive", "champion (version 1)"]
    assert found["baselines"]["champion (version 1)"] == {
        name: item["value"] for name, item in found["metrics"].items()
    }
    assert found["baselines"]["majority"]["roc_auc"] == 0.5
    items = [part for part in found["slices"] if part["feature"] == "this_order.item"]
    assert [part["value"] for part in items] == list(shop.ITEMS)
    assert sum(part["rows"] for part in items) == 50
    assert all(part["small"] for part in items)
    assert len(found["folds"]) == 2
    assert [trial["number"] for trial in found["tuning"]["trials"]] == list(range(9))
    assert found["calibration"]["method"] == "sigmoid"
    assert sum(found["importance"].values()) == pytest.approx(1)
    assert set(found["shap"]) == set(found["importance"])
    assert len(found["learning_curve"]["train"]) == len(found["learning_curve"]["at"])


def linear():
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["this_order.item"]),
        remainder=make_pipeline(SimpleImputer(), StandardScaler()),
    )
    return make_pipeline(columns, LogisticRegression())


@pytest.mark.parametrize(
    ("estimator", "space", "of"),
    [
        (linear(), {"logisticregression__C": (0.01, 10.0, "log")}, "permutation"),
        (XGBClassifier(n_estimators=10, n_jobs=1, random_state=1), {"max_depth": (2, 5)}, "gain"),
    ],
)
def test_other_estimators_are_tuned_and_explained(home, estimator, space, of):
    declared = piped.model(estimator=estimator, tune=Tune(space, trials=5))
    with piped.project(declared).open(piped.platform(home)) as app:
        version = app.train("late_delivery", processes=1)
        found = app.versions.package(declared, version.number).manifest.evaluation
    assert version.info["metrics"]["roc_auc"] > 0.7
    assert {trial["state"] for trial in found["tuning"]["trials"]} <= {"done", "pruned"}
    assert found["importance_of"] == of
    assert sum(found["importance"].values()) == pytest.approx(1)
    assert (found["shap"] is None) == (of == "permutation")
    learned = {"permutation": ("rows learned from", 350), "gain": ("trees", 10)}[of]
    assert (found["learning_curve"]["of"], found["learning_curve"]["at"][-1]) == learned


def test_who_looks_on_hears_of_every_step_and_of_every_fold(home):
    heard = []

    class Watch:
        def step(self, description, total=None):
            heard.append((description, total))
            return self

        def advance(self, n=1, at=""):
            heard.append((n, at))

    with piped.project(piped.model(estimator=Line(), tune=None, folds=2)).open(piped.platform(home)) as app:
        app.train("late_delivery", watch=Watch(), processes=1)
    place = heard.index(("folds late_delivery", 2))
    assert heard[place + 1 : place + 3] == [(1, "fold 1 of 2"), (1, "fold 2 of 2")]
    names = [what for what, _ in heard if isinstance(what, str)]
    steps = ["load", "split", "folds", "fit", "calibrate", "evaluate", "explain"]
    assert names == [f"{name} late_delivery" for name in steps]


def test_what_looks_wrong_is_warned_of(tmp_path):
    declared = piped.model(estimator=Line(), tune=None, calibrate=None)
    placed, done = shop.history()
    for order, delivery in zip(placed, sorted(done, key=lambda row: int(row["order_id"][1:])), strict=True):
        order["amount"] = 900.0 if delivery["days"] > 2 else 5.0  # known only when it has arrived
        order["customer"] = delivery["customer"] = "c1"
        if int(order["order_id"][1:]) < 260:
            delivery["days"], order["amount"] = 1.0, 5.0  # the first fold learns from one outcome
    with piped.project(declared).open(piped.platform(tmp_path)) as app:
        app.ingest("orders", placed, history=True)
        app.ingest("deliveries", done, history=True)
        app.flush()
        found = app.versions.package(
            declared, app.train("late_delivery", processes=1).number
        ).manifest.evaluation
    assert found["folds"][0] == {
        **found["folds"][0],
        "metrics": dict.fromkeys(declared.metrics),
        "note": "one class only to learn from",
    }
    assert found["folds"][1]["note"] is None
    assert (
        "feature this_order.amount alone has AUC 1: is it known only after the outcome?" in found["warnings"]
    )
    assert "fold 0: one class only to learn from" in found["warnings"]


def test_a_champion_that_has_seen_the_test_rows_is_not_compared(home):
    declared = piped.model(**PLAIN)
    with piped.project(declared).open(piped.platform(home)) as app:
        app.promote("late_delivery", app.train("late_delivery").number)
        version = app.train("late_delivery", as_of="2024-03-01")
        found = app.versions.package(declared, version.number).manifest.evaluation
    assert "champion (version 1)" not in found["baselines"]
    assert (
        "version 1, in Production, learned from rows of the test period, so it is not compared"
        in found["warnings"]
    )


def test_a_test_period_of_one_outcome_gives_no_metric_and_says_why(tmp_path):
    declared = piped.model(**PLAIN)
    placed, done = shop.history()
    for delivery in done:
        if int(delivery["order_id"][1:]) >= 500:
            delivery["days"] = 1.0
    with piped.project(declared).open(piped.platform(tmp_path)) as app:
        app.ingest("orders", placed, history=True)
        app.ingest("deliveries", done, history=True)
        app.flush()
        version = app.train("late_delivery")
        found = app.versions.package(declared, version.number).manifest.evaluation
    assert found["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert "roc_auc could not be computed on the test period: all 50 outcomes are false" in found["warnings"]
    assert version.info["metrics"]["roc_auc"] is None


def test_data_that_ended_long_ago_says_what_to_type(home):
    declared = piped.model(**PLAIN)
    with piped.project(declared).open(piped.platform(home, "2026-11-01")) as app:
        with pytest.raises(
            DefinitionError, match=r"newest row with a known label is of 2024-02-29 21:36"
        ) as told:
            app.train("late_delivery")
        moment = str(told.value).partition("--as-of ")[2][:10]
        assert app.train("late_delivery", as_of=moment).number == 1
        with pytest.raises(DefinitionError, match=r"newest row is of 2024-\S+: .*--as-of"):
            app.promote("late_delivery", 1)
        assert app.registry.production("late_delivery") is None
        assert app.promote("late_delivery", 1, as_of=moment)
        assert app.registry.production("late_delivery").number == 1
        (decided,) = app.audit.list("late_delivery/1")
        assert "2024-0" in decided.why  # on which rows it was judged


def test_a_label_that_never_matures_is_told(tmp_path):
    declared = piped.model(calibrate=None, **PLAIN)
    with piped.project(declared).open(piped.platform(tmp_path)) as app:
        app.ingest("orders", shop.history()[0], history=True)
        app.flush()
        with pytest.raises(DefinitionError, match=r"no row with a known label at .* \d+ no label event\."):
            app.train("late_delivery")


def test_a_label_of_a_horizon_longer_than_the_history_is_told(home):
    label = Label(shop.deliveries, on="order_id", value=col("days") > 2, horizon="400d")
    told = r'known 400 days after its row \(horizon="400d"\)'
    with (
        piped.project(piped.model(label=label)).open(piped.platform(home)) as app,
        pytest.raises(DefinitionError, match=told),
    ):
        app.train("late_delivery")


@pytest.mark.parametrize(
    ("estimator", "label", "told"),
    [
        (
            make_pipeline(SimpleImputer(), LogisticRegression()),
            NEVER,
            r"cannot be fitted on \d+ rows: ValueError: ",
        ),
        (Missing(), None, r"Missing predicts NaN for \d+ of 100 rows"),
    ],
)
def test_an_estimator_that_cannot_do_it_is_told(home, estimator, label, told):
    more = {} if label is None else {"label": label}
    declared = piped.model(estimator=estimator, features=[shop.of_customer], slices=[], **PLAIN, **more)
    with piped.project(declared).open(piped.platform(home)) as app:
        with pytest.raises(DefinitionError, match=told):
            app.train("late_delivery")
        assert app.runs.list()[0].status == "failed"


def test_rows_of_one_outcome_are_warned_of(home):
    declared = piped.model(label=NEVER, calibrate=None, **PLAIN)
    with piped.project(declared).open(piped.platform(home)) as app:
        found = app.versions.package(declared, app.train("late_delivery").number).manifest.evaluation
    learned = found["rows"]["train"]
    assert found["warnings"][0] == (
        f"all {learned:,} rows to learn from are false: there is nothing to learn to tell apart"
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"folds": 0}, "Add folds=3"),
        ({"slices": ["this_order.itme"]}, 'Did you mean "this_order.item"'),
        ({"groups": "custmer"}, 'Did you mean "customer"'),
        ({"calibrate": "isotonc"}, 'Did you mean "isotonic"'),
        ({"folds": 40, "tune": None}, "fewer folds"),
    ],
)
def test_a_pipeline_that_cannot_be_is_told(home, changed, told):
    def train():
        with piped.project(piped.model(**changed)).open(piped.platform(home)) as app:
            app.train("late_delivery")

    with pytest.raises((DefinitionError, LookupError), match=told):
        train()


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({}, "names no parameter"),
        ({"num_leaves": (63, 7)}, "has the range"),
        ({"num_leaves": (0.0, 1.0, "log")}, "has the range"),
        ({"num_leaves": 7}, "has the range"),
        ({"num_leaves": []}, "has the range"),
    ],
)
def test_a_search_that_cannot_be_is_told(space, told):
    with pytest.raises(DefinitionError, match=told):
        Tune(space)
