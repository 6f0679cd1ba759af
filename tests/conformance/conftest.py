"""Spark, where it is installed, is started once."""

import pytest

from tests.conformance import spark_there


@pytest.fixture(scope="session")
def spark():
    """A running Spark; skips, saying why, where it is missing."""
    session = spark_there.started()
    yield session
    session.stop()
