"""Forgot the label delay: nearly perfect offline, poor when served. See docs/label-delay.md.

python -m examples.fraud.forgot      # under a minute on two free cores
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from examples.fraud.data import Messages
from examples.fraud.project import Report, declare, reports, stolen, transactions
from examples.fraud.protocol import (
    HANDBOOK,
    METRICS,
    WALL,
    Figures,
    Periods,
    Rows,
    arguments,
    estimators,
    handbook_world,
    judge,
    opened,
    score,
    text,
    weeks,
    write,
)
from tenfold import Events
from tenfold.ui.terminal import Progress, console, table


class Paid:  # one table, with the outcome as a column
    tx_id: int
    customer_id: int
    terminal_id: int
    amount: float
    fraud: bool
    at: datetime


paid = Events("paid", Paid, time="at", id="tx_id")

DECLARED = {
    "honest": stolen,
    "no delay": declare(transactions, Events("reports", Report, time="at", id="tx_id"), offset=None),
    "own label": declare(paid, paid, offset=None, include_self=True),
}
ABOUT = {
    "honest": "reports known after seven days, windows a week back",
    "no delay": "reports known at once, windows up to now",
    "own label": "one table with the outcome, the row itself included",
}
RESEARCH = {"honest": "0.863 / 0.657", "own label": "1.000 / 0.992 ; 0.827 / 0.428"}
"""AUC and average precision on the handbook authors' data: offline; served."""


def with_outcomes(parts: Mapping[str, Messages]) -> dict[str, Messages]:
    """Return the sources and the table that mixes payments and outcomes: every row known when it was paid."""
    rows, told = parts[transactions.name].rows, parts[reports.name].rows
    fraud = np.zeros(int(rows["tx_id"].to_numpy().max()) + 1, dtype=np.bool_)
    named = told["tx_id"].to_numpy()
    fraud[named[named < len(fraud)]] = told["fraud"].to_numpy()[named < len(fraud)]
    both = rows.append_column("fraud", pa.array(fraud[rows["tx_id"].to_numpy()]))
    return {**parts, paid.name: Messages(both, parts[transactions.name].known)}


def compare(
    parts: Mapping[str, Messages],
    periods: Periods,
    estimator: Callable[[], Any],
    home: Path,
    progress: Callable[[str], object],
) -> dict[str, dict[str, Figures]]:
    """Return for each declaration the figures its author sees, and those of the same model on the honest rows.

    Parameters
    ----------
    parts
        The rows of each source, with outcomes.
    estimator
        Makes the estimator that learns from each.
    progress
        Is told what begins.
    """
    found: dict[str, tuple[Rows, Rows]] = {}
    for name, model in DECLARED.items():
        progress(f"compute the features: {name}")
        with opened(model, home / name.replace(" ", "-"), parts, periods.mature) as app:
            found[name] = weeks(app.dataset(model), periods)
    truth = found["honest"][1]
    result = {}
    for name, (learn, test) in found.items():
        progress(f"learn and test: {name}")
        fitted = estimator().fit(learn.X, learn.y)
        served = score(fitted, truth)
        result[name] = {"offline": judge(test, score(fitted, test)), "served": judge(truth, served)}
    return result


def main() -> None:
    options = arguments(__doc__, "build/fraud-forgot.json", "build/fraud-forgot")
    with Progress(WALL) as progress:
        progress.step("simulate 183 days of 5,000 cards and 10,000 terminals")
        parts = with_outcomes(handbook_world(options.seed))
        found = compare(
            parts, HANDBOOK, lambda: estimators()["random forest"], Path(options.home), progress.step
        )
    write(Path(options.out), {"seed": options.seed, "metrics": METRICS, "declared": found})
    rows = [
        (name, ABOUT[name], text(item["offline"]), text(item["served"]), RESEARCH.get(name, ""))
        for name, item in found.items()
    ]
    title = "Random forest: AUC / average precision / card precision@100"
    table(console(), title, ["declared", "what it is", "offline", "served", "on the authors' data"], rows)


if __name__ == "__main__":
    main()
