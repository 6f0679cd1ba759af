"""While another process writes, calls with events are refused in time, and stored once when they are repeated."""

import asyncio

import httpx
import pytest

from tenfold import Platform
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.processing.batches import to_table
from tenfold.serving.http.intake import SMALL
from tests.examples import tiny
from tests.states import locked

PATIENCE = 10_000_000
"""Microseconds."""
NOTHING = 'source "visits" did not store these events within 0.1 s. Nothing of these was stored; it is safe to retry in a moment.'
ASIDE = (
    'source "visits" set aside the rows that do not fit, but another writer kept the log, so none of the others was stored. '
    "Send them all again under the same idempotency-key, and each counts once."
)


@pytest.fixture
def app(tmp_path):
    with tiny.project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        yield app


def stored(app, source):
    """Return the ids in the log, in order."""
    batches = app.log.read(source, 0, limit=1_000)
    return [row[f"{source[:-1]}_id"] for batch in batches for row in to_table(batch).to_pylist()]


async def post(api, rows, key="mine"):
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post("/events/visits", json=rows, headers={"idempotency-key": key})
        return answer.status_code, answer.json()


def test_events_are_refused_in_time_while_the_log_is_locked_and_stored_once_afterwards(app, tmp_path):
    api = app.asgi(wait=0.1)

    async def ask():
        with locked(tmp_path / "log.db"):
            refused = [await post(api, tiny.visit(1)) for _ in range(2)]
        while (status := (await post(api, tiny.visit(1)))[0]) == 503:
            await asyncio.sleep(0.01)
        return [status for status, _ in refused], status

    assert asyncio.run(ask()) == ([503, 503], 200)
    assert stored(app, "visits") == ["v-1"]


@pytest.mark.parametrize(
    ("file", "misfits", "said", "kept"),
    [("log.db", 0, NOTHING, 0), ("log.db", 3, ASIDE, 3), ("state.db", 3, NOTHING, 0)],
)
def test_a_large_call_is_refused_in_time_and_told_what_was_kept(app, tmp_path, file, misfits, said, kept):
    def aside():
        return sum(item.rows for item in app.quarantine.counts())

    api, rows = app.asgi(wait=0.1), [tiny.visit(place) for place in range(SMALL + 1)]
    call = rows + [tiny.visit(place, minutes="x") for place in range(misfits)]
    with locked(tmp_path / file):
        begun = SystemClock().elapsed()
        refused = asyncio.run(post(api, call))
        assert SystemClock().elapsed() - begun < PATIENCE
    assert refused == (503, {"error": {"kind": "Unavailable", "message": said}})
    assert "visits" not in app.log.ends().offsets
    assert aside() == kept
    for _ in range(2):
        status, answer = asyncio.run(post(api, call))
        assert (status, answer["stored"], answer["rejected"]) == (200, len(rows), misfits)
    assert stored(app, "visits") == [row["visit_id"] for row in rows]
    assert aside() == misfits


def test_small_calls_with_rows_that_do_not_fit_hold_up_no_others_while_the_state_is_locked(app, tmp_path):
    api = app.asgi(wait=5.0)
    mixed = [tiny.visit(1), tiny.visit(2, minutes="x")]

    async def ask():
        with locked(tmp_path / "state.db"):
            waits = [asyncio.create_task(post(api, mixed, f"mixed{place}")) for place in range(4)]
            fit = [await post(api, tiny.visit(place), f"fit{place}") for place in range(3, 6)]
            assert not any(task.done() for task in waits)
        return fit, await asyncio.gather(*waits)

    fit, mixed_ones = asyncio.run(ask())
    assert [(status, answer["stored"]) for status, answer in fit] == [(200, 1)] * 3
    assert [(status, answer["stored"], answer["rejected"]) for status, answer in mixed_ones] == [
        (200, 1, 1)
    ] * 4
    assert stored(app, "visits") == ["v-3", "v-4", "v-5", *["v-1"] * 4]
    assert sum(item.rows for item in app.quarantine.counts()) == 4
