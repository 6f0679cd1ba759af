"""Five models by the protocol of the fraud handbook, on features that tenfold computes, beside the published figures.

python -m examples.fraud.protocol      # under a minute on two free cores

Learn from a week of payments, wait the week that reports take, and test on the next week, in which every card is left
out that was known to be compromised by the beginning of the day.
"""

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.fraud.data import Messages, Simulated, World, simulate
from examples.fraud.project import reports, stolen, transactions
from tenfold import App, Model, Platform, Project, Release
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.times import DAY, to_us
from tenfold.training.dataset import Dataset
from tenfold.training.metrics import average_precision, roc_auc
from tenfold.training.vector import encode
from tenfold.ui.terminal import Progress, console, table

WALL = SystemClock()
LOOKED_AT = 100
"""Cards an investigator looks at in a day."""


@dataclass(frozen=True)
class Periods:
    """When payments are learned from and when models are tested: [start, end) each, microseconds UTC."""

    learn: tuple[int, int]
    test: tuple[int, int]

    @property
    def start(self) -> int:
        """From when payments matter: the longest window of the first one learned from."""
        return self.learn[0] - max(view.plan.longest for view in stolen.stored)

    @property
    def mature(self) -> int:
        """When the last payment has been reported."""
        return self.test[1] + stolen.label.takes_us + 1


HANDBOOK = Periods(
    learn=(to_us("2018-07-25"), to_us("2018-08-01")), test=(to_us("2018-08-08"), to_us("2018-08-15"))
)
Figures = dict[str, float]
METRICS = ("roc_auc", "average_precision", "card_precision")
PUBLISHED = {
    "decision tree, depth 2": (0.763, 0.496, 0.241),
    "logistic regression": (0.871, 0.606, 0.291),
    "decision tree, unlimited": (0.788, 0.309, 0.243),
    "random forest": (0.867, 0.658, 0.287),
    "XGBoost": (0.862, 0.639, 0.273),
}
"""On the authors' own simulated data; XGBoost with the defaults of its version then."""


@dataclass(frozen=True)
class Rows:
    """Payments as a model sees them: X (n, 15) float64, whether stolen, the card, and when; n each."""

    X: np.ndarray
    y: np.ndarray
    card: np.ndarray
    at: np.ndarray

    def take(self, rows: np.ndarray) -> "Rows":
        """Return the rows where a mask is true."""
        return Rows(self.X[rows], self.y[rows], self.card[rows], self.at[rows])

    def between(self, start: int, end: int) -> "Rows":
        """Return the payments made in [start, end)."""
        return self.take((self.at >= start) & (self.at < end))


def estimators() -> dict[str, Any]:
    """Return the five models by name, with the settings of the handbook."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier
    from xgboost import XGBClassifier

    return {
        "decision tree, depth 2": DecisionTreeClassifier(max_depth=2, random_state=0),
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
        "decision tree, unlimited": DecisionTreeClassifier(random_state=0),
        "random forest": RandomForestClassifier(n_jobs=2, random_state=0),
        "XGBoost": XGBClassifier(n_jobs=2, random_state=0),
    }


def within_reach(made: Simulated, periods: Periods) -> dict[str, Messages]:
    """Return by source what the windows of the periods reach, with all reports."""
    return {
        transactions.name: made.transactions.between(periods.start, periods.test[1]),
        reports.name: made.reports.between(periods.start + reports.delay_us, periods.mature),
    }


def load(app: App, parts: Mapping[str, Messages]) -> None:
    """Load the rows of each source of the project, as history."""
    for name in app.project.sources:
        app.ingest(name, parts[name].rows, history=True)
    app.flush()


def weeks(dataset: Dataset, periods: Periods) -> tuple[Rows, Rows]:
    """Return the payments to learn from and those to test on."""
    found = dataset.training_set(periods.mature, start=periods.learn[0], end=periods.test[1])
    same = np.isin(dataset.ids, found.ids)
    card = dataset.spine["customer_id"].values[same]
    rows = Rows(encode(found.columns, {}), found.y, card, found.at)
    compromised = first_report(rows)[rows.card] < rows.at // DAY * DAY
    return rows.between(*periods.learn), rows.take(~compromised).between(*periods.test)


def first_report(rows: Rows) -> np.ndarray:
    """Return by card when it was first known to be compromised; never, in the far future."""
    known = np.full(int(rows.card.max()) + 1, np.iinfo(np.int64).max)
    stolen_rows = rows.y > 0
    np.minimum.at(known, rows.card[stolen_rows], rows.at[stolen_rows] + reports.delay_us)
    return known


def card_precision(rows: Rows, score: np.ndarray, *, most: int = LOOKED_AT) -> float:
    """Return the mean over the days of the share of compromised cards among the most suspicious ones.

    A card is as suspicious as its most suspicious payment of the day, ties in the order of card numbers; one that was
    found compromised is not looked at again.
    """
    found: set[int] = set()
    shares = []
    for day in np.unique(rows.at // DAY):
        today = (rows.at // DAY == day) & ~np.isin(rows.card, list(found))
        cards, place = np.unique(rows.card[today], return_inverse=True)
        highest, bad = np.full(len(cards), -np.inf), np.zeros(len(cards))
        np.maximum.at(highest, place, score[today])
        np.maximum.at(bad, place, rows.y[today])
        looked_at = np.argsort(-highest, kind="stable")[:most]
        caught = looked_at[bad[looked_at] > 0]
        shares.append(len(caught) / most)
        found |= set(cards[caught].tolist())
    return float(np.mean(shares))


def judge(rows: Rows, score: np.ndarray) -> Figures:
    """Return the three figures of the handbook."""
    return {
        "roc_auc": roc_auc(rows.y, score),
        "average_precision": average_precision(rows.y, score),
        "card_precision": card_precision(rows, score),
    }


def score(estimator: Any, rows: Rows) -> np.ndarray:
    """Return the probability a fitted model gives each payment of being stolen."""
    return np.asarray(estimator.predict_proba(rows.X)[:, 1], dtype=np.float64)


def text(figures: Figures | tuple[float, ...]) -> str:
    """Return figures side by side."""
    values = figures if isinstance(figures, tuple) else tuple(figures[name] for name in METRICS)
    return " / ".join(f"{value:.3f}" for value in values)


def opened(model: Model, home: Path, parts: Mapping[str, Messages], now: int) -> App:
    """Return a project of one model, made anew, with the rows of its sources in the lake."""
    shutil.rmtree(home, ignore_errors=True)
    project = Project("fraud", releases=[Release(model)])
    app = project.open(Platform(home=home, clock=VirtualClock(now)))
    load(app, parts)
    return app


def handbook_world(seed: int) -> dict[str, Messages]:
    """Return what the handbook's two weeks need of a world of its size."""
    return within_reach(simulate(World(), np.random.default_rng(seed)), HANDBOOK)


def main() -> None:
    options = arguments(__doc__, "build/fraud.json", "build/fraud")
    result: dict[str, Any] = {"seed": options.seed, "models": {}}
    with Progress(WALL) as progress:
        progress.step("simulate 183 days of 5,000 cards and 10,000 terminals")
        parts = handbook_world(options.seed)
        progress.step("load the payments that windows reach, and their reports")
        with opened(stolen, Path(options.home), parts, HANDBOOK.mature) as app:
            progress.step("compute the features of every payment as of its moment")
            learn, test = weeks(app.dataset(stolen), HANDBOOK)
        result |= {"learned_from": count_of(learn), "tested_on": count_of(test)}
        for name, estimator in estimators().items():
            progress.step(f"learn and test: {name}")
            result["models"][name] = judge(test, score(estimator.fit(learn.X, learn.y), test))
    write(Path(options.out), result)
    rows = [(name, text(PUBLISHED[name]), text(figures)) for name, figures in result["models"].items()]
    title = f"AUC / average precision / card precision@{LOOKED_AT}; another world, so near, not equal"
    table(console(), title, ["model", "published", "here"], rows)
    for name in ("learned_from", "tested_on"):
        found = result[name]
        print(f"{name.replace('_', ' ')} {found['payments']:,} payments, {found['stolen']:,} of them stolen")


def count_of(rows: Rows) -> dict[str, int]:
    """Return how many payments there are and how many of them are stolen."""
    return {"payments": len(rows.y), "stolen": int(rows.y.sum())}


def arguments(about: str | None, out: str, home: str) -> argparse.Namespace:
    """Return the options of a script of this example."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=out, help="where the figures go")
    parser.add_argument("--home", default=home, help="a project folder; made anew")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated world")
    return parser.parse_args()


def write(out: Path, result: dict[str, Any]) -> None:
    """Write figures as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
