"""A home that the user of a command may only read."""

import os
import shutil
import subprocess
import sys

import pytest

from tenfold import Platform, VirtualClock
from tests.examples import bare
from tests.unit.cli_project import ROOT

AS_ANYBODY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner", "--inh-caps", "-all"]
"""Takes from root what lets it write everywhere."""


@pytest.fixture
def home(tmp_path):
    with bare.project.open(Platform(home=tmp_path / "home", clock=VirtualClock(bare.ASK_AT))) as app:
        app.process()
    (tmp_path / "home/running").mkdir()
    (tmp_path / "home/running/lock").touch()
    paths = [tmp_path / "home", *(tmp_path / "home").rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield tmp_path / "home"
    for path in paths:
        path.chmod(0o755)


@pytest.mark.parametrize(("verb", "name"), [("status", "state.db"), ("worker", "running/lock")])
def test_it_is_told_with_what_to_do(home, verb, name):
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and setpriv is not there")
    command = [
        sys.executable,
        "-m",
        "tenfold.cli",
        verb,
        str(ROOT / "tests/examples/bare.py"),
        "--home",
        str(home),
    ]
    done = subprocess.run(
        [*(AS_ANYBODY if os.geteuid() == 0 else []), *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f'error: this user may not write "{home}/{name}", which belongs to {home.owner()}. Be that user, have all of the home given '
        "to this one (chown -R), or choose another home: --home PATH."
    )
