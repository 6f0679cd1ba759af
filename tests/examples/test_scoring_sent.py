"""What a batch sends downstream: each row once, by whichever partition it was scored, and all of it when it is scored again."""

from datetime import timedelta

import pytest

from tenfold import Project, Release
from tenfold.automation import scoring
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS, to_us
from tenfold.serving import batch
from tenfold.serving.answer.predictions import PredictionLog
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


class Killed(BaseException):
    pass


def killed_after_a_piece(app, monkeypatch):
    """Score a day whose rows go downstream in pieces of four, and die between the first and the second."""
    monkeypatch.setattr(batch, "PIECE", 4)
    put, pieces = PredictionLog.copy, []

    def copy(log, rows, *, key):
        pieces.append(key)
        if len(pieces) == 2:
            raise Killed
        put(log, rows, key=key)

    with monkeypatch.context() as patched:
        patched.setattr(PredictionLog, "copy", copy)
        with pytest.raises(Killed):
            app.score(NAME, FIRST, FIRST + DAY)
    app.database.execute("UPDATE journal_run SET lease_end = 0")  # as if its process were gone


def test_every_row_is_sent_when_others_scored_some_again_between_two_pieces(home, monkeypatch):
    with opened(home, PROJECT) as app:
        killed_after_a_piece(app, monkeypatch)
        gone = app.lake.read("scores").sort_by("at")["row_id"].to_pylist()[1]
        placed = tiny.START + timedelta(hours=241)
        later = (tiny.START + timedelta(days=40)).isoformat()
        order = tiny.order(order_id=gone, due=later, placed=placed.isoformat())
        app.ingest("orders", order, history=True)
        app.flush()
        app.score(NAME, FIRST, FIRST + 4 * HOUR, every="4h", again=True, by="bob")  # has a row less
        app.score(NAME, FIRST, FIRST + DAY)
        sent(app)
        there = set(app.lake.read("decisions")["prediction_id"].to_pylist())
        stored = set(app.lake.read("scores")["prediction_id"].to_pylist())
        assert (len(stored), stored - there) == (11, set())


def test_a_run_that_an_older_release_began_sends_what_it_had_not(home, monkeypatch):
    with opened(home, PROJECT) as app:
        killed_after_a_piece(app, monkeypatch)
        app.database.execute("DELETE FROM journal_step WHERE name LIKE 'answer %'")  # it had none
        app.score(NAME, FIRST, FIRST + DAY)
        assert sent(app) == (12, 12, 12)


def test_a_row_is_sent_when_the_process_died_between_storing_and_sending(home, monkeypatch):
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
