"""Models of every kind from training to an answer over HTTP, batch scores, the gate, and metrics of what was served."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRanker
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBRegressor

from tenfold import Release, Tune, checks
from tenfold.core.errors import DefinitionError, GateFailed, SchemaError, Unavailable
from tenfold.core.times import UNITS
from tenfold.monitoring.performance import weekly
from tenfold.sources.blobs import DirectoryBlobs
from tenfold.sources.memory import MemoryBlobs
from tests.examples import parcels
from tests.examples.parcels import ask, check_shape
from tests.examples.tiny import in_process
from tests.unit.own_estimators import Leastsq

HOUR = UNITS["h"]


def pipeline(last):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encoded = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(
        make_column_transformer((numbers, ["parcel.weight", "parcel.items"]), (encoded, ["parcel.shop"])),
        last,
    )


LIGHT = {"n_estimators": 15, "min_child_samples": 5, "verbosity": -1, "n_jobs": 1}
KINDS = {
    "classes": (pipeline(LogisticRegression()), "state", {}, checks.at_least("accuracy", 0.1, window="7d")),
    "boosted classes": (LGBMClassifier(**LIGHT), "stars", {}, checks.at_most("log_loss", 20, window="7d")),
    "numbers": (
        XGBRegressor(n_estimators=15, n_jobs=1),
        "minutes",
        {},
        checks.at_most("mean_absolute_error", 300, window="7d"),
    ),
    "own numbers": (Leastsq(), "minutes", {}, checks.at_most("root_mean_squared_error", 400, window="7d")),
    "order": (
        LGBMRanker(**LIGHT),
        "stars",
        {"groups": "route"},
        checks.at_least("ndcg@5", 0.5, window="7d"),
    ),
    "yes or no": (pipeline(LogisticRegression()), "late", {}, checks.at_least("roc_auc", 0.7, window="7d")),
}


@pytest.fixture(params=KINDS)
def served(request, tmp_path):
    """Return an app with a version in Production, and its model."""
    estimator, label, more, check = KINDS[request.param]
    model = parcels.model(estimator, label, **more)
    with parcels.opened(tmp_path, model, gates=[check], monitors=[check]) as app:
        assert app.promote(model, app.train(model).number)
        yield app, model


def arrivals(rows):
    """Return what became of rows: the usual, and now and then another outcome."""
    return [
        {
            "parcel_id": row["parcel_id"],
            "minutes": float(row["weight"] * 10 - 30),
            "state": ("fine", "broken", "lost")[place % 3 if row["items"] > 3 else 0],
            "stars": max(0, 5 - int(row["weight"] / 2)),
            "at": (parcels.NOW + timedelta(hours=2)).isoformat(),
        }
        for place, row in enumerate(rows)
    ]


def test_a_row_is_answered_alike_over_http_and_in_batch_and_judged_when_its_outcome_is_known(served):
    app, model = served
    rows = [
        parcels.row(place, weight=0.7 * place, items=1 + place % 5, route=place // 6, shop=shop)
        for place, shop in enumerate(["ann", "bob", "cy", "nobody", None] * 6)
    ]
    answers = [ask(app, row) for row in rows]
    for answer in answers:
        check_shape(model, answer)
    service = app.service(model)
    many = service.predict_many(rows, at=service.mark().at, key="many")
    assert [one | {"prediction_id": ""} for one in many] == [one | {"prediction_id": ""} for one in answers]
    features = app.features(model, rows[0])["features"]
    assert list(features) == list(model.columns)
    assert app.skew(model).mismatches == 0

    app.ingest("parcels", rows)
    app.process()
    at = app.clock.now()
    batch = app.score(model, at - HOUR, at + HOUR)
    by_row = dict(zip(batch.row, batch.score.tolist(), strict=True))
    assert {answer["prediction_id"].split("/")[1]: answer["score"] for answer in answers} == by_row

    app.clock.set(at + 30 * HOUR)
    app.ingest("arrivals", arrivals(rows), history=True)
    app.process()
    matured = app.matured(model, at - HOUR, at + HOUR)
    assert len(matured.y) == len(rows)
    found = matured.metrics(model.metrics)
    assert all(np.isfinite(value) for value in found.values())
    assert found == pytest.approx(by_hand(model, rows, answers), rel=1e-9)
    (week,) = weekly(model, matured, at - HOUR)
    assert week.rows == len(rows)
    assert 0 <= week.predicted <= 1 or model.kind in ("regression", "ranking")
    app.loop(model).tick()
    assert [item.decision for item in app.audit.list("parcel", "monitor", 5)] == ["healthy"]


def by_hand(model, rows, answers):
    """Return the model's metrics of the answers as scikit-learn computes them."""
    from sklearn import metrics as sk

    outcome = {row["parcel_id"]: row for row in arrivals(rows)}
    truth = [outcome[row["parcel_id"]] for row in rows]
    scores = [answer["score"] for answer in answers]
    if model.kind == "binary":
        return {"roc_auc": sk.roc_auc_score([row["minutes"] > 0 for row in truth], scores)}
    if model.kind == "regression":
        return {"mean_absolute_error": sk.mean_absolute_error([row["minutes"] for row in truth], scores)}
    if model.kind == "ranking":
        groups = [row["route"] for row in rows]
        found = []
        for group in sorted(set(groups)):
            mine = [place for place, other in enumerate(groups) if other == group]
            gains = [2 ** truth[place]["stars"] - 1 for place in mine]
            if any(gains):
                found.append(sk.ndcg_score([gains], [[scores[place] for place in mine]], k=10))
        return {"ndcg@10": np.mean(found)}
    name = "state" if model.label.type == "str" else "stars"
    y = [str(row[name]) for row in truth]
    classes = sorted({*y, *answers[0]["probabilities"]})
    p = np.array([[answer["probabilities"].get(one, 0.0) for one in classes] for answer in answers])
    said = [str(answer["prediction"]) for answer in answers]
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    true = clipped[np.arange(len(y)), [classes.index(one) for one in y]]
    return {"log_loss": -np.log(true / clipped.sum(axis=1)).mean(), "accuracy": sk.accuracy_score(y, said)}


def test_a_gate_of_classes_refuses_and_a_champion_is_compared_class_by_class(tmp_path):
    model = parcels.model(pipeline(LogisticRegression()), "state")
    gates = [checks.at_least("accuracy", 0.6), checks.beats_champion("log_loss", by=-0.5)]
    with parcels.opened(tmp_path, model, gates=gates) as app:
        app.promote(model, app.train(model).number)
        why = app.promote(model, app.train(model).number)
        assert "gain +0.0000, needed -0.5, 95 %" in why
    strict = parcels.model(pipeline(LogisticRegression()), "state")
    with parcels.opened(tmp_path / "other", strict, gates=[checks.at_least("accuracy", 0.999)]) as app:
        number = app.train(strict).number
        with pytest.raises(GateFailed, match="accuracy"):
            app.promote(strict, number)


def test_parameters_of_a_step_are_searched_on_folds(tmp_path):
    search = Tune({"logisticregression__C": (0.01, 10.0, "log")}, trials=4)
    model = parcels.model(pipeline(LogisticRegression()), "stars", tune=search, folds=2, test_window="3d")
    with parcels.opened(tmp_path, model) as app:
        version = app.train(model, processes=1)
        package = app.versions.get(model, version.number).package
        tuning, folds = package.manifest.evaluation["tuning"], package.manifest.evaluation["folds"]
        assert all(trial["state"] in ("done", "pruned") for trial in tuning["trials"])
        assert len(folds) == 2
        best = tuning["trials"][tuning["best"]]["params"]["logisticregression__C"]
        assert best == package.predictor.engine._estimator[-1].C
        assert app.rebuild(model, version.number)["same"]


def test_a_champion_that_cannot_be_loaded_does_not_keep_out_its_successor(tmp_path):
    gates = [checks.beats_champion("mean_absolute_error", by=0.1)]
    first = parcels.model(Leastsq(), "minutes")
    with parcels.opened(tmp_path, first, gates=gates) as app:
        app.promote(first, app.train(first).number)
    second = parcels.model(XGBRegressor(n_estimators=5, n_jobs=1), "minutes")
    with parcels.opened(tmp_path, second, gates=gates) as app:
        with pytest.raises(Unavailable, match=r"is the state of a tests\.unit\.own_estimators\.Leastsq"):
            app.predict(second, parcels.row())
        app.promote(second, app.train(second).number)
        assert app.predict(second, parcels.row())["version"] == 2


def test_a_row_that_an_encoder_refuses_is_the_askers_error_and_nothing_is_logged(tmp_path):
    strict = make_column_transformer((OneHotEncoder(), ["parcel.items", "parcel.shop"]))
    model = parcels.model(make_pipeline(strict, LogisticRegression()), features=[parcels.parcel])
    with parcels.opened(tmp_path, model) as app:
        app.promote(model, app.train(model).number)
        null = ask(app, parcels.row(1, shop=None))
        assert (
            ask(app, parcels.row(2, shop="zoe"))["score"] == null["score"]
        )  # text that was not seen is null
        logged = app.log.ends().offsets["predictions"]
        status, told = in_process(app.asgi(), "/predict", parcels.row(3, items=77))
        assert (status, told["error"]["kind"]) == (422, "SchemaError")
        assert "Found unknown categories" in told["error"]["message"]
        assert app.log.ends().offsets["predictions"] == logged


def test_a_gate_that_does_not_fit_the_kind_is_refused_where_it_is_written():
    model = parcels.model(LGBMClassifier(), "state")
    with pytest.raises(DefinitionError, match='release of "parcel": metric "roc_auc" does not fit'):
        Release(model, gates=[checks.at_least("roc_auc", 0.7)])


def test_a_version_of_another_kind_or_of_other_features_never_meets_the_model(tmp_path):
    first = parcels.model(LGBMClassifier(**LIGHT), "state")
    with parcels.opened(tmp_path, first) as app:
        app.promote(first, app.train(first).number)
        expected = app.predict(first, parcels.row())["probabilities"]
    for other, said in [
        (parcels.model(LGBMClassifier(**LIGHT)), "answers as a model that is multiclass"),
        (
            parcels.model(LGBMClassifier(**LIGHT), "state", features=[parcels.parcel]),
            "missing of_shop.heaviest",
        ),
    ]:
        with parcels.opened(tmp_path, other) as app, pytest.raises(Unavailable, match=said):
            app.predict(other, parcels.row())
    turned = parcels.model(LGBMClassifier(**LIGHT), "state", features=[parcels.parcel, parcels.of_shop])
    assert list(turned.columns) != list(first.columns)
    with parcels.opened(tmp_path, turned) as app:
        assert app.predict(turned, parcels.row(1))["probabilities"] == expected


# files ----------------------------------------------------------------------------------------------


def test_a_flipped_byte_on_disk_is_refused_by_name_whichever_file_it_is_in(tmp_path):
    model = parcels.model(pipeline(LogisticRegression()), "state")
    with parcels.opened(tmp_path, model) as app:
        version = app.train(model)
        app.promote(model, version.number)
    folder = next((tmp_path / "blobs").glob(f"*{version.run_id}"))
    for file in sorted(folder.iterdir()):
        good = file.read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            changed = bytearray(good)
            changed[place] ^= 4
            file.write_bytes(bytes(changed))
            with parcels.opened(tmp_path, model) as app, pytest.raises(Unavailable) as caught:
                app.predict(model, parcels.row())
            named = file.name if file.name != "@manifest.json" else "parcel"
            assert named in str(caught.value)
        file.write_bytes(good)
    with parcels.opened(tmp_path, model) as app:
        app.predict(model, parcels.row())


def test_files_that_were_replaced_together_with_their_hashes_are_refused(tmp_path):
    model = parcels.model(LGBMClassifier(**LIGHT))
    with parcels.opened(tmp_path, model) as app:
        version = app.train(model)
        app.promote(model, version.number)
        files = app.blobs.get(version.artefact)
        manifest = msgspec.json.decode(files["manifest.json"]) | {"threshold": 0.01}
        app.blobs.delete(version.artefact)
        app.blobs.put(version.artefact, {**files, "manifest.json": msgspec.json.encode(manifest)})
    replaced = pytest.raises(Unavailable, match="version 1 are not those that were registered")
    with parcels.opened(tmp_path, model) as app, replaced:
        app.predict(model, parcels.row())


HOSTILE = [
    "../x",
    "a/../../x",
    "/etc/x",
    "a\0b",
    "\0",
    "a\\b",
    "..",
    ".",
    "a/./b",
    "C:x",
    "a@b",
    "a\nb",
    "",
    "~",
    "file:///x",
    "a%2e%2e",
    "a\u202eb",
    "x" * 300,
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_hostile_names_of_artefacts_and_files_are_refused(kind, name, tmp_path):
    blobs = DirectoryBlobs(tmp_path / "blobs") if kind == "directory" else MemoryBlobs()
    for wrong in (
        lambda: blobs.put(name, {"a": b"1"}),
        lambda: blobs.put("fine", {name: b"1"}),
        lambda: blobs.get(name),
        lambda: blobs.delete(name),
    ):
        with pytest.raises(DefinitionError, match="cannot be the name of a"):
            wrong()
    assert blobs.names() == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_that_was_put_among_the_files_is_not_followed(tmp_path):
    blobs = DirectoryBlobs(tmp_path / "blobs")
    blobs.put("fine", {"a": b"1"})
    (tmp_path / "secret").write_bytes(b"1")
    file = tmp_path / "blobs" / "fine" / "a"
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    with pytest.raises(SchemaError, match="a is a link"):
        blobs.get("fine")
