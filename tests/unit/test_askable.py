"""A rollout under a declaration that one of its versions does not fit: what is decided, and what is said of it."""

from contextlib import closing
from dataclasses import replace

import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import OtherKind, SchemaError, Unavailable
from tenfold.platform import SCHEMA
from tenfold.registry.rollouts import CANARY, DONE, SHADOW, UNDONE
from tenfold.sources.sqlite import SQLiteDatabase
from tests.unit.rolled import BETTER, EQUAL, MODEL, RELEASE, WORSE, Rolled

CHAMPION, CANDIDATE = 1, 2
GONE = SchemaError("version 1 was trained on other features: missing hour.")
OTHER = OtherKind("it answers as a model that is binary.")
ALONE = (
    "the champion cannot be asked: version 1 was trained on other features: missing hour. "
    "So the gates alone decide, and they let it in"
)


@pytest.fixture
def begun(tmp_path):
    """Return a function that begins a rollout under a release."""
    Rolled.prepare(tmp_path / "state.db")
    with closing(SQLiteDatabase(tmp_path / "state.db", SCHEMA)) as database:

        def begun(release=RELEASE):
            rolled = Rolled(database, VirtualClock(0), release)
            rolled.begin()
            return rolled

        yield begun


def last(rolled):
    found = rolled.rolling.audit.list(f"{MODEL}/2", "rollout")[-1]
    return found.decision, found.why


@pytest.mark.parametrize("outcomes", [True, False])
@pytest.mark.parametrize("number", [CHAMPION, CANDIDATE])
def test_a_rollout_of_another_kind_is_undone_whatever_its_outcomes_say(begun, number, outcomes):
    rolled = begun()
    rolled.refused[number] = OTHER
    rolled.known = BETTER
    assert rolled.rolling.show().decision.action == "undo"
    assert rolled.rolling.advance(outcomes=outcomes) == "undone: it answers as a model that is binary"
    assert last(rolled) == ("undone", "it answers as a model that is binary")
    assert rolled.check() == (UNDONE, CHAMPION)


@pytest.mark.parametrize("outcomes", [True, False])
def test_a_candidate_whose_champion_cannot_be_asked_is_promoted_by_its_gates(begun, outcomes):
    rolled = begun()
    rolled.known = EQUAL
    assert rolled.rolling.advance(outcomes=outcomes) is None
    rolled.refused[CHAMPION] = GONE
    seen = rolled.rolling.show(outcomes=outcomes)
    assert (seen.unasked, seen.decision.action, seen.decision.why) == (str(GONE), "promote", ALONE)
    assert rolled.rolling.advance(outcomes=outcomes) == f"promoted: {ALONE}"
    assert last(rolled) == ("promoted", ALONE)
    assert rolled.check() == (DONE, CANDIDATE)
    assert rolled.rolling.show().unasked is None


def test_what_speaks_against_it_goes_first(begun):
    rolled = begun()
    rolled.refused[CHAMPION] = GONE
    assert rolled.advance(WORSE).startswith("undone: worse than the champion")


def test_a_person_who_paused_it_or_has_to_agree_is_waited_for(begun):
    rolled = begun(replace(RELEASE, approval=True))
    rolled.refused[CHAMPION] = GONE
    rolled.rolling.pause(by="ann")
    assert rolled.advance(BETTER) is None
    assert rolled.rolling.show().decision.why.startswith("paused; the champion cannot be asked: version 1")
    rolled.rolling.resume(by="ann")
    held = rolled.advance(BETTER)
    assert held.startswith("held in shadow: the champion cannot be asked: version 1")
    assert held.endswith(f"; the candidate waits for a person: tenfold rollout approve PROJECT.py {MODEL}")
    rolled.rolling.approve(by="ann")
    assert rolled.advance(BETTER) == f"promoted: {ALONE}"


def test_where_neither_can_be_asked_it_is_held_until_they_can(begun):
    rolled = begun()
    rolled.refused |= {CHAMPION: GONE, CANDIDATE: SchemaError("missing amount.")}
    assert rolled.advance(BETTER) == (
        f"held in shadow: the champion cannot be asked: {str(GONE)[:-1]}; nor can the candidate: missing amount"
    )
    assert rolled.advance(BETTER) is None
    assert rolled.check() == (SHADOW, CHAMPION)
    rolled.refused.clear()
    assert rolled.advance(BETTER).startswith("to canary at 10%: not worse than the champion")


@pytest.mark.parametrize("error", [Unavailable("the store is away"), RuntimeError("a bug of the model")])
def test_what_does_not_say_that_a_version_does_not_fit_decides_nothing(begun, error):
    rolled = begun()
    rolled.refused |= {CHAMPION: error, CANDIDATE: error}
    assert rolled.rolling.show().unasked is None
    assert rolled.advance(None) is None
    assert rolled.check() == (SHADOW, CHAMPION)
    assert rolled.advance(BETTER).startswith("to canary at 10%: not worse than the champion")
    assert rolled.check() == (CANARY, CHAMPION)
