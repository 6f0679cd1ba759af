"""Files of versions: changed, missing, forged or of types that nobody trusts, none is opened."""

import msgspec
import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor

from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.training.formats import engine_from, skops
from tenfold.training.formats.base import Context
from tenfold.training.package import MANIFEST, Manifest, load
from tests.examples import parcels
from tests.unit.every_estimator import LIGHT, TABLE, opened
from tests.unit.own_estimators import Evil, Leastsq


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("home")) as found:
        yield found


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


def test_a_type_of_ones_own_must_be_trusted_when_it_is_trained_and_when_it_is_loaded(made):
    estimator, label, _ = TABLE["a step of one's own"]
    with pytest.raises(DefinitionError, match=r"holds tests.unit.own_estimators.Clip.*trusted=\['tests"):
        made.fit(parcels.model(estimator, label))
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


@pytest.mark.parametrize(("format_", "file"), [("xgboost", "model.ubj"), ("lightgbm", "model.txt")])
def test_what_a_library_says_of_a_file_that_is_none_is_one_line(format_, file):
    context = Context("binary", {"v.x": "float"}, {})
    with pytest.raises(SchemaError, match=f"^{file}: no {format_} model can be made of them: .*$") as told:
        engine_from(format_, {file: b"\x01no model" * 20}, context)
    assert "\n" not in str(told.value)
