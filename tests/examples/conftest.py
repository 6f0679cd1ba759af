"""Homes that are made once and copied by the tests that change them."""

import pytest

from tests.examples import rolling


@pytest.fixture(scope="session")
def rolling_built(tmp_path_factory):
    home = tmp_path_factory.mktemp("rolling")
    rolling.build(home)
    return home
