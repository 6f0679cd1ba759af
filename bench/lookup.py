"""lookup: 20 stored, 16 windowed and 10 request features of one key in process, as a prediction reads them.

Ours checks the row, evaluates the windows at the moment of the request and computes the request features. The peers hold
36 values a key that somebody computed before: right when they were written, and wrong as windows go on sliding. The
dict (the floor) and Redis compute the same ten request features in handwritten Python; Feast computes none.
"""

import struct
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bench import data, redis_peer, venv
from bench.harness import Bench, Entry
from bench.timing import latencies

FULL = 1_000_000
ASKED = 2_000
TOGETHER = 100
NAMES = [f"{fn}_{window}" for window in data.WINDOWS for fn in data.FUNCTIONS]
VALUES = 20 + len(NAMES)
HERE = "bench.lookup"
GOALS = {"p50": "25 us", "p99": "50 us", "many": "1 ms"}


def main(bench: Bench) -> list[Entry]:
    """Measure one key and 100 keys, over the states of 1 M events."""
    rows, asked = bench.size(FULL), bench.size(ASKED)
    with tempfile.TemporaryDirectory(dir=bench.build) as folder:
        bench.run(f"{HERE}:fill", rows=rows, folder=folder)
        ours = bench.run(f"{HERE}:ours", rows=rows, asked=asked, folder=folder)
        state = bench.run(f"{HERE}:state", rows=rows, asked=asked, folder=folder)
    peers = [("dict", bench.run(f"{HERE}:with_dict", rows=rows, asked=asked), "")]
    peers += _redis(bench, rows, asked)
    peers += _feast(bench, rows, asked)
    entries = [
        Entry(f"lookup/{figure}", ours[figure], unit, rows, name, found.get(figure), GOALS[figure], note)
        for figure, unit in (("p50", "us"), ("p99", "us"), ("many", "ms"))
        for name, found, note in peers
    ]
    told = "the state of one view alone: 16 windows at the moment asked"
    return [*entries, Entry("lookup/windows", state["p50"], "us", rows, note=told)]


def _redis(bench: Bench, rows: int, asked: int) -> list[tuple[str, dict[str, Any], str]]:
    name = "Redis"
    if redis_peer.PROGRAM is None:
        return [(name, {}, "no redis-server here")]
    return [(name, bench.run(f"{HERE}:with_redis", rows=rows, asked=asked), "")]


def _feast(bench: Bench, rows: int, asked: int) -> list[tuple[str, dict[str, Any], str]]:
    name = "Feast"
    python = venv.feast(bench)
    if python is None:
        return [(name, {}, bench.no_feast)]
    return [
        (
            name,
            bench.run("bench.feast_peer:online", python=python, rows=rows, asked=asked),
            "no request features",
        )
    ]


def rows_asked(rows: int, asked: int) -> list[dict[str, Any]]:
    """Return the rows to predict, of cards as skewed as the payments and with a profile."""
    key = (data.keys(np.random.default_rng(9), asked) % rows).tolist()
    return [{"ask": place, "card": card, "amount": 12.5} for place, card in enumerate(key)]


def measure(
    one: Callable[[dict[str, Any]], Any],
    many: Callable[[Sequence[dict[str, Any]]], Any],
    rows: int,
    asked: int,
) -> dict[str, Any]:
    """Return p50 and p99 of one key in microseconds, and the p50 of 100 keys in milliseconds."""
    given = rows_asked(rows, asked)
    together = [given[first : first + TOGETHER] for first in range(0, min(asked, 50 * TOGETHER), TOGETHER)]
    slow = latencies(many, together)
    return {**latencies(one, given), "many": slow["p50"] / 1e3, "seconds": slow["p50"] / 1e6}


def fill(rows: int, folder: str) -> dict[str, Any]:
    """Make the states."""
    from bench import project
    from tenfold import Platform
    from tenfold.core.clock import VirtualClock

    with project.project.open(Platform(home=Path(folder), clock=VirtualClock(project.NOW))) as app:
        project.load(app, rows)
        app.process()
    return {"seconds": 0.0}


def _open(folder: str) -> tuple[Any, Any]:
    from bench import project
    from tenfold import Platform
    from tenfold.core.clock import VirtualClock

    app = project.project.open(Platform(home=Path(folder), clock=VirtualClock(project.NOW)))
    return app, app.service(project.model)


def ours(rows: int, asked: int, folder: str) -> dict[str, Any]:
    """The features of a row as a prediction reads them."""
    from bench import project
    from tenfold.core.times import iso

    app, service = _open(folder)
    with app:
        given = {"at": iso(project.NOW)}
        one = measure(
            lambda row: service.features(row | given, project.NOW),
            lambda many: service.features_many([row | given for row in many], project.NOW).matrix({}),
            rows,
            asked,
        )
        _check(service, project, given, rows)
    return one


def _check(service: Any, project: Any, given: dict[str, Any], rows: int) -> None:
    """Compare some cards with what was loaded."""
    asked = rows_asked(rows, 100)
    together = service.features_many([row | given for row in asked], project.NOW).columns()
    for place, row in enumerate(asked):
        found = service.features(row | given, project.NOW).values
        if found != {name: item.plain()[place] for name, item in together.items()}:
            raise ValueError(f"card {row['card']}: alone {found}, and with others another value.")
        told = [found[f"stored.{name}"] for name in project.STORED]
        if told != project.profile(row["card"]):
            raise ValueError(f"card {row['card']}: {told} is not its profile.")


def state(rows: int, asked: int, folder: str) -> dict[str, Any]:
    """The windowed features alone, without the check of the row and the request features."""
    from bench import project, views
    from tenfold.store.online import Lookup

    app, _ = _open(folder)
    with app:
        cards = [{"card": row["card"]} for row in rows_asked(rows, asked)]
        look_up = Lookup([views.by_cents])
        found = latencies(lambda row: look_up(app.online, row, project.NOW), cards)
        _count(app, views.by_cents, rows, cards[:10])
    return {**found, "seconds": found["p50"] / 1e6}


def _count(app: Any, view: Any, rows: int, cards: list[dict[str, Any]]) -> None:
    """Count the events of some cards again."""
    from bench import project
    from tenfold.store.online import lookup

    stream = data.events(rows)
    for row in cards:
        found = lookup(app.online, [view], row, project.NOW).features[view.name]
        times = stream.time[stream.key == row["card"]]
        for name, size in data.WINDOWS.items():
            seen = int(np.count_nonzero((times > project.NOW - size) & (times < project.NOW)))
            if found[f"count_{name}"].plain()[0] != seen:
                raise ValueError(f"card {row['card']}: count_{name} is not {seen}.")


def value_rows() -> list[list[float]]:
    """Return 36 values a key, for stores of values."""
    return np.random.default_rng(8).random((data.KEYS, VALUES)).tolist()


def request_features(amount: float, hour: int, held: Sequence[float]) -> list[Any]:
    """The ten request features as a person would write them for this row alone."""
    windows = dict(zip(NAMES, held[20:], strict=True))
    mean = windows["mean_30d"]
    return [
        amount,
        hour,
        amount / mean if mean else None,
        amount - mean,
        amount > windows["max_30d"],
        windows["count_24h"] / windows["count_30d"] if windows["count_30d"] else None,
        windows["sum_30d"] + amount,
        held[0] + held[1],
        held[2] * amount,
        amount / held[3] if held[3] else None,
    ]


def with_dict(rows: int, asked: int) -> dict[str, Any]:
    """A dict of lists in this process."""
    held = dict(enumerate(value_rows()))

    def one(row: dict[str, Any]) -> list[Any]:
        values = held[row["card"]]
        return [*values, *request_features(row["amount"], 12, values)]

    return measure(one, lambda many: [one(row) for row in many], rows, asked)


def with_redis(rows: int, asked: int) -> dict[str, Any]:
    """One hash per key with a packed float per field, read by HMGET over loopback; 100 keys in one pipeline."""
    unpack, pack = struct.Struct("<d").unpack, struct.Struct("<d").pack
    fields = [b"f%d" % place for place in range(VALUES)]
    with ExitStack() as stack:
        client = stack.enter_context(redis_peer.server())
        for key, values in enumerate(value_rows()):
            pairs = [
                part for field, value in zip(fields, values, strict=True) for part in (field, pack(value))
            ]
            client.ask([(b"HSET", b"card:%d" % key, *pairs)])

        def read(many: Sequence[dict[str, Any]]) -> list[list[Any]]:
            answers = client.ask([(b"HMGET", b"card:%d" % row["card"], *fields) for row in many])
            held = [[unpack(value)[0] for value in answer] for answer in answers]
            return [
                [*values, *request_features(row["amount"], 12, values)]
                for row, values in zip(many, held, strict=True)
            ]

        return measure(lambda row: read([row]), read, rows, asked)
