"""Steps of a rollout take their time, and what a person changes below one ends it."""

from contextlib import closing
from dataclasses import replace

import pytest

from tenfold import checks
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, DefinitionError, NotFound
from tenfold.core.times import UNITS
from tenfold.platform import SCHEMA
from tenfold.registry.versions import Stage
from tenfold.serving.answer.route import Route, Routes
from tenfold.sources.sqlite import SQLiteDatabase
from tests.unit.rolled import BETTER, MODEL, RELEASE, Rolled

HOUR = UNITS["h"]


@pytest.fixture
def rolled(tmp_path):
    Rolled.prepare(tmp_path / "state.db")
    with closing(SQLiteDatabase(tmp_path / "state.db", SCHEMA)) as database:
        found = Rolled(database, VirtualClock(0))
        found.begin()
        yield found


def test_each_step_takes_its_own_time(rolled):
    assert rolled.advance(BETTER).startswith("to canary at 10%")
    assert rolled.advance(BETTER, hours=0.9) is None
    assert rolled.advance(BETTER, hours=1).startswith("to canary at 50%")
    begun = rolled.clock.now()
    assert rolled.newest().since == begun
    rolled.clock.set(begun + HOUR - 1)
    assert rolled.rolling.advance() is None
    rolled.clock.set(begun + HOUR)
    assert rolled.advance(BETTER, hours=1).startswith("promoted")


def test_the_time_of_a_step_begins_again_when_it_goes_on(rolled):
    rolled.advance(BETTER)
    rolled.rolling.pause(by="ann")
    assert rolled.advance(BETTER, hours=5) is None
    resumed = rolled.clock.now()
    rolled.rolling.resume(by="ann")
    rolled.clock.set(resumed + HOUR - 1)
    assert rolled.rolling.advance() is None
    assert rolled.advance(BETTER, hours=1).startswith("to canary at 50%")


@pytest.mark.parametrize(
    ("declared", "then"),
    [
        ((0.5, 0.6, 0.7), ["to canary at 60%", "to canary at 70%", "promoted"]),
        ((0.01, 0.05, 0.2, 0.5, 0.9), ["to canary at 90%", "promoted"]),
        ((0.01, 0.02, 0.03), ["promoted"]),
        ((), ["promoted"]),
    ],
)
def test_steps_declared_anew_lead_on_from_the_share_that_it_has(rolled, declared, then):
    rolled.advance(BETTER)
    assert rolled.advance(BETTER, hours=1).startswith("to canary at 50%")
    rolled.rolling = replace(rolled.rolling, release=replace(RELEASE, canary=declared))
    done = [rolled.advance(BETTER, hours=1) for _ in then]
    assert [said.split(":")[0] for said in done] == then
    assert rolled.check() == ("done", 2)
    if then[1:]:
        assert rolled.newest().step == len(declared) - 1


@pytest.mark.parametrize("paused", [False, True])
def test_what_waits_again_as_more_time_is_declared_is_not_held(rolled, paused):
    rolled.rolling = replace(rolled.rolling, release=replace(RELEASE, shadow="1d", canary=()))
    assert rolled.advance(None, hours=25).startswith("held in shadow: ")
    if paused:
        rolled.rolling.pause(by="ann")
    rolled.rolling = replace(rolled.rolling, release=replace(RELEASE, shadow="60d", canary=()))
    assert rolled.rolling.advance(outcomes=False) is None
    assert rolled.newest().held, "without the outcomes it is not known whether something is missing"
    said = rolled.rolling.advance()
    assert rolled.newest().held == paused
    assert paused == (said is None)
    if not paused:
        assert said.startswith("no longer held in shadow: ")
        assert rolled.rolling.busy()
    assert rolled.rolling.advance() is None
    assert rolled.check() == ("shadow", 1)


def test_who_is_slow_by_what_is_allowed_now_is_not_excused_by_what_was_allowed_before(rolled):
    counters = rolled.rolling.counters
    rolled.rolling = replace(rolled.rolling, release=replace(RELEASE, gates=[checks.latency("250ms")]))
    counters.add(MODEL, 2, rows=100_000, took=100_000 * 60_000, budget=250_000)
    assert rolled.rolling.advance(outcomes=False) is None
    rolled.rolling = replace(rolled.rolling, release=replace(RELEASE, gates=[checks.latency("20ms")]))
    assert rolled.rolling.advance(outcomes=False) is None, "nothing is known of this bound yet"
    counters.add(MODEL, 2, rows=50, took=50 * 5_000, budget=20_000)
    counters.add(MODEL, 2, rows=50, took=50 * 60_000, budget=20_000)
    evidence = rolled.rolling.show(outcomes=False).decision.evidence
    assert [evidence[name] for name in ("asked", "timed", "over_budget")] == [100_100, 100, 50]
    said = rolled.rolling.advance(outcomes=False)
    assert said == "undone: 50 of 100 rows took longer than 20 ms, more than 1% may"


def test_a_share_is_said_as_it_is_declared(rolled):
    rolled.rolling = replace(rolled.rolling, release=replace(RELEASE, canary=(0.0004, 0.07, 0.996)))
    said = [rolled.advance(BETTER, hours=1).split(":")[0] for _ in range(3)]
    assert said == ["to canary at 0.04%", "to canary at 7%", "to canary at 99.6%"]
    assert rolled.rolling.audit.list(f"{MODEL}/2", "rollout")[-1].decision == said[-1]


def test_what_a_person_saw_is_in_the_audit_log(rolled):
    rolled.advance(BETTER)
    rolled.rolling.pause(by="ann")
    rolled.rolling.approve(by="ann")
    rolled.rolling.undo(by="bob")
    told = rolled.rolling.audit.list(f"{MODEL}/2", "rollout")[-3:]
    assert [(item.decision, item.by) for item in told] == [
        ("paused", "ann"),
        ("approved", "ann"),
        ("undone", "bob"),
    ]
    paused, approved, undone = [item.evidence for item in told]
    assert (paused["asked"], paused["failed"], paused["phase"]) == (100, 0, "canary at 10%")
    assert approved["pairs"] == len(BETTER)
    assert approved["candidate_loss"] < approved["champion_loss"]
    assert (undone["asked"], undone["pairs"]) == (100, 0)


def meanwhile(rolled, *acts):
    """Let each of these be done right after somebody looked at the rollout, before anything is stored."""
    left = list(acts)

    def load(_):
        if left:
            left.pop(0)()

    rolled.rolling = replace(rolled.rolling, load=load)


@pytest.mark.parametrize("act", ["approve", "pause", "undo"])
def test_what_a_person_asks_for_holds_although_it_moved_on_in_that_moment(rolled, act):
    rolled.known = BETTER
    other = replace(rolled.rolling)
    meanwhile(rolled, other.advance)
    after = getattr(rolled.rolling, act)(by="ann")
    told = rolled.rolling.audit.list(f"{MODEL}/2", "rollout")[-2:]
    done = {"approve": "approved", "pause": "paused", "undo": "undone"}[act]
    assert [item.decision for item in told] == ["to canary at 10%", done]
    assert (after.paused, after.approved) == (act == "pause", "ann" if act == "approve" else None)
    assert rolled.check() == ("undone" if act == "undo" else "canary", 1)


def test_undone_in_the_moment_of_its_promotion_it_is_taken_back(rolled):
    for hours in (0, 1):
        rolled.advance(BETTER, hours=hours)
    rolled.clock.set(rolled.clock.now() + HOUR)
    meanwhile(rolled, replace(rolled.rolling).advance)
    rolled.rolling.undo(by="ann")
    told = rolled.rolling.audit.list(f"{MODEL}/2", "rollout")[-2:]
    assert [item.decision for item in told] == ["promoted", "undone"]
    assert rolled.check() == ("undone", 1)


def test_a_person_decides_nothing_of_a_rollout_that_began_in_that_moment(rolled):
    meanwhile(rolled, lambda: rolled.begin(rolled.register()))
    with pytest.raises(Conflict, match="version 2 moved on since you looked; nothing was changed"):
        rolled.rolling.undo(by="ann")
    assert rolled.newest().candidate == 3
    assert rolled.check() == ("shadow", 1)


@pytest.mark.parametrize("by", ["", " "])
@pytest.mark.parametrize("act", ["approve", "pause", "resume", "undo"])
def test_nobody_decides_nothing(rolled, act, by):
    if act == "resume":
        rolled.rolling.pause(by="ann")
    before, told = rolled.newest(), rolled.rolling.audit.list()
    with pytest.raises(DefinitionError, match="names nobody"):
        getattr(rolled.rolling, act)(by=by)
    assert (rolled.newest(), rolled.rolling.audit.list()) == (before, told)


def test_a_candidate_takes_no_requests_from_a_champion_it_was_not_compared_with(rolled):
    rolled.advance(BETTER)
    routes = Routes(rolled.database)
    assert (routes.look(MODEL).candidate, routes.look(MODEL).share) == (2, 0.1)
    number = rolled.register()
    for stage in (Stage.STAGING, Stage.PRODUCTION):
        rolled.registry.move(MODEL, number, stage, by="ann", why="asked", evidence={})
    assert routes.look(MODEL) == Route(MODEL, number)


def test_a_candidate_that_a_person_moved_goes_no_further(rolled):
    rolled.registry.move(MODEL, 2, Stage.ARCHIVED, by="ann", why="no", evidence={})
    assert rolled.advance(BETTER) == "undone: the candidate was moved to archived"
    assert rolled.check() == ("undone", 1)


def test_a_rollout_is_not_undone_in_favour_of_its_own_candidate(rolled):
    rolled.advance(BETTER)
    before = rolled.newest()
    told = r'^version 2 of model "late_order" is on its way already, in canary at 10%; nothing was changed\. '
    with pytest.raises(Conflict, match=told), rolled.database.transaction() as tx:
        rolled.rolling.begin(tx, 2, 1, by="ann", why="passed", evidence={})
    assert rolled.newest() == before
    assert rolled.check() == ("canary", 1)
    assert rolled.advance(BETTER, hours=1).startswith("to canary at 50%")


def test_what_was_undone_leads_to_an_earlier_champion_only_where_there_is_one(rolled):
    rolled.rolling.undo(by="ann")
    told = " The last one, of version 2, was undone already, and version {} is in production."
    with pytest.raises(NotFound) as caught:
        rolled.rolling.undo(by="ann")
    assert str(caught.value).endswith(
        f"{told.format(1)} None was there before. To train another: tenfold train PROJECT.py {MODEL}."
    )
    number = rolled.register()
    for stage in (Stage.STAGING, Stage.PRODUCTION):
        rolled.registry.move(MODEL, number, stage, by="ann", why="asked", evidence={})
    with pytest.raises(NotFound) as caught:
        rolled.rolling.undo(by="ann")
    assert str(caught.value).endswith(
        f"{told.format(3)} To go back to the one before: tenfold rollback PROJECT.py {MODEL}."
    )
    assert rolled.registry.rollback(MODEL, by="ann", why="asked").version == 1


def test_another_candidate_takes_the_place_of_one_that_is_on_its_way(rolled):
    rolled.begin(rolled.register())
    assert (rolled.newest().candidate, rolled.check()) == (3, ("shadow", 1))
    assert rolled.registry.get(MODEL, 2).stage is Stage.ARCHIVED
