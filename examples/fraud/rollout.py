"""Two candidates on the clock of history: a hasty one is undone by what its outcomes show, a sound one is promoted.

python -m examples.fraud.rollout      # a minute or two

A small city lives; a first version, trained on four weeks, is in Production. Every day the payments of the day are
scored, and the reports of a week ago arrive. A candidate that was trained in haste passes a lax gate and begins its
rollout; when it is over, one trained with care on all there is by then follows. Nobody decides anything.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.fraud.data import Simulated, World, simulate
from examples.fraud.live import messages
from examples.fraud.project import ESTIMATOR, stolen
from examples.fraud.protocol import WALL, arguments, write
from tenfold import App, Platform, Project, Release, VirtualClock, checks
from tenfold.core.times import DAY, iso
from tenfold.training.model import Model
from tenfold.ui.terminal import Progress, console, table

CITY = World(customers=600, terminals=1_000, radius=12, days=110)
FIRST, LIVE = 35, 50
"""The days on which the first version is trained, and on which the hasty candidate begins."""
RELEASE = Release(
    stolen,
    gates=[checks.at_least("average_precision", 0.02), checks.latency("250ms"), checks.size("5MB")],
    shadow="21d",
    canary=(0.1, 0.5),
    bake="1d",
    margin=0.001,  # of a squared error of about 0.05
)
project = Project("fraud_rollout", releases=[RELEASE])


def with_trees(**parameters: Any) -> Model:
    """Return the model with an estimator of other parameters: its versions answer the same requests."""
    return replace_estimator(stolen, type(ESTIMATOR)(**{**ESTIMATOR.get_params(), **parameters}))


def replace_estimator(model: Model, estimator: Any) -> Model:
    """Return a model that learns with another estimator."""
    names = ("spine", "features", "label", "lead", "threshold", "metrics", "test_window", "outputs")
    return Model(model.name, estimator=estimator, **{name: getattr(model, name) for name in names})


HASTY = with_trees(n_estimators=2, num_leaves=2)


@dataclass
class Days:
    """The days of a city as they come."""

    app: App
    clock: VirtualClock
    made: Simulated
    day: int

    @property
    def now(self) -> int:
        """The first instant of the day."""
        return CITY.start + self.day * DAY

    def pass_one(self) -> str | None:
        """Score the payments of a day, hear the reports that come in it, and let the rollout be looked at."""
        start, self.day = self.now, self.day + 1
        for name, part in messages(self.made).items():
            self.app.ingest(name, part.between(start, self.now).rows, history=True)
        self.clock.set(self.now)
        self.app.flush()
        self.app.score(stolen, start, self.now)
        return self.app.rollout().advance()


def begin(days: Days, model: Model) -> int:
    """Train a candidate on what is known, and begin its rollout if the gates let it."""
    number = days.app.train(model).number
    days.app.promote(stolen, number, by="loop")
    return number


def follow(days: Days, number: int, told: list[dict[str, Any]]) -> None:
    """Let days pass until the rollout of a version is over."""
    while days.app.rollout().busy() and days.now < CITY.start + CITY.days * DAY:
        day, done = days.now, days.pass_one()
        if done:
            told.append({"day": iso(day)[:10], "version": number, "done": done})


def played(home: Path, made: Simulated) -> dict[str, Any]:
    """Return what became of both candidates."""
    clock = VirtualClock(CITY.start + FIRST * DAY)
    told: list[dict[str, Any]] = []
    with project.open(Platform(home=home, clock=clock)) as app:
        days = Days(app, clock, made, FIRST)
        for name, part in messages(made).items():
            app.ingest(name, part.between(0, days.now).rows, history=True)
        app.flush()
        app.promote(stolen, app.train(with_trees(n_estimators=25)).number, by="loop")
        while days.day < LIVE:
            days.pass_one()
        for model in (HASTY, stolen):
            follow(days, begin(days, model), told)
        found = app.registry.production(stolen.name)
        decisions = app.audit.list(kind="rollout")
        return {
            "days": days.day - LIVE,
            "told": told,
            "production": None if found is None else found.number,
            "decisions": [
                {"subject": one.subject, "decision": one.decision, "evidence": one.evidence}
                for one in decisions
            ],
        }


def main() -> None:
    options = arguments(__doc__, "build/fraud-rollout.json", "build/fraud-rollout")
    home = Path(options.home)
    shutil.rmtree(home, ignore_errors=True)
    with Progress(WALL) as progress:
        progress.step("simulate a city of 600 cards")
        made = simulate(CITY, np.random.default_rng(options.seed))
        progress.step("roll out two candidates, day by day")
        result = played(home, made)
    write(Path(options.out), result)
    rows = [[item["day"], item["version"], item["done"]] for item in result["told"]]
    table(console(), f"{result['days']} days", ["day", "version", "what the rollout did, and why"], rows)


if __name__ == "__main__":
    main()
