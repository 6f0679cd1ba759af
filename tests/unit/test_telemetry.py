"""How fresh states are is measured beside the work, whatever the database does meanwhile."""

import pytest

from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.monitoring.telemetry import HOUR, SCHEMA, Telemetry
from tenfold.sources.base import Batch
from tenfold.sources.sqlite import SQLiteDatabase
from tests.states import locked


class Still(VirtualClock):
    """A clock on which no time passes."""

    def elapsed(self):
        return 60_000_000


@pytest.fixture
def state(tmp_path):
    found = SQLiteDatabase(tmp_path / "state.db", SCHEMA)
    yield found
    found.close()


def batches(took, arrival=0, now=0):
    return [Batch("visits", base, 1, arrival, now - us, b"") for base, us in enumerate(took)]


def test_quantiles_are_of_the_batches_that_arrived_in_some_hours(state):
    clock = Still(0)
    measured, now = Telemetry(state, clock), clock.elapsed()
    measured.fresh(batches([1_000] * 98 + [2_040, 30_000], HOUR - 1, now))
    measured.fresh(batches([7_000, -1], HOUR, now))
    assert measured.freshness_ms(0, HOUR) == {"p50": 1.0, "p99": 2.0, "max": 30.0}
    assert measured.freshness_ms(HOUR, 2 * HOUR) == {"p50": 7.0, "p99": 7.0, "max": 7.0}
    assert measured.freshness_ms(2 * HOUR, 3 * HOUR) == {}
    measured.close()
    again = Telemetry(state, clock)
    again.fresh(batches([7_000], HOUR, now))
    again.flush()
    assert [tuple(row) for row in state.query("SELECT us, n FROM fresh WHERE hour = 1")] == [(7_000, 2)]
    again.close()


def test_what_was_measured_while_the_database_is_locked_is_stored_later(state, tmp_path):
    clock = SystemClock()
    measured = Telemetry(state, clock)
    with locked(tmp_path / "state.db"):
        begun = clock.elapsed()
        measured.fresh(batches([1_000, 2_000], now=begun))
        assert clock.elapsed() - begun < 1_000_000, "who measures waited"
    measured.close()
    assert [row["n"] for row in state.query("SELECT n FROM fresh")] == [1, 1]
