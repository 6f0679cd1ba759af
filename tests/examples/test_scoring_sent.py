"""What a batch sends downstream: each row once, by whichever partition it was scored, and all of it when it is scored again."""

from datetime import timedelta

import pytest

from tenfold import Project, Release
from tenfold.automation import scoring
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS, to_us
from tests.examples import tiny
from tests.unit.tiny_home import opened, own_copy, two_versions

built = pytest.fixture(scope="module")(two_versions)
NAME = tiny.late_order.name
FIRST = to_us(tiny.START + timedelta(days=10))
DAY, HOUR = UNITS["d"], 3_600_000_000
PROJECT = Project("tiny", releases=[Release(tiny.late_order, to=["table:decisions"])])


@pytest.fixture
def home(built, tmp_path):
    return own_copy(built, tmp_path)


def sent(app):
    """Return how many rows are sent, and how many different ones there are downstream."""
    (delivery,) = app.deliveries
    app.flush()
    count = delivery.send()
    names = app.lake.read("decisions")["prediction_id"].to_pylist()
    assert len(names) >= len(set(names))
    return count, len(names), len(set(names))


def test_partitions_that_overlap_send_a_row_once(home):
    with opened(home, PROJECT) as app:
        app.score(NAME, FIRST + 6 * HOUR, FIRST + 18 * HOUR, every="4h")
        assert sent(app) == (6, 6, 6)
        app.score(NAME, FIRST, FIRST + DAY)
        assert sent(app) == (6, 12, 12)
        app.score(NAME, FIRST + 6 * HOUR, FIRST + 10 * HOUR, every="2h")
        assert sent(app) == (0, 12, 12)
        app.score(NAME, FIRST + 6 * HOUR, FIRST + 10 * HOUR, every="2h", again=True)
        assert sent(app)[0] == 2, "what is scored again is sent again, under the same ids"


def test_a_row_is_sent_when_the_process_died_between_storing_and_sending(home, monkeypatch):
    class Killed(BaseException):
        pass

    def dying(*given, **how):
        raise Killed

    with opened(home, PROJECT) as app:
        app.score(NAME, FIRST + 6 * HOUR, FIRST + 18 * HOUR, every="4h")
        assert sent(app)[0] == 6
        monkeypatch.setattr(scoring, "send", dying)
        with pytest.raises(Killed):
            app.score(NAME, FIRST, FIRST + DAY)
        monkeypatch.undo()
        assert sent(app)[0] == 0
    with opened(home, PROJECT) as app:
        app.database.execute("UPDATE journal_run SET lease_end = 0")  # as if its process were gone
        app.score(NAME, FIRST, FIRST + DAY)
        assert sent(app) == (6, 12, 12)


@pytest.mark.parametrize("every", ["1d", "6h", "5d"])
def test_a_row_is_sent_when_sending_failed_and_it_is_asked_for_again(home, monkeypatch, every):
    def failing(*given, **how):
        raise Unavailable("the log is locked. It is safe to retry.")

    with opened(home, PROJECT) as app:
        with monkeypatch.context() as patched:
            patched.setattr(scoring, "send", failing)
            with pytest.raises(Unavailable):
                app.score(NAME, FIRST, FIRST + DAY)
        app.score(NAME, FIRST, FIRST + DAY, every=every)
        assert sent(app) == (12, 12, 12)
        app.score(NAME, FIRST, FIRST + DAY, every=every)
        assert sent(app) == (0, 12, 12)
