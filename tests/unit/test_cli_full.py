"""A disk that is full, or may only be read, when a command starts."""

import json
import shutil
import subprocess
import sys
from functools import partial

import pytest

from tenfold import Platform, VirtualClock
from tests.examples import bare
from tests.unit.cli_project import ROOT

WRITING = """
import sys
from pathlib import Path
from tenfold.store.lmdb import LMDBOnlineStore
LMDBOnlineStore(Path(sys.argv[1])).write({b"key": bytes(1_000_000)}, {})
"""
NAMED = "import sys; from pathlib import Path; from tenfold.automation.homes import own_id; own_id(Path(sys.argv[1]))"
INSIDE = ["unshare", "--map-root-user", "--mount"]
"""Runs a command that may mount a disk of its own, which is gone with it."""
MADE = 'mount -t tmpfs -o size=8m tmpfs "$1" && cp -r "$2" "$1/home" && '
FILLED = '! cat /dev/zero > "$1/rest" 2> /dev/null && '
ONLY_READ = 'mount -o remount,ro "$1" && '


@pytest.fixture
def on_disk(tmp_path):
    """Return what runs a command on a home on a disk that something was done with, and its path."""
    if shutil.which("unshare") is None or subprocess.run([*INSIDE, "true"], check=False).returncode:
        pytest.skip("unshare is not there, or not allowed")
    with bare.project.open(Platform(home=tmp_path / "home", clock=VirtualClock(bare.ASK_AT))) as app:
        app.process()
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(done, *given):
        script = f'{MADE}{done}shift 2 && exec "$@"'
        command = ["sh", "-c", script, "sh", disk, tmp_path / "home", sys.executable, *given]
        return subprocess.run(
            [*INSIDE, *command], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
        )

    return run, disk / "home"


def asked(verb, home, *options):
    return ["-m", "tenfold.cli", verb, ROOT / "tests/examples/bare.py", "--home", home, *options]


@pytest.fixture
def on_full_disk(on_disk):
    run, home = on_disk
    return partial(run, FILLED), home


def test_a_command_says_what_has_no_room_and_is_to_be_tried_again(on_full_disk):
    run, home = on_full_disk
    for verb, said in (
        ("status", f'database "{home}/state.db" cannot grow: the disk is full. Nothing was changed.'),
        ("worker", f'"{home}/running" cannot be written: the disk is full.'),
    ):
        done = run(*asked(verb, home))
        assert done.stderr.splitlines()[-1] == f"error: {said} Make room and try again."
        assert done.returncode == 75


def test_doctor_prints_all_that_it_found(on_full_disk):
    run, home = on_full_disk
    done = run(*asked("doctor", home, "--port", "0", "--json"))
    assert done.stderr == ""
    found = {item["check"]: item["found"] for item in json.loads(done.stdout)["checks"] if not item["ok"]}
    assert found["disk"] == "0.0 GB free"
    assert "the disk is full" in found["clock"]


def test_states_that_have_no_room_are_told_too(on_full_disk):
    run, home = on_full_disk
    done = run("-c", WRITING, home / "online")
    assert done.stderr.splitlines()[-1].endswith(
        f'DiskFailed: "{home}/online" cannot be written: the disk is full. Make room and try again.'
    )


def test_a_home_that_cannot_be_given_a_name_is_told_too(on_full_disk):
    run, home = on_full_disk
    done = run("-c", NAMED, home)
    assert done.stderr.splitlines()[-1].endswith(
        f'DiskFailed: "{home}/id" cannot be written: the disk is full. Make room and try again.'
    )


FIX = "A disk with errors becomes so: see the system's log, make it writable and try again."


def test_a_command_says_that_the_disk_may_only_be_read(on_disk):
    run, home = on_disk
    for verb, said in (
        (
            "status",
            f'database "{home}/state.db" cannot be written: the disk may only be read. Nothing was changed.',
        ),
        ("worker", f'"{home}/running" cannot be written: the disk may only be read.'),
    ):
        done = run(ONLY_READ, *asked(verb, home))
        assert done.stderr.splitlines()[-1] == f"error: {said} {FIX}"
        assert done.returncode == 75


def test_doctor_prints_all_that_it_found_where_the_disk_may_only_be_read(on_disk):
    run, home = on_disk
    done = run(ONLY_READ, *asked("doctor", home, "--port", "0", "--json"))
    assert (done.stderr, done.returncode) == ("", 1)
    found = {item["check"]: item for item in json.loads(done.stdout)["checks"] if not item["ok"]}
    assert found["home"] == {
        "check": "home",
        "ok": False,
        "found": f"{home} cannot be written: the disk may only be read",
        "fix": FIX,
    }
    assert "the disk may only be read" in found["clock"]["found"]
