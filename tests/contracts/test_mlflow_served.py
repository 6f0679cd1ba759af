"""Versions of MLflow, taken over, registered for a declared model, promoted and served; the scores are those they had there."""

import importlib
import pickle
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from tenfold.core.errors import DefinitionError, GateFailed, NotFound, SchemaError
from tenfold.serving.answer.service import Versions
from tenfold.training.vector import encode
from tests.examples import parcels
from tests.examples.test_onnx import linear

pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: pip install 'tenfold[mlflow]'")

from tenfold.adapters.mlflow import MLflowSource
from tenfold.adapters.mlflow.client import client

pytestmark = pytest.mark.filterwarnings("ignore")  # of what MLflow says when it is imported and saves a model

NUMBERS = ["hour", "weight", "items"]
"""As they are called there, in another order than here."""
WITH_TEXT = ["hour", "shop", "weight", "items"]
LIGHT = {"n_estimators": 8, "min_child_samples": 5, "verbosity": -1, "n_jobs": 1, "random_state": 1}
LINEAR = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
COLUMNS = make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["weight", "items"]),
        (OneHotEncoder(handle_unknown="ignore"), ["shop"]),
    ),
    LogisticRegression(),
)
TREE = "sklearn.tree._tree.Tree"
CLOUDPICKLE = {"serialization_format": "cloudpickle"}
SKOPS = {"skops_trusted_types": ["numpy.dtype", TREE]}
BOOSTED = XGBClassifier(n_estimators=6, n_jobs=1, enable_categorical=True, max_cat_to_onehot=1)
SAVED = {
    "a booster": ("lightgbm", LGBMClassifier(**LIGHT), WITH_TEXT, "booster", "model.txt"),
    "a LightGBM classifier": ("lightgbm", LGBMClassifier(**LIGHT), WITH_TEXT, {}, "model.skops"),
    "an XGBoost classifier": ("xgboost", BOOSTED, WITH_TEXT, {}, "model.ubj"),
    "an XGBoost classifier of numbers": ("xgboost", BOOSTED, NUMBERS, {}, "model.ubj"),
    "a pipeline of numbers": ("sklearn", LINEAR, NUMBERS, SKOPS, "model.skops"),
    "a forest": (
        "sklearn",
        RandomForestClassifier(5, random_state=1),
        ["items", "hour"],
        SKOPS,
        "model.skops",
    ),
    "a pipeline that names columns": ("sklearn", COLUMNS, WITH_TEXT, SKOPS, "model.skops"),
    "a pickle": ("sklearn", LINEAR, NUMBERS, CLOUDPICKLE, "model.pickle"),
    "a pickle of a booster": ("sklearn", BOOSTED, WITH_TEXT, CLOUDPICKLE, "model.pickle"),
}


def declared(names, **more):
    """Return a model with these features, in the order they have here, whose versions come from elsewhere."""
    features = [parcels.parcel[name] for name in ("weight", "items", "hour", "shop") if name in names]
    return parcels.model(None, features=features, **more)


def frame_of(rows, names):
    """Return rows as a data frame as their team had it."""
    columns = {name: rows[f"parcel.{name}"] for name in names}
    found = pd.DataFrame(
        {name: item.plain() if name == "shop" else item.numbers() for name, item in columns.items()}
    )
    return found.assign(shop=found["shop"].astype("category")) if "shop" in found else found


def named(names):
    return {name: f"parcel.{name}" for name in names}


@dataclass
class Team:
    """Who leaves versions of a model in MLflow, and the home here that takes them over and serves them."""

    url: str
    name: str
    folder: Path
    left: int = 0

    @property
    def risk(self):
        return f"{self.name}-risk"

    @contextmanager
    def home(self, names, **more):
        """Open a home with a model of these features; give the app, the model, its rows, and these as their frame."""
        model = declared(names, **more)
        with parcels.opened(self.folder / "home", model) as app:
            rows = app.training_set(model)
            yield app, model, rows, frame_of(rows.columns, names)

    def leave(self, flavor, model, inputs, **how):
        """Leave a version as a team would, with a signature."""
        from mlflow.models import infer_signature

        saved = self.folder / f"saved-{self.left}"
        self.left += 1
        library = importlib.import_module(f"mlflow.{flavor}")
        signature = None if inputs is None else infer_signature(inputs.head(3))
        library.save_model(model, str(saved), signature=signature, pip_requirements=[flavor], **how)
        return self.put(saved)

    def put(self, saved):
        """Register a folder as the next version."""
        theirs = client(self.url)
        known = theirs.get_experiment_by_name(self.name)
        experiment = known.experiment_id if known else theirs.create_experiment(self.name)
        run = theirs.create_run(experiment, start_time=1_000).info
        theirs.log_artifacts(run.run_id, str(saved), "model")
        theirs.set_terminated(run.run_id, "FINISHED", 5_000)
        if not any(item.name == self.risk for item in theirs.search_registered_models()):
            theirs.create_registered_model(self.risk)
        made = theirs.create_model_version(
            self.risk, f"{run.artifact_uri}/model", run.run_id, await_creation_for=0
        )
        return f"{self.risk}/{made.version}"

    def take(self, app):
        return app.elsewhere.take(MLflowSource(self.url), [self.name])


@pytest.fixture
def team(url, name, tmp_path):
    return Team(url, name, tmp_path)


@pytest.mark.parametrize("case", SAVED)
def test_a_version_is_taken_over_promoted_and_gives_the_scores_it_gave_there(case, team):
    flavor, estimator, names, how, file = SAVED[case]
    trusted = ["pickle"] if file == "model.pickle" else [TREE] if case == "a forest" else []
    with team.home(names, trusted=trusted) as (app, model, rows, X):
        taught = X.astype({"shop": object}) if case == "a pipeline that names columns" else X
        fitted = estimator.fit(taught, rows.y)
        kept, more = (fitted.booster_, {}) if how == "booster" else (fitted, how)
        risk = team.leave(flavor, kept, X, **more)
        taken = team.take(app)
        assert taken.versions == [risk]
        assert (taken.notes == []) == (file != "model.pickle")
        assert file in app.blobs.get(app.registry.get(team.risk, 1).artefact)

        version = app.register(model, risk, columns=named(names))
        assert version.info["mlflow"]["version"] == "1"
        assert app.runs.get(version.run_id).params["version"] == risk
        assert app.promote(model, version.number)
        package = app.versions.get(model, version.number).package
        here = package.predictor.predict(dict(rows.columns))
        wanted = fitted.predict_proba(taught)[:, 1]
        assert np.allclose(here, wanted, rtol=0, atol=1e-12 if flavor == "sklearn" else 0)
        answer = app.predict(model, parcels.row(weight=3.5, items=4, shop="bob"))
        assert answer["version"] == version.number
        assert app.skew(model).mismatches == 0
        again = Versions(app.registry, app.blobs).get(model, version.number).package  # golden rows replayed
        assert again.predictor.predict(dict(rows.columns)).tobytes() == here.tobytes()
        assert "risk/1" in app.show(f"{model.name}/1").page
        assert "taken over with its run" in app.show(risk).page
        assert set(package.manifest.importance) <= set(model.columns)
        assert app.rebuild(model, 1)["why"][0].startswith("It was trained elsewhere")


def test_its_features_are_explained_by_the_names_they_have_here(team):
    with team.home(WITH_TEXT) as (app, model, rows, X):
        fitted = LGBMClassifier(**LIGHT).fit(X, rows.y).booster_
        risk = team.leave("lightgbm", fitted, X)
        team.take(app)
        version = app.register(model, risk, columns=named(WITH_TEXT))
        package = app.versions.get(model, version.number).package
        gain = dict(zip(named(WITH_TEXT).values(), fitted.feature_importance("gain"), strict=True))
        total = sum(gain.values())
        assert package.manifest.importance == pytest.approx({n: gain[n] / total for n in model.columns})
        codes = encode(rows.columns, package.manifest.categories)
        mine = package.predictor.contributions(codes)[:, 0, :-1]
        theirs = fitted.predict(X, pred_contrib=True)[:, :-1]
        places = [list(named(WITH_TEXT).values()).index(column) for column in model.columns]
        assert np.array_equal(mine, theirs[:, places])


def test_what_it_takes_must_be_the_features_of_the_model(team):
    with team.home(NUMBERS) as (app, model, rows, X):
        wide = X.assign(price=1.0)
        bare = LGBMClassifier(**LIGHT).fit(X.to_numpy(), rows.y).booster_
        more = LGBMClassifier(**LIGHT).fit(wide, rows.y).booster_
        slim = LGBMClassifier(**LIGHT).fit(X[["hour"]], rows.y).booster_
        kept = [(bare, X), (more, wide), (slim, None), (bare, None)]
        risks = [team.leave("lightgbm", *one) for one in kept]
        team.take(app)
        for risk, columns, said in [
            (risks[0], None, r'takes "hour", which is no column of .*columns=\{"hour": "parcel.hour"\}'),
            (risks[0], {"hour": "parcel.our"}, r'Did you mean "parcel.hour"'),
            (risks[0], {"hours": "parcel.hour"}, r'has no column "hours"\. Did you mean "hour"'),
            (risks[0], named(NUMBERS) | {"items": "parcel.hour"}, "two of its columns are said to be one"),
            (risks[1], named(NUMBERS), r'takes "price", which is no column'),
            (risks[2], named(["hour"]), "does not take parcel.weight, parcel.items"),
            (risks[3], None, r"does not say what its columns are called.*columns=\["),
        ]:
            with pytest.raises(DefinitionError, match=said):
                app.register(model, risk, columns=columns)
        assert app.registry.versions(model.name) == []
        version = app.register(model, risks[3], columns=[f"parcel.{name}" for name in NUMBERS])
        found = app.versions.get(model, version.number).package.predictor.predict(dict(rows.columns))
        assert np.array_equal(found, bare.predict(X))
        with pytest.raises(DefinitionError, match=r"was not taken over.*app.promote"):
            app.register(model, f"{model.name}/1")
        with pytest.raises(NotFound, match="no version"):
            app.register(model, f"{team.risk}/99")


def test_text_is_not_taken_for_a_number(team):
    with team.home(["weight", "shop"]) as (app, model, _, _):
        X = pd.DataFrame({"weight": np.arange(60.0), "items": np.arange(60.0)})
        risk = team.leave("lightgbm", LGBMClassifier(**LIGHT).fit(X, X["items"] > 20).booster_, X)
        team.take(app)
        wrong = {"weight": "parcel.weight", "items": "parcel.shop"}
        with pytest.raises(DefinitionError, match=r'takes "items" as double, and column parcel.shop'):
            app.register(model, risk, columns=wrong)


def test_codes_of_which_nobody_says_what_they_stand_for_are_refused(team):
    with team.home(WITH_TEXT) as (app, model, rows, X):
        codes = X["shop"].cat.codes
        coded = X.assign(shop=codes.where(codes >= 0))
        types = ["c" if name == "shop" else "q" for name in coded]
        fitted = clone(BOOSTED).set_params(feature_types=types).fit(coded.to_numpy(), rows.y)
        risk = team.leave("xgboost", fitted, None)
        team.take(app)
        with pytest.raises(DefinitionError, match=r"XGBoost writes that from 3.1 on.*: parcel.shop\. Fit it"):
            app.register(model, risk, columns=[f"parcel.{name}" for name in WITH_TEXT])


def test_a_pickle_is_not_opened_unless_it_is_allowed_by_name(team, tmp_path):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    saved = tmp_path / "by-hand"
    saved.mkdir()
    (saved / "model.pkl").write_bytes(pickle.dumps(Runs()))
    (saved / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")
    with team.home(NUMBERS) as (app, model, _, _):
        risk = team.put(saved)
        assert "kept and not opened" in team.take(app).notes[0]
        with pytest.raises(SchemaError, match=r"it was not opened.*trusted=\['pickle'\]"):
            app.register(model, risk, columns=named(NUMBERS))
    assert not (tmp_path / "ran").exists()


def test_one_that_may_have_learned_from_the_test_rows_does_not_pass(team):
    with team.home(NUMBERS) as (app, model, rows, X):
        risk = team.leave("lightgbm", LGBMClassifier(**LIGHT).fit(X, rows.y).booster_, X)
        theirs = client(team.url)
        run = theirs.get_model_version(team.risk, "1").run_id
        theirs.set_terminated(run, "FINISHED", int(parcels.NOW.timestamp() * 1_000))
        team.take(app)
        version = app.register(model, risk, columns=named(NUMBERS))
        with pytest.raises(GateFailed, match="among them rows it is tested on"):
            app.promote(model, version.number)
        middle = parcels.START + (parcels.NOW - parcels.START) / 2
        said = app.register(model, risk, columns=named(NUMBERS), trained_until=middle)
        assert app.promote(model, said.number)


def test_a_graph_from_there_is_served_too(team):
    import onnx

    with team.home(NUMBERS) as (app, model, rows, _):
        graph = onnx.load_model_from_string(linear(3, 1))
        risk = team.leave("onnx", graph, None, save_as_external_data=False)
        assert team.take(app).versions == [risk]
        turned = ["parcel.hour", "parcel.items", "parcel.weight"]
        plain, other = app.register(model, risk), app.register(model, risk, columns=turned)
        one, two = (
            app.versions.get(model, item.number).package.predictor.predict(dict(rows.columns))
            for item in (plain, other)
        )
        assert not np.array_equal(one, two)
        assert app.promote(model, other.number)


def test_it_is_shown_with_the_names_its_file_has(team, tmp_path):
    import mlflow

    from tenfold.adapters.mlflow.layout import layout

    with team.home(NUMBERS) as (app, model, rows, X):
        fitted = LGBMClassifier(**LIGHT).fit(X, rows.y).booster_
        (tmp_path / "theirs.txt").write_text(fitted.model_to_string())
        app.promote(model, app.register(model, tmp_path / "theirs.txt", columns=named(NUMBERS)).number)
        files = layout(app.blobs.get(app.registry.production(model.name).artefact))
    (tmp_path / "shown").mkdir()
    for file, data in files.items():
        (tmp_path / "shown" / file).write_bytes(data)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "shown"))
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
