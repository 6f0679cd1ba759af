"""Runs whose process is gone: killed without a word, on this machine or another one."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tenfold import Platform
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict
from tenfold.core.times import UNITS
from tenfold.sources.owner import Process
from tenfold.tracking.runs import SCHEMA, Runs
from tests import states
from tests.examples import bare

ROOT = Path(__file__).parents[2]
HOUR = UNITS["h"]
TRYING = """
import os, signal, sys
from tenfold import Platform
from tests.examples import bare

with bare.project.open(Platform(home=sys.argv[1])) as app, app.track("deeper trees") as run:
    run.log("loss", 0.5)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def wall():
    return VirtualClock(10**15)


@pytest.fixture
def runs(address, wall):
    with ExitStack() as opened:
        database = states.opened(address, SCHEMA)
        opened.callback(database.close)
        yield Runs(database, VirtualClock(10), wall=wall)


def begin(runs, process):
    return runs.start("track", "fraud", params={}, data={}, code={}, process=process).id


def test_a_run_whose_process_was_killed_is_told_as_lost(tmp_path):
    done = subprocess.run([sys.executable, "-c", TRYING, str(tmp_path)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    command = [sys.executable, "-m", "tenfold.cli", "runs", "list", str(ROOT / "tests/examples/bare.py")]
    listed = subprocess.run(
        [*command, "--home", str(tmp_path), "--json"], cwd=ROOT, capture_output=True, text=True
    )
    (run,) = json.loads(listed.stdout)["runs"]
    assert (run["status"], run["metrics"]) == ("failed", {"loss": 0.5})
    assert run["error"].startswith("lost: process ")
    assert run["error"].endswith(" ended without closing it")
    with bare.project.open(Platform(home=tmp_path)) as app:
        assert app.runs.settle() == []
        with app.track("again") as mine:
            assert app.runs.settle() == []
        assert [(run.id, run.status) for run in app.runs.list()] == [(mine.id, "done"), ("r0001", "failed")]


def test_who_is_at_work_is_left_alone(runs):
    mine = begin(runs, Process.current())
    nobodys = begin(runs, None)
    assert runs.settle() == []
    assert [runs.get(run).status for run in (mine, nobodys)] == ["running", "running"]


def test_a_process_with_the_number_of_a_dead_one_is_another(runs):
    me = Process.current()
    run = begin(runs, Process(me.host, me.pid, me.birth - 1))
    assert runs.settle() == [run]
    assert runs.get(run).error == f"lost: process {me.pid} on {me.host} ended without closing it"
    assert runs.settle() == []
    with pytest.raises(Conflict, match="already failed"):
        runs.log(run, {"loss": 1.0})


def test_a_process_of_another_machine_is_given_up_after_an_hour_without_a_sign_of_life(runs, wall):
    run = begin(runs, Process("elsewhere", os.getpid(), 1))
    wall.set(wall.now() + HOUR)
    assert runs.settle() == []
    runs.alive(run)
    wall.set(wall.now() + HOUR)
    assert runs.settle() == []
    wall.set(wall.now() + 1)
    assert runs.settle() == [run]
    assert runs.get(run).error == (
        f"lost: process {os.getpid()} on elsewhere showed no sign of life since 2001-09-09T02:46:40+00:00"
    )
