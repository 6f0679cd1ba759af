"""How often a property is tried: in `make test` with a third of the histories that `make test-all` generates for it.

Each run generates others, so what many runs have tried is the same.
"""

import os

from hypothesis import settings

SHARE = 1 if os.environ.get("TENFOLD_TEST_ALL") else 3


def tried(times: int) -> settings:
    """Return how a property of which `times` histories say enough is tried."""
    return settings(max_examples=-(-times // SHARE), deadline=None)
