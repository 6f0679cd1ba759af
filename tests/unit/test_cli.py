"""The command line: what it prints where, its exit codes, how its processes end."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tenfold import Platform
from tenfold.automation import supervise
from tenfold.automation.supervise import Supervisor
from tenfold.cli import COMMANDS, cli
from tenfold.cli.errors import report
from tenfold.cli.output import numbers
from tenfold.cli.selftest import compare
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
from tenfold.monitoring.report import drift
from tenfold.serving.predictions import ONLINE, read
from tests.examples import shop

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "tests/examples/shop.py")
NOW = "2024-02-10"
ROW = {
    "order_id": "n1",
    "customer": "c0",
    "item": "sofa",
    "amount": 20,
    "placed": "2024-02-09T00:00:00+00:00",
    "ships": "2024-02-10T00:00:00+00:00",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shop that has history, two versions, batch scores and an online prediction."""
    folder = tmp_path_factory.mktemp("shop")
    SharedClock(folder / "clock").set(to_us(NOW))
    sources = zip(("orders", "deliveries"), ("placed", "delivered"), shop.history(), strict=True)
    for name, moment, rows in sources:
        known = [row for row in rows if to_us(row[moment]) < to_us(NOW)]
        (folder / f"{name}.ndjson").write_text("\n".join(json.dumps(row, default=str) for row in known))
        assert ask(folder, "ingest", name, str(folder / f"{name}.ndjson"), "--history")["rejected"] == 0
    for number in (1, 2):
        assert ask(folder, "train")["version"] == number
        assert ask(folder, "promote", "late_delivery", str(number), "--by", "ann")["stage"] == "production"
    ask(folder, "score", "late_delivery", "--start", "2024-01-20", "--end", NOW)
    ask(folder, "predict", "late_delivery", json.dumps(ROW), "--key", "k1")
    return folder


def run(place: Path, verb: str, *args: str, text: str | None = None) -> Result:
    options = ["--home", str(place / "home"), "--clock", str(place / "clock")]
    return CliRunner().invoke(cli, [verb, SHOP, *args, *options], input=text)


def ask(place: Path, verb: str, *args: str) -> dict:
    result = run(place, verb, *args, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def start(*args: str, **options) -> subprocess.Popen:
    """Start tenfold as a process of its own."""
    command = [sys.executable, "-m", "tenfold.cli", *args]

    def hear_interrupts():  # a shell that runs the tests in the background has them ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=hear_interrupts, **options
    )


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
        (["rebuild", "r0009"], 3, 'no run "r0009". Did you mean "r0002"? Known: r0001, r0002.'),
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
        f'error: there is nothing at "{tmp_path}/home" yet. Run tenfold ingest PROJECT.py SOURCE FILE first, '
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


def test_a_defect_is_told_in_one_line_and_traced_when_asked(place, tmp_path):
    file = tmp_path / "broken_estimator.py"
    file.write_text(BROKEN.format(body="raise ValueError('no idea')"))
    args = ["train", str(file), "--home", str(place / "home"), "--clock", str(place / "clock")]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 101
    assert result.stderr.splitlines()[-1] == (
        "error: internal error, ValueError: no idea. Run it again with -v to see where."
    )
    assert "Traceback" not in result.stderr
    traced = CliRunner().invoke(cli, [*args, "-v"])
    assert traced.exit_code == 101
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


# Reading ------------------------------------------------------------------------------------------


def test_status_counts_what_is_where(place):
    found = ask(place, "status")
    topics = {item["topic"]: item for item in found["topics"]}
    deliveries = topics["deliveries"]
    assert deliveries["log"] == deliveries["states"] == deliveries["lake"] > 300
    assert topics["orders"]["states"] is None
    assert found["production"] == {"late_delivery": 2}
    assert (found["last_decision"]["decision"], found["last_decision"]["by"]) == ("promoted", "ann")
    text = run(place, "status").stdout
    assert "Production of late_delivery: version 2, from run r0002" in text


def test_runs_and_models(place):
    runs = ask(place, "runs")["runs"]
    assert [run["run"] for run in runs if run["status"] == "done"] == ["r0002", "r0001"]
    found = ask(place, "models", "--history")
    assert [(item["version"], item["stage"]) for item in found["versions"]] == [
        (1, "archived"),
        (2, "production"),
    ]
    assert [(item["version"], item["to"]) for item in found["history"]][-2:] == [
        (1, "archived"),
        (2, "production"),
    ]
    assert "history" not in ask(place, "models", "late_delivery")
    assert "staging to production" in run(place, "models", "--history").stdout


def test_audit_filters(place):
    assert len(ask(place, "audit")["decisions"]) == 2
    one = ask(place, "audit", "--subject", "late_delivery/1")["decisions"]
    assert [item["subject"] for item in one] == ["late_delivery/1"]
    assert ask(place, "audit", "--kind", "rollback")["decisions"] == []


def test_predict_is_idempotent_and_reads_stdin(place):
    first = ask(place, "predict", "late_delivery", json.dumps(ROW), "--key", "k1")
    assert (first["version"], first["as_of"]) == (2, "2024-02-10T00:00:00+00:00")
    result = run(place, "predict", "late_delivery", "-", "--key", "k1", text=json.dumps(ROW))
    assert f"score {first['score']:.4f}, decision yes" in result.stdout


def test_features_are_those_that_were_served(place):
    found = ask(place, "features", "late_delivery", json.dumps(ROW), "--at", NOW)
    assert list(found["features"]) == list(shop.late_delivery.columns)
    with shop.project.open(Platform(home=place / "home", clock=SharedClock(place / "clock"))) as app:
        served = read(app.lake, "late_delivery", ONLINE, 0, 2**61)
    numbers = [value for value in found["features"].values() if not isinstance(value, str)]
    places = [i for i, kind in enumerate(shop.late_delivery.columns.values()) if kind != "str"]
    assert served.features[0][places].tolist() == numbers
    assert found["ages_s"]["of_customer"] > 0


def test_monitor_shows_weeks_and_drift_by_rank(place):
    found = ask(place, "monitor", "--window", "14d")
    weeks, drifted = found["weeks"], found["drift"]
    assert [week["start"][:10] for week in weeks] == ["2024-01-15", "2024-01-22", "2024-01-29"]
    assert sum(week["rows"] for week in weeks) == 160, (
        "20 January to the last instant before 5 February, ten a day"
    )
    assert set(weeks[0]["metrics"]) == {"roc_auc", "log_loss"}
    assert drifted["rows"] == 140, "fourteen days in batch; the online one is as of the end"
    scores = [row["score"] for row in drifted["features"] if "unimportant" not in row["verdict"]]
    assert scores == sorted(scores, reverse=True)
    assert "Drift of 140 predictions by version 2" in run(place, "monitor", "--window", "14d").stdout


def test_drift_without_predictions_has_no_verdict(place):
    with shop.project.open(Platform(home=place / "home", clock=SharedClock(place / "clock"))) as app:
        found = drift(app.lake, app.versions.production(shop.late_delivery), 0, 1)
    assert found.rows == 0
    assert {row["verdict"] for row in found.features} == {"no data"}


def test_rebuild_gives_the_same_bytes(place):
    assert ask(place, "rebuild", "r0001") == {"run": "r0001", "model": "late_delivery", "same": True}


def test_rejects_count_reasons_and_show_rows(tmp_path):
    SharedClock(tmp_path / "clock").set(to_us(NOW))
    file = tmp_path / "orders.ndjson"
    file.write_text(
        "\n".join(
            json.dumps(ROW | {"order_id": str(i), "amount": amount}) for i, amount in enumerate([5, -1, -2])
        )
    )
    result = run(tmp_path, "ingest", "orders", str(file))
    assert result.exit_code == 0
    assert result.stdout == "orders: 1 row stored, 2 set aside\n"
    assert '2 of 3 rows of source "orders" were set aside: not true: amount > 0 (2).' in result.stderr
    found = ask(tmp_path, "rejects", "orders")
    assert found["counts"] == [{"source": "orders", "reason": "not true: amount > 0", "rows": 2}]
    assert [row["row"]["amount"] for row in found["rows"]] == [-2, -1]
    assert ask(tmp_path, "rejects")["rows"] == []
    assert '"order_id":"2"' in run(tmp_path, "rejects", "orders").stdout


def test_an_ingest_of_which_nothing_fits_exits_with_1_and_counts_its_reasons(tmp_path):
    SharedClock(tmp_path / "clock").set(to_us(NOW))
    file = tmp_path / "orders.ndjson"
    file.write_text("\n".join(json.dumps(ROW | {"amount": amount}) for amount in (-1, "2", -2)))
    result = run(tmp_path, "ingest", "orders", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "source": "orders",
        "stored": 0,
        "rejected": 3,
        "reasons": {"not true: amount > 0": 2, '"amount" is text, not a number': 1},
    }


def test_a_period_in_which_nothing_was_served_is_told(place):
    period = ["--start", "2001-01-01", "--end", "2001-01-02"]
    for verb in (["score", "late_delivery"], ["skew"]):
        result = run(place, *verb, *period)
        assert result.exit_code == 0
        assert result.stdout == "late_delivery: nothing was served in this period\n"


def test_a_version_with_a_metric_that_could_not_be_computed_is_listed(tmp_path):
    clock = SharedClock(tmp_path / "clock")
    info = {"metrics": {"roc_auc": float("nan"), "log_loss": 0.5}}
    with shop.project.open(Platform(home=tmp_path / "home", clock=clock)) as app:
        app.registry.register("late_delivery", run_id="r0001", digest="d", artefact="a", info=info)
    assert ask(tmp_path, "models")["versions"][0]["metrics"] == {"roc_auc": None, "log_loss": 0.5}
    assert "roc_auc \N{EN DASH}, log_loss 0.5000" in run(tmp_path, "models").stdout


def test_metrics_that_could_not_be_computed_are_a_dash():
    found = numbers({"roc_auc": None, "log_loss": float("nan"), "rmse": 0.5})
    assert found == "roc_auc \N{EN DASH}, log_loss \N{EN DASH}, rmse 0.5000"


def test_json_is_all_that_is_on_stdout(place):
    result = run(place, "rebuild", "r0002", "--json")
    assert json.loads(result.stdout)["same"] is True
    assert "train late_delivery again" in result.stderr


# Deciding -----------------------------------------------------------------------------------------


def test_skew_is_found(place, tmp_path):
    assert ask(place, "skew")["mismatches"] == 0
    with shop.project.open(Platform(home=place / "home", clock=SharedClock(place / "clock"))) as app:
        served = read(app.lake, "late_delivery", ONLINE, 0, 2**61).take(np.array([0]))
        served.features[0, 0] = np.nextafter(served.features[0, 0], np.inf)
        served.id[:] = ["tampered"]
        app.predictions.write(served, key="tampered")
    result = run(place, "skew", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "model": "late_delivery",
        "rows": 2,
        "values": 12,
        "mismatches": 1,
        "features": {"this_order.amount": 1},
    }


def test_a_gate_says_no_and_rollback_goes_back(place):
    file = place / "strict.py"
    file.write_text(
        "from tenfold import Project, Release, checks\n"
        "from tests.examples.shop import late_delivery\n"
        "release = Release(late_delivery, gates=[checks.at_least('roc_auc', 0.999)])\n"
        "project = Project('strict', releases=[release])\n"
    )
    number = str(ask(place, "train")["version"])
    options = ["--home", str(place / "home"), "--clock", str(place / "clock")]
    refused = CliRunner().invoke(cli, ["promote", str(file), "late_delivery", number, *options])
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"error: late_delivery version {number} was refused: roc_auc 0.")
    assert ", at least 0.999 needed (test rows: " in refused.stderr
    assert ask(place, "rollback", "late_delivery", "--why", "errors rose")["version"] == 1
    assert ask(place, "status")["production"] == {"late_delivery": 1}
    nothing = run(place, "rollback", "late_delivery")
    assert nothing.exit_code == 3
    assert nothing.stderr == (
        'error: no earlier production version of model "late_delivery". '
        "Promote another version: tenfold promote PROJECT.py late_delivery NUMBER.\n"
    )
    again = run(place, "promote", "late_delivery", "1")
    assert (again.exit_code, again.stdout) == (0, "late_delivery version 1 is already in production\n")


def test_a_replay_does_not_touch_a_home_with_a_version_in_production(place):
    args = ["--start", "2024-02-01", "--end", "2024-02-10", "--home", str(place / "home")]
    decisions = ask(place, "audit")
    result = CliRunner().invoke(cli, ["replay", SHOP, *args])
    assert result.exit_code == 2
    number = ask(place, "status")["production"]["late_delivery"]
    assert result.stderr == (
        f'error: "{place}/home" has late_delivery version {number} in production, and a replay would write history\'s '
        "decisions there. Copy the home and name the copy, or name a new one: --home PATH. To replay here all the same, "
        "for example to go on with a replay: --yes.\nhelp:  cli replay --help\n"
    )
    assert ask(place, "audit") == decisions


def test_replay_trains_the_first_version_and_tells_every_day(place, tmp_path):
    for name in ("orders", "deliveries"):
        file = str(place / f"{name}.ndjson")
        args = ["ingest", SHOP, name, file, "--history", "--home", str(tmp_path / "home")]
        assert CliRunner().invoke(cli, args).exit_code == 0
    args = ["--start", "2024-02-01", "--end", "2024-02-10", "--home", str(tmp_path / "home")]
    result = CliRunner().invoke(cli, ["replay", SHOP, *args, "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [day["day"] for day in found["days"]] == [f"2024-02-0{day}" for day in range(1, 10)]
    assert (found["scored"], found["production"]) == (90, 1)
    assert "week of 2024-02-08 (2) ..." in result.stderr
    again = CliRunner().invoke(cli, ["replay", SHOP, *args, "--yes"])
    assert again.exit_code == 0, again.stderr


def test_doctor_is_content_and_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(cli, ["doctor", SHOP, "--home", str(tmp_path), "--port", "0", "--json"])
    found = {item["check"]: item for item in json.loads(result.stdout)["checks"]}
    assert found["batch = online"]["found"] == "0 of 175 values differ"
    assert found["project"]["found"] == "shop: 2 sources, 3 views, 1 model"
    assert result.exit_code == 0
    wrong = CliRunner().invoke(cli, ["doctor", "nothing.py", "--home", str(tmp_path), "--port", "0"])
    assert wrong.exit_code == 1
    assert "no file" in wrong.stdout


def test_the_self_test_can_fail(monkeypatch):
    monkeypatch.setattr("tenfold.cli.selftest._bits", lambda value, valid: object())
    values, differing = compare()
    assert values == differing == 175


# Processes ----------------------------------------------------------------------------------------


def wait_for(process: subprocess.Popen, text: str) -> None:
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f'the process ended without saying "{text}"')


def test_a_worker_moves_what_is_left_into_the_lake_when_it_is_told_to_stop(tmp_path):
    clock = SharedClock(tmp_path / "clock")
    clock.set(to_us(NOW))
    process = start("worker", SHOP, "--home", str(tmp_path / "home"), "--clock", str(tmp_path / "clock"))
    wait_for(process, "processing shop")
    with shop.project.open(Platform(home=tmp_path / "home", clock=clock)) as app:
        app.ingest("orders", [ROW])
        process.terminate()
        assert process.wait(60) == 0
        assert app.lake.position("orders", "log") == 1
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_cleanly(place, kind):
    port = free_port()
    options = ["--home", str(place / "home"), "--port", port]
    process = start("serve", SHOP, *options)
    wait_for(process, f"serving shop on http://127.0.0.1:{port}")
    process.send_signal(kind)
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_supervised_process_ends_with_the_one_that_started_it(place):
    options = ["--home", str(place / "home"), "--clock", str(place / "clock"), "--supervised"]
    process = start("controller", SHOP, *options, stdin=subprocess.PIPE)
    wait_for(process, "watching shop")
    process.stdin.close()
    assert process.wait(60) == 0
    process.stderr.close()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_a_port_in_use_is_told(place):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = run(place, "serve", "--port", port)
    assert result.exit_code == 75
    assert result.stderr == (
        f"error: port {port} is used by another process. Stop it, or choose another one with --port.\n"
    )


WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]
DIES = [sys.executable, "-c", "raise SystemExit(7)"]


def test_the_supervisor_restarts_what_dies_and_stops_the_rest_in_order(monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    told: list[str] = []

    def stopped() -> bool:
        return sum("ended" in line for line in told) == 3 and told[-1].startswith("b started")

    Supervisor({"a": WAITS, "b": DIES, "c": WAITS}, SystemClock(), tell=told.append).run(stopped)
    words = [" ".join(line.split()[:2]) for line in told]
    assert words == [
        "a started",
        "b started",
        "c started",
        *["b ended", "b started"] * 3,
        "c stopped",
        "b stopped",
        "a stopped",
    ]
    pauses = [line.partition("again in ")[2] for line in told if "ended with code 7" in line]
    assert pauses == ["0.05 s", "0.1 s", "0.2 s"]


def test_the_supervisor_kills_what_does_not_end(monkeypatch, tmp_path):
    monkeypatch.setattr(supervise, "GRACE", 200_000)
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    deaf = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(ready)!r}, 'w').close(); sys.stdin.read()"
    )
    told: list[str] = []
    child = supervise.Child("deaf", [sys.executable, "-c", deaf], SystemClock(), told.append)
    child.look()
    assert ready.read_bytes() == b"", "returns when the child has opened its end"
    child.stop()
    assert told[-1] == "deaf stopped"
    pid = int(told[0].split()[-1].rstrip(")"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
def test_run_keeps_three_processes_going(place):
    options = ["--home", str(place / "home"), "--clock", str(place / "clock"), "--port", free_port()]
    process = start("run", SHOP, *options)
    pids = {}
    for line in process.stderr:
        name, _, rest = line.partition(" started (process ")
        if rest:
            pids[name] = int(rest.strip(" )\n"))
        if "processing shop" in line:
            break
    os.kill(pids["worker"], signal.SIGKILL)
    wait_for(process, "worker ended with code -9; it starts again in 0.5 s")
    wait_for(process, "worker started")
    wait_for(process, "processing shop")
    process.send_signal(signal.SIGINT)
    assert process.wait(100) == 0
    ends = [line.split()[0] for line in process.stderr if "stopped" in line]
    assert ends == ["server", "controller", "worker"]
    process.stderr.close()
