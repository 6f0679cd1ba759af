"""Every estimator x what must hold of it: trained, stored and loaded it gives the same bits, for one row and for many."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.svm import LinearSVC
from xgboost import XGBClassifier

from tenfold.core.errors import DefinitionError
from tenfold.training.estimators import learn, spread, together, unfitted
from tenfold.training.formats import engine_of, scorer_of
from tenfold.training.formats.base import Context
from tenfold.training.package import load
from tenfold.training.rows import TrainingSet
from tenfold.training.vector import encode
from tests.examples import parcels
from tests.unit.every_estimator import LIGHT, TABLE, XG, opened, pipeline
from tests.unit.own_estimators import Centred, Mean, Texts


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("home")) as found:
        yield found


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
def test_the_same_rows_give_the_same_bytes(made, name):
    model, _, package = made(name)
    assert made.fit(model).files() == package.files()


@pytest.mark.parametrize("name", ["logistic regression", "support vectors, calibrated", "random forest"])
def test_what_is_not_to_be_stored_gives_the_same_bits(made, name):
    model, dataset, package = made(name)
    categories = package.manifest.categories
    X, none = encode(dataset.columns, categories), np.zeros(parcels.ROWS, dtype=np.int64)
    rows = TrainingSet({}, (np.arange(parcels.ROWS) % 3 == 0).astype(float), none, none, {}, {})
    stored, passing = (
        learn(model, rows, categories, X=X, engine=engine).predict(X) for engine in (engine_of, scorer_of)
    )
    assert bits(stored) == bits(passing)


def test_what_no_format_takes_is_refused_where_it_is_not_to_be_stored_too(made):
    model, _, package = made("logistic regression")
    context = Context(model.kind, model.columns, package.manifest.categories)
    with pytest.raises(DefinitionError, match=r"Mean cannot be stored in a file that is safe"):
        scorer_of(Mean(), context)


AGAIN = """
import hashlib, sys
from pathlib import Path
from tests.examples import parcels
from tests.unit.every_estimator import TABLE, Fitted
estimator, label, more = TABLE["random forest"]
model = parcels.model(estimator, label, **more)
with parcels.opened(Path(sys.argv[1]), model) as app:
    print(hashlib.sha256(Fitted(app).fit(model).files()["model.skops"]).hexdigest(), model.fingerprint)
"""


def test_another_process_makes_the_same_bytes_of_scikit_learn(made, tmp_path):
    command = [sys.executable, "-c", AGAIN, tmp_path]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    model, _, package = made("random forest")
    digest = hashlib.sha256(package.files()["model.skops"]).hexdigest()
    assert told.split() == [digest, model.fingerprint]


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


def test_arrays_of_an_estimator_of_ones_own_come_back_in_their_shape():
    class Level:
        def get_state(self):
            return {"level": np.array(2.5), "turned": np.arange(6.0).reshape(2, 3).T}

        @classmethod
        def from_state(cls, arrays):
            made = cls()
            made.arrays = dict(arrays)
            return made

        def predict(self, X):
            return np.zeros(len(X))

    made = engine_of(Level(), Context("regression", {"a": "float"}, {}, Level()))
    arrays = made._estimator.arrays
    assert arrays["level"].shape == ()
    assert arrays["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_an_estimator_that_no_format_takes_says_what_to_do(made):
    with pytest.raises(DefinitionError, match=r"Mean cannot be stored in a file that is safe.*get_state"):
        made.fit(parcels.model(Mean(), "minutes"))
    with pytest.raises(DefinitionError, match=r'Texts.get_state\(\): "name" is a str, not a numpy array'):
        made.fit(parcels.model(Texts(), "minutes"))
    softmax = XGBClassifier(**XG, objective="multi:softmax")
    with pytest.raises(DefinitionError, match="multi:softprob"):
        made.fit(parcels.model(softmax, "stars"))


def test_an_estimator_that_looks_at_other_rows_is_refused_when_it_is_trained(made):
    with pytest.raises(DefinitionError, match=r"32 of 32 rows have another score alone than among others"):
        made.fit(
            parcels.model(Centred(), "minutes", features=[parcels.parcel["items"], parcels.parcel["gift"]]),
        )


@pytest.mark.parametrize("label", ["late", "state"])
def test_a_classifier_without_probabilities_says_what_to_do(made, label):
    with pytest.raises(DefinitionError, match=r"LinearSVC gives no probabilities.*CalibratedClassifierCV"):
        made.fit(parcels.model(pipeline(LinearSVC()), label))


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


def test_a_training_set_of_texts_holds_them_as_places_and_gives_them_as_texts(made):
    rows = made.app.training_set(parcels.model(LGBMClassifier(**LIGHT), "state"))
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
