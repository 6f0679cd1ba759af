"""Mirrors and imports from the command line."""

import json
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenfold import Platform
from tenfold.cli import cli
from tests.examples import bare
from tests.unit.cli_project import start, wait_for

PROJECT = """
from pathlib import Path

from tenfold import Platform
from tenfold.automation.memory import MemoryMirror
from tenfold.core.errors import SchemaError, Unavailable
from tests.examples.bare import project


class Moody(MemoryMirror):
    mood = Path(__file__).with_name("mood")

    def run(self, copy):
        mood = self.mood.read_text()
        if mood == "away":
            raise Unavailable("nobody there.")
        if mood == "picky" and copy.run.id == "r0001":
            raise SchemaError("not this one.")
        super().run(copy)


platform = Platform(mirrors=[Moody("moody")])
"""


@pytest.fixture
def place(tmp_path, request):
    """A folder with a home of three runs, and a project that names a mirror; each test its own module."""
    (tmp_path / f"{request.node.name}.py").write_text(PROJECT)
    (tmp_path / "mood").write_text("fine")
    with bare.project.open(Platform(home=tmp_path / "home")) as app:
        for title in ("a", "b", "c"):
            with app.track(title) as run:
                run.log("auc", 0.5)
    yield tmp_path
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def project(place: Path) -> str:
    return str(next(place.glob("*.py")))


def call(place, verb, *args):
    return CliRunner().invoke(cli, [verb, project(place), *args, "--home", str(place / "home")])


def test_mirror_sends_and_says_what_is_behind(place):
    looked = json.loads(call(place, "mirror", "--look", "--json").stdout)["mirrors"][0]
    assert (looked["mirror"], looked["sent"], looked["behind"]["runs"]) == ("moody", 0, 3)
    sent = call(place, "mirror", "--json")
    assert sent.exit_code == 0
    found = json.loads(sent.stdout)["mirrors"][0]
    assert (found["sent"], set(found["behind"].values()), found["problem"]) == (3, {0}, "")
    (mirror,) = sys.modules[Path(project(place)).stem].platform.mirrors
    assert len(mirror.shown().runs) == 3
    assert "moody" in call(place, "mirror").stdout


def test_a_mirror_that_is_away_gives_75_and_what_is_behind(place):
    (place / "mood").write_text("away")
    result = call(place, "mirror", "--json")
    assert result.exit_code == 75
    found = json.loads(result.stdout)["mirrors"][0]
    assert (found["problem"], found["behind"]["runs"]) == ("nobody there.", 3)
    (place / "mood").write_text("fine")
    assert call(place, "mirror").exit_code == 0


def test_what_is_refused_is_told_until_it_is_taken(place):
    (place / "mood").write_text("picky")
    result = call(place, "mirror")
    assert result.exit_code == 1
    assert "run r0001" in result.stdout
    assert "not this one." in result.stdout
    assert call(place, "mirror").exit_code == 1
    (place / "mood").write_text("fine")
    assert call(place, "mirror", "--again").exit_code == 0


def test_a_project_without_a_mirror_is_told_what_to_write(tmp_path):
    with bare.project.open(Platform(home=tmp_path / "home")):
        pass
    result = CliRunner().invoke(cli, ["mirror", bare.__file__, "--home", str(tmp_path / "home")])
    assert result.exit_code == 2
    assert (
        "names no mirror. Write in it, for example: platform = Platform(mirrors=[MLflowMirror("
        in result.stderr
    )


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_following_sends_what_is_new_until_it_is_told_to_stop(place, kind):
    process = start("mirror", project(place), "--home", str(place / "home"), "--follow")
    wait_for(process, "moody: sent 3")
    with bare.project.open(Platform(home=place / "home")) as app, app.track("new"):
        pass
    wait_for(process, "moody: sent 1")
    process.send_signal(kind)
    assert process.wait(60) == 0
    process.stderr.close()


@pytest.mark.slow
def test_run_sends_to_the_mirrors_too(place):
    process = start("run", project(place), "--home", str(place / "home"), "--port", "18573")
    wait_for(process, "moody: sent 3")
    process.send_signal(signal.SIGINT)
    assert process.wait(100) == 0
    assert "mirror stopped" in process.stderr.read()
    process.stderr.close()


def test_an_unknown_adapter_gets_the_nearest_one(place):
    result = call(place, "import", "mlfow", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert 'no adapter "mlfow". Did you mean "mlflow"?' in result.stderr


def test_import_takes_runs_over_once(place, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: pip install 'tenfold[mlflow]'")
    from tenfold.adapters.mlflow.client import client

    url = f"file://{place}/mlruns"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    theirs = client(url)
    for status in ("FINISHED", "RUNNING"):
        run_id = theirs.create_run(theirs.create_experiment(status), start_time=1_000).info.run_id
        if status == "FINISHED":
            theirs.set_terminated(run_id, status, 2_000)
    first, second = (call(place, "import", "mlflow", url) for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout.splitlines()[0] == "took over 1 run and 0 versions; 0 were here already"
    assert 'of "RUNNING" is RUNNING: import it again when it has ended' in first.stdout
    assert second.stdout.splitlines()[0] == "took over 0 runs and 0 versions; 1 were here already"
    only = json.loads(call(place, "import", "mlflow", url, "FINISHED", "--json").stdout)
    assert only == {"runs": [], "versions": [], "known": 1, "notes": []}
    wrong = call(place, "import", "mlflow", url, "FINISH")
    assert wrong.exit_code == 3
    assert 'Did you mean "FINISHED"?' in wrong.stderr
