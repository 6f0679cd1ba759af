"""The journal under crashes: die at every point of a run in turn, start again, compare."""

from contextlib import contextmanager

import pytest

from tenfold.automation.journal import SCHEMA, Journal
from tenfold.automation.steps import Effect
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable
from tenfold.sources.sqlite import SQLiteDatabase
from tests import states
from tests.unit.crashing import Crash, Crashing, FailPoints

FULL_SCHEMA = SCHEMA + "CREATE TABLE IF NOT EXISTS effect (seq INTEGER PRIMARY KEY, run_id TEXT, step TEXT);"
ADD_EFFECT = "INSERT INTO effect (run_id, step) VALUES (?, ?)"
STEPS = ("train", "gate", "promote")


class World:
    """One state database, lived in by one process after another; `executed` outlives them all."""

    def __init__(self, address):
        self.address = address
        self.executed = []

    def live(self, armed=None, steps=None):
        """Run until done or dead; return the number of points passed."""
        point = FailPoints(armed)
        database = Crashing(states.opened(self.address, FULL_SCHEMA), point)
        try:
            journal = Journal(database, VirtualClock(0))
            run_id = journal.begin("release", "drift", {"model": "m"})
            made = steps or self.steps
            results = journal.run(run_id, made(run_id, database, point), owner="controller")
            assert results == {"input": {"model": "m"}, "train": 1, "gate": 2, "promote": 3}
        except Crash:
            assert point.passed == armed
        finally:
            database.close()
        return point.passed

    def steps(self, run_id, database, point):
        def made(name):
            def step(results):
                point()
                self.executed.append(name)
                point()
                return Effect(len(results), lambda tx: tx.execute(ADD_EFFECT, (run_id, name)))

            return name, step

        return [made(name) for name in STEPS]

    def look(self):
        """Return the committed steps and the effects."""
        database = states.opened(self.address, FULL_SCHEMA)
        try:
            steps = [row["name"] for row in database.query("SELECT name FROM journal_step ORDER BY place")]
            return steps, [row["step"] for row in database.query("SELECT step FROM effect ORDER BY seq")]
        finally:
            database.close()


def test_whatever_point_a_process_dies_at_each_step_commits_once(places):
    points = World(places()).live()
    assert points > 40
    for armed in range(1, points + 1, places.stride):
        world = World(places())
        world.live(armed)
        committed, effects = world.look()
        assert committed == effects == list(STEPS[: len(committed)]), armed
        world.executed.clear()
        world.live()
        assert world.executed == list(STEPS[len(committed) :]), armed
        assert world.look() == (list(STEPS), list(STEPS)), armed


def test_dying_again_and_again_ends_in_the_same_state(places):
    for stride in range(10, 30, places.stride):
        world = World(places())
        for armed in range(stride, 1_000, stride):
            if world.live(armed) < armed:
                break
        assert world.look() == (list(STEPS), list(STEPS)), stride


def test_the_fail_points_find_an_effect_that_is_not_in_the_transaction(tmp_path):
    def careless(run_id, database, point):
        def step(results):
            database.execute(ADD_EFFECT, run_id, "train")
            return len(results)

        return [(name, step) for name in STEPS]

    found = 0
    points = World(str(tmp_path / "whole.db")).live(steps=careless)
    for armed in range(1, points + 1, 3):
        world = World(str(tmp_path / f"{armed}.db"))
        world.live(armed, careless)
        world.live(steps=careless)
        found += len(world.look()[1]) != len(STEPS)
    assert found > 1


class SmallDisk(SQLiteDatabase):
    """A database whose file may not grow beyond some pages: SQLite then says that the disk is full."""

    pages = 1 << 30

    @contextmanager
    def transaction(self):
        with super().transaction() as connection:
            connection.execute(f"PRAGMA max_page_count={self.pages}").fetchone()
            yield connection


def test_a_full_disk_fails_the_step_that_needs_room_and_the_run_goes_on_there(tmp_path):
    path = tmp_path / "state.db"
    database = SmallDisk(path, FULL_SCHEMA)
    journal = Journal(database, VirtualClock(0))
    run_id = journal.begin("release", "drift", {})
    executed = []

    def step(name):
        def call(results):
            executed.append(name)
            return Effect("x" * 200_000, lambda tx: tx.execute(ADD_EFFECT, (run_id, name)))

        return name, call

    steps = [step(name) for name in STEPS]
    database.pages = 100  # of 4,096 bytes: one result fits, two do not
    with pytest.raises(Unavailable) as error:
        journal.run(run_id, steps, owner="me")
    assert str(error.value) == (
        f'database "{path}" cannot grow: the disk is full. Nothing was changed. Make room and try again.'
    )
    assert executed == ["train", "gate"]
    assert [row["step"] for row in database.query("SELECT step FROM effect")] == ["train"]
    database.pages = 1 << 30
    assert list(journal.run(run_id, steps, owner="me")) == ["input", *STEPS]
    assert executed == ["train", "gate", "gate", "promote"]
    assert [row["step"] for row in database.query("SELECT step FROM effect")] == list(STEPS)
    database.close()


class FullDisk(SQLiteDatabase):
    """A database that there is no room for, when it is said to be."""

    full = False

    def execute(self, sql, *values):
        if self.full:
            raise Unavailable("the disk is full")
        return super().execute(sql, *values)


@pytest.mark.parametrize("died", [False, True])
def test_what_a_call_of_this_process_left_is_free_at_once_and_tells_what_went_wrong(tmp_path, died):
    database = FullDisk(tmp_path / "state.db", FULL_SCHEMA)
    journal = Journal(database, VirtualClock(0))
    run_id = journal.begin("release", "drift", {})
    error = KeyboardInterrupt if died else OSError

    def step(results):
        database.full = True
        raise error("no room")

    with pytest.raises(error, match="no room"):
        journal.run(run_id, [("a", step)], owner="a call")
    database.full = False
    assert journal.get(run_id).status == "running"
    assert [run.id for run in journal.stuck()] == [run_id]
    assert journal.run(run_id, [("a", lambda results: 1)], owner="another call") == {"input": {}, "a": 1}
    database.close()
