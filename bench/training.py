"""training: the pipeline on real flights beside a bare fit of the same matrix, and a search in two processes beside one.

The pipeline's time is without its features, which are computed before; it is load, split, fit, evaluate, explain and
save. The bare fit learns from the same matrix with the same estimator, and its scores of the test rows must be equal.
The search must choose the same setting in one process and in two.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.harness import Bench, Entry
from bench.timing import timed

FULL, SEARCHED, TRIALS = 219_000, 60_000, 40
LEAST = 9_000
HERE = "bench.training"
SPACE = {"num_leaves": (7, 63), "learning_rate": (0.02, 0.3, "log"), "min_child_samples": (20, 400, "log")}


def main(bench: Bench) -> list[Entry]:
    """Measure the path of one training, then a search."""
    rows = bench.size(FULL, least=LEAST)
    searched, trials = bench.size(SEARCHED, least=LEAST), TRIALS if bench.rows >= SEARCHED else 4
    with tempfile.TemporaryDirectory(dir=bench.build) as folder:
        bench.run(f"{HERE}:prepare", rows=rows, folder=folder)
        path = bench.run(f"{HERE}:path", rows=rows, folder=folder, repeat=3)
        one, two = (
            bench.run(f"{HERE}:search", rows=searched, trials=trials, processes=count, folder=folder)
            for count in (1, 2)
        )
    if one["best"] != two["best"]:
        raise ValueError(f"training: one process chose {one['best']}, two chose {two['best']}.")
    return [
        Entry("training", path["seconds"], "s", rows, "bare fit", path["bare"], "0.83x", "without features"),
        Entry(
            "training/search",
            two["seconds"],
            "s",
            searched,
            "one process",
            one["seconds"],
            "1.7x",
            f"{trials} trials on 3 folds, the same best one",
        ),
    ]


def prepare(rows: int, folder: str) -> dict[str, Any]:
    """Load as many flights as are learned from, and what lies two weeks behind them."""
    from examples.flights.data import known, load
    from examples.flights.project import project
    from tenfold import Platform

    sources = load()
    end = _end(sources.schedule["scheduled"], rows)
    with project.open(Platform(home=Path(folder))) as app:
        for name, table in sources.items():
            app.ingest(name, table[known(name, table) < end], history=True, key=name)
        app.flush()
    return {"seconds": 0.0}


def path(rows: int, folder: str) -> dict[str, Any]:
    """Return the seconds of the pipeline and of the bare fit of its matrix."""
    import numpy as np

    from examples.flights.project import late_departure
    from tenfold.training.fit import fit, scores
    from tenfold.training.vector import encode

    dataset, split = _opened(late_departure, rows, folder)
    train = dataset.training_set(split.now, start=split.train[0], end=split.train[1])
    test = dataset.training_set(split.now, start=split.test[0], end=split.test[1])
    package, seconds = timed(lambda: fit(late_departure, dataset, split))
    X = encode(train.columns, package.manifest.categories)
    text = [place for place, kind in enumerate(late_departure.columns.values()) if kind == "str"]
    estimator = type(late_departure.estimator)(**late_departure.estimator.get_params())
    fitted, bare = timed(lambda: estimator.fit(X, train.y, categorical_feature=text))
    mine = fitted.booster_.predict(encode(test.columns, package.manifest.categories))
    if not np.array_equal(mine, scores(package, test)):
        raise ValueError("training: the bare fit scores the test rows differently.")
    return {"seconds": seconds, "bare": bare}


def search(rows: int, trials: int, processes: int, folder: str) -> dict[str, Any]:
    """Return the seconds of a search and what it chose."""
    from examples.flights.project import late_departure
    from tenfold import Tune
    from tenfold.training.fit import fit

    window = "7d" if rows >= SEARCHED else "1d"
    model = replace(late_departure, tune=Tune(SPACE, trials=trials), folds=3, test_window=window)
    dataset, split = _opened(model, rows, folder)
    package, seconds = timed(lambda: fit(model, dataset, split, processes=processes))
    tuning = package.manifest.evaluation["tuning"]
    return {"seconds": seconds, "best": tuning["trials"][tuning["best"]]["params"]}


def _end(scheduled: Any, rows: int) -> Any:
    """Return when the last flight that is learned from is scheduled, and 17 days more."""
    import pandas as pd

    ordered = scheduled.sort_values()
    return ordered.iloc[min(rows, len(ordered)) - 1] + pd.Timedelta(days=17)


def _opened(model: Any, rows: int, folder: str) -> tuple[Any, Any]:
    """Return the rows with their features computed, and the split: the last two weeks are tested on."""
    from tenfold.core.times import UNITS
    from tenfold.sources.lake import DeltaLake
    from tenfold.store.offline import History
    from tenfold.training.dataset import Dataset
    from tenfold.training.folds import Split

    dataset = Dataset(model, History(DeltaLake(Path(folder) / "lake")))
    _ = dataset.columns
    first, end = int(dataset.at[0]), int(dataset.at[min(rows, len(dataset.at)) - 1])
    takes, days = model.label.takes_us, UNITS["d"]
    return dataset, Split((first, end), (end + takes, end + takes + 14 * days), end + 20 * days)
