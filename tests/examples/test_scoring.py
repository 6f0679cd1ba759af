"""Batch scoring: partitions that are answered once, replaced whole, and go on where a process died."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tenfold import Project, Release
from tenfold.core.errors import Conflict, DefinitionError, Unavailable
from tenfold.core.times import UNITS, to_us
from tenfold.registry.rollouts import SHADOW as IN_SHADOW
from tenfold.serving import batch
from tenfold.serving.answer.predictions import BATCH, SCORES, SHADOW, read
from tenfold.training.watch import Unwatched
from tests.examples import tiny
from tests.unit.tiny_home import opened, own_copy, two_versions

built = pytest.fixture(scope="module")(two_versions)
NAME = tiny.late_order.name
FIRST, END = to_us(tiny.START + timedelta(days=10)), to_us(tiny.START + timedelta(days=15))
DAY = UNITS["d"]


@pytest.fixture
def home(built, tmp_path):
    return own_copy(built, tmp_path)


def told(app, start=FIRST, end=END, mode=BATCH):
    """Return what is stored, as one comparable value."""
    found = read(app.lake, NAME, mode, start, end)
    return list(zip(found.id, found.row, found.on, found.version.tolist(), found.score.tolist(), strict=True))


def add(app, name, at, placed=tiny.START):
    """Have an order that is predicted at a moment, an hour before it is due."""
    due = (tiny.START + timedelta(microseconds=at - to_us(tiny.START), hours=1)).isoformat()
    app.ingest("orders", tiny.order(order_id=name, due=due, placed=placed.isoformat()), history=True)
    app.flush()


def test_a_period_is_answered_day_by_day_as_rows_are_one_by_one(home):
    with opened(home) as app:
        done = app.batch(NAME, FIRST, END)
        assert list(done.partitions) == [
            f"2024-05-{day}T00:00:00+00:00/2024-05-{day + 1}T00:00:00+00:00" for day in range(11, 16)
        ]
        assert (done.rows, done.versions) == (60, {"2": 60})
        answers = read(app.lake, NAME, BATCH, FIRST, END)
        assert done.decided == answers.decision.sum()
        assert done.mean == pytest.approx(answers.score.mean())
        assert (np.diff(answers.at) > 0).all()
        dataset = app.dataset(NAME)
        rows = dataset.select(FIRST, END)
        package = app.versions.get(tiny.late_order, 2).package
        one_by_one = [
            float(
                package.predictor.predict(
                    np.array([[item.numbers()[row] for item in dataset.columns.values()]])
                )[0]
            )
            for row in rows.tolist()
        ]
        assert answers.score.tolist() == one_by_one
        assert answers.row == [name.decode() for name in dataset.ids[rows]]
        assert answers.id[0] == f"{NAME}/{answers.row[0]}/{answers.at[0]}/batch"
        assert np.array_equal(answers.ages, dataset.ages(rows), equal_nan=True)


def test_a_period_may_be_one_partition_wherever_midnight_lies(home):
    start, end = FIRST + 5 * UNITS["h"], END + 5 * UNITS["h"]
    with opened(home) as app:
        done = app.batch(NAME, start, end, every=None)
        assert [part["rows"] for part in done.partitions.values()] == [done.rows] == [60]
        assert app.batch(NAME, start, end, every=None).rows == 60
        assert len(told(app, start, end)) == 60
        assert app.batch(NAME, END + 400 * DAY, END + 401 * DAY, every=None).partitions == {}


def test_pieces_give_what_one_piece_gives(home, monkeypatch):
    with opened(home) as app:
        app.score(NAME, FIRST, END)
        whole = read(app.lake, NAME, BATCH, FIRST, END)
        monkeypatch.setattr(batch, "PIECE", 7)
        app.score(NAME, FIRST, END, again=True)
        pieces = read(app.lake, NAME, BATCH, FIRST, END)
        assert pieces.score.tolist() == whole.score.tolist()
        assert pieces.features.tolist() == whole.features.tolist()
        assert pieces.id == whole.id


def test_the_first_answer_counts_until_the_partition_is_scored_again(home):
    with opened(home) as app:
        app.score(NAME, FIRST, END)
        first, version = told(app), app.lake.version(SCORES)
        app.rollback(NAME, why="a test")
        assert app.batch(NAME, FIRST - DAY, END).versions == {"2": 60, "1": 12}
        assert told(app) == first
        done = app.batch(NAME, FIRST, FIRST + DAY, again=True, by="ann")
        assert done.versions == {"1": 12}
        assert [item[3] for item in told(app)] == 12 * [1] + 48 * [2]
        assert told(app)[12:] == first[12:]
        (audit,) = app.audit.list(NAME, "score")
        assert (audit.decision, audit.by) == ("scored again", "ann")
        assert audit.why == "12 rows of 2024-05-11T00:00:00+00:00/2024-05-12T00:00:00+00:00, instead of 12"
        before = app.lake.read(SCORES, version=audit.evidence["before"]["table"])
        held = dict(zip(before["prediction_id"].to_pylist(), before["score"].to_pylist(), strict=True))
        assert {item[0]: item[4] for item in first}.items() <= held.items()
        assert version < audit.evidence["before"]["table"] < app.lake.version(SCORES)


def test_late_rows_are_picked_up_by_scoring_again_and_rows_that_are_gone_are_not_kept(home):
    with opened(home) as app:
        app.score(NAME, FIRST, END)
        first = told(app)
        add(app, "late", FIRST + 5)
        add(app, "o-125", END + 5, placed=tiny.START + timedelta(hours=246))  # leaves the period in time
        gone = next(item[0] for item in first if item[1] == "o-125")
        app.score(NAME, FIRST, END)
        assert told(app) == first
        app.score(NAME, FIRST, END, again=True)
        assert {item[0] for item in told(app)} == {item[0] for item in first} - {gone} | {
            f"{NAME}/late/{FIRST + 5}/batch"
        }


def test_a_partition_that_lost_all_rows_is_empty_when_it_is_scored_again(home):
    with opened(home) as app:
        add(app, "alone", END + 30 * DAY)
        assert app.batch(NAME, END + 30 * DAY, END + 31 * DAY).rows == 1
        add(app, "alone", END + 90 * DAY)
        assert app.batch(NAME, END + 30 * DAY, END + 31 * DAY).rows == 0
        assert len(told(app, END + 30 * DAY, END + 31 * DAY)) == 1
        done = app.batch(NAME, END + 30 * DAY, END + 31 * DAY, again=True)
        assert [part["before"]["rows"] for part in done.partitions.values()] == [1]
        assert told(app, END + 30 * DAY, END + 31 * DAY) == []


def test_partitions_that_overlap_hold_each_row_once_and_are_replaced_together(home):
    hour = UNITS["h"]
    with opened(home) as app:
        app.score(NAME, FIRST + 6 * hour, FIRST + 18 * hour, every="4h")
        some = told(app)
        assert len(some) == 6
        app.rollback(NAME, why="a test")
        for _ in ("added to what was there", "found"):
            done = app.batch(NAME, FIRST, FIRST + DAY)
            assert (done.rows, done.versions) == (12, {"1": 6, "2": 6})
            assert done.mean == pytest.approx(np.mean([item[4] for item in told(app)]))
        stored = app.lake.read(SCORES, columns=["prediction_id"])["prediction_id"].to_pylist()
        assert len(stored) == len(set(stored)) == 12
        assert set(some) <= set(told(app))
        app.score(NAME, FIRST + 3 * hour, FIRST + 9 * hour, again=True, every="1h")
        versions = {
            (item[3], FIRST + 3 * hour <= int(item[0].split("/")[2]) < FIRST + 9 * hour) for item in told(app)
        }
        assert versions == {(1, True), (1, False), (2, False)}
        assert len(told(app)) == 12


def test_a_period_that_overlaps_one_that_is_scored_now_is_refused(home):
    hour, tried = UNITS["h"], []
    with opened(home) as app:

        class Meanwhile(Unwatched):
            def advance(self, n=1, at=""):
                for again in (False, True):
                    with pytest.raises(Conflict, match="is being executed") as error:
                        app.score(NAME, FIRST + 6 * hour, FIRST + 18 * hour, every="4h", again=again)
                    tried.append(str(error.value))
                with pytest.raises(Conflict):
                    app.score(NAME, FIRST, FIRST + 12 * hour)
                assert app.batch(NAME, FIRST + 12 * hour, FIRST + DAY).rows == 6

        app.score(NAME, FIRST, FIRST + 12 * hour, watch=Meanwhile())
        assert "score late_order/2024-05-11T00:00:00+00:00/2024-05-11T12:00:00+00:00/" in tried[0]
        assert app.journal.unfinished() == [], "what was refused is not done later"
        stored = app.lake.read(SCORES, columns=["prediction_id"])["prediction_id"].to_pylist()
        assert len(stored) == len(set(stored)) == 12
        app.score(NAME, FIRST + 6 * hour, FIRST + 18 * hour, every="4h")
        assert len(told(app)) == 12


@pytest.mark.parametrize("again", [False, True])
def test_what_stops_a_batch_halfway_does_not_say_that_nothing_was_changed(home, again):
    class Full(Unwatched):
        left = 1

        def advance(self, n=1, at=""):
            self.left -= 1
            if self.left < 0:
                raise Unavailable("the disk is full. Nothing was changed. Make room and try again.")

    wanted = {"every": "4h", "again": again}
    with opened(home) as app:
        for left in (0, 1):
            watch = Full()
            watch.left = left
            with pytest.raises(Unavailable) as error:
                app.score(NAME, FIRST, FIRST + 12 * 3_600_000_000, watch=watch, **wanted)
            so_far = "1 of 3 partitions are stored, and the same call goes on behind them"
            said = so_far if left else "Nothing was changed"
            assert str(error.value) == f"the disk is full. {said}. Make room and try again."
        assert app.batch(NAME, FIRST, FIRST + 12 * 3_600_000_000, **wanted).rows == 6


@pytest.mark.parametrize("again", [False, True])
def test_who_was_stopped_while_others_scored_its_rows_again_stores_nothing(home, again):
    found = []
    with opened(home) as app:

        class Stopped(Unwatched):
            def advance(self, n=1, at=""):
                if not found:  # once for longer than its lease
                    app.database.execute("UPDATE journal_run SET lease_end = 0")
                    app.score(NAME, FIRST, FIRST + DAY, every="4h", again=True)
                    found.extend(told(app))

        with pytest.raises(Conflict, match="nothing more is stored"):
            app.score(NAME, FIRST, FIRST + DAY, watch=Stopped(), again=again)
        assert app.lake.read(SCORES).num_rows == len(found) == 12
        assert app.scoring(NAME).resume() == (not again), "what the other one did not do is done"
        assert app.lake.read(SCORES).num_rows == 12
        assert told(app) == found


def test_a_rollout_holds_for_batches_and_its_shadow_is_replaced_with_them(home):
    project = Project("tiny", releases=[Release(tiny.late_order, shadow="7d", to=["table:decisions"])])
    with opened(home, project) as app:
        app.promote(NAME, app.train(NAME).number)
        assert app.rollouts.newest(NAME).phase == IN_SHADOW
        for again in (False, True):
            app.score(NAME, FIRST, END, again=again)
            assert {item[3] for item in told(app)} == {2}
            aside = told(app, mode=SHADOW)
            assert {item[3] for item in aside} == {3}
            assert [item[:2] for item in aside] == [item[:2] for item in told(app)]
        assert app.lake.read(SCORES).num_rows == 120
        assert app.batch(NAME, FIRST, END).versions == {"2": 60}
        (delivery,) = app.deliveries
        assert delivery.send() == 120, "those of both times, and nothing of the candidate"
        assert set(app.lake.read("decisions")["version"].to_pylist()) == {2}


def test_a_crash_at_any_point_changes_nothing_and_the_same_call_goes_on(home, monkeypatch):
    class Killed(BaseException):
        pass

    def dying(step, behind):
        """Return `score` that dies at a partition, before or after its commit."""
        left = [step]

        def score(*given, **how):
            left[0] -= 1
            if left[0] < 0 and not behind:
                raise Killed
            done = batch.score(*given, **how)
            if left[0] < 0:
                raise Killed
            return done

        return score

    with opened(home) as app:
        app.score(NAME, FIRST, END)
        app.rollback(NAME, why="a test")
        old = told(app)
    for step, behind in ((0, False), (1, True), (3, False), (4, True)):
        with opened(home) as app:
            app.scoring(NAME).run(FIRST, END, again=True)
            audits = len(app.audit.list(NAME, "score"))
            monkeypatch.setattr("tenfold.automation.scoring.score", dying(step, behind))
            with pytest.raises(Killed):
                app.batch(NAME, FIRST, END, again=True, by="killed")
        monkeypatch.setattr("tenfold.automation.scoring.score", batch.score)
        with opened(home) as app:
            app.database.execute("UPDATE journal_run SET lease_end = 0")  # as if its process were gone
            before = app.lake.version(SCORES)
            done = app.batch(NAME, FIRST, END, again=True, by="killed")
            assert done.rows == 60
            assert app.lake.version(SCORES) - before == 5 - step - behind
            assert [part["before"]["rows"] for part in done.partitions.values()] == [12] * 5
            written = app.audit.list(NAME, "score")[audits:]
            assert [item.by for item in written] == ["killed"] * 5
            assert [item[:3] for item in told(app)] == [item[:3] for item in old]
            assert {item[3] for item in told(app)} == {1}


def test_what_somebody_else_left_half_scored_again_is_all_scored_again(home, monkeypatch):
    class Killed(BaseException):
        pass

    def dying(ranges, part, *given, **how):
        if part.start >= FIRST + 2 * DAY:
            raise Killed
        return batch.score(ranges, part, *given, **how)

    with opened(home) as app:
        app.score(NAME, FIRST, END)
        monkeypatch.setattr("tenfold.automation.scoring.score", dying)
        with pytest.raises(Killed):
            app.batch(NAME, FIRST, END, again=True, by="ann")
        monkeypatch.undo()
    with opened(home) as app:
        app.database.execute("UPDATE journal_run SET lease_end = 0")  # as if its process were gone
        add(app, "late", FIRST + 1)
        app.rollback(NAME, why="a test")
        audits = len(app.audit.list(NAME, "score"))
        done = app.batch(NAME, FIRST, END, again=True, by="bob")
        assert (done.rows, done.versions) == (61, {"1": 61})
        assert [item.by for item in app.audit.list(NAME, "score")[audits:]] == ["bob"] * 5
        assert app.scoring(NAME).resume() == 0
        assert app.journal.unfinished() == []


KILLED = """
import sys
import threading
from pathlib import Path
from tenfold import Platform
from tenfold.core.clock import SharedClock
from tests.examples import tiny
with tiny.project.open(Platform(home=Path(sys.argv[1]), clock=SharedClock(Path(sys.argv[1]) / "clock"))) as app:
    app.batch(tiny.late_order, int(sys.argv[2]), int(sys.argv[3]), every="12h")
"""


def test_a_killed_process_is_gone_on_with(home):
    start, end = to_us(tiny.START), to_us(tiny.NOW)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(home), str(start), str(end)], cwd=Path(__file__).parents[2]
    )
    with opened(home) as app:
        while app.lake.version(SCORES) < 3 and process.poll() is None:
            app.clock.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        held = app.lake.version(SCORES)
        assert held < 40
        (run,) = [run for run in app.journal.stuck() if run.kind == "score"]
        done = app.batch(NAME, start, end, every="12h")
        assert done.rows == len(told(app, start, end)) == 227
        assert app.journal.get(run.id).status == "done"
        stored = app.lake.read(SCORES, columns=["prediction_id"])["prediction_id"].to_pylist()
        assert len(stored) == len(set(stored)) == 227


def test_what_is_asked_for_is_done_beside_an_interrupted_run_of_another_period(home):
    with opened(home) as app:
        given = {
            "model": NAME,
            "start": FIRST,
            "end": FIRST + DAY,
            "every": "1d",
            "again": False,
            "by": "ann",
        }
        other = app.journal.begin("score", "other", given)
        for how in ({"every": "12h"}, {"again": True}, {}):
            assert len(app.batch(NAME, FIRST + DAY, END, **how).partitions) == (8 if "every" in how else 4)
        assert [run.id for run in app.journal.unfinished()] == [other]


def test_what_cannot_be_cut_is_refused(home):
    with opened(home) as app, pytest.raises(DefinitionError, match='every="1x" is not a duration'):
        app.batch(NAME, FIRST, END, every="1x")
