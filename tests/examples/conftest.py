"""Homes that are made once and copied by the tests that change them."""

import pytest

from tests.examples import bare, rolling
from tests.examples.served import serving


@pytest.fixture(scope="session")
def rolling_built(tmp_path_factory):
    home = tmp_path_factory.mktemp("rolling")
    rolling.build(home)
    return home


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Return the port of a process that serves the small project, and gives a request five seconds to come in."""
    folder = tmp_path_factory.mktemp("served")
    bare.build(folder)
    with serving(folder, timeout=5) as found:
        yield found
