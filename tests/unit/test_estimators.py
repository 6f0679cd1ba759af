"""Every estimator x what must hold of it: trained, stored and loaded it gives the same bits, for one row and for many."""

import subprocess
import sys
import warnings
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from xgboost import XGBClassifier, XGBRanker, XGBRegressor

from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.training.estimators import spread, together, unfitted
from tenfold.training.fit import fit
from tenfold.training.folds import first_row, newest_split
from tenfold.training.formats import skops
from tenfold.training.package import MANIFEST, Manifest, load
from tenfold.training.vector import encode
from tests.examples import parcels
from tests.unit.own_estimators import Centred, Clip, Evil, Leastsq, Mean, Texts

NUMBERS = ["parcel.weight", "parcel.items", "of_shop.heaviest", "of_shop.parcels_1d"]
OWN = ["tests.unit.own_estimators.Clip"]


def prepared(*, scaler=None, encoder=None):
    """Return the usual preprocessing, learned from named columns."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), scaler or StandardScaler())
    return make_column_transformer(
        (numbers, NUMBERS),
        (encoder or OneHotEncoder(handle_unknown="ignore"), ["parcel.shop"]),
        ("passthrough", ["parcel.gift"]),
    )


def pipeline(last, **how):
    return make_pipeline(prepared(**how), last)


LIGHT = {"n_estimators": 12, "min_child_samples": 5, "verbosity": -1, "n_jobs": 1}
XG = {"n_estimators": 8, "n_jobs": 1}
FILLED = make_column_transformer((SimpleImputer(), NUMBERS))

TABLE = {
    "lightgbm": (LGBMClassifier(**LIGHT), "late", {}),
    "lightgbm of texts": (LGBMClassifier(**LIGHT), "state", {}),
    "lightgbm of numbers as classes": (LGBMClassifier(**LIGHT), "stars", {}),
    "lightgbm by other metrics": (
        LGBMClassifier(**LIGHT),
        "late",
        {"metrics": ["log_loss", "brier"]},
    ),
    "lightgbm regressor": (LGBMRegressor(**LIGHT), "minutes", {}),
    "lightgbm ranker": (LGBMRanker(**LIGHT), "stars", {"groups": "route"}),
    "xgboost": (XGBClassifier(**XG), "late", {}),
    "xgboost of texts, with categories": (XGBClassifier(**XG, enable_categorical=True), "state", {}),
    "xgboost regressor": (XGBRegressor(**XG), "minutes", {}),
    "xgboost ranker": (XGBRanker(**XG), "stars", {"groups": "route"}),
    "logistic regression": (pipeline(LogisticRegression()), "late", {}),
    "logistic regression of texts": (pipeline(LogisticRegression(), scaler=RobustScaler()), "state", {}),
    "logistic regression, sparse": (make_pipeline(prepared(), LogisticRegression(C=0.1)), "late", {}),
    "linear regression": (pipeline(LinearRegression()), "minutes", {}),
    "random forest": (pipeline(RandomForestClassifier(8, n_jobs=2)), "late", {}),
    "gradient boosting": (pipeline(GradientBoostingClassifier(n_estimators=5)), "state", {}),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=5), "late", {}),
    "histogram boosting in a pipeline": (
        pipeline(
            HistGradientBoostingRegressor(max_iter=5),
            encoder=OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        ),
        "minutes",
        {},
    ),
    "lightgbm in a pipeline": (pipeline(LGBMClassifier(**LIGHT)), "late", {}),
    "xgboost in a pipeline": (pipeline(XGBClassifier(**XG)), "state", {}),
    "neighbours": (pipeline(KNeighborsClassifier(5)), "late", {}),
    "a network": (pipeline(MLPClassifier([6], max_iter=200, learning_rate_init=0.01)), "state", {}),
    "support vectors, calibrated": (pipeline(CalibratedClassifierCV(SVC(), ensemble=False)), "late", {}),
    "gradient descent": (pipeline(SGDClassifier(loss="log_loss")), "late", {}),
    "bayes": (make_pipeline(FILLED, GaussianNB()), "late", {}),
    "columns chosen by type": (
        make_pipeline(
            make_column_transformer(
                (
                    make_pipeline(SimpleImputer(), StandardScaler()),
                    make_column_selector(dtype_include=np.number),
                )
            ),
            LogisticRegression(),
        ),
        "late",
        {},
    ),
    "numbers only, no names": (
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        "late",
        {"features": [parcels.of_shop]},
    ),
    "a step of one's own": (
        make_pipeline(
            make_column_transformer((make_pipeline(SimpleImputer(), Clip()), NUMBERS)), LogisticRegression()
        ),
        "late",
        {"trusted": OWN},
    ),
    "a class of one's own": (Leastsq(), "minutes", {}),
    "a class of one's own, for yes or no": (Leastsq(), "late", {}),
    "a pickle": (Mean(), "minutes", {"trusted": ["pickle"]}),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with parcels.opened(tmp_path_factory.mktemp("home"), parcels.model(LGBMClassifier(**LIGHT))) as app:
        yield app


@pytest.fixture(scope="module")
def made(app):
    """Return a function that gives a model, its rows and a fitted version by name; each is fitted once."""
    found = {}

    def make(name):
        if name not in found:
            estimator, label, more = TABLE[name]
            model = parcels.model(estimator, label, **more)
            found[name] = (model, app.dataset(model), fitted(app, model))
        return found[name]

    return make


def fitted(app, model):
    dataset = app.dataset(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # twenty steps of a network do not converge
        return fit(model, dataset, newest_split(model, app.clock.now(), first_row(dataset)))


def bits(array):
    return np.ascontiguousarray(array, dtype=np.float64).view(np.int64).tolist()


@pytest.mark.parametrize("name", TABLE)
def test_loaded_again_it_gives_the_same_bits_alone_and_among_others(made, name):
    model, dataset, package = made(name)
    loaded = load(package.files(), model)
    X = encode(dataset.columns, package.manifest.categories)
    whole = loaded.predictor.predict(X)
    assert bits(whole) == bits(package.predictor.predict(X))
    assert bits(whole[7:20]) == bits(loaded.predictor.predict(X[7:20]))
    for place in range(0, len(X), 9):
        assert bits(whole[place]) == bits(loaded.predictor.predict(X[place : place + 1])[0]), place
    assert bits(loaded.predictor.predict(dict(dataset.columns))) == bits(whole)
    assert loaded.predictor.predict(X[:0]).shape == (0, *whole.shape[1:])


@pytest.mark.parametrize("name", TABLE)
def test_it_has_learned_something_of_its_kind(made, name):
    model, dataset, package = made(name)
    manifest = package.manifest
    found = package.predictor.predict(encode(dataset.columns, manifest.categories))
    assert manifest.kind == model.kind
    assert all(value is not None for value in manifest.metrics.values())
    if model.kind == "multiclass":
        assert manifest.classes == (
            ["broken", "fine", "lost"] if "state" in TABLE[name] else [0, 1, 2, 3, 4, 5]
        )
        assert found.shape == (parcels.ROWS, len(manifest.classes))
        assert np.allclose(found.sum(axis=1), 1)
        assert manifest.metrics["accuracy"] > 0.5
    elif model.kind == "binary":
        assert manifest.metrics.get("roc_auc", 1) > (0.55 if name == "numbers only, no names" else 0.75)
        assert manifest.metrics.get("log_loss", 0) < 0.5
        assert manifest.threshold == 0.5
    elif model.kind == "ranking":
        assert manifest.metrics["ndcg@10"] > 0.75
    elif model.kind == "regression" and name != "a pickle":
        usual = manifest.evaluation["baselines"]["mean"]["mean_absolute_error"]
        assert manifest.metrics["mean_absolute_error"] < 0.9 * usual
    assert (manifest.threshold is None) == (model.kind != "binary")


@pytest.mark.parametrize("name", TABLE)
def test_the_same_rows_give_the_same_bytes(app, made, name):
    model, _, package = made(name)
    assert fitted(app, model).files() == package.files()


AGAIN = """
import hashlib, sys
from pathlib import Path
from tests.examples import parcels
from tests.unit.test_estimators import TABLE, fitted
estimator, label, more = TABLE["random forest"]
model = parcels.model(estimator, label, **more)
with parcels.opened(Path(sys.argv[1]), model) as app:
    print(hashlib.sha256(fitted(app, model).files()["model.skops"]).hexdigest(), model.fingerprint)
"""


def test_another_process_makes_the_same_bytes_of_scikit_learn(tmp_path):
    told = {
        subprocess.run(
            [sys.executable, "-c", AGAIN, tmp_path / str(place)], check=True, capture_output=True, text=True
        ).stdout
        for place in range(2)
    }
    assert len(told) == 1


PREPROCESSED = [name for name, (estimator, *_) in TABLE.items() if hasattr(estimator, "steps")]


@pytest.mark.parametrize("name", PREPROCESSED)
def test_preprocessing_is_that_of_scikit_learn_for_null_and_unseen_text_too(made, name):
    model, dataset, package = made(name)
    engine = package.predictor.engine
    prepare, X = engine._score._prepare, encode(dataset.columns, package.manifest.categories)
    rng = np.random.default_rng(0)
    X = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    own = any("own_estimators" in item for item in model.trusted)
    assert (prepare._direct is None) == own  # a step of one's own is left to scikit-learn, all others are not
    if not own:
        slowly = prepare._slowly(X)
        slowly = slowly.toarray() if hasattr(slowly, "toarray") else slowly
        assert bits(prepare(X)) == bits(slowly)


def test_a_pipeline_learns_from_the_very_texts(made):
    _, _, package = made("logistic regression")
    encoder = package.predictor.engine._estimator[0].transformers_[1][1]
    assert [list(map(str, known)) for known in encoder.categories_] == [["ann", "bob", "cy", "dee", "nan"]]


def test_a_declaration_is_not_changed_by_fitting(made):
    made("random forest")
    forest = TABLE["random forest"][0][-1]
    assert (forest.n_jobs, forest.random_state, hasattr(forest, "estimators_")) == (2, None, False)
    assert unfitted(forest).random_state == 0


# files ----------------------------------------------------------------------------------------------

STORED = ["lightgbm", "xgboost", "logistic regression", "a class of one's own", "a pickle"]


@pytest.mark.parametrize("name", STORED)
def test_a_flipped_byte_of_any_file_is_refused_by_name(made, name):
    model, _, package = made(name)
    files = package.files()
    assert set(files) == {*msgspec.json.decode(files[MANIFEST])["files"], MANIFEST}
    for file, data in files.items():
        for place in {0, len(data) // 3, len(data) - 1}:
            changed = bytearray(data)
            changed[place] ^= 1
            if file == MANIFEST and place:
                continue  # what it says of itself is in the registry: see test_kinds.py
            with pytest.raises(SchemaError, match=file):
                load({**files, file: bytes(changed)}, model)


@pytest.mark.parametrize("name", STORED)
def test_a_file_that_is_missing_or_that_nobody_stored_is_refused(made, name):
    model, _, package = made(name)
    files = package.files()
    first = min(set(files) - {MANIFEST})
    with pytest.raises(SchemaError, match=f"{first} of model parcel is missing"):
        load({file: data for file, data in files.items() if file != first}, model)
    with pytest.raises(SchemaError, match=r"more\.bin of model parcel was not stored with it"):
        load({**files, "more.bin": b""}, model)
    with pytest.raises(SchemaError, match=MANIFEST):
        load({first: files[first]}, model)


def forged(files, data, file, **changed):
    """Return files with another model and a manifest that agrees with it."""
    import hashlib

    manifest = msgspec.json.decode(files[MANIFEST], type=Manifest)
    hashes = manifest.files | {file: hashlib.sha256(data).hexdigest()}
    manifest = msgspec.structs.replace(manifest, files=hashes, **changed)
    return {**files, file: data, MANIFEST: msgspec.json.encode(manifest)}


def test_a_golden_row_that_scores_differently_is_refused(made):
    model, _, package = made("lightgbm")
    files = package.files()
    other = files["model.txt"].replace(b"leaf_value=", b"leaf_value=0.5 ", 1).replace(b"0.5 ", b"", 1)
    assert other == files["model.txt"]
    scores = np.frombuffer(package.manifest.golden_scores, dtype=np.float64).copy()
    scores[3] = np.nextafter(scores[3], 1)
    wrong = forged(files, files["model.txt"], "model.txt", golden_scores=scores.tobytes())
    with pytest.raises(SchemaError, match="1 of 32 golden rows of model parcel score differently here"):
        load(wrong, model)


def test_a_pickle_is_never_opened_unless_it_is_allowed(made, tmp_path):
    import pickle

    trap = tmp_path / "ran"
    evil = pickle.dumps(Evil(trap))
    for name, file in {
        "logistic regression": "model.skops",
        "lightgbm": "model.txt",
        "xgboost": "model.ubj",
        "a class of one's own": "model.safetensors",
    }.items():
        model, _, package = made(name)
        with pytest.raises(SchemaError, match=file):
            load(forged(package.files(), evil, file), model)
    model, _, package = made("lightgbm")
    files = package.files()
    renamed = {"model.pickle": evil, MANIFEST: files[MANIFEST]}
    as_pickle = forged(renamed, evil, "model.pickle", format="pickle")
    hashes = {"model.pickle": msgspec.json.decode(as_pickle[MANIFEST])["files"]["model.pickle"]}
    manifest = msgspec.json.decode(as_pickle[MANIFEST], type=Manifest)
    as_pickle[MANIFEST] = msgspec.json.encode(msgspec.structs.replace(manifest, files=hashes))
    with pytest.raises(
        SchemaError, match=r"model.pickle is a pickle, which can run any code.*trusted=\['pickle'\]"
    ):
        load(as_pickle, model)
    assert not trap.exists()
    with pytest.raises(SchemaError, match="no pickle model can be made"):
        load(as_pickle, parcels.model(LGBMClassifier(**LIGHT), trusted=["pickle"]))
    assert trap.exists()  # allowed, it runs: that is what the word means


def test_a_skops_file_with_a_type_nobody_trusts_is_not_made(made, tmp_path):
    import io
    import json
    import zipfile

    model, _, package = made("logistic regression")
    data = package.files()["model.skops"]
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(parts["schema.json"])
    trap = tmp_path / "ran"
    schema["content"] = {
        "__class__": "mkdir",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "mkdir"},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in parts.items():
            file.writestr(name, json.dumps(schema) if name == "schema.json" else content)
    with pytest.raises(
        SchemaError, match=r"holds os.mkdir, which is not known to be harmless; nothing was loaded"
    ):
        load(forged(package.files(), out.getvalue(), "model.skops"), model)
    assert not trap.exists()


@pytest.mark.parametrize("data", [b"", b"PK", b"\x80\x05.", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_skops_file_is_refused_and_nothing_else_is_tried(data):
    with pytest.raises(SchemaError, match=r"model\.skops is not a skops file"):
        skops.opened(data, [])


def test_a_skops_file_that_unpacks_to_too_much_is_refused(monkeypatch, made):
    data = made("logistic regression")[2].files()["model.skops"]
    monkeypatch.setattr(skops, "MOST_BYTES", 1000)
    with pytest.raises(SchemaError, match="more than 1,000; nothing was loaded"):
        skops.opened(data, [])


def test_a_type_of_ones_own_must_be_trusted_when_it_is_trained_and_when_it_is_loaded(app, made):
    estimator, label, _ = TABLE["a step of one's own"]
    with pytest.raises(DefinitionError, match=r"holds tests.unit.own_estimators.Clip.*trusted=\['tests"):
        fitted(app, parcels.model(estimator, label))
    files = made("a step of one's own")[2].files()
    with pytest.raises(SchemaError, match=r"holds tests.unit.own_estimators.Clip.*nothing was loaded"):
        load(files, parcels.model(estimator, label))


def test_arrays_are_given_to_the_declared_class_only(made):
    files = made("a class of one's own")[2].files()
    with pytest.raises(
        SchemaError, match=r"the state of a tests.unit.own_estimators.Leastsq, and the declared"
    ):
        load(files, parcels.model(LGBMRegressor(**LIGHT), "minutes"))
    named = parcels.model(LGBMRegressor(**LIGHT), "minutes", trusted=["tests.unit.own_estimators.Leastsq"])
    assert load(files, named).manifest.format == "safetensors"
    gone = forged(files, b'"tests.unit.own_estimators.Gone"', "class.json")
    lost = parcels.model(Leastsq(), "minutes", trusted=["tests.unit.own_estimators.Gone"])
    with pytest.raises(SchemaError, match="cannot be imported"):
        load(gone, lost)


def test_an_estimator_that_no_format_takes_says_what_to_do(app):
    with pytest.raises(DefinitionError, match=r"Mean cannot be stored in a file that is safe.*get_state"):
        fitted(app, parcels.model(Mean(), "minutes"))
    with pytest.raises(DefinitionError, match=r'Texts.get_state\(\): "name" is a str, not a numpy array'):
        fitted(app, parcels.model(Texts(), "minutes"))
    softmax = XGBClassifier(**XG, objective="multi:softmax")
    with pytest.raises(DefinitionError, match="multi:softprob"):
        fitted(app, parcels.model(softmax, "stars"))


def test_an_estimator_that_looks_at_other_rows_is_refused_when_it_is_trained(app):
    with pytest.raises(DefinitionError, match=r"32 of 32 rows have another score alone than among others"):
        fitted(
            app,
            parcels.model(Centred(), "minutes", features=[parcels.parcel["items"], parcels.parcel["gift"]]),
        )


@pytest.mark.parametrize("label", ["late", "state"])
def test_a_classifier_without_probabilities_says_what_to_do(app, label):
    with pytest.raises(DefinitionError, match=r"LinearSVC gives no probabilities.*CalibratedClassifierCV"):
        fitted(app, parcels.model(pipeline(LinearSVC()), label))


# kinds ----------------------------------------------------------------------------------------------

WRONG = {
    "text for a regressor": (
        lambda: parcels.model(LGBMRegressor(), "state"),
        "estimator LGBMRegressor gives numbers. Use a classifier",
    ),
    "a ranker without groups": (lambda: parcels.model(LGBMRanker(), "stars"), 'groups="query_id"'),
    "a ranker of texts": (
        lambda: parcels.model(LGBMRanker(), "state", groups="route"),
        "the larger, the better",
    ),
    "a threshold of numbers": (
        lambda: parcels.model(LGBMRegressor(), "minutes", threshold=0.5),
        "the model is regression. Remove it",
    ),
    "a metric of another kind": (
        lambda: parcels.model(LGBMClassifier(), "state", metrics=["brier"]),
        'metric "brier" does not fit a model that is multiclass. Use accuracy',
    ),
    "trusted as one text": (
        lambda: parcels.model(LGBMClassifier(), trusted="pickle"),
        "trusted='pickle' is not a list of names",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_what_does_not_fit_the_kind_is_refused_where_it_is_written(mistake):
    write, said = WRONG[mistake]
    with pytest.raises(DefinitionError) as caught:
        write()
    assert said in str(caught.value)


def test_a_number_is_a_class_for_a_classifier_unless_a_metric_says_it_is_0_or_1():
    assert parcels.model(LGBMClassifier(), "stars").kind == "multiclass"
    assert parcels.model(LGBMClassifier(), "stars", metrics=["roc_auc"]).kind == "binary"
    assert parcels.model(LGBMClassifier(), "stars", metrics=["log_loss"]).kind == "multiclass"
    assert parcels.model(LGBMRegressor(), "stars").kind == "regression"
    assert parcels.model(None, "state").kind == "multiclass"
    assert parcels.model(None, "minutes").kind == "regression"
    assert parcels.model(None, "stars", groups="route", metrics=["ndcg@5"]).kind == "ranking"
    assert parcels.model(None, "stars", groups="route", metrics=["ndcg@5"]).threshold is None


def test_a_training_set_of_texts_holds_them_as_places_and_gives_them_as_texts(app):
    rows = app.training_set(parcels.model(LGBMClassifier(**LIGHT), "state"))
    assert rows.classes == ("broken", "fine", "lost")
    texts = rows.to_arrow()["label"].to_pylist()
    assert texts == [rows.classes[int(place)] for place in rows.y]
    given = {row["parcel_id"]: row["state"] for row in parcels.history()["arrivals"]}
    ids = rows.to_arrow()["id"].to_pylist()
    assert texts == [given[name] for name in ids]
    assert rows.take(rows.y == 1).to_arrow()["label"].unique().to_pylist() == ["fine"]
    assert rows.digest != replace(rows, classes=("broken", "fine", "other")).digest
    assert rows.report.leaks == []  # places of classes are no numbers that a feature could equal


def test_classes_of_several_versions_meet_by_name():
    assert together(["b", "a"], ["c"], []) == ["a", "b", "c"]
    wide = spread(np.array([[0.25, 0.75]]), ["c", "a"], ["a", "b", "c"])
    assert wide.tolist() == [[0.75, 0.0, 0.25]]
