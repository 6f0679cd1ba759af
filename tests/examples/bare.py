"""The project of `tiny` with a model in numpy alone, so that a process of it starts in a fraction of the time.

`python -m tests.examples.bare HOME FD` serves it.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from tenfold import Entity, Events, FeatureView, Label, Model, Platform, Project, Release, col, count
from tenfold.core.clock import SharedClock, VirtualClock
from tenfold.core.times import to_us
from tests.examples.line import Line

START = datetime(2024, 5, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)
ASK_AT = to_us(NOW)


class Visit:
    visit_id: str
    shop: str
    minutes: float
    at: datetime


class Order:
    order_id: str
    shop: str
    amount: float
    items: int | None
    gift: bool | None
    due: datetime
    placed: datetime


class Outcome:
    order_id: str
    late: float
    at: datetime


visits = Events("visits", Visit, time="at", id="visit_id")
orders = Events(
    "orders", Order, time="due", known="placed", id="order_id", valid={"amount > 0": col("amount") > 0}
)
outcomes = Events("outcomes", Outcome, time="at", id="order_id")

shop_visits = FeatureView(
    "shop_visits",
    entity=Entity("shop", key="shop"),
    source=visits,
    features={"visits_1d": count(window="1d"), "minutes_1d": col("minutes").mean(window="1d")},
)
this_order = FeatureView(
    "this_order", source=orders, features={"amount": col("amount"), "hour": col("due").hour()}
)


def model(features, estimator, name="late_order", **how):
    return Model(
        name,
        spine=orders,
        lead="1h",
        features=features,
        label=Label(outcomes, on="order_id", value=col("late") > 0, horizon="1d"),
        estimator=estimator,
        test_window="5d",
        **how,
    )


late_order = model([shop_visits, this_order], Line())
project = Project("tiny", releases=[Release(late_order)])


def order(place=0, **changed):
    """Return an order as a client sends it."""
    due = NOW + timedelta(hours=1)
    return {
        "order_id": f"new-{place}",
        "shop": "a",
        "amount": 12.5,
        "items": 2,
        "gift": None,
        "due": due.isoformat(),
        "placed": START.isoformat(),
    } | changed


def visit(place, **changed):
    at = NOW - timedelta(minutes=5)
    return {"visit_id": f"v-{place}", "shop": "a", "minutes": 4.0, "at": at.isoformat()} | changed


def history():
    """Return twenty days of rows by source."""
    seed = np.random.default_rng(3)
    when = [START + timedelta(hours=2 * place) for place in range(228)]
    amounts = seed.uniform(1, 20, len(when)).round(2).tolist()
    made = [
        order(
            order_id=f"o-{place}", amount=amount, shop="ab"[place % 2], due=at, placed=at - timedelta(hours=6)
        )
        for place, (at, amount) in enumerate(zip(when, amounts, strict=True))
    ]
    late = [
        {"order_id": row["order_id"], "late": float(row["amount"] > 10) * 5, "at": row["due"]} for row in made
    ]
    seen = [visit(f"h-{place}", shop="ab"[place % 2], at=at) for place, at in enumerate(when)]
    return {"visits": seen, "orders": made, "outcomes": late}


def load(app):
    for name, rows in history().items():
        done = app.ingest(name, rows, history=True, key=f"history/{name}")
        assert done.rejected == 0
    app.process()


def build(home, *, promote=True, project=project):
    """Make a home folder with history and, unless told otherwise, a version in Production."""
    with project.open(Platform(home=home, clock=VirtualClock(ASK_AT))) as app:
        load(app)
        version = app.train(late_order.name)
        if promote:
            app.promote(late_order.name, version.number)
    SharedClock(Path(home) / "clock").set(ASK_AT)


def in_process(app, path, content=None, method="POST"):
    """Return what the application answers, without a server."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def serve(home, fd, *, project=project, **bounds):
    """Serve on a socket that listens already, with the worker as a thread, until stdin ends."""
    with project.open(Platform(home=home, clock=SharedClock(home / "clock"))) as app:
        serve_app(app, fd, **bounds)


def serve_app(app, fd, **bounds):
    def watch():
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Event()
    worker = threading.Thread(target=app.worker(seconds=0.2).run, args=(ending.is_set,))
    worker.start()
    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        app.serve(listening=socket.socket(fileno=fd), wait=10, **bounds)
    finally:
        ending.set()
        worker.join()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), **json.loads(sys.argv[3] if sys.argv[3:] else "{}"))
