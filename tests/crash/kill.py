"""kill -9 of the worker and the server at random points of the live part; the final state must be the same bytes.

    python -m tests.crash.kill [--kills 10] [--days 1] [--seed 7] [--out build/crash]

The same history is played twice over copies of one prepared home, once undisturbed and once with kills. Then the
online states, the log, the lake tables and the prediction log of both are compared.
"""

import argparse
import hashlib
import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from examples.flights import project as flights
from examples.flights.data import Sources, known, load
from examples.flights.live import PROJECT, moments
from examples.live import Moment, Played, Processes, free_port, play
from tenfold import Platform
from tenfold.core.clock import SharedClock, SystemClock
from tenfold.core.times import DAY, to_us
from tenfold.serving.answer.predictions import TOPIC
from tenfold.ui.terminal import Progress

START = to_us("2013-04-01T04:00:00+00:00")
HISTORY = START - 45 * DAY
WALL = SystemClock()


def main() -> int:
    options = _options()
    out = Path(options.out)
    shutil.rmtree(out, ignore_errors=True)
    with Progress(WALL) as progress:
        progress.step("prepare 45 days of history and a version in production")
        sources = load()
        _prepare(out / "base", sources)
        history = list(moments(sources, START, START + options.days * DAY))
        step = progress.step("play undisturbed", total=len(history))
        calm = _run(out, "calm", history, {}, lambda: step.advance(1))
        kills = _points(len(history), options.kills, options.seed)
        step = progress.step(f"play with {options.kills} kills", total=len(history))
        harsh = _run(out, "killed", history, kills, lambda: step.advance(1))
    states = {name: dump(out / name) for name in ("calm", "killed")}
    result = {
        "kills": [
            f"{name} at moment {place} + {delay:.0f} ms" for place, (name, delay) in sorted(kills.items())
        ],
        "moments": len(history),
        "events": [calm.events, harsh.events],
        "predictions": [calm.predictions, harsh.predictions],
        "retries": harsh.retries,
        "state": states,
        "same": states["calm"] == states["killed"],
    }
    (out / "crash.json").write_text(json.dumps(result, indent=2))
    _show(result)
    return 0 if result["same"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", default="build/crash")
    return parser.parse_args()


def _prepare(home: Path, sources: Sources) -> None:
    home.mkdir(parents=True)
    clock = SharedClock(home / "clock")
    clock.set(START)
    first, last = (pd.Timestamp(moment, unit="us", tz="UTC") for moment in (HISTORY, START))
    with flights.project.open(Platform(home=home, clock=clock)) as app:
        for name, rows in sources.items():
            moment = known(name, rows)
            early = first if name != "planes" else pd.Timestamp("2012-01-01", tz="UTC")
            app.ingest(name, rows[(moment >= early) & (moment < last)], history=True)
        app.process()
        app.loop().retrain("first", "the first version")


def _points(count: int, kills: int, seed: int) -> dict[int, tuple[str, float]]:
    """Return at which moments, how many milliseconds after they begin, and which process to kill."""
    rng = np.random.default_rng(seed)
    places = np.sort(rng.choice(np.arange(1, count), size=kills, replace=False))
    names = rng.permutation(["worker", "serve"] * kills)[:kills]
    return {
        int(place): (str(name), float(rng.uniform(0, 30))) for place, name in zip(places, names, strict=True)
    }


def _run(
    out: Path, name: str, history: list[Moment], kills: dict[int, tuple[str, float]], done: Any
) -> Played:
    home = out / name
    shutil.copytree(out / "base", home)
    clock = SharedClock(home / "clock")
    threads: list[threading.Timer] = []
    with Processes(PROJECT, home, home / "clock", free_port()) as processes:

        def each(place: int) -> None:
            done()
            if place in kills:
                victim, delay = kills[place]
                threads.append(threading.Timer(delay / 1e3, processes.kill, [victim]))
                threads[-1].start()

        played = play(history, processes, clock, row_id="flight_id", each=each)
        for thread in threads:
            thread.join()
    return played


def dump(home: Path) -> dict[str, str]:
    """Return a digest of everything that must survive, part by part; measurements of time are left out."""
    parts: dict[str, str] = {}
    with flights.project.open(Platform(home=home, clock=SharedClock(home / "clock"))) as app:
        app.process()
        parts["states"] = _digest(app.online.items())
        parts["offsets"] = _digest(sorted(app.online.offsets().items()))
        for topic in [*flights.project.sources, TOPIC]:
            batches = [
                (batch.base, batch.count, batch.arrival, batch.data)
                for batch in app.log.read(topic, 0, limit=10**9)
            ]
            parts[f"log {topic}"] = f"{sum(item[1] for item in batches)} records {_digest(batches)}"
            rows = app.lake.read(topic)
            parts[f"lake {topic}"] = f"{rows.num_rows} rows {_digest(rows.to_pylist())}"
        parts["quarantine"] = _digest(app.quarantine.counts())
    return parts


def _digest(items: Any) -> str:
    found = hashlib.sha256()
    for item in items:
        found.update(repr(item).encode())
    return found.hexdigest()[:16]


def _show(result: dict[str, Any]) -> None:
    for line in result["kills"]:
        print("killed", line)
    print(
        f"events {result['events']}, predictions {result['predictions']}, retried requests {result['retries']}"
    )
    for name, value in result["state"]["calm"].items():
        other = result["state"]["killed"][name]
        print(f"{name:28} {value}  {'same' if value == other else 'DIFFERENT: ' + other}")
    print("same final state" if result["same"] else "DIFFERENT final state")


if __name__ == "__main__":
    sys.exit(main())
