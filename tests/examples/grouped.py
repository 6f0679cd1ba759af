"""The tiny project with some visits, and what is in its logs, for tests of requests that are answered together."""

from contextlib import contextmanager

from tenfold import Platform
from tenfold.core.clock import VirtualClock
from tenfold.processing.batches import to_table
from tenfold.serving.answer.predictions import TOPIC
from tests.examples import tiny

ROWS = [tiny.order(place, shop="abc"[place % 3], amount=1.5 + place) for place in range(40)]


def made(folder):
    """Make a home with history, a version in Production and nine visits; return its folder."""
    tiny.build(folder)
    with opened(folder) as app:
        app.ingest("visits", [tiny.visit(place, shop="ab"[place % 2]) for place in range(9)])
        app.process()
    return folder


@contextmanager
def opened(home):
    """Open a home at the moment of its requests."""
    with tiny.project.open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT))) as app:
        yield app


def logged(app):
    """Return the rows of each batch of the prediction log."""
    return [to_table(batch).to_pylist() for batch in app.log.read(TOPIC, 0, limit=1000)]


def late(app, place="late"):
    """Have an event in the log that the states do not hold."""
    app.ingest("visits", tiny.visit(place))
