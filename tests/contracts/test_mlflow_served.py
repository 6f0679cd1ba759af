"""Versions of MLflow, taken over, registered for a declared model, promoted and served; the scores are those they had there."""

import importlib

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from tenfold.core.errors import DefinitionError, GateFailed, NotFound, SchemaError
from tenfold.serving.answer.service import Versions
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
SKOPS = {"skops_trusted_types": ["numpy.dtype", TREE]}
SAVED = {
    "a booster": ("lightgbm", LGBMClassifier(**LIGHT), WITH_TEXT, "booster", "model.txt"),
    "a LightGBM classifier": ("lightgbm", LGBMClassifier(**LIGHT), WITH_TEXT, {}, "model.skops"),
    "an XGBoost classifier": ("xgboost", XGBClassifier(n_estimators=6, n_jobs=1), NUMBERS, {}, "model.ubj"),
    "a pipeline of numbers": ("sklearn", LINEAR, NUMBERS, SKOPS, "model.skops"),
    "a forest": (
        "sklearn",
        RandomForestClassifier(5, random_state=1),
        ["items", "hour"],
        SKOPS,
        "model.skops",
    ),
    "a pipeline that names columns": ("sklearn", COLUMNS, WITH_TEXT, SKOPS, "model.skops"),
    "a pickle": ("sklearn", LINEAR, NUMBERS, {"serialization_format": "cloudpickle"}, "model.pickle"),
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


def leave(url, name, folder, flavor, model, inputs, **how):
    """Leave a version in MLflow as a team would, with a signature."""
    from mlflow.models import infer_signature

    theirs = client(url)
    known = theirs.get_experiment_by_name(name)
    experiment = known.experiment_id if known else theirs.create_experiment(name)
    run = theirs.create_run(experiment, start_time=1_000)
    library = importlib.import_module(f"mlflow.{flavor}")
    signature = None if inputs is None else infer_signature(inputs.head(3))
    library.save_model(model, str(folder), signature=signature, pip_requirements=[flavor], **how)
    theirs.log_artifacts(run.info.run_id, str(folder), "model")
    theirs.set_terminated(run.info.run_id, "FINISHED", 5_000)
    if not any(item.name == f"{name}-risk" for item in theirs.search_registered_models()):
        theirs.create_registered_model(f"{name}-risk")
    made = theirs.create_model_version(
        f"{name}-risk", f"{run.info.artifact_uri}/model", run.info.run_id, await_creation_for=0
    )
    return f"{name}-risk/{made.version}"


def named(names):
    return {name: f"parcel.{name}" for name in names}


@pytest.mark.parametrize("case", SAVED)
def test_a_version_is_taken_over_promoted_and_gives_the_scores_it_gave_there(case, url, name, tmp_path):
    flavor, estimator, names, how, file = SAVED[case]
    trusted = {"a pickle": ["pickle"], "a forest": [TREE]}.get(case, [])
    model = declared(names, trusted=trusted)
    with parcels.opened(tmp_path / "home", model) as app:
        rows = app.training_set(model)
        X = frame_of(rows.columns, names)
        fitted = estimator.fit(
            X.astype({"shop": object}) if case.startswith("a pipeline that") else X, rows.y
        )
        kept = fitted.booster_ if how == "booster" else fitted
        risk = leave(url, name, tmp_path / "m", flavor, kept, X, **({} if how == "booster" else how))
        taken = app.elsewhere.take(MLflowSource(url), [name])
        assert taken.versions == [risk]
        assert (taken.notes == []) == (file != "model.pickle")
        assert file in app.blobs.get(app.registry.get(f"{name}-risk", 1).artefact)

        version = app.register(model, risk, columns=named(names))
        assert version.info["mlflow"]["version"] == "1"
        assert app.runs.get(version.run_id).params["version"] == risk
        assert app.promote(model, version.number)
        package = app.versions.get(model, version.number).package
        wanted = fitted.predict_proba(
            X.astype({"shop": object}) if "shop" in X and flavor == "sklearn" else X
        )
        here = package.predictor.predict(dict(rows.columns))
        assert np.allclose(here, wanted[:, 1], rtol=0, atol=1e-12 if flavor == "sklearn" else 0)
        answer = app.predict(model, parcels.row(weight=3.5, items=4, shop="bob"))
        assert answer["version"] == version.number
        assert app.skew(model).mismatches == 0
        again = Versions(app.registry, app.blobs).get(model, version.number).package  # golden rows replayed
        assert again.predictor.predict(dict(rows.columns)).tobytes() == here.tobytes()
        shown = app.show(f"{model.name}/1")
        assert "risk/1" in shown.page
        assert set(package.manifest.importance) <= set(model.columns)
        assert app.rebuild(model, 1)["why"][0].startswith("It was trained elsewhere")


def test_its_features_are_explained_by_the_names_they_have_here(url, name, tmp_path):
    model = declared(WITH_TEXT)
    with parcels.opened(tmp_path / "home", model) as app:
        rows = app.training_set(model)
        X = frame_of(rows.columns, WITH_TEXT)
        fitted = LGBMClassifier(**LIGHT).fit(X, rows.y)
        risk = leave(url, name, tmp_path / "m", "lightgbm", fitted.booster_, X)
        app.elsewhere.take(MLflowSource(url), [name])
        version = app.register(model, risk, columns=named(WITH_TEXT))
        package = app.versions.get(model, version.number).package
        gain = dict(zip(named(WITH_TEXT).values(), fitted.booster_.feature_importance("gain"), strict=True))
        total = sum(gain.values())
        assert package.manifest.importance == pytest.approx({n: gain[n] / total for n in model.columns})
        mine = package.predictor.contributions(rows_as_codes(package, rows))[:, 0, :-1]
        theirs = fitted.booster_.predict(X, pred_contrib=True)[:, :-1]
        places = [list(named(WITH_TEXT).values()).index(column) for column in model.columns]
        assert np.array_equal(mine, theirs[:, places])


def rows_as_codes(package, rows):
    from tenfold.training.vector import encode

    return encode(rows.columns, package.manifest.categories)


def test_what_it_takes_must_be_the_features_of_the_model(url, name, tmp_path):
    model = declared(NUMBERS)
    with parcels.opened(tmp_path / "home", model) as app:
        rows = app.training_set(model)
        X = frame_of(rows.columns, NUMBERS)
        bare = LGBMClassifier(**LIGHT).fit(X.to_numpy(), rows.y).booster_
        wide = LGBMClassifier(**LIGHT).fit(X.assign(price=1.0), rows.y).booster_
        slim = LGBMClassifier(**LIGHT).fit(X[["hour"]], rows.y).booster_
        risks = [
            leave(url, name, tmp_path / str(place), "lightgbm", *kept)
            for place, kept in enumerate([(bare, X), (wide, X.assign(price=1.0)), (slim, None), (bare, None)])
        ]
        app.elsewhere.take(MLflowSource(url), [name])
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
            app.register(model, f"{name}-risk/99")


def test_text_is_not_taken_for_a_number(url, name, tmp_path):
    model = parcels.model(None, features=[parcels.parcel["weight"], parcels.parcel["shop"]])
    with parcels.opened(tmp_path / "home", model) as app:
        X = pd.DataFrame({"weight": np.arange(60.0), "items": np.arange(60.0)})
        two = LGBMClassifier(**LIGHT).fit(X, X["items"] > 20).booster_
        risk = leave(url, name, tmp_path / "m", "lightgbm", two, X)
        app.elsewhere.take(MLflowSource(url), [name])
        wrong = {"weight": "parcel.weight", "items": "parcel.shop"}
        with pytest.raises(DefinitionError, match=r'takes "items" as double, and column parcel.shop'):
            app.register(model, risk, columns=wrong)


def test_a_pickle_is_not_opened_unless_it_is_allowed_by_name(url, name, tmp_path):
    model = declared(NUMBERS)
    with parcels.opened(tmp_path / "home", model) as app:

        class Runs:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        import pickle

        (tmp_path / "m").mkdir()
        (tmp_path / "m/model.pkl").write_bytes(pickle.dumps(Runs()))
        (tmp_path / "m/MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")
        theirs = client(url)
        run = theirs.create_run(theirs.create_experiment(name))
        theirs.log_artifacts(run.info.run_id, str(tmp_path / "m"), "model")
        theirs.set_terminated(run.info.run_id)
        theirs.create_registered_model(f"{name}-risk")
        source = f"{run.info.artifact_uri}/model"
        theirs.create_model_version(f"{name}-risk", source, run.info.run_id, await_creation_for=0)
        taken = app.elsewhere.take(MLflowSource(url), [name])
        assert "kept and not opened" in taken.notes[0]
        with pytest.raises(SchemaError, match=r"it was not opened.*trusted=\['pickle'\]"):
            app.register(model, f"{name}-risk/1", columns=named(NUMBERS))
        assert not (tmp_path / "ran").exists()


def test_one_that_may_have_learned_from_the_test_rows_does_not_pass(url, name, tmp_path):
    model = declared(NUMBERS)
    with parcels.opened(tmp_path / "home", model) as app:
        rows = app.training_set(model)
        X = frame_of(rows.columns, NUMBERS)
        fitted = LGBMClassifier(**LIGHT).fit(X, rows.y)
        ended = int(parcels.NOW.timestamp() * 1_000)
        theirs = client(url)
        risk = leave(url, name, tmp_path / "m", "lightgbm", fitted.booster_, X)
        run = theirs.get_model_version(f"{name}-risk", "1").run_id
        theirs.set_terminated(run, "FINISHED", ended)
        app.elsewhere.take(MLflowSource(url), [name])
        version = app.register(model, risk, columns=named(NUMBERS))
        with pytest.raises(GateFailed, match="among them rows it is tested on"):
            app.promote(model, version.number)
        said = app.register(
            model,
            risk,
            columns=named(NUMBERS),
            trained_until=parcels.START + (parcels.NOW - parcels.START) / 2,
        )
        assert app.promote(model, said.number)


def test_a_graph_from_there_is_served_too(url, name, tmp_path):
    import onnx

    model = declared(NUMBERS)
    with parcels.opened(tmp_path / "home", model) as app:
        graph = onnx.load_model_from_string(linear(3, 1))
        risk = leave(url, name, tmp_path / "m", "onnx", graph, None, save_as_external_data=False)
        assert app.elsewhere.take(MLflowSource(url), [name]).versions == [risk]
        turned = ["parcel.hour", "parcel.items", "parcel.weight"]
        plain, other = app.register(model, risk), app.register(model, risk, columns=turned)
        rows = dict(app.training_set(model).columns)
        one, two = (
            app.versions.get(model, item.number).package.predictor.predict(rows) for item in (plain, other)
        )
        assert not np.array_equal(one, two)
        assert app.promote(model, other.number)


def test_it_is_shown_with_the_names_its_file_has(url, name, tmp_path):
    import mlflow

    model = declared(NUMBERS)
    with parcels.opened(tmp_path / "home", model) as app:
        rows = app.training_set(model)
        X = frame_of(rows.columns, NUMBERS)
        fitted = LGBMClassifier(**LIGHT).fit(X, rows.y)
        (tmp_path / "theirs.txt").write_text(fitted.booster_.model_to_string())
        app.promote(model, app.register(model, tmp_path / "theirs.txt", columns=named(NUMBERS)).number)
        from tenfold.adapters.mlflow.layout import layout

        files = layout(app.blobs.get(app.registry.production(model.name).artefact))
    for file, data in files.items():
        (tmp_path / "shown").mkdir(exist_ok=True)
        (tmp_path / "shown" / file).write_bytes(data)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "shown"))
    assert np.array_equal(loaded.predict(X), fitted.booster_.predict(X))
