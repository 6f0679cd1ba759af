"""Clients send events and ask at the same moment: what was served is what history says afterwards, to the bit."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tenfold import Platform
from tenfold.core.clock import SystemClock
from tenfold.core.times import UNITS, iso
from tests.examples import tiny

CLIENTS = 2
CLOCK = SystemClock()


def send_events(app, client, ended):
    """Send events of one hot key, one after the other, until told to stop."""
    sent = 0
    while not ended.is_set():
        visit = tiny.visit(f"{client}-{sent}", minutes=sent % 7 + 0.1, at=iso(CLOCK.now()))
        app.ingest("visits", visit)
        sent += 1
    return sent


def ask(api, client, questions):
    due = iso(CLOCK.now() + UNITS["d"])
    rows = [tiny.order(f"{client}-{place}", due=due) for place in range(questions)]
    return [tiny.in_process(api, "/predict", row)[0] for row in rows]


@pytest.mark.parametrize("questions", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_what_was_served_beside_a_stream_of_events_is_what_history_says(tmp_path, questions):
    tiny.build(tmp_path)
    with tiny.project.open(Platform(home=tmp_path)) as app, ThreadPoolExecutor(2 * CLIENTS + 1) as pool:
        ended, stopped = threading.Event(), threading.Event()
        api = app.asgi(wait=30)
        worker = pool.submit(app.worker(seconds=1).run, stopped.is_set)
        try:
            sending = [pool.submit(send_events, app, client, ended) for client in range(CLIENTS)]
            asking = [pool.submit(ask, api, client, questions) for client in range(CLIENTS)]
            answers = [status for each in asking for status in each.result()]
        finally:
            ended.set()
            sent = sum(each.result() for each in sending)
            stopped.set()
            worker.result()
        assert answers == [200] * CLIENTS * questions
        assert sent > questions, "too few events arrived meanwhile to say anything"
        app.flush()
        found = app.skew(tiny.late_order)
    assert (found.rows, found.mismatches) == (CLIENTS * questions, 0), found.features
