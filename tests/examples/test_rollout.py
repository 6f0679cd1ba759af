"""Rollouts of versions that misbehave, with real packages, a real log and a real server: no request fails of a candidate."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tenfold import Platform, Release, checks
from tenfold.core.clock import SharedClock, SystemClock
from tenfold.core.errors import GateFailed, NotFound, SchemaError
from tenfold.core.times import UNITS
from tenfold.registry.rollouts import CANARY, DONE, UNDONE
from tenfold.registry.versions import Stage
from tenfold.serving.answer import asking
from tenfold.serving.answer.predictions import ONLINE, read
from tenfold.serving.answer.predictions import SHADOW as ASIDE
from tests.examples import rolling, tiny
from tests.examples.rolling import (
    ALWAYS,
    AT_NIGHT,
    DRAGS,
    EACH_CALL,
    FAR,
    HANGS,
    LATE,
    NO_NUMBER,
    ODD,
    RAISES,
    REFUSED,
    SELDOM,
    SLOW,
    asked,
    begun,
    opened,
)
from tests.unit.tiny_home import own_copy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(rolling_built, tmp_path):
    return own_copy(rolling_built, tmp_path)


def test_an_entity_is_always_answered_by_the_same_version(home):
    with opened(home) as app:
        number = begun(app, rolling.FINE)
        first = {place: answer["version"] for place, answer in enumerate(asked(app, 60))}
        again = {place: answer["version"] for place, answer in enumerate(asked(app, 60))}
        assert first == again
        assert 15 < sum(version == number for version in first.values()) < 45
        with pytest.raises(NotFound):
            app.rollout("lat_order")
    with opened(home) as other:
        assert {place: answer["version"] for place, answer in enumerate(asked(other, 60))} == first


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (RAISES, "it raised for"),
        (NO_NUMBER, "gave no number for"),
        (ALWAYS, "it raised for"),
        (HANGS, "it raised for"),
    ],
)
def test_a_candidate_that_fails_is_undone_by_itself_and_no_request_fails(home, fault, why, monkeypatch):
    if fault == HANGS:
        monkeypatch.setattr(asking, "LIMIT", 0.5)
    with opened(home) as app:
        number = begun(app, fault)
        rounds = 0
        while app.rollout().advance(outcomes=False) is None:
            rounds += 1
            assert rounds < 60, app.rollout().show()
            answers = asked(app, 100, odd=100, first=100 * rounds)
            app.traffic.settle()
            assert all(np.isfinite(answer["score"]) for answer in answers)
            odd = [answer for place, answer in enumerate(answers) if place % 100 == 0]
            assert {answer["version"] for answer in odd} == {1}
        found = app.rollout().show().rollout
        assert (found.phase, found.candidate) == (UNDONE, number)
        (ended,) = [
            item for item in app.audit.list(f"late_order/{number}", "rollout") if item.decision == "undone"
        ]
        assert why in ended.why or "gave no number for" in ended.why
        assert ended.evidence["fails"] >= 2_000
        assert ended.evidence["failed"] >= 2
        assert {answer["version"] for answer in asked(app, 50)} == {1}


def test_rows_asked_about_together_are_answered_as_alone(home):
    with opened(home) as app:
        number = begun(app, RAISES)
        rows = [tiny.order(place, shop=f"s{place}", amount=105.0) for place in range(60)]
        alone = [app.traffic.routes.look(LATE.name).version_for(row["shop"]) for row in rows]
        odd = alone.index(number)  # which the candidate is to answer, and raises
        rows[odd]["amount"] = ODD
        for key in ("first", "again"):
            answers = app.service(LATE).predict_many(rows, at=app.clock.now(), key=key)
            assert [answer["prediction_id"] for answer in answers] == [
                f"{key}/{place}" for place in range(60)
            ]
            told = [answer["version"] for answer in answers]
            assert told[odd] == 1
            assert told[:odd] + told[odd + 1 :] == alone[:odd] + alone[odd + 1 :]
            assert set(told) == {1, number}
        app.traffic.settle()
        app.flush()
        aside = read(app.lake, LATE.name, ASIDE, 0, FAR)
        both = {(name, version) for name, version in zip(aside.id, aside.version.tolist(), strict=True)}
        expected = {1: number, number: 1}
        assert both == {
            (f"{key}/{place}", expected[version])
            for key in ("first", "again")
            for place, version in enumerate(alone)
            if place != odd
        }
        assert app.traffic.counters.total(LATE.name, number).raised == 2


def test_rows_that_no_version_takes_do_not_count_against_the_candidate(home):
    with opened(home) as app:
        number = begun(app, rolling.FINE)
        service = app.service(LATE)
        for place in range(50):
            row = tiny.order(place, shop=f"s{place}", amount=REFUSED)
            with pytest.raises(SchemaError, match="an amount that no version takes"):
                service.predict(row, at=app.clock.now())
            with pytest.raises(SchemaError, match="an amount that no version takes"):
                service.predict_many([row], at=app.clock.now())
        assert app.rollout().advance(outcomes=False) is None
        assert app.traffic.counters.total(LATE.name, number).failed == 0


def test_a_version_in_production_that_gives_no_number_decides_nothing(home):
    with opened(home) as app:
        number = app.train(rolling.model(NO_NUMBER)).number
        for stage in (Stage.STAGING, Stage.PRODUCTION):
            app.registry.move(LATE.name, number, stage, by="ann", why="a test", evidence={})
        rows = [tiny.order(place, amount=amount) for place, amount in enumerate((ODD, 12.5))]
        told = app.predict_many(LATE, rows)
        assert [(one["score"], one["decision"], one["prediction"]) for one in told] == [
            (None, None, None),
            (0.9, True, True),
        ]
        app.flush()
        assert read(app.lake, LATE.name, ONLINE, 0, FAR).decision.tolist() == [None, True]


def test_a_slow_candidate_is_seen_in_shadow_and_delays_nobody(home):
    with opened(home, rolling.QUICK) as app:
        begun(app, SLOW)
        assert {answer["version"] for answer in asked(app, 30)} == {1}
        assert app.traffic.aside._rows > 0, (
            "the candidate takes a second for some rows, and no answer waited for that"
        )
        app.traffic.settle()
        assert "30 of 30 rows took longer than 25 ms" in app.rollout().advance(outcomes=False)


def test_a_candidate_whose_calls_are_slow_is_seen_where_rows_are_asked_together(home):
    with opened(home, rolling.QUICK) as app:
        begun(app, EACH_CALL)
        for first in (0, 40):
            app.predict_many(
                LATE,
                [tiny.order(place, shop=f"s{place}", amount=105.0) for place in range(first, first + 40)],
            )
            app.traffic.settle()
        said = app.rollout().advance(outcomes=False)
    assert said.startswith("undone: 80 of 80 rows took longer than 25 ms"), (
        "who is asked again is not counted again"
    )


def test_shadow_scores_the_same_features_and_shows_them_to_nobody(home):
    with opened(home, rolling.SHADOW) as app:
        number = begun(app, rolling.FINE, shift=0.1)
        answers = asked(app, 40)
        app.traffic.settle()
        app.flush()
        told, aside = (read(app.lake, LATE.name, mode, 0, FAR) for mode in (ONLINE, ASIDE))
        assert set(told.version) == {1}
        assert set(aside.version) == {number}
        assert sorted(told.id) == sorted(aside.id) == sorted(answer["prediction_id"] for answer in answers)
        place = {name: at for at, name in enumerate(aside.id)}
        order = [place[name] for name in told.id]
        assert np.array_equal(aside.features[order], told.features, equal_nan=True)
        assert np.allclose(np.abs(aside.score[order] - told.score), 0.1)


def test_an_answer_that_is_asked_for_again_is_not_asked_aside_again(home):
    with opened(home, rolling.SHADOW) as app:
        begun(app, rolling.FINE)
        service = app.service(LATE)
        for _ in range(3):
            service.predict(tiny.order(), at=app.clock.now(), key="once")
        app.traffic.settle()
        assert app.traffic.counters.total(LATE.name, 2).asked == 1


def test_what_cannot_wait_is_left_out_and_counted(home):
    with opened(home, rolling.SHADOW) as app:
        begun(app, rolling.FINE)
        app.traffic.aside._most = 0
        assert len(asked(app, 7)) == 7
        app.traffic.settle()
        served = app.traffic.counters.total(LATE.name, 2)
        assert (served.asked, served.dropped) == (0, 7)


def test_a_candidate_that_takes_long_to_load_is_not_to_blame(home, monkeypatch):
    monkeypatch.setattr(asking, "LIMIT", 0.05)
    with opened(home) as app:
        number = begun(app, rolling.FINE)
        held, get = threading.Event(), app.versions.get

        def slowly(model, wanted):
            if wanted == number:
                held.wait()
            return get(model, wanted)

        monkeypatch.setattr(app.versions, "get", slowly)
        assert {answer["version"] for answer in asked(app, 20)} == {1}
        held.set()
        app.traffic.asking(LATE)._limit = 30.0
        while number not in {answer["version"] for answer in asked(app, 20, first=20)}:
            app.clock.sleep(0.01)
        app.traffic.counters.flush()
        assert app.traffic.counters.total(LATE.name, number).failed == 0


def test_a_promotion_is_not_undone_when_the_champion_before_cannot_be_served(home):
    with opened(home) as app:
        number = begun(app, rolling.FINE)
        app.rollout().approve(by="ann")
        for _ in range(2):
            asked(app, 60)
            app.traffic.settle()
            app.clock.set(app.clock.now() + 2 * UNITS["h"])
            app.rollout().advance()
        assert app.registry.production(LATE.name).number == number
        app.blobs.delete(app.registry.get(LATE.name, 1).artefact)
        moves = app.registry.history(LATE.name)
        with pytest.raises(GateFailed) as refused:
            app.rollout().undo(by="ann")
        told = str(refused.value)
        with pytest.raises(GateFailed) as rolled_back:
            app.rollback(LATE, by="ann")
        assert told == str(rolled_back.value)
        assert told.startswith(
            f"late_order version 1 cannot be served, so nothing was changed: version {number} is still in production. "
            'Why: the files of late_order version 1 are gone (no blob "late_order/r0001"). Make them again: '
        )
        assert "tenfold models rebuild PROJECT.py late_order 1 --restore" in told
        refusals = app.audit.list("late_order/1")[-2:]
        assert [(item.kind, item.decision, item.by, item.why) for item in refusals] == 2 * [
            ("rollback", "refused", "ann", told)
        ]
        assert app.registry.history(LATE.name) == moves
        assert app.rollouts.newest(LATE.name).phase == DONE


# Gates --------------------------------------------------------------------------------------------


def test_the_gate_refuses_a_candidate_that_is_worse_in_one_slice_only(home):
    due = [tiny.NOW - timedelta(hours=51, seconds=place) for place in range(1_500)]
    due += [tiny.NOW - timedelta(hours=63, seconds=place) for place in range(150)]
    orders = [
        tiny.order(place, due=at.isoformat(), amount=(5.0, 15.0)[place % 2]) for place, at in enumerate(due)
    ]
    late = [{"order_id": row["order_id"], "late": row["amount"] - 5, "at": row["due"]} for row in orders]
    with opened(home, Release(LATE, gates=[checks.not_worse(by=0.05)])) as app:
        for source, rows in (("orders", orders), ("outcomes", late)):
            assert app.ingest(source, rows, history=True).rejected == 0
        app.process()
        number = app.train(rolling.model(AT_NIGHT, shift=0.3)).number
        with pytest.raises(
            GateFailed, match=r"larger by \+0\.0.*; this_order\.hour .*: worse by more than 0\.05"
        ):
            app.promote(LATE, number)
        app.promote(LATE, app.train(rolling.model(AT_NIGHT, shift=0.01)).number)


def test_the_gates_name_the_loss_that_is_worse_the_latency_and_the_size(home):
    gates = [checks.not_worse(by=0.01), checks.latency("250ms"), checks.size("1MB"), checks.no_skew()]
    with opened(home, Release(LATE, gates=gates)) as app:
        number = app.train(rolling.model(shift=0.3)).number
        with pytest.raises(
            GateFailed, match=r"mean loss 0\.16 against the champion's 0\.01: larger by \+0\.15"
        ):
            app.promote(LATE, number)
        app.promote(LATE, app.train(rolling.model()).number)
    for fault, gate, why in (
        (DRAGS, checks.size("1kB"), r"its files are .* MB, 0\.001 MB allowed"),
        (DRAGS, checks.latency("1ms"), r"99 % of \d+ single rows took at most .* ms, 1 ms allowed"),
        (SELDOM, checks.latency("90ms"), r"99 % of \d+ single rows took at most .* ms, 90 ms allowed"),
    ):
        with opened(home, Release(LATE, gates=[gate])) as app:
            number = app.train(rolling.model(fault)).number
            with pytest.raises(GateFailed, match=why):
                app.promote(LATE, number)


def test_a_gate_refuses_one_that_is_better_than_some_baselines_only(home):
    with opened(home, Release(LATE, gates=[checks.beats_baselines()])) as app:
        number = app.train(rolling.model(shift=0.4)).number  # which says 0.5 of every row
        with pytest.raises(
            GateFailed, match=r"roc_auc 0\.5, not better than majority and persistence; baselines: "
        ):
            app.promote(LATE, number)
        app.promote(LATE, app.train(rolling.model()).number)


def test_a_gate_refuses_while_one_value_that_was_served_is_not_that_of_the_lake(home):
    with opened(home, Release(LATE, gates=[checks.no_skew()])) as app:
        app.promote(LATE, app.train(rolling.model()).number)
        (answer,) = asked(app, 1)
        app.flush()
        served = read(app.lake, LATE.name, ONLINE, 0, FAR)
        served.features[0, 2] = np.nextafter(served.features[0, 2], np.inf)
        served.id[:] = [f"{answer['prediction_id']} of another"]
        app.predictions.write(served, key="another")
        app.flush()
        number = app.train(rolling.model()).number
        told = r"1 of 8 served values differ from the lake: this_order\.amount; see tenfold skew PROJECT\.py late_order"
        with pytest.raises(GateFailed, match=told):
            app.promote(LATE, number)


# A real server ------------------------------------------------------------------------------------


def start(*args, **options):
    command = [sys.executable, "-c", "from tests.examples.rolling import main; main()", *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True, **options)


@pytest.mark.crash
def test_a_server_answers_everything_while_a_candidate_that_raises_is_undone_by_a_controller_that_was_killed(
    home,
):
    shared = SharedClock(home / "clock")
    platform = Platform(home=home, clock=shared)
    with rolling.project(rolling.CANARY).open(platform) as app:
        number = begun(app, RAISES)
        assert app.rollouts.newest(LATE.name).phase == CANARY
        with socket.create_server(("127.0.0.1", 0)) as listening, (home / "server.log").open("wb") as log:
            fd = listening.fileno()
            server = start("serve", home, fd, pass_fds=[fd], stderr=log)
            controller = start("control", home, stdout=subprocess.PIPE)
            connection = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=60)
            clock, versions, ended, last = SystemClock(), [], None, 0
            for place in range(12_000):
                row = tiny.order(place, shop=f"s{place}", amount=ODD if place % 100 == 0 else 105.0)
                connection.request("POST", "/predict", json.dumps(row), {"content-type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                assert response.status == 200, answer
                assert np.isfinite(answer["score"])
                versions.append(answer["version"])
                if answer["version"] == number:
                    last = clock.elapsed()
                if place == 50:
                    controller.kill()
                    controller.communicate()
                    controller = start("control", home, stdout=subprocess.PIPE)
                if ended is None and not app.rollouts.newest(LATE.name).is_open:
                    ended = clock.elapsed()
                    stop_at = place + 200
                if ended is not None and place >= stop_at:
                    break
            connection.close()
            said, _ = controller.communicate()
            server.communicate()
    assert ended is not None, "the candidate was never undone"
    assert said.startswith("undone: it raised for")
    assert number in versions
    assert set(versions[-150:]) == {1}
    assert last - ended < UNITS["s"]
    assert server.returncode == 0
