"""ONNX files that were trained elsewhere: registered, measured, promoted and served, or refused where they do not fit."""

from datetime import timedelta

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tenfold.core.errors import Conflict, DefinitionError, GateFailed, NotFound, SchemaError
from tenfold.core.times import UNITS
from tests.examples import parcels
from tests.examples.parcels import ask, check_shape

HOUR = UNITS["h"]


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
        assert "trained elsewhere" in package.manifest.evaluation["learning_curve"]["why"]
        dataset = app.dataset(model)
        whole = package.predictor.predict(dict(dataset.columns))
        for place in range(0, len(whole), 50):
            one = {name: item.take(np.array([place])) for name, item in dataset.columns.items()}
            assert package.predictor.predict(one).tobytes() == whole[place : place + 1].tobytes()


def test_a_file_may_know_a_class_that_never_occurred(tmp_path):
    (tmp_path / "theirs.onnx").write_bytes(linear(2, 4, end="Softmax"))
    model = narrow("state")
    with parcels.opened(tmp_path / "home", model) as app:
        named = ["broken", "fine", "lost", "stolen"]
        version = app.register(model, tmp_path / "theirs.onnx", classes=named)
        manifest = app.versions.package(model, version.number).manifest
    assert manifest.classes == named
    assert [item["rows"] for item in manifest.evaluation["classes"]][3] == 0
    assert (
        'no row to learn from and no row to test on is of class "stolen"' in manifest.evaluation["warnings"]
    )


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
