"""The command line: its help, its errors and its exit codes."""

import json
import re
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tenfold.cli import COMMANDS, cli
from tenfold.cli.errors import report
from tenfold.core.clock import SharedClock, SystemClock
from tenfold.core.errors import (
    Conflict,
    DefinitionError,
    GateFailed,
    MissingExtra,
    NotFound,
    SchemaError,
    Unavailable,
)
from tenfold.core.times import to_us
from tests.unit.cli_project import NOW, ROOT, SHOP, folder_with_history, run, start, wait_for

place = pytest.fixture(scope="module")(folder_with_history)


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


# Help ---------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_imports_nothing_heavy():
    clock = SystemClock()
    began = clock.elapsed()
    told = python(
        "import sys\n"
        "from tenfold.cli import main\n"
        "sys.argv = ['tenfold', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print('loaded', *sys.modules)"
    )
    print(f"tenfold --help took {(clock.elapsed() - began) / 1e3:.0f} ms")  # noqa: T201 - shown with -s, not asserted
    shown, _, loaded = told.partition("loaded")
    assert [line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line] == list(
        COMMANDS
    )
    heavy = {"numpy", "pyarrow", "msgspec", "starlette", "rich", "tenfold.project"}
    assert heavy & set(loaded.split()) == set()


def test_a_command_is_imported_only_when_it_is_called():
    loaded = python(
        "import sys\nfrom tenfold.cli import cli\ncli.get_command(None, 'train')\nprint(*sys.modules)"
    ).split()
    assert "tenfold.cli.training" in loaded
    assert {"tenfold.cli.releases", "numpy", "tenfold.project"} & set(loaded) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert f"Usage: cli {name} [OPTIONS] " in result.stdout
    assert "PROJECT" in result.stdout


def test_import_tenfold_is_light():
    heavy = "pandas polars duckdb mlflow sklearn lightgbm pyarrow"
    loaded = python("import sys, tenfold\nfrom tenfold import *\ncol('a')\nprint(*sys.modules)")
    assert set(heavy.split()) & set(loaded.split()) == set()


# Errors and exit codes ----------------------------------------------------------------------------


def test_an_unknown_command_gets_the_nearest():
    result = CliRunner().invoke(cli, ["trian"])
    assert result.exit_code == 2
    assert result.stderr == (
        f'error: no command "trian". Did you mean "train"? Known: {", ".join(sorted(COMMANDS))}.\n'
        "help:  cli --help\n"
    )


@pytest.mark.parametrize(
    ("args", "code", "kind", "told"),
    [
        (["trian", "--json"], 2, "UsageError", 'no command "trian". Did you mean "train"?'),
        (["train", "--json", "--epochs", "3"], 2, "NoSuchOption", "No such option"),
        (["status", "nothing_here.py", "--json"], 3, "NotFound", "nothing_here.py"),
    ],
)
def test_an_error_is_one_object_where_json_is_asked_for(args, code, kind, told):
    result = CliRunner().invoke(cli, args)
    assert (result.exit_code, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    found = json.loads(line)
    assert found.keys() == {"error"}
    assert found["error"].keys() == {"type", "message"}
    assert found["error"]["type"] == kind
    assert told in found["error"]["message"]


def test_what_is_told_of_an_error_in_json_is_what_is_told_as_text(capsys):
    error = Unavailable("PROJECT.py: \x1b[2J é")
    error.add_note("a note")
    given = {"verbose": True, "project": "a b.py", "as_json": True}
    assert report(error, **given) == 75
    found = json.loads(capsys.readouterr().err)["error"]
    assert found.pop("traceback").startswith("tenfold.core.errors.Unavailable: ")
    assert found == {"type": "Unavailable", "message": "'a b.py': \x1b[2J é\na note"}


def test_nothing_asked_for_shows_the_help():
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: cli [OPTIONS] COMMAND [ARGS]...\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GateFailed("no"), 1),
        (DefinitionError("wrong"), 2),
        (SchemaError("wrong"), 2),
        (MissingExtra("this", "extra"), 2),
        (click.UsageError("wrong"), 2),
        (NotFound("run", "r1", []), 3),
        (Conflict("later"), 5),
        (Unavailable("later"), 75),
        (ZeroDivisionError("defect"), 101),
        (click.Abort(), 130),
    ],
)
def test_exit_codes(error, code, capsys):
    assert report(error) == code
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (
            ["train", "late_deliver"],
            3,
            'no model "late_deliver". Did you mean "late_delivery"? Known: late_delivery.',
        ),
        (["promote", "late_delivery", "9"], 3, 'no version "9" in model "late_delivery".'),
        (["runs show", "r0009"], 3, 'no run "r0009". Did you mean "r0002"? Known: r0001, r0002.'),
        (["runs compare", "r0001", "late_delivery/9"], 3, 'no version "9" in model "late_delivery".'),
        (["runs show", "late_delivery/x"], 3, 'no version "x" in model "late_delivery". Known: 1, 2.'),
        (["runs note", "r0009", "x"], 3, 'no run "r0009". Did you mean "r0002"? Known: r0001, r0002.'),
        (["runs", "--reads", "order@1"], 3, 'no source "order". Did you mean "orders"?'),
        (
            ["runs", "--reads", "orders@x"],
            2,
            '"x" is no version of a table. Write for example --reads orders@3.',
        ),
        (["models show", "late_delivery", "9"], 3, 'no version "9" in model "late_delivery".'),
        (["runs show", "late_delivery/²"], 3, 'no version "²" in model "late_delivery". Known: 1, 2.'),
        (["runs show", "../x"], 3, 'no run "../x". Known: r0001, r0002.'),
        (["runs", "--limit", "-1"], 2, "Invalid value for '--limit'"),
        (
            ["runs show", "r0001", "--html", "none/x.html"],
            2,
            '"none/x.html" cannot be written: No such file or directory.',
        ),
        (["models rebuild", "late_delivery", "9"], 3, 'no version "9" in model "late_delivery".'),
        (["models show", "late_delivery", "9" * 30], 3, f'no version "{"9" * 30}" in model "late_delivery".'),
        (["runs", "--best", "roc_acu"], 3, 'no metric "roc_acu" in these runs. Did you mean "roc_auc"?'),
        (["runs show", "r\x1b[31m\u202e9"], 3, 'no run "r\ufffd[31m\ufffd9". Known: r0001, r0002.'),
        (
            ["models register", "late_delivery", "a\0.onnx"],
            2,
            '"a\ufffd.onnx" cannot be read: embedded null byte',
        ),
        (
            ["runs shwo", "r0001"],
            2,
            'no command "shwo". Did you mean "show"? Known: compare, list, note, show.',
        ),
        (["rejects", "order"], 3, 'no source "order". Did you mean "orders"? Known: deliveries, orders.'),
        (["score", "late_delivery", "--start", "x", "--end", "y"], 2, '"x" is not a date or time.'),
        (["score", "late_delivery"], 2, "Missing option '--start'."),
        (
            ["score", "late_delivery", "--start", "2024-02-01", "--end", "2024-03-01"],
            2,
            "the period is not over: it ends at 2024-03-01T00:00:00+00:00, and now is 2024-02-10T00:00:00+00:00.",
        ),
        *(
            (
                [*verb, "--start", "2024-02-02", "--end", "2024-02-01"],
                2,
                "the period ends at 2024-02-01T00:00:00+00:00, which is not after its start 2024-02-02T00:00:00+00:00.",
            )
            for verb in (["score", "late_delivery"], ["replay"], ["monitor"], ["skew"])
        ),
        (
            ["replay", "--start", "2024-02-01", "--end", "2199-01-01"],
            2,
            "a replay runs history, and its end 2199-01-01T00:00:00+00:00 is after the present.",
        ),
        (
            ["predict", "late_delivery", "row.json"],
            2,
            "the row is not JSON: JSON is malformed: invalid character (byte 0). "
            'Write it like {"field": "value"}. To read a file: - < row.json',
        ),
        (["predict", "late_delivery", "{"], 2, "the row is not JSON: Input data was truncated."),
        (
            ["predict", "late_delivery", "{}"],
            2,
            'the row does not fit source "orders": "order_id" is missing',
        ),
        (["features", "late_delivery", "[]"], 2, 'the row does not fit source "orders": a row is'),
    ],
)
def test_errors_are_one_line_on_stderr(place, args, code, message):
    result = run(place, *args)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.splitlines()[0].startswith(f"error: {message}")
    assert "Traceback" not in result.stderr


def test_a_place_without_a_project_is_not_made_by_looking(tmp_path):
    result = run(tmp_path, "status")
    assert result.exit_code == 2
    assert result.stderr == (
        f'error: there is nothing at "{tmp_path}/home" yet. Run tenfold ingest {SHOP} SOURCE FILE first, '
        "or say where the project lives: --home PATH.\n"
    )
    assert not (tmp_path / "home").exists()


def test_a_mistake_in_the_project_is_told_before_a_home_that_is_missing(tmp_path):
    result = CliRunner().invoke(cli, ["status", "nothing_here.py", "--home", str(tmp_path / "home")])
    assert result.exit_code == 3
    assert result.stderr.startswith('error: no file "nothing_here.py" in folder "."')


def test_a_project_file_cannot_have_the_name_of_a_module_that_is_built_in(tmp_path):
    file = tmp_path / "time.py"
    file.write_text("")
    result = CliRunner().invoke(cli, ["status", str(file), "--home", str(tmp_path / "home")])
    assert result.exit_code == 2
    assert result.stderr == (
        f'error: "{file}" cannot be imported as "time", because that is the name of a module of Python or a package. '
        "Rename the file.\n"
    )


def test_training_on_nothing_says_what_to_do(tmp_path):
    SharedClock(tmp_path / "clock").set(to_us(NOW))
    result = run(tmp_path, "train")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        'error: model "late_delivery": source "orders" has no rows in the lake yet. Ingest some: tenfold ingest.'
    )


BROKEN = """
import dataclasses
from tenfold import Model, Project, Release
from tests.examples.shop import late_delivery

class Estimator:
    def fit(self, X, y, **_):
        {body}

fields = {{item.name: getattr(late_delivery, item.name) for item in dataclasses.fields(Model) if item.init}}
project = Project("broken", releases=[Release(Model(**(fields | {{"estimator": Estimator()}})))])
"""


def test_a_defect_is_told_in_one_line(capsys):
    report(ZeroDivisionError("no idea"))
    told = "error: internal error, ZeroDivisionError: no idea. Run it again with -v to see where.\n"
    assert capsys.readouterr().err == told


def test_an_estimator_that_raises_is_told_in_one_line_and_traced_when_asked(place, tmp_path):
    file = tmp_path / "broken_estimator.py"
    file.write_text(BROKEN.format(body="raise ValueError('no idea')"))
    args = ["train", str(file), "--home", str(place / "home"), "--clock", str(place / "clock")]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 2
    assert re.fullmatch(
        r'error: model "late_delivery" cannot be fitted on \d+ rows: ValueError: no idea',
        result.stderr.splitlines()[-1],
    )
    assert "Traceback" not in result.stderr
    traced = CliRunner().invoke(cli, [*args, "-v"])
    assert traced.exit_code == 2
    assert "Traceback" in traced.stderr
    assert "broken_estimator.py" in traced.stderr


def test_interrupted_is_130(place, tmp_path):
    file = tmp_path / "endless_estimator.py"
    body = "import sys, threading; print('fitting', file=sys.stderr, flush=True); threading.Event().wait()"
    file.write_text(BROKEN.format(body=body))
    process = start("train", str(file), "--home", str(place / "home"), "--clock", str(place / "clock"))
    wait_for(process, "fitting")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr.read().splitlines()[-1] == "interrupted"
    process.stderr.close()
