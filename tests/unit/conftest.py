"""What deliveries are tried with: an empty home, and a service that takes answers."""

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
