"""A production ML system lives through a year of real flights: `make demo`.

January to March are history. A first version is trained and goes live: for a week of April a server and a worker, as
processes of their own, get events and requests over HTTP on the clock of history. Then the rest of the year is
replayed through the same loop, which watches, retrains, promotes and refuses by itself.
"""

import argparse
import json
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from examples.flights import project as flights
from examples.flights.data import Sources, known, load
from examples.flights.live import PROJECT, moments
from examples.flights.report import write_report
from examples.flights.year import Year, year_of
from examples.live import Played, Processes, free_port, play
from tenfold import App, Events, Model, Platform
from tenfold.core.clock import SharedClock, SystemClock
from tenfold.core.errors import GateFailed
from tenfold.core.times import DAY, to_us
from tenfold.monitoring.skew import Skew
from tenfold.monitoring.telemetry import HOUR, quantiles_ms
from tenfold.processing.frame import Column
from tenfold.store.offline import History
from tenfold.store.pieces import Past
from tenfold.training.dataset import Dataset
from tenfold.training.fit import fit
from tenfold.training.folds import Split, first_row, newest_split
from tenfold.ui.terminal import Progress, console, table

WALL = SystemClock()
START = to_us("2013-04-01T04:00:00+00:00")  # midnight in New York
END = to_us("2014-01-01T05:00:00+00:00")
MATURE = END + 2 * DAY
"""When the last outcome of the year is known."""

TEST = Split(
    train=(to_us("2013-01-01"), to_us("2013-08-31T04:00:00+00:00")),  # a label takes a day
    test=(to_us("2013-09-01T04:00:00+00:00"), END),
    now=MATURE,
)
MODEL = flights.late_departure
STATIC = Model(
    "static",
    spine=flights.schedule,
    lead="60m",
    features=[flights.trip, flights.plane],
    label=MODEL.label,
    estimator=flights.ESTIMATOR,
    metrics=["roc_auc"],
)


class InSeconds(History):
    """History as a colleague's export had it: departure delays in seconds."""

    def past(self, source: Events) -> Past:
        found = super().past(source)
        if source.name != "departures":
            return found
        delay = found.frame["dep_delay"]
        seconds = Column(delay.type, delay.values * 60, delay.valid)
        return replace(found, frame={**found.frame, "dep_delay": seconds})


@dataclass
class Story:
    """What the demo has seen so far."""

    played: Played = field(default_factory=Played)
    skew: Skew = field(default_factory=lambda: Skew(0, 0, 0, {}))
    freshness: dict[str, float] = field(default_factory=dict)
    auc_test: float = 0.0
    auc_static: float = 0.0
    rollback_ms: float = 0.0
    year: Year | None = None


def main() -> None:
    options = _options()
    began = WALL.elapsed()
    out = Path(options.out)
    home = out / "flights"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    clock = SharedClock(home / "clock")
    clock.set(START)
    platform, story = Platform(home=home, clock=clock), Story()
    with Progress(WALL) as progress:
        progress.step("read the flights of 2013")
        sources = load()
        with flights.project.open(platform) as app:
            _history(app, sources, progress)
        _live(platform, sources, options.days, story, progress)
        with flights.project.open(platform) as app:
            _check_served(app, story, progress)
            _refuse_seconds(app, progress)
            _replay(app, sources, START + options.days * DAY, progress)
            _test(app, story, progress)
            story.year = year_of(app, MODEL, START, END)
            _roll_back(app, story, progress)
            seconds = round((WALL.elapsed() - began) / 1e6, 1)
            result = _result(app, story, seconds)
            (out / "demo.json").write_text(json.dumps(result, indent=2))
            write_report(app, MODEL, story.year, result, out / "report.html")
    _show(result, out)
    if story.skew.mismatches or not story.skew.cells:
        raise SystemExit(f"skew: {story.skew.mismatches:,} of {story.skew.cells:,} served cells differ")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="build", help="where demo.json and report.html go")
    parser.add_argument("--days", type=int, default=7, help="how many days run live")
    return parser.parse_args()


def _history(app: App, sources: Sources, progress: Progress) -> None:
    progress.step("load January to March")
    _ingest(app, sources, 0, START)
    app.process()
    progress.step("train the first version and let the gate judge it")
    app.loop().retrain("first", "the first version")


def _ingest(app: App, sources: Sources, start: int, end: int) -> None:
    """Load what became known in [start, end) as history."""
    first, behind = (pd.Timestamp(moment, unit="us", tz="UTC") for moment in (start, end))
    for name, rows in sources.items():
        moment = known(name, rows)
        app.ingest(name, rows[(moment >= first) & (moment < behind)], history=True)


def _live(platform: Platform, sources: Sources, days: int, story: Story, progress: Progress) -> None:
    history = list(moments(sources, START, START + days * DAY))
    step = progress.step(f"live: {days} days of flights through a server and a worker", total=len(history))
    processes = Processes(PROJECT, platform.home, platform.home / "clock", free_port())
    assert isinstance(platform.clock, SharedClock)
    with processes if days else nullcontext():
        story.played = play(
            history, processes, platform.clock, row_id="flight_id", each=lambda _: step.advance(1)
        )


def _check_served(app: App, story: Story, progress: Progress) -> None:
    progress.step("recompute every served feature from the lake")
    app.flush()
    story.skew = app.skew(MODEL)
    story.freshness = app.telemetry.freshness_ms(START + HOUR, END)  # the history came in the hour before


def _refuse_seconds(app: App, progress: Progress) -> None:
    progress.step("offer a candidate that was trained on delays in seconds")
    history = InSeconds(app.lake, app.dataset(MODEL).history.versions)
    dataset = Dataset(MODEL, history)
    version = app.trainer.train(MODEL, dataset, newest_split(MODEL, app.clock.now(), first_row(dataset)))
    try:
        app.promote(MODEL, version.number, by="a colleague")
    except GateFailed:
        return
    raise SystemExit("the gate let in a model that was trained on delays in seconds")


def _replay(app: App, sources: Sources, start: int, progress: Progress) -> None:
    progress.step("load the rest of the year; the clock of history hides what is not yet known")
    _ingest(app, sources, start, MATURE)
    app.flush()
    days = (END - start) // DAY
    step = progress.step(f"replay {days} days: score, watch, retrain, promote or refuse", total=days)
    for _ in app.replay(start, END):
        step.advance(1)
    app.clock.set(MATURE)  # type: ignore[attr-defined]
    app.flush()


def _test(app: App, story: Story, progress: Progress) -> None:
    progress.step("train on January to August, test on September to December")
    story.auc_test = app.train(MODEL, TEST).info["metrics"]["roc_auc"]
    static = Dataset(STATIC, app.dataset(MODEL).history)
    story.auc_static = fit(STATIC, static, TEST).manifest.metrics["roc_auc"] or 0.0


def _roll_back(app: App, story: Story, progress: Progress) -> None:
    progress.step("roll back, as a drill")
    began = WALL.elapsed()
    app.rollback(MODEL, by="drill", why="rollback drill at the end of the year")
    story.rollback_ms = round((WALL.elapsed() - began) / 1e3, 2)


def _result(app: App, story: Story, seconds: float) -> dict[str, Any]:
    assert story.year is not None
    months = story.year.months
    latency = quantiles_ms(np.array(story.played.latency, dtype=np.float64))
    decisions = [
        {"subject": item.subject, "decision": item.decision, "why": item.why, "by": item.by, "at": item.at}
        for item in app.audit.list(limit=10_000)
        if item.kind != "monitor"
    ]
    return {
        "auc_test": story.auc_test,
        "auc_static": story.auc_static,
        "year": [asdict(month) for month in months],
        "mean_auc_frozen": float(np.mean([month.auc_frozen for month in months])),
        "mean_auc_loop": float(np.mean([month.auc_loop for month in months])),
        "skew": {"rows": story.skew.rows, "cells": story.skew.cells, "mismatches": story.skew.mismatches},
        "latency_ms": latency,
        "freshness_ms": story.freshness,
        "predictions": story.year.predictions,
        "predictions_live": story.played.predictions,
        "events_live": story.played.events,
        "rejected": sum(item.rows for item in app.quarantine.counts()),
        "rollback_ms": story.rollback_ms,
        "decisions": decisions,
        "seconds": seconds,
    }


def _show(result: dict[str, Any], out: Path) -> None:
    screen = console()
    rows = [
        (item["month"], item["late_rate"], item["auc_frozen"], item["auc_loop"], "; ".join(item["decisions"]))
        for item in result["year"]
    ]
    table(
        screen,
        "The year",
        ["month", "late rate", "AUC frozen", "AUC of the loop", "what was decided, and why"],
        rows,
    )
    skew, latency, fresh = result["skew"], result["latency_ms"], result["freshness_ms"]
    facts = [
        (
            "mean AUC April to December: frozen, loop",
            f"{result['mean_auc_frozen']:.4f}, {result['mean_auc_loop']:.4f}",
        ),
        (
            "AUC September to December: static features, all",
            f"{result['auc_static']:.4f}, {result['auc_test']:.4f}",
        ),
        ("skew: differing cells of all served", f"{skew['mismatches']} of {skew['cells']:,}"),
        ("latency of /predict, p50 and p99", f"{latency['p50']} ms, {latency['p99']} ms"),
        ("freshness: acknowledged to usable, p50 and p99", f"{fresh['p50']} ms, {fresh['p99']} ms"),
        ("live: events, predictions", f"{result['events_live']:,}, {result['predictions_live']:,}"),
        ("rollback", f"{result['rollback_ms']} ms"),
        ("seconds", f"{result['seconds']}"),
        ("report", str(out / "report.html")),
    ]
    table(screen, "The system", ["what", "figure"], facts)


if __name__ == "__main__":
    main()
