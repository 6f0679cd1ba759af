"""Rollouts decided by outcomes: a better candidate is promoted and a worse one undone, in batch and in shadow."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tenfold.registry.versions import Stage
from tenfold.serving.answer import asking
from tenfold.serving.answer.predictions import BATCH, read
from tests.examples import rolling, tiny
from tests.examples.rolling import ALWAYS, FAR, HANGS, LATE, asked, begun, opened
from tests.unit.tiny_home import own_copy


@pytest.fixture
def home(rolling_built, tmp_path):
    return own_copy(rolling_built, tmp_path)


def live_days(app, days, *, first=0, each=80, low=1, high=20):
    """Score orders of new days in batch, whose outcomes come when they are due: amounts above 10 are late."""
    rng = np.random.default_rng(first)
    for day in range(first, first + days):
        start = tiny.NOW + timedelta(days=day)
        app.clock.set(start)
        rows, outcomes = [], []
        for place, amount in enumerate(rng.uniform(low, high, each).round(2).tolist()):
            due = start + timedelta(hours=2, minutes=10 * place)
            row = tiny.order(
                order_id=f"d{day}-{place}",
                shop=f"s{place}",
                amount=amount,
                due=due.isoformat(),
                placed=start.isoformat(),
            )
            rows.append(row)
            outcomes.append(
                {"order_id": row["order_id"], "late": float(amount > 10) * 5, "at": due.isoformat()}
            )
        app.ingest("orders", rows, history=True)
        app.flush()
        app.score(LATE, start, start + timedelta(days=1))
        app.clock.set(start + timedelta(days=1))
        app.ingest("outcomes", outcomes, history=True)
        app.flush()
        yield app.rollout().advance()


def test_a_better_candidate_is_promoted_by_itself_and_can_be_undone(home):
    with opened(home, rolling.SHADOW) as app:
        worse_champion = app.train(rolling.model(shift=0.4)).number
        for stage in (Stage.STAGING, Stage.PRODUCTION):
            app.registry.move(LATE.name, worse_champion, stage, by="ann", why="x", evidence={})
        number = begun(app, rolling.FINE)
        done = [said for said in live_days(app, 6) if said]
        assert done[0].startswith("to canary at 50%: not worse than the champion")
        assert done[1].startswith("promoted: not worse than the champion")
        assert app.registry.production(LATE.name).number == number
        told = app.audit.list(f"late_order/{number}", "rollout")
        assert [item.decision for item in told] == ["began in shadow", "to canary at 50%", "promoted"]
        assert told[-1].evidence["pairs"] > 100
        assert told[-1].evidence["candidate_loss"] < told[-1].evidence["champion_loss"]
        app.rollout().undo(by="ann", why="customers complained")
        undone = app.audit.list(f"late_order/{number}", "rollout")[-1]
        assert undone.by == "ann"
        assert undone.evidence["asked"] == app.traffic.counters.total(LATE.name, number).asked > 0
        assert app.registry.production(LATE.name).number == worse_champion


def test_a_worse_candidate_is_undone_by_its_outcomes(home):
    with opened(home, rolling.SHADOW) as app:
        begun(app, rolling.FINE, shift=0.4)
        done = [said for said in live_days(app, 5) if said]
        assert len(done) == 1
        assert done[0].startswith("undone: worse than the champion (mean loss 0.25, the champion's 0.01, on ")
        assert app.registry.production(LATE.name).number == 1
        begun(app, rolling.FINE)
        assert app.rollout().show().decision.evidence["pairs"] == 0, "what the one before said is not counted"


def test_a_row_that_is_asked_about_again_counts_once_as_it_was_first(home):
    with opened(home, rolling.SHADOW) as app:
        begun(app, rolling.FINE, shift=0.1)
        service = app.service(LATE)
        for place, amount in enumerate((15.0, 5.0)):
            app.clock.set(tiny.ASK_AT + place)
            service.predict(tiny.order(amount=amount), at=app.clock.now(), key=f"try {place}")
        app.traffic.settle()
        app.ingest("outcomes", [{"order_id": "new-0", "late": 5.0, "at": tiny.order()["due"]}], history=True)
        app.clock.set(tiny.NOW + timedelta(days=3))
        app.flush()
        found = app.rollout().outcomes(app.rollouts.newest(LATE.name))
        assert (found.champion, found.candidate) == (pytest.approx([0.01]), pytest.approx([0.04]))


def test_rows_that_a_version_learned_from_are_no_evidence(home):
    with opened(home, rolling.SHADOW) as app:
        number = begun(app, rolling.FINE)
        learned = app.versions.get(LATE, number).package.manifest.period[1]
        since = learned + LATE.label.takes_us
        assert app.batch(LATE, tiny.START, since).rows > 100
        app.flush()
        told = app.rollout().show().decision
        assert (told.action, told.evidence["pairs"]) == ("wait", 0)
        later = app.batch(LATE, since, tiny.NOW - timedelta(days=2))
        assert len(app.rollout().outcomes(app.rollouts.newest(LATE.name))) == later.rows > 20


def test_what_was_learned_of_a_row_is_no_evidence_when_it_is_asked_about_again(home):
    with opened(home, rolling.SHADOW) as app:
        begun(app, rolling.FINE)
        app.clock.set(tiny.ASK_AT)
        for name in ("o-100", "new-0"):  # the outcome of the first one is known for days
            app.service(LATE).predict(tiny.order(order_id=name), at=app.clock.now(), key=name)
        app.traffic.settle()
        app.ingest("outcomes", [{"order_id": "new-0", "late": 5.0, "at": tiny.order()["due"]}], history=True)
        app.clock.set(tiny.NOW + timedelta(days=3))
        assert len(app.rollout().outcomes(app.rollouts.newest(LATE.name))) == 1


def test_rows_of_a_unit_count_once_however_they_were_asked_about(home):
    with opened(home, replace(rolling.SHADOW, unit="shop")) as app:
        begun(app, rolling.FINE, shift=0.1)
        for place, shop in enumerate(("s0", "s0", "elsewhere", None, None)):
            app.clock.set(tiny.ASK_AT + place)
            row = tiny.order(place, shop=shop or "", amount=15.0)
            app.service(LATE).predict(row, at=app.clock.now(), key=f"{place}")
        app.traffic.settle()
        told = [{"order_id": f"new-{place}", "late": 5.0, "at": tiny.order()["due"]} for place in range(5)]
        app.ingest("outcomes", told, history=True)
        list(live_days(app, 3, each=40))
        rollout = app.rollouts.newest(LATE.name)
        assert len(app.rollout().outcomes(rollout)) == 42, "s0 to s39 twice, elsewhere, and the blank one"
        every = app.rollout(replace(rolling.SHADOW)).outcomes(rollout)
        assert len(every) == 85


def test_in_batch_a_candidate_that_raises_costs_no_row(home):
    with opened(home) as app:
        begun(app, ALWAYS)
        assert next(live_days(app, 1, low=150, high=1_000)).startswith("undone: it raised for")
        told = read(app.lake, LATE.name, BATCH, tiny.ASK_AT, FAR)
        assert len(told) == 80
        assert set(told.version) == {1}


def test_a_candidate_that_never_returns_holds_up_neither_shadow_nor_batch(home, monkeypatch, caplog):
    monkeypatch.setattr(asking, "LIMIT", 0.5)
    with opened(home, rolling.SHADOW) as app:
        number = begun(app, HANGS)
        answers = asked(app, 30)
        app.traffic.settle()
        served = app.traffic.counters.total(LATE.name, number)
        assert (served.raised, len(answers)) == (30, 30)
        asked(app, 5, first=30)
        app.traffic.settle()
        assert app.traffic.counters.total(LATE.name, number).raised == 35
        assert caplog.text.count("is not asked again") == 1
        app.rollout().undo(by="ann", why="the next one")
    with opened(home) as app:
        begun(app, HANGS)
        assert next(live_days(app, 1, low=150, high=1_000)).startswith("undone: it raised for")
        assert set(read(app.lake, LATE.name, BATCH, tiny.ASK_AT, FAR).version) == {1}


def test_early_outcomes_do_not_count_before_all_of_a_cohort_are_known(home):
    """Late orders report at once, the others a day later; the candidate guesses "late" too often and looks good at first."""
    with opened(home, rolling.SHADOW) as app:
        begun(app, rolling.FINE, shift=0.3)
        rollout = app.rollouts.newest(LATE.name)
        start = tiny.NOW
        amounts = np.random.default_rng(3).uniform(1, 20, 300).round(2).tolist()
        due = [start + timedelta(hours=2, minutes=place) for place in range(300)]
        rows = [
            tiny.order(
                order_id=f"e{place}",
                shop=f"s{place}",
                amount=amount,
                due=at.isoformat(),
                placed=start.isoformat(),
            )
            for place, (amount, at) in enumerate(zip(amounts, due, strict=True))
        ]
        app.ingest("orders", rows, history=True)
        app.flush()
        app.score(LATE, start, start + timedelta(days=1))

        def report(late):
            app.ingest(
                "outcomes",
                [
                    {"order_id": row["order_id"], "late": float(late) * 5, "at": at.isoformat()}
                    for row, amount, at in zip(rows, amounts, due, strict=True)
                    if (amount > 10) == late
                ],
            )
            app.flush()

        def found():
            return app.rollout().outcomes(rollout)

        app.clock.set(start + timedelta(hours=8))
        report(late=True)
        assert len(found()) == 0
        app.clock.set(start + timedelta(hours=20))
        report(late=False)
        assert len(found()) == 0
        app.clock.set(start + timedelta(hours=26, minutes=150))
        some = len(found())
        assert 100 < some < 300
        late_share = np.mean([amount > 10 for amount in amounts[:some]])
        assert 0.3 < late_share < 0.7
        app.clock.set(start + timedelta(days=3))
        assert len(found()) == 300
        assert found().candidate.mean() > found().champion.mean()
