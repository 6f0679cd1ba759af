"""batch: ten days of payments scored in batch, beside the bare `booster.predict` of the same rows' ready-made matrix.

30 features: 18 of the payment itself and 12 of the card's windows up to 7 days back, computed as of each payment. LightGBM
with 200 trees. Ours reads the tables, computes features, predicts, and stores answers with features and ages in the lake,
flushed to the disk; the bare one has its matrix in memory and keeps its scores there. The scores must be equal to the bit.
Both run in pieces of 100,000 rows on all cores. Times are of processors, since the machine is shared; `batch/wall` is not.
"""

import resource
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Bench, Entry

FULL, LEARNED, KEYS = 10_000_000, 20_000, 50_000
START = 1_767_225_600_000_000  # 2026-01-01
DAY = 86_400_000_000
DAYS = 10
WINDOWS = ("1h", "24h", "7d")
NUMBERS = [f"x{number}" for number in range(16)]
HERE = "bench.batch"


class Payment:
    """A payment with 16 numbers that somebody knew of it."""

    __annotations__ = (
        {"payment": int, "card": int, "amount": float} | dict.fromkeys(NUMBERS, float) | {"at": datetime}
    )


class Outcome:
    """What became of a payment."""

    payment: int
    bad: bool
    at: datetime


def main(bench: Bench) -> list[Entry]:
    """Measure all rows and, for the memory, a tenth of them."""
    rows = bench.size(FULL, least=1_000)
    with tempfile.TemporaryDirectory(dir=bench.build) as folder:
        learned, few, many = (str(Path(folder) / name) for name in ("learned", "few", "many"))
        bench.run(f"{HERE}:learn", folder=learned)
        for count, home in ((rows // 10, few), (rows, many)):
            shutil.copytree(learned, home)
            bench.run(f"{HERE}:fill", rows=count, folder=home)
        small = bench.run(f"{HERE}:ours", folder=few)
        ours = bench.run(f"{HERE}:ours", folder=many, limit=1800)
        bare = bench.run(f"{HERE}:bare", folder=many, repeat=2)
    if ours["total"] != bare["total"]:
        raise ValueError(f"batch: the scores add up to {ours['total']} here and to {bare['total']} bare.")
    name, note = "bare predict", "processor time; all of ours against predict alone"
    stored = (
        f"of which the disk and the lake may wait; {ours['rows']:,} rows in {ours['partitions']} partitions"
    )
    return [
        Entry("batch", ours["cpu"], "s", rows, name, bare["cpu"], "0.77x", note),
        Entry("batch/wall", ours["seconds"], "s", rows, name, bare["seconds"], "0.77x", stored),
        Entry("batch/memory", ours["peak"], "GB", rows, "a tenth of the rows", small["peak"], "bounded"),
    ]


def project(clock: Any, folder: str) -> Any:
    """Return the project, opened."""
    from lightgbm import LGBMClassifier

    from tenfold import Entity, Events, FeatureView, Label, Model, Platform, Project, Release, col, count

    payments = Events("payments", Payment, time="at", id="payment")
    outcomes = Events("outcomes", Outcome, time="at", id="payment")
    over = {"sum": col("amount").sum, "mean": col("amount").mean, "max": col("amount").max}
    recent = {f"{fn}_{window}": over[fn](window=window) for window in WINDOWS for fn in over}
    recent |= {f"count_{window}": count(window=window) for window in WINDOWS}
    own = {name: col(name) for name in ("amount", *NUMBERS)} | {"hour": col("at").hour()}
    model = Model(
        "bad_payment",
        spine=payments,
        features=[
            FeatureView("recent", entity=Entity("card", key="card"), source=payments, features=recent),
            FeatureView("own", source=payments, features=own),
        ],
        label=Label(outcomes, on="payment", value=col("bad"), horizon="1h"),
        estimator=LGBMClassifier(n_estimators=200, num_leaves=31, n_jobs=2, verbosity=-1, random_state=1),
        test_window="2d",
    )
    return Project("bank", releases=[Release(model)]).open(Platform(home=Path(folder), clock=clock))


def learn(folder: str) -> dict[str, Any]:
    """Make a version that learned from ten days before."""
    from tenfold.core.clock import VirtualClock
    from tenfold.registry.versions import Stage

    with project(VirtualClock(START), folder) as app:
        _fill(app.lake, 0, LEARNED, START - DAYS * DAY, outcomes=True)
        version = app.train("bad_payment")
        for stage in (Stage.STAGING, Stage.PRODUCTION):
            app.registry.move("bad_payment", version.number, stage, by="bench", why="bench", evidence={})
    return {"seconds": 0.0}


def fill(rows: int, folder: str) -> dict[str, Any]:
    """Make the rows that are to be scored."""
    from tenfold.core.clock import VirtualClock

    with project(VirtualClock(START), folder) as app:
        for day in range(DAYS):
            size = rows // DAYS
            _fill(app.lake, LEARNED + day * size, size, START + day * DAY)
    return {"seconds": 0.0}


def ours(folder: str) -> dict[str, Any]:
    """Score all days, the app opened before."""
    import pyarrow.parquet  # noqa: F401 - what it imports once a process is not measured

    from bench.timing import timed
    from tenfold.core.clock import VirtualClock

    with project(VirtualClock(START + DAYS * DAY), folder) as app:
        app.versions.production(app.project.release().model)
        before = _cpu()
        done, seconds = timed(lambda: app.batch("bad_payment", START, START + DAYS * DAY))
        cpu = _cpu() - before
    total = sum(part["total"] for part in done.partitions.values())
    return {
        "seconds": seconds,
        "cpu": cpu,
        "rows": done.rows,
        "partitions": len(done.partitions),
        "total": round(total, 6),
    }


def bare(folder: str) -> dict[str, Any]:
    """Predict the matrix that ours stored, piece by piece."""
    import lightgbm

    from bench.timing import timed
    from tenfold.core.clock import VirtualClock
    from tenfold.serving.batch import PIECE

    with project(VirtualClock(START + DAYS * DAY), folder) as app:
        engine = app.versions.production(app.project.release().model).package.predictor.engine
        booster = lightgbm.Booster(model_str=engine.text)
        parts = []
        for day in range(DAYS):
            where = f'"at" >= make_timestamptz({START + day * DAY}) AND "at" < make_timestamptz({START + day * DAY + DAY})'
            flat = app.lake.read("scores", columns=["features"], where=where)["features"].combine_chunks()
            parts.append(flat.flatten().to_numpy().reshape(len(flat), -1))
    X = np.concatenate(parts)
    del parts

    def run() -> list[np.ndarray]:
        return [booster.predict(X[first : first + PIECE], num_threads=2) for first in range(0, len(X), PIECE)]

    before = _cpu()
    found, seconds = timed(run)
    cpu = _cpu() - before
    return {"seconds": seconds, "cpu": cpu, "total": round(float(sum(part.sum() for part in found)), 6)}


def _fill(lake: Any, first: int, rows: int, start: int, *, outcomes: bool = False) -> None:
    """Append a stretch of payments in the order of their times, as the log would have brought them."""
    import pyarrow as pa

    from tenfold.store.base import SINK

    made = np.random.default_rng(first)
    span = DAYS * DAY if outcomes else DAY
    time = start + np.sort(made.integers(0, span // 1000, rows)) * 1000
    place = np.arange(first, first + rows)
    amount = np.round(made.lognormal(3.0, 1.2, rows), 2)
    numbers = {name: np.round(made.normal(size=rows), 3) for name in NUMBERS}
    columns = {
        "payment": place,
        "card": np.minimum(KEYS * made.random(rows) ** 1.9, KEYS - 1).astype(np.int64),
        "amount": amount,
        **numbers,
        "at": pa.array(time).cast(pa.timestamp("us", "UTC")),
        "_known": time,
        "_offset": place,
        "_arrival": time,
    }
    lake.append("payments", pa.table(columns), writer=SINK, upto=first + rows)
    if outcomes:
        bad = made.random(rows) < 1 / (1 + np.exp(3 - numbers["x0"] - amount / 50))
        told = {name: columns[name] for name in ("payment", "at", "_known", "_offset", "_arrival")}
        lake.append("outcomes", pa.table(told | {"bad": bad}), writer=SINK, upto=first + rows)


def _cpu() -> float:
    """Return the seconds of a processor this process has used, in all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
