"""Rollouts under crashes: die at every point of every transition in turn, start again, compare; and kill -9 of a real process."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenfold.automation.rollout import Rolling
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.platform import SCHEMA
from tenfold.registry.rollouts import DONE, UNDONE
from tenfold.registry.versions import Stage
from tests import states
from tests.unit.crashing import Crash, Crashing, FailPoints
from tests.unit.rolled import BETTER, Rolled, failing


def forth(rolled):
    """Roll version 2 out to the end, whatever of it is done already."""
    if rolled.rolling.rollouts.newest("late_order") is None:
        rolled.begin()
    for _ in range(4):
        rolled.advance(BETTER, hours=2)


def back(rolled):
    """Roll version 2 out, and take the promotion back."""
    forth(rolled)
    if rolled.newest().phase == DONE:
        rolled.rolling.undo(by="ann", why="customers complained")


def broken(rolled):
    """Roll version 2 out until it fails."""
    if rolled.rolling.rollouts.newest("late_order") is None:
        rolled.begin()
    rolled.advance(BETTER, hours=2)
    if rolled.newest().is_open:
        failing(rolled.rolling.counters, 2)
        rolled.advance(None, hours=0)


def by_hand(rolled):
    """A person pauses, resumes and approves, whatever of it is done already."""
    if rolled.rolling.rollouts.newest("late_order") is None:
        rolled.begin()
    seen = rolled.newest()
    if not seen.paused and seen.seq == 1:
        rolled.rolling.pause(by="ann")
    if rolled.newest().paused:
        rolled.rolling.resume(by="ann")
    if not rolled.newest().approved:
        rolled.rolling.approve(by="ann")
    rolled.rolling.undo(by="ann")


ENDS = {forth: (DONE, 2), back: (UNDONE, 1), broken: (UNDONE, 1), by_hand: (UNDONE, 1)}


def live(path, life, armed=None):
    """Live until done or dead; return the number of points passed."""
    point = FailPoints(armed)
    database = Crashing(states.opened(str(path), SCHEMA), point)
    try:
        life(Rolled(database, VirtualClock(0)))
    except Crash:
        assert point.passed == armed
    finally:
        database.close()
    return point.passed


def look(path):
    """Check what holds at all times, and return where the rollout and Production stand."""
    database = states.opened(str(path), SCHEMA)
    try:
        return Rolled(database, VirtualClock(0)).check()
    finally:
        database.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "state.db"
    Rolled.prepare(path)
    return path


def copied(prepared, path):
    shutil.copy(prepared, path)
    return path


@pytest.mark.parametrize("life", ENDS)
def test_whatever_point_a_process_dies_at_a_transition_happened_or_did_not(life, prepared, tmp_path):
    whole = copied(prepared, tmp_path / "whole.db")
    points = live(whole, life)
    assert points > 40
    assert look(whole) == ENDS[life]
    for armed in range(1, points + 1):
        path = copied(prepared, tmp_path / f"{armed}.db")
        live(path, life, armed)
        if look(path)[0] != UNDONE:
            live(path, life)
        assert look(path) == ENDS[life], armed


def test_on_postgres_too_a_transition_happened_or_did_not(postgres):
    address = states.fresh(postgres.url)
    Rolled.prepare(address)
    points = live(address, back)
    for armed in range(3, points + 1, points // 8):
        address = states.fresh(postgres.url)
        Rolled.prepare(address)
        live(address, back, armed)
        if look(address)[0] != UNDONE:
            live(address, back)
        assert look(address) == ENDS[back], armed


def test_the_fail_points_find_a_promotion_that_is_not_in_the_transaction(prepared, tmp_path, monkeypatch):
    whole = Rolling._apply

    def careless(self, seen, found, *, outcomes):
        if found.action != "promote":
            return whole(self, seen, found, outcomes=outcomes)
        self.registry.move(seen.model, seen.candidate, Stage.PRODUCTION, by="loop", why="x", evidence={})
        with self.database.transaction() as tx:
            self.rollouts.change(tx, seen, phase=DONE)
            return "promoted"

    points = live(copied(prepared, tmp_path / "whole.db"), forth)
    monkeypatch.setattr(Rolling, "_apply", careless)
    found = 0
    for armed in range(points - 20, points, 2):
        path = copied(prepared, tmp_path / f"{armed}.db")
        live(path, forth, armed)
        try:
            look(path)
        except AssertionError:
            found += 1
    assert found > 1


@pytest.mark.crash
def test_killed_controllers_leave_whole_transitions_and_the_next_goes_on(tmp_path):
    path, seed, seen = tmp_path / "state.db", random.Random(4), []
    Rolled.prepare(path)
    command = [sys.executable, "-m", "tests.unit.rolled", str(path)]
    for _ in range(5):
        two = [
            subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) for _ in range(2)
        ]
        for process in two:
            process.stdout.readline()
        SystemClock().sleep(seed.uniform(0.02, 0.3))
        for process in two:
            process.kill()
            process.wait()
            process.stdout.close()
        database = states.opened(str(path), SCHEMA)
        rolled = Rolled(database, VirtualClock(0))
        rolled.check()
        seen.append(rolled.newest().id)
        database.close()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] + 5
