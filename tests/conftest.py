"""Where the state of a project is kept in tests: embedded, and on a Postgres that is started once."""

import pytest

from tests import postgres_there, states


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
