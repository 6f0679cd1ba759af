"""Delivery as processes and as a command, with the storage of a home on disk."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from tenfold import Platform, Project, Release
from tenfold.cli import cli
from tenfold.core.clock import SystemClock
from tenfold.processing.batches import to_tables
from tenfold.serving.answer.predictions import PredictionLog
from tenfold.sources.lake import DeltaLake
from tenfold.sources.log import SQLiteLog
from tests.examples import bare
from tests.unit.delivering import Place, answers, names

PROJECT = """
from tenfold import Project, Release
from tests.examples.bare import late_order

project = Project("tiny", releases=[Release(late_order, to=["topic:decisions", "table:decisions", "{url}"])])
"""


def start(folder):
    command = [sys.executable, "-m", "tenfold.cli", "deliver", str(folder / "delivering.py"), "--follow"]
    return subprocess.Popen([*command, "--home", str(folder)], stderr=subprocess.PIPE, text=True)


def test_a_process_that_is_killed_again_and_again_loses_nothing(tmp_path, downstream):
    (tmp_path / "delivering.py").write_text(PROJECT.format(url=downstream.url))
    clock = SystemClock()
    with Project("tiny", releases=[Release(bare.late_order)]).open(
        Platform(home=tmp_path, clock=clock)
    ) as app:
        kept, sent = app.predictions, 0
        for round_ in range(2):
            process = start(tmp_path)
            for _ in range(15):
                kept.write(answers(*names(sent, sent + 5), model="late_order"), key=str(sent))
                sent += 5
            assert downstream.wait_for(sent - 40 * (round_ < 1))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stderr.close()
    with Project(
        "tiny", releases=[Release(bare.late_order, to=["topic:decisions", "table:decisions", downstream.url])]
    ).open(Platform(home=tmp_path, clock=clock)) as app:
        for delivery in app.deliveries:
            delivery.send()
        wanted = names(0, sent)
        assert list(dict.fromkeys(downstream.ids())) == wanted
        assert (
            to_tables(app.log.read("decisions", 0, limit=10_000)).column("prediction_id").to_pylist()
            == wanted
        )
        assert app.lake.read("decisions").column("prediction_id").to_pylist() == wanted
    parts = dict(downstream.posts)
    assert all(parts[name] == rows for name, rows in downstream.posts)


def test_the_storage_on_disk(tmp_path):
    place = Place(tmp_path)
    place.log, place.lake = SQLiteLog(tmp_path / "log.db", place.clock), DeltaLake(tmp_path / "lake")
    place.kept = PredictionLog(place.log)
    place.answer(*names(0, 10))
    for address in ("topic:decisions", "table:decisions"):
        assert place.delivery(address).send() == 10
    assert place.topic() == place.table() == names(0, 10)
    place.log.close()
    place.close()


def call(folder, verb, *args, file="delivering.py"):
    return CliRunner().invoke(cli, [verb, str(folder / file), *args, "--home", str(folder)])


def test_the_command_line_says_what_waits_and_what_was_refused(tmp_path, downstream, monkeypatch):
    (tmp_path / "delivering.py").write_text(PROJECT.format(url=downstream.url))
    monkeypatch.syspath_prepend(tmp_path)
    with Project("tiny", releases=[Release(bare.late_order)]).open(Platform(home=tmp_path)) as app:
        app.predictions.write(answers("a", "b", model="late_order"), key="k")
    look = call(tmp_path, "deliver", "--look", "--json")
    assert look.exit_code == 0
    assert [item["waiting"] for item in json.loads(look.stdout)["places"]] == [2, 2, 2]
    downstream.statuses = [503, 403]
    away = call(tmp_path, "deliver", "--json")
    assert away.exit_code == 75
    found = json.loads(away.stdout)["places"]
    assert [item["sent"] for item in found] == [2, 2, 0]
    assert "answered 503" in found[2]["problem"]
    refused = call(tmp_path, "deliver", "--to", downstream.url)
    assert refused.exit_code == 1
    assert "2 answers refused" in refused.stdout
    status = call(tmp_path, "status")
    assert "topic:decisions: nothing waits" in status.stdout
    assert f"{downstream.url}: nothing waits, 2 answers were refused: it answered 4" in status.stdout
    places = json.loads(call(tmp_path, "status", "--json").stdout)["deliveries"]
    assert list(places[2]["refused"].values()) == [2]
    again = call(tmp_path, "deliver", "--to", downstream.url, "--again", "--json")
    assert (again.exit_code, json.loads(again.stdout)["places"][0]["sent"]) == (0, 2)
    hidden = call(tmp_path, "deliver", "--to", f"{downstream.url}/x?key=hidden")
    assert hidden.exit_code == 3
    assert f'no place "{downstream.url}/x".' in hidden.stderr
    assert "hidden" not in hidden.stderr
    assert call(tmp_path, "deliver", "--to", f"{downstream.url}?key=hidden").exit_code == 0
    wrong = call(tmp_path, "deliver", "--to", "topic:decision")
    assert wrong.exit_code == 3
    assert 'Did you mean "topic:decisions"' in wrong.stderr


def test_what_is_wrong_with_one_place_keeps_no_other_waiting(tmp_path, downstream, monkeypatch):
    wrong = downstream.url.replace("127.0.0.1", "localhost")
    places = [wrong, downstream.url, "topic:decisions"]
    (tmp_path / "one_wrong.py").write_text(
        PROJECT.replace('"topic:decisions", "table:decisions", "{url}"', str(places)[1:-1])
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TENFOLD_TOKEN_LOCALHOST", "tök")
    with Project("tiny", releases=[Release(bare.late_order)]).open(Platform(home=tmp_path)) as app:
        app.predictions.write(answers("a", "b", model="late_order"), key="k")
    downstream.statuses = [503]
    sent = call(tmp_path, "deliver", "--json", file="one_wrong.py")
    found = json.loads(sent.stdout)["places"]
    assert [(item["to"], item["sent"], item["waiting"]) for item in found] == [
        (wrong, 0, 2),
        (downstream.url, 0, 2),
        ("topic:decisions", 2, 0),
    ]
    problem = "TENFOLD_TOKEN_LOCALHOST holds characters that no header can. Set it again."
    assert [item["problem"] for item in found] == [problem, f"{downstream.url} answered 503: no thanks.", ""]
    assert sent.exit_code == 2
    assert "Traceback" in call(tmp_path, "deliver", "-v", file="one_wrong.py").stderr


def test_a_project_that_names_no_place_says_so(tmp_path):
    target = str(Path(__file__).parents[1] / "examples/bare.py")
    bare.project.open(Platform(home=tmp_path)).close()
    found = CliRunner().invoke(cli, ["deliver", target, "--home", str(tmp_path)])
    assert found.exit_code == 2
    assert 'for example: to=["topic:decisions"]' in found.stderr
