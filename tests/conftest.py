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
def address(request, tmp_path):
    """Where an empty state database is, as `states.opened` takes it."""
    if request.param == "sqlite":
        return str(tmp_path / "state.db")
    return states.fresh(request.getfixturevalue("postgres").url)
