"""A project whose candidates misbehave on purpose, rolled out beside a sound champion, and a process that serves it."""

import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from tenfold import Platform, Project, Release, checks
from tenfold.core.clock import SharedClock, SystemClock, VirtualClock
from tests.examples import tiny

FINE, RAISES, SLOW, NO_NUMBER, ALWAYS, DRAGS, HANGS, AT_NIGHT, SELDOM, EACH_CALL = range(10)
ODD = 19.99
FAR = 2**60
REFUSED = 1234.5
"""The amount of an order on which candidates misbehave; some do on amounts above 100, which history does not have."""


class Rule:
    """Late when the amount is above 10, and a fault; kept as arrays."""

    classes_ = np.array([0.0, 1.0])

    def __init__(self, fault=FINE, shift=0.0):
        self.fault, self.shift = fault, shift

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        amount = X[:, 2]
        odd, new = amount == ODD, amount > 100
        if (amount == REFUSED).any():
            raise ValueError("an amount that no version takes")
        if (self.fault == ALWAYS and new.any()) or (self.fault == RAISES and odd.any()):
            raise ValueError("an order that was not thought of")
        if self.fault == HANGS and new.any():
            threading.Event().wait()
        if self.fault == SLOW:
            SystemClock().sleep(0.015 * int(new.sum()))
        if self.fault == SELDOM and (amount > 18).any():
            SystemClock().sleep(0.1)
        if self.fault == EACH_CALL and new.any():
            SystemClock().sleep(0.1)
        if self.fault == DRAGS:
            SystemClock().sleep(0.002)
        shift = self.shift * (X[:, 3] < 12 if self.fault == AT_NIGHT else 1)
        late = np.where(amount > 10, 0.9, 0.1) + shift * np.where(amount > 10, -1, 1)
        late = np.where(odd & (self.fault == NO_NUMBER), np.nan, late)
        return np.column_stack([1 - late, late])

    def get_state(self):
        return {"fault": np.array(self.fault), "shift": np.array(self.shift)}

    @classmethod
    def from_state(cls, state):
        return cls(int(state["fault"].item()), state["shift"].item())


def model(fault=FINE, shift=0.0):
    """Return the model of `tiny` with a rule of a given fault."""
    return tiny.model(
        [tiny.shop_visits, tiny.this_order], estimator=Rule(fault, shift), slices=["this_order.hour"]
    )


LATE = model()
CANARY = Release(LATE, canary=(0.5,), bake="1h")
SHADOW = Release(LATE, shadow="7d", canary=(0.5,))
QUICK = replace(SHADOW, gates=[checks.latency("25ms")])
"""A machine that is busy refuses this, so it is only for what is slow."""


def project(release):
    return Project("rolling", releases=[release])


def build(home, release=CANARY):
    """Make a home with history and a sound version in Production."""
    with project(release).open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT))) as app:
        tiny.load(app)
        app.promote(LATE, app.train(model()).number)
    SharedClock(Path(home) / "clock").set(tiny.ASK_AT)


@contextmanager
def opened(home, release=CANARY, now=tiny.ASK_AT):
    """Yield the app of a home."""
    with project(release).open(Platform(home=home, clock=VirtualClock(now))) as app:
        yield app


def begun(app, fault, **how):
    """Train a candidate with a fault and begin its rollout; return its number."""
    number = app.train(model(fault, **how)).number
    app.promote(LATE, number)
    return number


def asked(app, count, odd=0, first=0):
    """Ask about orders of many shops, every so many of them odd; return the answers."""
    service, at = app.service(LATE), app.clock.now()
    rows = [
        tiny.order(place, shop=f"s{place}", amount=ODD if odd and place % odd == 0 else 105.0 + place % 10)
        for place in range(first, first + count)
    ]
    return [service.predict(row, at=at) for row in rows]


def serve(home, fd):
    """Serve on a socket that listens already, with the worker as a thread, until stdin ends."""
    with project(CANARY).open(Platform(home=home, clock=SharedClock(home / "clock"))) as app:
        tiny.serve_app(app, fd)


def control(home):
    """Move rollouts on until stdin ends, as the controller does between its minutes."""
    with project(CANARY).open(Platform(home=home, clock=SharedClock(home / "clock"))) as app:
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        while not ended.wait(0.05):
            if done := app.rollout().advance(outcomes=False):
                sys.stdout.write(f"{done}\n")
                sys.stdout.flush()


def main():
    """Run as a process; not as `__main__`, in which the class of the files would have another name."""
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        control(Path(sys.argv[2]))
