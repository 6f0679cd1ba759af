"""Where tests write, and where the state of a project is kept in them: embedded, and on a Postgres that is started once."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests import postgres_there, states

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
"""Bytes; a run has a tenth of it at a time."""


def pytest_configure():
    """Let `make test` write to memory: what it kills is processes, never the machine, and half its time was `fsync`."""
    asked = {"TENFOLD_TEST_ALL", "TMPDIR"} & os.environ.keys()
    if not asked and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)  # the first is for the processes of the tests


@pytest.fixture(scope="session")
def postgres():
    """A running Postgres of our own; skips, saying why, where its programs are missing."""
    folder, why = postgres_there.programs()
    if folder is None:
        pytest.skip(why)
    server = postgres_there.Server(folder)
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def places(request, tmp_path):
    """What gives empty places for state databases, as `states.opened` takes them."""
    if request.param == "sqlite":
        return states.Folder(tmp_path)
    return states.Schemas(request.getfixturevalue("postgres").url)


@pytest.fixture
def address(places):
    """Where an empty state database may be."""
    return places()
