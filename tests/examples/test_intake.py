"""Calls with events that wait are stored together, and each is told what it would be told alone."""

import asyncio
import json
import threading
from contextlib import contextmanager

import httpx
import pytest

from tenfold import Platform
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable
from tenfold.processing.batches import to_table
from tenfold.processing.ingest import Call, Ingested
from tenfold.serving.http.intake import SMALL, TOGETHER, Intake
from tests.examples import tiny

JSON = {"content-type": "application/json"}
PATIENCE = 30.0


@pytest.fixture
def app(tmp_path):
    with tiny.project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        yield app


class Commits:
    """Counts what a log stores at once; the first time it waits until it `goes_on`."""

    def __init__(self, log):
        self.sizes, self.begun, self.goes_on = [], threading.Event(), threading.Event()
        self._append_all = log.append_all
        log.append_all = self.append_all

    def append_all(self, appends):
        self.sizes.append(len(appends))
        self.begun.set()
        assert self.goes_on.wait(PATIENCE)
        return self._append_all(appends)


def ask_behind(app, calls):
    """Return the answers to calls that all came while one before them was stored, and how many batches were stored at once."""
    commits = Commits(app.log)

    async def ask():
        transport = httpx.ASGITransport(app.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:

            def post(source, rows, key=None):
                headers = JSON | ({"idempotency-key": key} if key else {})
                return client.post(f"/events/{source}", content=json.dumps(rows), headers=headers)

            first = asyncio.create_task(post("visits", tiny.visit("first")))
            while not commits.begun.is_set():
                await asyncio.sleep(0.001)
            others = [asyncio.create_task(post(*call)) for call in calls]
            for _ in range(200):  # turns of the loop in which they come to wait
                await asyncio.sleep(0)
            commits.goes_on.set()
            assert (await first).status_code == 200
            return [(answer.status_code, answer.json()) for answer in await asyncio.gather(*others)]

    return asyncio.run(ask()), commits.sizes


def stored(app, source):
    """Return the ids in the log, in order."""
    batches = app.log.read(source, 0, limit=1_000)
    return [row[f"{source[:-1]}_id"] for batch in batches for row in to_table(batch).to_pylist()]


def good(rows=1):
    return 200, {"stored": rows, "rejected": 0, "message": ""}


def test_calls_that_wait_are_one_commit(app):
    calls = [("visits", [tiny.visit(place), tiny.visit(f"{place}b")]) for place in range(20)]
    answers, sizes = ask_behind(app, calls)
    assert answers == [good(2)] * 20
    assert sizes == [1, 20]
    assert stored(app, "visits") == [
        "v-first",
        *(name for place in range(20) for name in (f"v-{place}", f"v-{place}b")),
    ]
    assert len(app.log.read("visits", 0, limit=1_000)) == 21


def test_what_is_wrong_with_one_call_costs_no_other_one_anything(app):
    app.ingest("visits", tiny.visit("before"), key="used")
    at = tiny.NOW.isoformat()
    calls = [
        ("visits", tiny.visit(1)),
        ("visits", [tiny.visit(2, minutes="4")]),
        ("visits", tiny.visit(3), "used"),
        ("visits", [tiny.visit(4), None]),
        ("visits", tiny.visit(5), "new"),
        ("visits", tiny.visit(5), "new"),
        ("visits", tiny.visit(6), "new"),
        ("nothing", tiny.visit(7)),
        ("visits", []),
        ("outcomes", {"order_id": "o-1", "late": 1.0, "at": at}),
        ("visits", tiny.visit("before"), "used"),
    ]
    answers, sizes = ask_behind(app, calls)
    assert [status for status, _ in answers] == [200, 422, 409, 200, 200, 200, 409, 404, 200, 200, 200]
    assert sizes == [1, 8]
    assert answers[0] == answers[4] == answers[5] == answers[9] == answers[10] == good()
    assert answers[1][1]["rejected"] == 1
    assert '"minutes" is text, not a number' in answers[1][1]["error"]["message"]
    assert (
        'key "used" of source "visits" was already used for other rows' in answers[2][1]["error"]["message"]
    )
    assert (answers[3][1]["stored"], answers[3][1]["rejected"]) == (1, 1)
    assert 'key "new"' in answers[6][1]["error"]["message"]
    assert answers[8] == good(0)
    assert stored(app, "visits") == ["v-before", "v-first", "v-1", "v-4", "v-5"]
    assert sum(item.rows for item in app.quarantine.counts()) == 2


def test_a_full_disk_fails_each_call_of_a_commit_and_none_is_half_stored(app, tmp_path):
    database = app.log._database
    whole = database.transaction
    pages = [1 << 30]

    @contextmanager
    def small():
        with whole() as connection:
            connection.execute(f"PRAGMA max_page_count={pages[0]}").fetchone()
            yield connection

    app.ingest("visits", tiny.visit("before"))
    database.transaction = small
    pages[0] = database.query("PRAGMA page_count")[0][0] + 3
    calls = [("visits", tiny.visit(place), f"k-{place}") for place in range(3)]
    calls += [("visits", tiny.visit(3, shop="a" * 40_000), "k-3"), ("visits", tiny.visit(4, minutes="x"))]
    answers, sizes = ask_behind(app, calls)
    assert sizes == [1, 4]
    said = f'database "{tmp_path / "log.db"}" cannot grow: the disk is full. Nothing was changed. Make room and try again.'
    assert answers[:4] == [(503, {"error": {"kind": "Unavailable", "message": said}})] * 4
    assert answers[4][0] == 422
    assert stored(app, "visits") == ["v-before", "v-first"]
    assert app.log.find("visits", [f"k-{place}/0" for place in range(4)]) == {}
    pages[0] = 1 << 30
    del app.log.append_all
    answers, sizes = ask_behind(app, calls[:4])
    assert (answers, sizes) == ([good()] * 4, [1, 4])
    assert stored(app, "visits")[-4:] == [f"v-{place}" for place in range(4)]


def test_what_a_commit_fails_of_is_the_fault_of_one_call(app):
    calls = [
        ("visits", tiny.visit(1), "a"),
        ("visits", tiny.visit(2), "b"),
        ("visits", tiny.visit(3), "c"),
    ]
    append_all, tried = app.log.append_all, []

    def fails(appends):
        tried.append(len(appends))
        if any(one.key == "b/0" for one in appends):
            raise RuntimeError("of b")
        return append_all(appends)

    app.log.append_all = fails
    answers, _ = ask_behind(app, calls)
    assert [status for status, _ in answers] == [200, 500, 200]
    assert tried == [1, 3, 1, 1, 1]
    assert stored(app, "visits") == ["v-first", "v-1", "v-3"]


def bad(place):
    return [tiny.visit(place, minutes="x")]


def test_rows_set_aside_of_calls_that_wait_are_one_commit(app):
    add, kept = app.quarantine.add, []

    def counted(*each, **how):
        kept.append([one.source for one in each])
        add(*each, **how)

    app.quarantine.add = counted
    calls = [("visits", bad(place)) for place in range(20)] + [("visits", [tiny.visit(1), *bad(20)])]
    calls += [("orders", [{}]), ("visits", tiny.visit(2))]
    answers, sizes = ask_behind(app, calls)
    assert [status for status, _ in answers] == [422] * 20 + [200, 422, 200]
    assert kept == [["visits"] * 21 + ["orders"]]
    assert sizes == [1, 2]
    assert {item.source: item.rows for item in app.quarantine.counts()} == {"visits": 21, "orders": 1}
    assert stored(app, "visits") == ["v-first", "v-1", "v-2"]


def test_a_call_whose_rows_cannot_be_set_aside_is_not_stored_and_costs_no_other_one_anything(app):
    add = app.quarantine.add

    def fails(*each, **how):
        if any(one.batch == "key b" for one in each):
            raise RuntimeError("of b")
        add(*each, **how)

    app.quarantine.add = fails
    calls = [("visits", [tiny.visit(place), *bad(place)], key) for place, key in enumerate("abc")]
    answers, _ = ask_behind(app, [*calls, ("visits", tiny.visit(3))])
    assert [status for status, _ in answers] == [200, 500, 200, 200]
    assert app.quarantine.counts()[0].rows == 2
    assert stored(app, "visits") == ["v-first", "v-0", "v-2", "v-3"]


class Slow:
    """Tells the sizes of calls that are stored together; it stores nothing until it `goes_on`."""

    def __init__(self):
        self.groups, self.goes_on = [], threading.Event()

    def __call__(self, calls, *, wait=None):
        self.groups.append([len(call.rows) for call in calls])
        assert self.goes_on.wait(PATIENCE)
        return [Ingested("visits", len(call.rows), 0, "") for call in calls]


def call(rows):
    return Call(tiny.project.sources["visits"], [None] * rows)


def test_more_rows_than_may_wait_are_refused_at_once():
    async def ask():
        slow = Slow()
        intake = Intake(slow, wait=PATIENCE, most=5)
        taken = asyncio.create_task(intake.store(call(9)))  # one that is large is taken when none waits
        while not slow.groups:
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(intake.store(call(rows))) for rows in (3, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as error:
            await intake.store(call(1))
        slow.goes_on.set()
        done = await asyncio.gather(taken, *waiting)
        assert [one.stored for one in done] == [9, 3, 2]
        assert (await intake.store(call(1))).stored == 1
        return str(error.value), slow.groups

    said, groups = asyncio.run(ask())
    assert said == (
        'source "visits" takes no more events now: 5 rows wait to be stored. Nothing of these was stored; it is safe to '
        "retry in a moment."
    )
    assert groups == [[9], [3, 2], [1]]


def test_a_large_call_waits_for_none_and_none_for_it():
    async def ask():
        slow = Slow()
        intake = Intake(slow, wait=PATIENCE)
        rows = [1, SMALL + 1, TOGETHER - 1, 1, 1]
        tasks = [asyncio.create_task(intake.store(call(rows[0])))]
        while not slow.groups:
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(intake.store(call(count))) for count in rows[1:]]
        while len(slow.groups) < 2:
            await asyncio.sleep(0.001)
        assert slow.groups == [[1], [SMALL + 1]]
        slow.goes_on.set()
        assert [one.stored for one in await asyncio.gather(*tasks)] == rows
        assert slow.groups[2:] == [[TOGETHER - 1, 1], [1]]

    asyncio.run(ask())


def test_large_calls_take_turns_and_are_refused_when_they_have_waited_or_are_too_many():
    async def ask():
        slow = Slow()
        intake = Intake(slow, wait=0.05, most=SMALL)
        under_way = [asyncio.create_task(intake.store(call(SMALL * 4))) for _ in range(2)]
        while len(slow.groups) < 2:
            await asyncio.sleep(0.001)
        told = await asyncio.gather(
            *(intake.store(call(rows)) for rows in (SMALL + 1, SMALL * 2)), return_exceptions=True
        )
        slow.goes_on.set()
        assert [one.stored for one in await asyncio.gather(*under_way)] == [SMALL * 4] * 2
        assert (await intake.store(call(SMALL * 11))).stored == SMALL * 11  # one that is too large alone
        return [str(one) for one in told], slow.groups

    told, groups = asyncio.run(ask())
    assert told == [
        'source "visits" did not store these events within 0.05 s. Nothing of these was stored; it is safe to retry in a moment.',
        'source "visits" takes no more events now: 9,001 rows wait to be stored. Nothing of these was stored; it is safe to '
        "retry in a moment.",
    ]
    assert groups == [[SMALL * 4]] * 2 + [[SMALL * 11]]


def test_a_call_that_is_not_stored_in_time_is_told_whether_it_may_be_yet():
    async def ask():
        slow = Slow()
        intake = Intake(slow, wait=0.05, most=5)
        under_way = asyncio.create_task(intake.store(call(1)))
        while not slow.groups:
            await asyncio.sleep(0.001)
        told = await asyncio.gather(
            under_way, *(intake.store(call(2)) for _ in range(2)), return_exceptions=True
        )
        with pytest.raises(Unavailable, match="did not store"):  # not too many: the others wait no more
            await intake.store(call(5))
        large = asyncio.create_task(intake.store(call(SMALL + 1)))
        await asyncio.sleep(0.1)
        slow.goes_on.set()
        assert (await large).stored == SMALL + 1
        assert (await intake.store(call(3))).stored == 3
        return told, slow.groups

    (under_way, *waiting), groups = asyncio.run(ask())
    assert [type(error) for error in (under_way, *waiting)] == [Unavailable] * 3
    assert str(under_way) == (
        'source "visits" did not store these events within 0.05 s. It is under way and may still succeed. Send them again '
        "under the same idempotency-key, and they are stored once."
    )
    assert {str(error) for error in waiting} == {
        'source "visits" did not store these events within 0.05 s. Nothing of these was stored; it is safe to retry in a moment.'
    }
    assert groups == [[1], [SMALL + 1], [3]]


def test_what_nobody_expected_is_told_to_each_and_the_next_calls_are_stored():
    fails = [True]

    def ingest(calls):
        if fails.pop():
            raise RuntimeError("broken")
        return [Ingested("visits", 1, 0, "") for _ in calls]

    async def ask():
        intake = Intake(ingest, wait=PATIENCE)
        for _ in range(2):
            fails.append(True)
            told = await asyncio.gather(*(intake.store(call(1)) for _ in range(3)), return_exceptions=True)
            assert [str(one) for one in told] == ["broken"] * 3
        fails.append(False)
        assert (await intake.store(call(1))).stored == 1

    asyncio.run(ask())
