"""A package that an extra brings and that is not there: what to type, and what doctor finds."""

import json
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenfold.cli import cli
from tenfold.cli.extras import EXTRAS, is_there
from tenfold.cli.loading import load
from tenfold.core.errors import DefinitionError, MissingExtra

DECLARED = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


def test_the_extras_are_those_of_pyproject():
    declared = DECLARED["project"]["optional-dependencies"]
    assert {extra: len(modules) for extra, modules in EXTRAS.items()} == {
        extra: len(packages) for extra, packages in declared.items() if extra != "dev"
    }


@pytest.mark.parametrize(
    ("line", "module", "extra"),
    [
        ("from lightgbm import LGBMClassifier", "lightgbm", "lightgbm"),
        ("import sklearn as sk", "sklearn", "sklearn"),
        ("import xgboost", "xgboost", "xgboost"),
    ],
)
def test_a_file_whose_package_is_missing_says_what_to_type(tmp_path, monkeypatch, line, module, extra):
    path = tmp_path / f"needs_{module}.py"
    path.write_text(f"x = 1\n{line}\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("sys.path", sys.path.copy())
    said = f'"{path}" imports {module}, which needs an extra package. Run: pip install "tenfold[{extra}]"'
    with pytest.raises(MissingExtra) as error:
        load(str(path))
    assert (str(error.value), error.value.__notes__) == (said, [f"       {path}, line 2"])
    told = CliRunner().invoke(cli, ["models", str(path), "--home", str(tmp_path)])
    assert (told.exit_code, told.stderr) == (2, f"error: {said}\n       {path}, line 2\n")
    asked = ["doctor", str(path), "--home", str(tmp_path), "--port", "0", "--json"]
    found = {item["check"]: item for item in json.loads(CliRunner().invoke(cli, asked).stdout)["checks"]}
    assert found["project"] == {"check": "project", "ok": False, "found": said, "fix": "Install it."}


def test_any_other_module_is_named_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", sys.path.copy())
    path = tmp_path / "needs_ours.py"
    path.write_text("import ours_alone\n")
    with pytest.raises(DefinitionError) as error:
        load(str(path))
    assert str(error.value) == (
        f"\"{path}\" cannot be imported: ModuleNotFoundError: No module named 'ours_alone'."
    )


def test_doctor_names_the_extras_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr("tenfold.cli.doctor.EXTRAS", {"sklearn": (), "mlflow": (), "examples": ()})
    monkeypatch.setattr("tenfold.cli.doctor.is_there", lambda extra: extra == "sklearn")
    result = CliRunner().invoke(cli, ["doctor", "--home", str(tmp_path), "--port", "0", "--json"])
    (found,) = [item for item in json.loads(result.stdout)["checks"] if item["check"] == "extras"]
    assert found == {"check": "extras", "ok": True, "found": "sklearn; not there: mlflow", "fix": ""}


def test_an_extra_is_there_when_all_its_packages_are(monkeypatch):
    monkeypatch.setattr(
        "tenfold.cli.extras.EXTRAS",
        {"a": ("json",), "b": ("json", "no_such_module"), "c": ("no_such_module.part",)},
    )
    assert [is_there(extra) for extra in "abc"] == [True, False, False]
