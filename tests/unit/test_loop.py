"""The loop and the gate where it is easy to be wrong: promoted twice, changed declarations, one outcome, hand-made starts."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from lightgbm import LGBMClassifier

from tenfold import (
    Entity,
    Events,
    FeatureView,
    Label,
    Model,
    Platform,
    Project,
    Release,
    VirtualClock,
    checks,
    col,
    count,
    exists,
)
from tenfold.automation.journal import Journal
from tenfold.automation.loop import Loop
from tenfold.automation.rollout import Rolling
from tenfold.core.errors import Conflict, DefinitionError, GateFailed, SchemaError, Unavailable
from tenfold.core.times import DAY, to_us
from tenfold.registry.versions import Stage
from tenfold.training.folds import Split
from tests.examples import tiny
from tests.unit.crashing import Crash

NOW = tiny.ASK_AT
STRICT = [checks.at_least("roc_auc", 1.0), checks.beats_champion("roc_auc", by=0.5)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("loop") / "home"
    tiny.build(home)
    return home


@pytest.fixture
def opened(built, tmp_path):
    """Return a function that opens a copy of the built home under a release."""
    shutil.copytree(built, tmp_path / "home")
    apps = []

    def opened(model=tiny.late_order, now=NOW, **release):
        for app in apps:
            app.close()
        project = Project("tiny", releases=[Release(model, **release)])
        apps.append(project.open(Platform(home=tmp_path / "home", clock=VirtualClock(now))))
        return apps[-1]

    yield opened
    for app in apps:
        app.close()


def production(app):
    found = app.registry.production("late_order")
    return None if found is None else found.number


def test_the_version_in_production_stays_there_when_it_is_promoted_again(opened):
    app = opened(gates=STRICT)
    with pytest.raises(Conflict, match="late_order version 1 is already"):
        app.promote("late_order", 1)
    assert production(app) == 1


def test_a_gate_refuses_and_archives_with_the_reason(opened):
    app = opened(gates=STRICT)
    number = app.train("late_order").number
    with pytest.raises(GateFailed, match=f"late_order version {number} was refused: roc_auc") as refused:
        app.promote("late_order", number)
    assert str(refused.value).endswith(
        "Version 1 stays in production. A version is judged once: change the data, the model or Release(gates=[...]), and train "
        "another: tenfold train PROJECT.py late_order."
    )
    assert production(app) == 1
    assert app.registry.get("late_order", number).stage == Stage.ARCHIVED


def test_another_feature_list_gets_past_a_champion_it_cannot_be_compared_with(opened):
    fewer = tiny.model([tiny.shop_visits, tiny.this_order["amount"]])
    gates = [checks.beats_champion("roc_auc"), checks.not_worse(by=0.01)]
    app = opened(fewer, gates=gates, shadow="7d", canary=(0.5,))
    with pytest.raises(
        Unavailable, match=r"version 1 was trained on other features .* missing this_order.hour"
    ):
        app.predict(fewer, tiny.order())
    number = app.train(fewer).number
    why = app.promote(fewer, number)
    assert "version 1 in production is not asked any more" in why
    assert (production(app), app.rollout().show()) == (number, None)
    assert app.predict(fewer, tiny.order())["version"] == number


def test_a_champion_of_another_definition_is_not_compared_on_features_that_it_did_not_learn(opened):
    model = tiny.model([changed(), tiny.this_order])
    app = opened(model, gates=[checks.not_worse(by=0.01)])
    assert "changed shop_visits.visits_1d" in app.promote(model, app.train(model).number)


def changed():
    """Return the view of visits under another definition."""
    return FeatureView(
        "shop_visits",
        entity=Entity("shop", key="shop"),
        source=tiny.visits,
        features={"visits_1d": count(window="5m"), "minutes_1d": col("minutes").mean(window="1d")},
    )


def test_a_version_of_another_definition_is_not_served(opened):
    app = opened(tiny.model([changed(), tiny.this_order]))
    with pytest.raises(
        Unavailable, match=r"version 1 was trained on other features .* changed shop_visits.visits_1d"
    ):
        app.predict("late_order", tiny.order())


def test_a_candidate_is_not_worse_only_when_the_bound_of_its_loss_says_so(opened):
    weak = LGBMClassifier(n_estimators=3, n_jobs=1, verbosity=-1)
    other = tiny.model([tiny.shop_visits, tiny.this_order], estimator=weak)
    app = opened(other, gates=[checks.not_worse(by=0.9)])
    app.promote("late_order", app.train(other).number)
    evidence = app.audit.list("late_order/2", "gate")[-1].evidence
    assert (
        evidence["on"]["tables"] == {name: app.lake.version(name) for name in evidence["on"]["tables"]} != {}
    )
    assert evidence["on"]["rows"][0] < evidence["on"]["rows"][1] <= evidence["on"]["known"]
    (told,) = evidence["results"]
    mean, bound = told["value"], float(told["why"].partition("by at most ")[2].partition(",")[0])
    assert 0 < mean < bound
    app.rollback("late_order", why="a test")
    app = opened(other, gates=[checks.not_worse(by=(mean + bound) / 2)])
    with pytest.raises(GateFailed, match="rows are too few to tell"):
        app.promote("late_order", app.train(other).number)


def test_a_candidate_is_not_judged_on_rows_it_learned_from(opened):
    app = opened(gates=[checks.at_least("roc_auc", 0.0)])
    test = NOW - 6 * DAY, NOW - DAY
    # the label of a row takes a day, so rows of the day before tell of outcomes within the test
    for until, learned in ((NOW - DAY, True), (test[0], True), (test[0] - DAY, False)):
        number = app.train("late_order", Split((0, until), test, NOW)).number
        if not learned:
            app.promote("late_order", number)
            continue
        with pytest.raises(GateFailed, match="it learned from rows up to"):
            app.promote("late_order", number)


def test_one_outcome_only_is_recorded_and_refused(opened, tmp_path):
    app = opened(gates=[checks.at_least("roc_auc", 0.5)], now=NOW)
    late = [row | {"late": 1.0} for row in tiny.history()["outcomes"]]
    app.ingest("outcomes", late, history=True)  # a correction: all of them were late
    app.process()
    number = app.train("late_order").number
    assert app.registry.get("late_order", number).info["metrics"] == {"roc_auc": None}
    with pytest.raises(GateFailed, match="roc_auc cannot be computed"):
        app.promote("late_order", number)
    assert production(app) == 1


def test_the_schedule_runs_for_a_version_that_a_person_promoted(opened):
    app = opened(retrain_every="1d", gates=[checks.at_least("roc_auc", 0.0)], now=NOW + DAY // 2)
    assert app.loop().tick() == []
    app.clock.set(NOW + DAY)
    (cause,) = app.loop().tick()
    assert cause.startswith("schedule/late_order/")
    assert app.loop().tick() == []
    decision = app.audit.newest("gate", "late_order", "loop")
    assert decision.why.startswith("schedule: the last training was 1 days ago")


def test_a_training_that_fails_is_recorded_and_succeeds_a_day_later(opened, monkeypatch):
    app = opened(retrain_every="1d", gates=[checks.at_least("roc_auc", 0.0)], now=NOW + DAY)
    with monkeypatch.context() as broken:

        def unfit(self, X, y, **options):
            raise SchemaError("no good")

        broken.setattr(type(tiny.late_order.estimator), "fit", unfit)
        assert len(app.loop().tick()) == 1
    failed = app.audit.newest("training", "late_order", "loop")
    assert (failed.decision, failed.why) == ("failed", "no good")
    assert [run.status for run in app.runs.list("late_order")] == ["failed", "done"]
    assert app.loop().tick() == []
    app.clock.set(NOW + 2 * DAY)
    assert len(app.loop().tick()) == 1
    assert app.audit.newest("gate", "late_order", "loop").decision == "promoted"
    assert production(app) == 2


def test_replay_refuses_a_past_that_production_knows(opened):
    app = opened(now=NOW - 10 * DAY)
    with pytest.raises(DefinitionError, match="version 1 in production was made on"):
        list(app.replay(NOW - 9 * DAY, NOW))
    app.clock.set(NOW + DAY)
    with pytest.raises(DefinitionError, match="the clock of history stands at"):
        list(app.replay(NOW, NOW + 2 * DAY))


# Labels and their own history ---------------------------------------------------------------------


class Payment:
    payment: str
    card: str
    at: datetime


class Chargeback:
    chargeback: str
    payment: str
    at: datetime


payments = Events("payments", Payment, time="at", id="payment")
chargebacks = Events("chargebacks", Chargeback, time="at", id="chargeback", delay="7d")
of_card = FeatureView(
    "of_card",
    entity=Entity("card", key="card"),
    source=payments,
    features={"payments_30d": count(window="30d")},
)
fraud = Model(
    "fraud",
    spine=payments,
    features=[of_card],
    label=Label(chargebacks, on="payment", value=exists(), horizon="1d"),
    estimator=tiny.late_order.estimator,
)
FIRST = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def paid(tmp_path):
    clock = VirtualClock(FIRST + timedelta(days=20))
    with Project("cards", releases=[Release(fraud)]).open(Platform(home=tmp_path, clock=clock)) as app:
        days = [FIRST + timedelta(days=day) for day in range(20)]
        app.ingest(
            "payments",
            [{"payment": f"p{day}", "card": "c", "at": at.isoformat()} for day, at in enumerate(days)],
            history=True,
        )
        back = [at + timedelta(hours=2) for at in days]
        app.ingest(
            "chargebacks",
            [
                {"chargeback": f"c{day}", "payment": f"p{day}", "at": at.isoformat()}
                for day, at in enumerate(back)
            ],
            history=True,
        )
        app.process()
        yield app


def test_an_outcome_that_is_known_late_is_not_taken_for_none(paid):
    rows = paid.training_set(fraud)
    assert rows.y.tolist() == [1.0] * 12  # every payment is charged back; the last eight are not known yet


def test_a_row_is_not_part_of_its_own_history_though_its_event_was_sent_first(paid):
    new = {"payment": "new", "card": "d", "at": (FIRST + timedelta(days=20)).isoformat()}
    before = paid.features(fraud, new)
    paid.ingest("payments", [new])
    paid.clock.set(to_us(FIRST + timedelta(days=20, seconds=4)))
    after = paid.features(fraud, new)
    assert before["features"] == after["features"] == {"of_card.payments_30d": 0}
    assert after["as_of"] == new["at"]
    paid.clock.set(to_us(FIRST + timedelta(days=21)))
    with pytest.raises(SchemaError, match="longer before this request, as of 2024"):
        paid.features(fraud, new)


# Rollouts -----------------------------------------------------------------------------------------


def test_what_the_loop_trains_is_rolled_out_and_nothing_else_is_trained_meanwhile(opened):
    app = opened(retrain_every="1d", shadow="2d", gates=[checks.at_least("roc_auc", 0.0)], now=NOW + DAY)
    assert len(app.loop().tick()) == 1
    told = [item.decision for item in app.audit.list("late_order/2") if item.kind in ("gate", "rollout")]
    assert told == ["admitted", "began in shadow"]  # the decision stands before what follows from it
    rollout = app.rollouts.open("late_order")
    assert (rollout.candidate, rollout.champion, rollout.phase) == (2, 1, "shadow")
    assert production(app) == 1
    app.clock.set(NOW + 2 * DAY)
    assert app.loop().tick() == []
    app.clock.set(NOW + 3 * DAY)  # its time is over without outcomes: it is held, and another takes its place
    assert len(app.loop().tick()) == 1
    held = [item.decision for item in app.audit.list("late_order/2", "rollout")]
    assert held == ["began in shadow", "held in shadow", "undone"]
    assert app.rollouts.open("late_order").candidate == 3
    assert app.registry.get("late_order", 2).stage == Stage.ARCHIVED


def test_a_candidate_that_is_on_its_way_is_not_promoted_again(opened):
    app = opened(shadow="2d")
    number = app.train("late_order").number
    app.promote("late_order", number)
    for gates in ([], STRICT):  # also when they would refuse it now
        app = opened(shadow="2d", gates=gates)
        rollout, told = app.rollouts.newest("late_order"), app.audit.list()
        with pytest.raises(Conflict) as refused:
            app.promote("late_order", number)
        assert str(refused.value) == (
            f'version {number} of model "late_order" is on its way already, in shadow; nothing was changed. '
            "See: tenfold rollout show PROJECT.py late_order."
        )
        assert (app.rollouts.open("late_order"), app.audit.list()) == (rollout, told)
        assert app.registry.get("late_order", number).stage == Stage.STAGING


@pytest.mark.parametrize("gates", [[], STRICT])
def test_a_candidate_that_another_process_promoted_while_it_was_judged_stays_on_its_way(
    opened, gates, monkeypatch
):
    app = opened(shadow="2d")
    number = app.train("late_order").number
    judge = Loop._judge

    def meanwhile(self, *args):
        monkeypatch.setattr(Loop, "_judge", judge)
        lenient = replace(app.loop(), release=Release(tiny.late_order, shadow="2d"))
        lenient.promote(number, by="bob")
        return judge(self, *args)

    monkeypatch.setattr(Loop, "_judge", meanwhile)
    strict = replace(app.loop(), release=Release(tiny.late_order, shadow="2d", gates=gates))
    with pytest.raises(Conflict, match="is on its way already, in shadow"):
        strict.promote(number, by="ann")
    assert app.rollouts.open("late_order").candidate == number
    assert app.registry.get("late_order", number).stage == Stage.STAGING
    assert [item.by for item in app.audit.list(f"late_order/{number}")] == ["bob", "bob"]


@pytest.mark.parametrize("committed", [False, True])
def test_a_training_that_died_as_its_rollout_began_goes_on_with_it(opened, committed, monkeypatch):
    app = opened(shadow="2d")
    with monkeypatch.context() as dying:
        dies = (Journal, "_commit") if committed else (Rolling, "begin")
        act = getattr(*dies)

        def died(self, *args, **options):
            done = act(self, *args, **options)
            if app.rollouts.open("late_order"):
                raise Crash
            return done

        dying.setattr(*dies, died)
        with pytest.raises(Crash):
            app.loop().retrain("a cause", "asked for")
    assert (app.rollouts.open("late_order") is not None) == committed
    assert app.loop().resume() == (not committed)
    assert app.loop().retrain("a cause", "asked for")["decide"] == "admitted"
    rollout = app.rollouts.open("late_order")
    assert (rollout.id, rollout.candidate, rollout.phase, rollout.seq) == (1, 2, "shadow", 1)
    assert [item.decision for item in app.audit.list("late_order/2")] == ["admitted", "began in shadow"]


def test_a_first_version_is_promoted_by_the_gates_alone(opened, tmp_path):
    home = tmp_path / "new"
    tiny.build(home, promote=False)
    project = Project("tiny", releases=[Release(tiny.late_order, shadow="7d")])
    with project.open(Platform(home=home, clock=VirtualClock(NOW))) as app:
        app.promote("late_order", 1)
        assert production(app) == 1
        assert app.rollouts.newest("late_order") is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"canary": (0.5, 0.1)}, "not a rising list of shares between 0 and 1"),
        ({"canary": (0.5, 1)}, "not a rising list of shares"),
        ({"shadow": "7 days"}, 'shadow="7 days" is not a duration'),
        ({"shadow": "7d", "margin": 0}, "Without any margin"),
        ({"approval": True}, "has nothing to wait with"),
        ({"unit": "shp"}, 'no field of "orders". Did you mean "shop"'),
        ({"monitors": [checks.latency("20ms")]}, "is a gate"),
    ],
)
def test_a_release_that_cannot_be_is_refused_where_it_is_written(given, why):
    with pytest.raises(DefinitionError, match=why):
        Release(tiny.late_order, **given)
