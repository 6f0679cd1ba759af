"""Models of every kind from training to an answer over HTTP, batch scores, the gate, and metrics of what was served."""

from datetime import timedelta

import msgspec
import numpy as np
import onnx
import pytest
from lightgbm import LGBMClassifier, LGBMRanker
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBRegressor

from tenfold import Release, Tune, checks
from tenfold.core.errors import Conflict, DefinitionError, GateFailed, NotFound, SchemaError
from tenfold.monitoring.performance import weekly
from tenfold.sources.blobs import DirectoryBlobs
from tenfold.sources.memory import MemoryBlobs
from tests.examples import parcels
from tests.examples.tiny import in_process
from tests.unit.own_estimators import Leastsq

HOUR = 3_600_000_000


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


def ask(app, row):
    status, answer = in_process(app.asgi(), "/predict", row)
    assert status == 200, answer
    return answer


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


def check_shape(model, answer):
    """An answer says what its kind has to say, and nothing else."""
    common = {"prediction_id", "model", "version", "prediction", "score", "as_of", "ages_s"}
    more = {"binary": {"decision", "threshold"}, "multiclass": {"probabilities"}}.get(model.kind, set())
    assert answer.keys() == common | more
    if model.kind == "multiclass":
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["score"] == max(answer["probabilities"].values())
        assert answer["probabilities"][str(answer["prediction"])] == answer["score"]
        assert isinstance(answer["prediction"], str if model.label.type == "str" else int)
    elif model.kind == "binary":
        assert answer["prediction"] is answer["decision"] is (answer["score"] >= 0.5)
    else:
        assert answer["prediction"] == answer["score"]


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
        version = app.train(model)
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
        with pytest.raises(SchemaError, match=r"is the state of a tests\.unit\.own_estimators\.Leastsq"):
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
        ask(app, parcels.row())
    for other, said in [
        (parcels.model(LGBMClassifier(**LIGHT)), "answers as a model that is multiclass"),
        (
            parcels.model(LGBMClassifier(**LIGHT), "state", features=[parcels.parcel]),
            "missing of_shop.heaviest",
        ),
        (
            parcels.model(LGBMClassifier(**LIGHT), "state", features=[parcels.parcel, parcels.of_shop]),
            "another order",
        ),
    ]:
        with parcels.opened(tmp_path, other) as app, pytest.raises(SchemaError, match=said):
            app.predict(other, parcels.row())


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
            with parcels.opened(tmp_path, model) as app, pytest.raises(SchemaError) as caught:
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
    replaced = pytest.raises(SchemaError, match="version 1 are not those that were registered")
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


# files from elsewhere -------------------------------------------------------------------------------


def graph(inputs, nodes, outputs, **constants):
    """Return an ONNX file."""
    made = helper.make_graph(
        nodes,
        "g",
        inputs,
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString()


def tensor(name, width, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, [None, width])


def linear(width, outputs, *, end="Sigmoid"):
    """Return a graph of one matrix: null as 0, a product, and what ends it."""
    weights = np.linspace(-0.3, 0.5, width * outputs).reshape(width, outputs).astype(np.float32)
    nodes = [
        helper.make_node("IsNaN", ["X"], ["null"]),
        helper.make_node("Where", ["null", "zero", "X"], ["known"]),
        helper.make_node("MatMul", ["known", "W"], ["product"]),
        helper.make_node(end, ["product"], ["scores"]),
    ]
    given = {"W": weights, "zero": np.zeros(1, np.float32)}
    return graph([tensor("X", width)], nodes, [tensor("scores", outputs)], **given)


def by_column():
    """Return a graph with an input per column, one of them text, that gives a label and probabilities."""
    nodes = [
        helper.make_node(
            "OneHotEncoder",
            ["parcel_shop"],
            ["shop"],
            domain="ai.onnx.ml",
            cats_strings=["ann", "bob"],
            zeros=1,
        ),
        helper.make_node("Reshape", ["shop", "shape"], ["flat"]),
        helper.make_node("Concat", ["flat", "parcel_items"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "W"], ["product"]),
        helper.make_node("Softmax", ["product"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    weights = np.array([[0.1, 0.5, -0.2], [0.3, -0.4, 0.2], [0.2, -0.1, 0.05]], np.float32)
    inputs = [tensor("parcel_shop", 1, TensorProto.STRING), tensor("parcel_items", 1)]
    outputs = [label, tensor("probabilities", 3)]
    return graph(inputs, nodes, outputs, W=weights, shape=np.array([-1, 2], np.int64))


def narrow(label, **more):
    """Return a model of numbers only, whose versions come from elsewhere."""
    return parcels.model(None, label, features=[parcels.of_shop], **more)


TWO = [parcels.parcel["shop"], parcels.parcel["items"]]


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (narrow("late"), linear(2, 1)),
        (narrow("late"), linear(2, 2, end="Softmax")),
        (narrow("minutes"), linear(2, 1, end="Identity")),
        (narrow("state"), linear(2, 3, end="Softmax")),
        (narrow("stars", groups="route", metrics=["ndcg@5"]), linear(2, 1)),
        (parcels.model(None, "state", features=TWO), by_column()),
    ],
)
def test_an_onnx_file_is_registered_measured_promoted_and_served(model, data, tmp_path):
    (tmp_path / "theirs.onnx").write_bytes(data)
    with parcels.opened(tmp_path / "home", model) as app:
        version = app.register(model, tmp_path / "theirs.onnx")
        app.promote(model, version.number)
        run = app.runs.get(version.run_id)
        assert (run.status, run.params["file"]) == ("done", "theirs.onnx")
        rows = [
            parcels.row(place, shop=shop, items=place)
            for place, shop in enumerate(["ann", "zoe", None, "bob"])
        ]
        answers = [ask(app, row) for row in rows]
        for answer in answers:
            check_shape(model, answer)
        assert app.skew(model).mismatches == 0
        app.ingest("parcels", rows)
        app.process()
        at = app.clock.now()
        batch = app.score(model, at - HOUR, at + HOUR)
        by_row = dict(zip(batch.row, batch.score.tolist(), strict=True))
        assert {answer["prediction_id"].split("/")[1]: answer["score"] for answer in answers} == by_row
        package = app.versions.get(model, version.number).package
        dataset = app.dataset(model)
        whole = package.predictor.predict(dict(dataset.columns))
        for place in range(0, len(whole), 50):
            one = {name: item.take(np.array([place])) for name, item in dataset.columns.items()}
            assert package.predictor.predict(one).tobytes() == whole[place : place + 1].tobytes()


def outside():
    """Return a graph whose weights lie in a file elsewhere."""
    found = onnx.load_model_from_string(linear(2, 1))
    weights = found.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")
    weights.ClearField("raw_data")
    return found.SerializeToString()


REFUSED = {
    "no graph": (narrow("late"), b"not a graph", "is not a valid ONNX file"),
    "other columns": (
        narrow("late"),
        linear(3, 1),
        r'input "X" has shape \[None, 3\], and the model has 2 columns',
    ),
    "another number of classes": (
        narrow("state"),
        linear(2, 2, end="Softmax"),
        "gives 2 probabilities, and the classes",
    ),
    "several numbers for one": (
        narrow("minutes"),
        linear(2, 3),
        "has 3 columns, and a model that is regression",
    ),
    "text in a matrix": (
        parcels.model(None, features=TWO),
        linear(2, 1),
        "parcel.shop is text. Give it one input",
    ),
    "weights elsewhere": (narrow("late"), outside(), '"W" lies in another file'),
    "other names": (narrow("late"), by_column(), "Name its inputs after the columns"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_onnx_file_that_does_not_fit_is_refused_and_leaves_no_run(case, tmp_path):
    model, data, said = REFUSED[case]
    (tmp_path / "theirs.onnx").write_bytes(data)
    with parcels.opened(tmp_path / "home", model) as app:
        with pytest.raises(DefinitionError, match=said):
            app.register(model, tmp_path / "theirs.onnx")
        assert app.runs.list(model.name) == []
        assert app.registry.versions(model.name) == []


def test_what_is_registered_is_a_model_file_and_what_is_trained_has_an_estimator(tmp_path):
    model = narrow("late")
    (tmp_path / "theirs.pkl").write_bytes(b"\x80\x05.")
    with parcels.opened(tmp_path / "home", model) as app:
        with pytest.raises(DefinitionError, match="is no model file by its name"):
            app.register(model, tmp_path / "theirs.bin")
        with pytest.raises(SchemaError, match=r"is a pickle.*it was not opened"):
            app.register(model, tmp_path / "theirs.pkl")
        with pytest.raises(DefinitionError, match="cannot be read: No such file"):
            app.register(model, tmp_path / "gone.onnx")
        with pytest.raises(DefinitionError, match=r"has no estimator to fit.*app.register\(model, path\)"):
            app.train(model)


def test_a_file_that_learned_from_the_rows_it_is_tested_on_does_not_pass(tmp_path):
    model = narrow("late")
    (tmp_path / "theirs.onnx").write_bytes(linear(2, 1))
    with parcels.opened(tmp_path / "home", model) as app:
        version = app.register(model, tmp_path / "theirs.onnx", trained_until=parcels.NOW - timedelta(days=3))
        with pytest.raises(GateFailed, match="among them rows it is tested on"):
            app.promote(model, version.number)


def test_a_version_that_is_not_there_is_said_so(tmp_path):
    model = narrow("late")
    with parcels.opened(tmp_path, model) as app, pytest.raises(NotFound, match="in production"):
        app.predict(model, parcels.row())


def test_the_same_file_under_another_name_is_another_version(tmp_path):
    model = narrow("late")
    (tmp_path / "theirs.onnx").write_bytes(linear(2, 1))
    with parcels.opened(tmp_path / "home", model) as app:
        numbers = [app.register(model, tmp_path / "theirs.onnx").number for _ in range(2)]
        assert numbers == [1, 2]
        with pytest.raises(Conflict):
            app.blobs.put(app.registry.get(model.name, 1).artefact, {"a": b"1"})
