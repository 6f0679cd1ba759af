"""States that are gone are no states that lag: no answer is made of a store with nothing in it."""

import shutil

import pytest

from tenfold import Platform, Project, Release, VirtualClock
from tenfold.core.times import UNITS
from tenfold.processing.batches import to_table
from tenfold.serving.answer.predictions import TOPIC
from tenfold.serving.rows.degraded import Away, stale
from tenfold.sources.memory import MemoryLog
from tests.examples import tiny

LATER = tiny.ASK_AT + 2 * UNITS["m"]
careless = Project("tiny", releases=[Release(tiny.late_order, degraded="stale")])


def modes(app):
    return [row["mode"] for batch in app.log.read(TOPIC, 0) for row in to_table(batch).to_pylist()]


def test_a_store_that_was_moved_away_is_away_for_stale_answers_too(tmp_path):
    tiny.build(tmp_path)
    with careless.open(Platform(home=tmp_path, clock=VirtualClock(LATER))) as app:
        api = app.asgi(wait=0.2)
        before = tiny.in_process(api, "/predict", tiny.order(1))[1]
        (tmp_path / "online").rename(tmp_path / "elsewhere")
        status, told = tiny.in_process(api, "/predict", tiny.order(2))
        assert (status, told["error"]["kind"]) == (503, "Unavailable")
        assert told["error"]["message"].startswith(
            'the online store holds nothing of view "shop_visits", of which the log has 228 records. Nothing was stored'
        )
        assert modes(app) == ["online"]
    shutil.rmtree(tmp_path / "online")
    (tmp_path / "elsewhere").rename(tmp_path / "online")
    with careless.open(Platform(home=tmp_path, clock=VirtualClock(LATER))) as app:
        app.ingest("visits", [tiny.visit("new")])
        status, told = tiny.in_process(app.asgi(wait=0.2), "/predict", tiny.order(3))
        assert (status, told["degraded"], told["score"]) == (200, "stale", before["score"])


def test_of_a_home_that_has_just_begun_there_are_no_states_yet():
    clock = VirtualClock(0)
    log = MemoryLog(clock)
    log.append("visits", b"", 3)
    topics = {"of_shop@1": "visits", "of_none@1": "orders"}
    assert stale(topics, {}, log.ends(), log) == {
        "of_shop": {"records": 3, "seconds": pytest.approx(0, abs=1)}
    }
    clock.set(2 * UNITS["m"])
    with pytest.raises(Away, match='holds nothing of view "of_shop", of which the log has 3 records'):
        stale(topics, {}, log.ends(), log)
    assert stale(topics, {"of_shop@1": 3}, log.ends(), log) == {}
    log.append("visits", b"", 1)
    assert list(stale(topics, {"of_shop@1": 3}, log.ends(), log)) == ["of_shop"]
