"""What deliveries are tried with: an empty home, and a service that takes answers; a shop that commands are tried on."""

import pytest

from tests.unit.delivering import Place
from tests.unit.downstream import Downstream


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    yield found
    found.close()


@pytest.fixture
def downstream():
    server = Downstream().start()
    yield server
    server.released.set()
    server.stop()


@pytest.fixture(scope="session")
def shop_with_history(tmp_path_factory):
    from tests.unit import cli_project  # here, as it loads LightGBM

    folder = tmp_path_factory.mktemp("shop")
    cli_project.build(folder)
    return folder
