"""A model that is declared in another way while a candidate is on its way: what it predicts, or what it is asked about."""

import json

import pytest
from click.testing import CliRunner
from lightgbm import LGBMRegressor

from tenfold import FeatureView, Label, Model, Platform, Project, Release, VirtualClock, checks, col
from tenfold.automation.control import Tries, _tick
from tenfold.cli import cli
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS
from tenfold.registry.versions import Stage
from tests.examples import bare, tiny
from tests.unit.tiny_home import one_version, own_copy

NAME, DAY = tiny.late_order.name, UNITS["d"]
LATE = col("late") > 0
FEATURES = {"amount": col("amount"), "hour": col("due").hour(), "items": col("items")}


def model(*features, value=LATE, estimator=tiny.ESTIMATOR):
    of = FeatureView("this_order", source=bare.orders, features={name: FEATURES[name] for name in features})
    label = Label(bare.outcomes, on="order_id", value=value, horizon="1d")
    how = {"spine": bare.orders, "lead": "1h", "label": label, "test_window": "5d"}
    return Model(NAME, features=[tiny.shop_visits, of], estimator=estimator, **how)


OLD, BOTH, NEW = model("amount", "hour"), model("amount", "hour", "items"), model("amount", "items")
NUMBER = model("amount", "hour", value=col("late"), estimator=LGBMRegressor(**tiny.ESTIMATOR.get_params()))
CLASSES = model("amount", "hour", value=LATE.then("late", "fine"))
HOW = {"shadow": "7d", "canary": (0.5,)}
new = Project("tiny", releases=[Release(NEW, **HOW)])
"""For the command line."""


built = pytest.fixture(scope="module")(one_version)
home = pytest.fixture(own_copy)


def opened(home, model, now=tiny.ASK_AT, **more):
    project = Project("tiny", releases=[Release(model, **HOW, **more)])
    return project.open(Platform(home=home, clock=VirtualClock(now)))


def begin(home, declared, learned):
    """Begin the rollout of a version that learned from some of the features that are declared."""
    with opened(home, learned) as app:
        number = app.train(NAME).number
    with opened(home, declared) as app:
        app.process()
        app.promote(NAME, number)
        for place in range(30):
            app.predict(NAME, bare.order(place))
        done = [
            {"order_id": f"new-{place}", "late": 5.0 * (place % 2), "at": bare.NOW} for place in range(30)
        ]
        app.ingest("outcomes", done, history=True)
        app.traffic.settle()
        app.flush()


@pytest.mark.parametrize(("changed", "kind"), [(NUMBER, "regression"), (CLASSES, "multiclass")])
def test_another_kind_ends_the_rollout_and_the_look_goes_on(home, changed, kind):
    begin(home, OLD, OLD)
    monitor = checks.at_most(
        "root_mean_squared_error" if changed is NUMBER else "log_loss", 9.0, window="30d"
    )
    with opened(home, changed, tiny.ASK_AT + 3 * DAY, monitors=[monitor], retrain_every="1d") as app:
        assert app.rollout().show().decision.action == "undo"
        _tick([app.loop()], [], Tries(print))
        undone = app.audit.list(f"{NAME}/2", "rollout")[-1]
        assert (undone.decision, undone.by) == ("undone", "loop")
        assert undone.why.startswith(
            f"{NAME} version 1 answers as a model that is binary, and a model that is {kind} is declared now"
        )
        (monitored,) = app.audit.list(NAME, "monitor")
        assert monitored.decision == "undecided"  # what was answered before says nothing of what is asked now
        assert [(one.number, one.stage) for one in app.registry.versions(NAME)] == [
            (1, Stage.ARCHIVED),
            (2, Stage.ARCHIVED),
            (3, Stage.PRODUCTION),
        ]


def test_a_person_can_still_end_a_rollout_of_another_kind(home):
    begin(home, OLD, OLD)
    with opened(home, CLASSES) as app:
        assert app.rollout().approve(by="ann").approved == "ann"
        app.rollout().undo(by="ann")
        assert app.registry.get(NAME, 2).stage is Stage.ARCHIVED


def test_a_candidate_that_fits_follows_a_champion_that_does_not_any_more(home, tmp_path):
    begin(home, BOTH, NEW)
    with opened(home, NEW) as app:
        app.process()
        with pytest.raises(Unavailable, match="version 1 was trained on other features"):
            app.predict(NAME, bare.order(100))
    status, shown = (said(home, tmp_path, *command) for command in (["status"], ["rollout", "show"]))
    why = "late_order version 1 was trained on other features than are declared now: missing this_order.hour"
    assert f"the champion cannot be asked: {why}" in status
    assert "to do: nothing, it is promoted as soon as a controller looks" in status
    assert "the champion cannot be asked" in shown
    told = json.loads(said(home, tmp_path, "rollout", "show", "--json", plain=True))["rollout"]
    assert told["champion_unasked"].startswith(why)
    assert told["now"]["action"] == "promote"
    with opened(home, NEW) as app:
        assert (
            app.rollout().advance(outcomes=False).startswith(f"promoted: the champion cannot be asked: {why}")
        )
        assert app.predict(NAME, bare.order(101))["version"] == 2


def said(home, folder, *command, plain=False):
    """Return what a command says of the home under the new declaration."""
    (folder / "project.py").write_text("from tests.unit.test_redeclared import new as project\n")
    number = 2 if command[0] == "rollout" else 1
    options = [*command[number:], "--home", str(home), "--clock", str(home / "clock")]
    done = CliRunner().invoke(cli, [*command[:number], str(folder / "project.py"), *options])
    assert done.exit_code == 0, done.stderr
    return done.stdout if plain else " ".join(done.stdout.split())
