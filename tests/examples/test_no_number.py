"""A version in Production that gives no number for some rows: they are counted, and nothing stops for them."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from click.testing import CliRunner

from tenfold import checks
from tenfold.cli import cli
from tenfold.core.clock import SharedClock
from tenfold.core.times import to_us
from tenfold.monitoring.performance import weekly
from tenfold.registry.versions import Stage
from tenfold.serving.answer.predictions import BATCH, read
from tests.examples import rolling, tiny
from tests.examples.rolling import CANARY, FAR, LATE, NO_NUMBER, ODD, RAISES, asked, begun, opened
from tests.unit.tiny_home import own_copy

NAME = LATE.name
DAY = timedelta(days=1)
RETRAIN = replace(
    CANARY,
    gates=[checks.at_least("roc_auc", 0.5), checks.beats_champion("brier", by=-1), checks.not_worse(by=0.1)],
    monitors=[
        checks.at_least("roc_auc", 1.5, window="7d", then="retrain"),
        checks.at_most("brier", 1, window="7d"),
    ],
    canary=(),
    score_every="1d",
)
FAULTS = pytest.mark.parametrize("fault", [NO_NUMBER, RAISES], ids=["no number", "raises"])


@pytest.fixture
def home(rolling_built, tmp_path):
    return own_copy(rolling_built, tmp_path)


def odd_champion(app, fault=NO_NUMBER):
    """Have a version in Production that gives no number for an amount; return its number."""
    number = app.train(rolling.model(fault)).number
    for stage in (Stage.STAGING, Stage.PRODUCTION):
        app.registry.move(NAME, number, stage, by="ann", why="a test", evidence={})
    return number


def live_day(app, day=0, each=40, odd=4):
    """Have the orders and outcomes of a day, every so many of them odd, and let the day pass; return when it began."""
    start = tiny.NOW + timedelta(days=day)
    amounts = np.random.default_rng(day).uniform(1, 19, each).round(2)
    amounts[::odd] = ODD
    due = [(start + timedelta(hours=2, minutes=10 * place)).isoformat() for place in range(each)]
    rows = [
        tiny.order(order_id=f"d{day}-{place}", shop=f"s{place}", amount=amount, due=at, placed=start)
        for place, (amount, at) in enumerate(zip(amounts.tolist(), due, strict=True))
    ]
    late = [
        {"order_id": row["order_id"], "late": 5.0 * (row["amount"] > 10), "at": row["due"]} for row in rows
    ]
    for name, made in (("orders", rows), ("outcomes", late)):
        app.ingest(name, made, history=True)
    app.flush()
    app.clock.set(start + DAY)
    return start


@FAULTS
def test_a_batch_counts_them_and_its_mean_is_of_the_others(home, fault, caplog):
    with opened(home) as app:
        odd = odd_champion(app, fault)
        start = live_day(app)
        done = app.batch(LATE, start, start + DAY)
        answers = read(app.lake, NAME, BATCH, 0, FAR)
        assert (done.rows, done.no_number) == (40, 10)
        assert [one is None for one in answers.decision.tolist()] == np.isnan(answers.score).tolist()
        assert done.mean == pytest.approx(np.nanmean(answers.score))
        assert done.decided == (answers.score > 0.5).sum()
        assert [part["no_number"] for part in done.partitions.values()] == [10]
        assert app.batch(LATE, start, start + DAY) == done
        app.traffic.settle()
        served = app.traffic.counters.total(NAME, odd)
        assert (served.asked, served.failed, served.raised) == (40, 10, 10 * (fault == RAISES))
        assert caplog.text.count("version raised") == (fault == RAISES)
        assert app.batch(LATE, start, start + DAY, every=None).no_number == 10
        alone = start + timedelta(hours=1)  # the moment of the first order
        assert app.batch(LATE, alone, alone + timedelta(minutes=1)).mean is None


def test_what_an_older_release_added_up_is_read(home):
    told = {"rows": 4, "decided": 1, "versions": {"1": 4}}
    with opened(home) as app:
        done = app.scoring(LATE)._scored({"mon": told | {"total": 2.0}, "tue": told | {"total": None}})
    assert (done.rows, done.decided, done.mean, done.no_number) == (8, 2, 0.5, 0)


@FAULTS
def test_schedule_monitors_and_retraining_go_on_and_a_successor_is_compared_on_the_other_rows(home, fault):
    with opened(home, RETRAIN) as app:
        odd = odd_champion(app, fault)
        for day in range(4):
            start = live_day(app, day)
            app.schedule(RETRAIN).tick()
        scored = app.audit.list(NAME, "score")[-1]
        assert (
            scored.why == f"40 rows of {start.isoformat()}/{(start + DAY).isoformat()}, 10 without a number"
        )
        assert scored.evidence["no_number"] == 10

        (week, *_) = weeks = weekly(LATE, app.matured(LATE, to_us(tiny.NOW), FAR), to_us(tiny.NOW))
        assert [(one.rows, one.no_number) for one in weeks] == [(120, 30)]
        assert week.metrics["roc_auc"] == 1.0
        assert 0.1 < week.predicted < 0.9

        assert len(app.loop().tick()) == 1
        auc, brier = app.audit.list(NAME, "monitor")
        assert auc.why.endswith("needed over 90 matured predictions, without 30 that have no number")
        assert (auc.decision, auc.evidence["no_number"]) == ("degraded", 30)
        assert brier.decision == "healthy"
        assert app.audit.list(NAME, "training") == []

        number = app.registry.production(NAME).number
        assert number != odd
        check_compared(app, number, odd)


def check_compared(app, number, odd):
    """Check that a version was compared with an odd champion on the rows that this has a number for."""
    (title,) = (
        name
        for name in app.versions.get(LATE, number).package.manifest.evaluation["baselines"]
        if name.startswith("champion")
    )
    gate = app.audit.list(f"{NAME}/{number}", "gate")[-1]
    left, rows = gate.evidence["results"][-1]["value"], int(title.split()[7])
    assert title == f"champion (version {odd}), on the {rows - left:.0f} of {rows} rows it has a number for"
    assert f"the champion gives no number for {left:.0f} of {rows} test rows" in gate.why
    assert left >= 30


def test_a_champion_that_raises_does_not_keep_out_its_successor(home, caplog):
    with opened(home, RETRAIN) as app:
        odd = odd_champion(app, RAISES)
        for day in range(4):
            live_day(app, day)
        number = app.train(LATE).number
        app.promote(LATE, number)
        assert app.registry.production(NAME).number == number
        check_compared(app, number, odd)
    assert "an order that was not thought of" in caplog.text


def test_a_monitor_without_any_number_cannot_be_judged(home):
    with opened(home, RETRAIN) as app:
        odd_champion(app)
        for day in range(2):
            live_day(app, day, each=8, odd=1)
            app.schedule(RETRAIN).tick()
        (week,) = weekly(LATE, app.matured(LATE, to_us(tiny.NOW), FAR), to_us(tiny.NOW))
        assert (week.rows, week.no_number) == (8, 8)
        assert np.isnan([week.predicted, week.happened, *week.metrics.values()]).all()
        assert app.loop().tick() == []
        told = app.audit.list(NAME, "monitor")
        assert [item.decision for item in told] == 2 * ["undecided"]
        assert "over 0 matured predictions, without 8 that have no number" in told[0].why


def test_outcomes_of_a_rollout_are_those_of_rows_with_a_number_of_both(home):
    with opened(home, rolling.SHADOW) as app:
        odd_champion(app)
        begun(app, rolling.FINE)
        start = live_day(app)
        app.score(LATE, start, start + DAY)
        app.clock.set(start + 2 * DAY)
        app.flush()
        app.rollout().advance()
        found = app.rollout().outcomes(app.rollouts.newest(NAME))
        assert (len(found), found.left_out) == (30, 10)
        assert np.isfinite([found.champion, found.candidate]).all()
        shown = app.rollout().show().decision.evidence
        assert (shown["pairs"], shown["no_number"]) == (30, 10)


@pytest.mark.parametrize("release", [rolling.SHADOW, CANARY], ids=["shadow", "canary"])
@FAULTS
def test_rows_without_a_number_of_the_champion_are_not_held_against_a_candidate(home, release, fault):
    with opened(home, release) as app:
        odd_champion(app)
        number = begun(app, fault)
        asked(app, 40, odd=4)
        start = live_day(app)
        app.score(LATE, start, start + DAY)
        app.traffic.settle()
        served = app.traffic.counters.total(NAME, number)
        assert (served.asked, served.failed) == (60, 0)
        assert app.rollout().advance(outcomes=False) is None


def test_commands_say_how_many_there_are(home, tmp_path):
    with opened(home) as app:
        odd_champion(app)
        start = live_day(app)
    SharedClock(home / "clock").set(to_us(start + 2 * DAY))
    file = tmp_path / "odd.py"
    file.write_text("from tests.examples import rolling\nproject = rolling.project(rolling.CANARY)\n")

    def run(verb, *args):
        options = ["--home", str(home), "--clock", str(home / "clock")]
        found = CliRunner().invoke(cli, [verb, str(file), *args, *options])
        assert found.exit_code == 0, found.stderr
        return found.stdout

    period = ["--start", start.date().isoformat(), "--end", (start + DAY).date().isoformat()]
    assert ", 10 without a number, in 1 partition" in run("score", *period)
    assert json.loads(run("score", *period, "--json"))["no_number"] == 10
    due = (start + 2 * DAY + timedelta(hours=1)).isoformat()
    row = json.dumps(tiny.order(amount=ODD, due=due))
    assert f"{NAME} version 2: no number, as of" in run("predict", NAME, row)
    assert json.loads(run("predict", NAME, row, "--json"))["score"] is None
    assert "no number" in run("monitor", *period)
    (week,) = json.loads(run("monitor", *period, "--json"))["weeks"]
    assert (week["rows"], week["no_number"]) == (40, 10)
