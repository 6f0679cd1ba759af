"""Two homes, each with a controller, on one state: files of versions that only one of them has."""

from contextlib import closing
from dataclasses import replace

import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import FilesGone
from tenfold.core.times import UNITS
from tenfold.platform import SCHEMA
from tenfold.registry.rollouts import SHADOW, UNDONE
from tenfold.sources.sqlite import SQLiteDatabase
from tests.unit.rolled import BETTER, MODEL, RELEASE, WORSE, Rolled

CHAMPION, CANDIDATE = 1, 2
GONE = FilesGone("the files are gone.")


@pytest.fixture
def homes(tmp_path):
    """Return the controllers of two homes, of which the first has begun a rollout and looked."""
    Rolled.prepare(tmp_path / "state.db")
    clock = VirtualClock(0)
    with closing(SQLiteDatabase(tmp_path / "state.db", SCHEMA)) as database:
        found = [Rolled(database, clock, home=tmp_path / name) for name in ("a", "b")]
        found[0].begin()
        found[0].advance(None)
        yield found


def told(rolled):
    return [item.decision for item in rolled.rolling.audit.list(f"{MODEL}/2", "rollout")]


@pytest.mark.parametrize("gone", [(CHAMPION,), (CANDIDATE,), (CHAMPION, CANDIDATE)])
@pytest.mark.parametrize("hours", [1.0, 24.0 * 9])
def test_a_home_without_the_files_writes_nothing_while_another_has_them(homes, gone, hours):
    has, lacks = homes
    lacks.refused = dict.fromkeys(gone, GONE)
    before = told(has)
    for _ in range(5):
        assert lacks.advance(None, hours=hours / 100) is None
        assert has.advance(None, hours=hours / 100) is None
    has.clock.set(has.clock.now() + int(hours * UNITS["h"]))
    has.rolling.note(has.newest())
    assert lacks.advance(BETTER) is None
    assert told(has) == before
    assert lacks.rolling.show().decision.action != "hold"
    assert has.advance(BETTER, hours=24 * 8) is not None


def test_it_takes_back_nothing_that_the_other_holds(homes):
    has, lacks = homes
    lacks.refused = dict.fromkeys((CHAMPION, CANDIDATE), GONE)
    asked = replace(RELEASE, canary=(), approval=True)
    for home in homes:
        home.rolling = replace(home.rolling, release=asked)
    assert has.advance(BETTER).startswith("held in shadow: not worse than the champion")
    for _ in range(3):
        assert lacks.advance(None) is None
        assert has.advance(BETTER) is None
    assert has.newest().held


def test_it_undoes_what_the_requests_of_both_speak_against(homes):
    has, lacks = homes
    lacks.refused = {CHAMPION: GONE}
    assert lacks.advance(WORSE).startswith("undone: worse than the champion")
    assert has.check() == (UNDONE, CHAMPION)


def test_what_no_home_has_is_decided_as_ever(homes):
    first, second = homes
    assert second.advance(None) is None
    for home in homes:
        home.refused = {CANDIDATE: GONE}
    assert first.advance(BETTER) is None
    assert second.advance(BETTER) == "undone: it cannot be loaded any more: the files are gone"
    assert first.check() == (UNDONE, CHAMPION)


def test_what_nobody_has_said_for_a_day_does_not_count(homes):
    has, lacks = homes
    lacks.refused = dict.fromkeys((CHAMPION, CANDIDATE), GONE)
    has.clock.set(has.clock.now() + UNITS["d"] + 1)
    assert lacks.advance(None).startswith("held in shadow: the champion cannot be asked: the files are gone")
    assert has.newest().phase == SHADOW
    assert has.advance(None).startswith("no longer held in shadow")
    assert lacks.advance(None) is None


def test_a_controller_writes_once_an_hour_that_it_has_them(homes):
    has, _ = homes
    before = has.database.query("SELECT version, at FROM version_at_hand ORDER BY version")
    assert [tuple(row) for row in before] == [(CHAMPION, 0), (CANDIDATE, 0)]
    changes = has.database.changes()
    changes.since_last()
    has.clock.set(UNITS["h"])
    assert has.rolling.advance() is None
    assert not changes.since_last()
    has.clock.set(UNITS["h"] + 1)
    has.rolling.advance()
    assert changes.since_last()
