"""A whole project with its state on Postgres: trained, promoted, served, rolled back, by two people and from the command line."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tenfold import Platform
from tenfold.adapters.postgres.database import GLANCE
from tenfold.core.clock import VirtualClock
from tenfold.core.times import UNITS
from tests import states
from tests.examples import bare
from tests.examples.asked import Asked

ROOT = Path(__file__).parents[2]
PROJECT = """
from tenfold import Platform
from tests import states
from tests.examples.bare import project

platform = Platform(state=states.state({address!r}))
"""
PERSON = """
import sys
from tenfold import Platform
from tests import states
from tests.examples import bare

home, address, name = sys.argv[1:]
with bare.project.open(Platform(home=home, state=states.state(address))) as app:
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(5):
        with app.track(f"{name} {turn}", params={"turn": turn}) as run:
            run.log("loss", turn)
            run.note(name, by=name)
"""


@pytest.fixture
def address(postgres):
    return states.fresh(postgres.url)


def test_a_project_lives_on_postgres(address, tmp_path):
    platform = Platform(home=tmp_path, clock=VirtualClock(bare.ASK_AT), state=states.state(address))
    with bare.project.open(platform) as app:
        bare.load(app)
        app.process()
        first, second = app.train("late_order"), app.train("late_order", as_of=bare.NOW)
        app.promote("late_order", first.number, by="ann")
        before = app.predict("late_order", bare.order())
        app.promote("late_order", second.number, by="ann")
        after = app.predict("late_order", bare.order(1))
        assert (before["version"], after["version"]) == (1, 2)
        assert app.rollback("late_order", why="errors rose", by="bob").version == 1
        assert app.predict("late_order", bare.order(2))["version"] == 1
        history = [(event.version, event.to_stage.value) for event in app.registry.history("late_order")]
        assert history[-2:] == [(2, "archived"), (1, "production")]
        assert app.show("late_order/1").document["history"][-1]["to"] == "production"
        assert [run.status for run in app.runs.list("late_order")] == ["done", "done"]
    assert not list(tmp_path.glob("state.db*")), "nothing of it is in the home"
    with bare.project.open(platform) as again:
        assert again.registry.production("late_order").number == 1


@pytest.mark.skipif(sys.platform != "linux", reason="which processes the server has is read from /proc")
def test_while_postgres_hangs_requests_are_refused_at_once(postgres, address, tmp_path):
    platform = Platform(home=tmp_path, clock=VirtualClock(bare.ASK_AT), state=states.state(address))
    with bare.project.open(platform) as app, closing(Asked(app.asgi())) as client:
        bare.load(app)
        app.process()
        app.promote("late_order", app.train("late_order").number)
        token = {"authorization": f"Bearer {app.tokens.create('shop', ['predict', 'admin'])}"}

        def ask(place):
            """Return the status of two routes, and in how many seconds they were answered."""
            begun = app.clock.elapsed()
            told = client.post("/predict", json=bare.order(place), headers=token), client.get("/health")
            return [answer.status_code for answer in told], (app.clock.elapsed() - begun) / UNITS["s"]

        assert ask(0)[0] == [200, 200]
        postgres.freeze()
        try:
            assert ask(1)[0] == [503, 200]
            for place in range(2, 5):
                told, seconds = ask(place)
                assert told == [503, 200]
                assert seconds < GLANCE / 2, "it waited again"
        finally:
            postgres.thaw()
        begun = app.clock.elapsed()
        while ask(5)[0] != [200, 200]:
            assert app.clock.elapsed() - begun < 30 * UNITS["s"]


def test_the_command_line_works_on_postgres(address, tmp_path):
    file = tmp_path / "project.py"
    file.write_text(PROJECT.format(address=address))

    def call(*arguments):
        command = [
            sys.executable,
            "-m",
            "tenfold.cli",
            *arguments,
            "--home",
            str(tmp_path / "home"),
            "--json",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.returncode, json.loads(done.stdout or done.stderr.splitlines()[-1])

    assert call("runs", "list", str(file)) == (0, {"runs": []})
    with bare.project.open(Platform(home=tmp_path / "other", state=states.state(address))) as app:
        app.runs.finish(app.runs.start("track", "tiny", params={}, data={}, code={}).id, metrics={"auc": 0.5})
    code, told = call("runs", "list", str(file))
    assert (code, [run["run"] for run in told["runs"]]) == (0, ["r0001"])


def test_doctor_tells_all_it_found_beside_what_postgres_refuses(postgres, tmp_path):
    address = f"{postgres.url.replace('/postgres?', '/nope?')}#bank"
    file = tmp_path / "project.py"
    file.write_text(PROJECT.format(address=address))
    command = [sys.executable, "-m", "tenfold.cli", "doctor", str(file), "--home", str(tmp_path), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = {item["check"]: item for item in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert 'CREATE DATABASE "nope"' in found["state"]["found"]
    assert [found["state"]["ok"], found["project"]["ok"], found["batch = online"]["ok"]] == [
        False,
        True,
        True,
    ]


def test_two_people_work_on_one_store(address, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    people = [
        subprocess.Popen([sys.executable, "-c", PERSON, str(tmp_path / name), address, name], **pipes)
        for name in ("ann", "bob")
    ]
    assert [person.stdout.readline() for person in people] == ["ready\n"] * 2
    for person in people:
        person.stdin.close()
    assert [person.wait() for person in people] == [0, 0]
    for person in people:
        person.stdout.close()
    with bare.project.open(Platform(home=tmp_path / "cho", state=states.state(address))) as app:
        runs = app.runs.list(limit=20)
        assert [run.id for run in runs] == [f"r{place:04}" for place in range(10, 0, -1)]
        told = {name: [run for run in runs if run.title.startswith(name)] for name in ("ann", "bob")}
        for name, mine in told.items():
            assert [run.metrics["loss"] for run in mine] == [4, 3, 2, 1, 0]
            notes = [note for run in mine for note in app.show(run).document["notes"]]
            assert {note["by"] for note in notes} == {name}
