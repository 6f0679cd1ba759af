"""Payments stopped as they are made: over HTTP, by a server and a worker that are processes of their own.

python -m examples.fraud.live      # under a minute on two free cores

A small city lives for eighty days; a first version is trained and goes live. Then every payment is asked about as it is
made, and the answer says what the rules of the model make of its amount and its score. The messages that make it history
come after that, one in ten late and some twice, and so do the reports of last week.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from examples import live
from examples.fraud.data import Change, Drift, Messages, Simulated, World, simulate
from examples.fraud.project import project, reports, stolen, transactions
from examples.fraud.protocol import WALL, arguments, write
from examples.live import Moment, Played, Processes, Row, free_port, play
from tenfold import App, Platform
from tenfold.core.clock import SharedClock
from tenfold.core.times import DAY, UNITS
from tenfold.monitoring.skew import Skew
from tenfold.monitoring.telemetry import quantiles_ms
from tenfold.ui.terminal import Progress, console, table

PROJECT = "examples/fraud/project.py"
LIVE = 80  # the day on which it goes live
CITY = World(
    customers=1_000,
    terminals=2_000,
    radius=11.2,
    days=LIVE + 2,
    drift=Drift(late=Change(LIVE, 0.1), twice=Change(LIVE, 0.02)),
)
START = CITY.start + LIVE * DAY
HOURS = 36
REASONS = ("large", "risky", "odd")
"""The outputs that say why: the first two stop a payment, the last one has it looked at."""


@dataclass
class Stopped:
    """What the rules decided: how many payments each stopped, how many in all, and how many of them were stolen."""

    scenario: np.ndarray
    rules: Counter[str] = field(default_factory=Counter)
    payments: int = 0
    rightly: int = 0
    passed: int = 0
    """Stolen payments that no rule stopped."""

    def heard(self, row: Row, answer: dict[str, Any]) -> None:
        """Count what was decided of one payment."""
        outputs, bad = answer["outputs"], int(self.scenario[row["tx_id"]] > 0)
        blocked = outputs["action"] == "block"
        self.rules.update(name for name in REASONS if outputs[name])
        self.payments += blocked
        self.rightly += bad if blocked else 0
        self.passed += 0 if blocked else bad


def moments(made: Simulated, start: int, end: int) -> Iterator[Moment]:
    """Yield the instants of [start, end) at which a payment is made, in order."""
    arriving = {}
    for name, part in messages(made).items():
        live_part = part.between(start, end)
        arriving[name] = live_part.known, as_json(live_part.rows)
    yield from live.moments(arriving, *asked(made, start, end))


def asked(made: Simulated, start: int, end: int) -> tuple[np.ndarray, list[Row]]:
    """Return when payments are made in [start, end), in order, and the payments."""
    rows = made.transactions.rows
    at = rows["at"].cast("int64").to_numpy()
    chosen = np.flatnonzero((at >= start) & (at < end))
    _, first = np.unique(rows["tx_id"].to_numpy()[chosen], return_index=True)  # by time, as numbers are
    return at[chosen[first]], as_json(rows.take(chosen[first]))


def messages(made: Simulated) -> dict[str, Messages]:
    """Return what arrives, by source."""
    return {transactions.name: made.transactions, reports.name: made.reports}


def as_json(rows: pa.Table) -> list[Row]:
    """Return rows as JSON values."""
    return [row | {"at": row["at"].isoformat()} for row in rows.to_pylist()]


def prepare(app: App, made: Simulated, start: int) -> None:
    """Load what arrived before `start` as history, train a first version and let the gate judge it."""
    for name, part in messages(made).items():
        app.ingest(name, part.between(0, start).rows, history=True)
    app.process()
    app.loop().retrain("first", "the first version")


def measured(played: Played, stopped: Stopped, skew: Skew, outcome: dict[str, float]) -> dict[str, Any]:
    """Return the figures."""
    return {
        "predictions": played.predictions,
        "events": played.events,
        "latency_ms": quantiles_ms(np.array(played.latency, dtype=np.float64)),
        "skew": {"rows": skew.rows, "cells": skew.cells, "mismatches": skew.mismatches},
        "stopped": {
            "payments": stopped.payments,
            "stolen": stopped.rightly,
            "stolen_passed": stopped.passed,
            "by_rule": dict(stopped.rules),
        },
        "metrics": outcome,
    }


def mature(app: App, made: Simulated, start: int, end: int) -> dict[str, float]:
    """Return how good what was served is, a week later, when everything has been reported."""
    clock = app.clock
    assert isinstance(clock, SharedClock)
    clock.set(end + reports.delay_us + UNITS["h"])
    app.ingest(reports, made.reports.between(end, clock.now()).rows, history=True)
    app.flush()
    return app.matured(stolen, start, end).metrics(stolen.metrics)


def main() -> None:
    options = arguments(__doc__, "build/fraud-live.json", "build/fraud-live")
    home = Path(options.home)
    shutil.rmtree(home, ignore_errors=True)
    clock, end = SharedClock(home / "clock"), START + HOURS * UNITS["h"]
    clock.set(START)
    platform = Platform(home=home, clock=clock)
    with Progress(WALL) as progress:
        progress.step("simulate a city of 1,000 cards")
        made = simulate(CITY, np.random.default_rng(options.seed))
        progress.step("load eighty days, train a first version and let the gate judge it")
        with project.open(platform) as app:
            prepare(app, made, START)
        history = list(moments(made, START, end))
        stopped = Stopped(made.scenario)
        step = progress.step(f"live: {HOURS} hours of payments through a server and a worker", len(history))
        with Processes(PROJECT, home, home / "clock", free_port()) as processes:
            played = play(
                history,
                processes,
                clock,
                row_id="tx_id",
                each=lambda _: step.advance(1),
                heard=stopped.heard,
            )
        progress.step("recompute every served feature from the lake; wait for the reports")
        with project.open(platform) as app:
            app.flush()
            skew = app.skew(stolen)
            result = measured(played, stopped, skew, mature(app, made, START, end))
    write(Path(options.out), result)
    show(result)
    if skew.mismatches or skew.rows != played.predictions:
        raise SystemExit(f"skew: {skew.mismatches:,} of {skew.cells:,} served cells differ: {skew.features}")


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    latency, skew, stopped = result["latency_ms"], result["skew"], result["stopped"]
    rules = "; ".join(f"{name} {count:,}" for name, count in stopped["by_rule"].items())
    facts = [
        ("payments asked about, events sent", f"{result['predictions']:,}, {result['events']:,}"),
        ("latency of /predict, p50 and p99", f"{latency['p50']} ms, {latency['p99']} ms"),
        ("skew: differing cells of all served", f"{skew['mismatches']} of {skew['cells']:,}"),
        ("stopped, and how many of them were stolen", f"{stopped['payments']:,}, {stopped['stolen']:,}"),
        ("stolen, and not stopped", f"{stopped['stolen_passed']:,}"),
        ("found by rule", rules),
        *((f"{name} of what was served", f"{value:.4f}") for name, value in result["metrics"].items()),
    ]
    table(console(), "A day and a half of payments", ["what", "figure"], facts)


if __name__ == "__main__":
    main()
