"""Where MLflow's tests work: its own store of files in `make test`, a started server with the slow tests."""

import uuid

import pytest

from tests.contracts import mlflow_there as there
from tests.examples import tiny

SERVED = pytest.param("server", marks=pytest.mark.slow)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    program, why = there.command()
    if program is None:
        pytest.skip(why)
    started = there.Server(tmp_path_factory.mktemp("mlflow"), program).start()
    yield started.url
    started.kill()


@pytest.fixture(params=["files", SERVED])
def url(request, tmp_path, monkeypatch):
    """A place of MLflow's; its stores of files look at more than they are asked, by this variable."""
    if request.param == "server":
        return request.getfixturevalue("server")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.chdir(tmp_path)
    return f"file://{tmp_path}/mlruns"


@pytest.fixture
def name():
    """An experiment, and a prefix of models, that no other test has."""
    return f"x{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home = tmp_path_factory.mktemp("tiny") / "home"
    tiny.build(home)
    return home
