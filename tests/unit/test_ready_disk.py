"""A server that cannot store answers is sent no requests, says why, and is ready by itself once writing works again."""

import asyncio
import os
import subprocess
import sys
from errno import EIO, ENOSPC, EROFS
from functools import partial

import httpx
import pytest

from tenfold import Platform, VirtualClock
from tenfold.core.clock import SystemClock
from tenfold.serving.door.ready import FRESH
from tenfold.sources.log import PAGE
from tests.examples import bare, tiny
from tests.failing import SYNC, WRITE, failing
from tests.unit.cli_project import ROOT
from tests.unit.test_cli_full import INSIDE, MADE

CLOCK = SystemClock()
MODEL = "/v2/models/late_order/ready"


@pytest.fixture
def app(tmp_path):
    tiny.build(tmp_path)
    with tiny.project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        yield app


async def ask(api, paths, row=None):
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        found = [await client.get(path) for path in paths]
        if row:
            found.append(await client.post("/predict", json={"row": row}))
    return [(answer.status_code, answer.json()) for answer in found]


def asked(api, paths, row=None):
    return asyncio.run(ask(api, paths, row))


def until(status, ask, seconds=10):
    """Return what is answered as soon as the first answer has a status."""
    end = CLOCK.elapsed() + seconds * 1_000_000
    while (found := ask())[0][0] != status and CLOCK.elapsed() < end:
        CLOCK.sleep(0.05)
    return found


@pytest.mark.parametrize(("calls", "number"), [(WRITE, ENOSPC), (WRITE, EIO), (WRITE, EROFS), (SYNC, EIO)])
def test_where_no_answer_can_be_stored_the_server_is_not_ready_and_later_is_by_itself(calls, number, app):
    api = app.asgi()
    look = partial(asked, api, ["/ready", MODEL])
    assert until(200, look)[1][0] == 200
    CLOCK.sleep(1)  # what was found counts so long
    row = tiny.order(1)
    (status, said), model, predicted = failing(calls, lambda: asked(api, ["/ready", MODEL], row), number)
    assert (status, said) == predicted
    assert (status, said["error"]["kind"], model[0]) == (503, "Unavailable", 400)
    assert str(app.platform.home / "log.db") in said["error"]["message"]
    assert [status for status, _ in until(200, look)] == [200, 200]


def test_a_server_that_only_takes_events_is_not_ready_either(tmp_path):
    with bare.project.open(Platform(home=tmp_path, clock=VirtualClock(bare.ASK_AT))) as app:
        api = app.asgi()
        assert until(200, lambda: asked(api, ["/ready"])) == [(200, {"status": "ready"})]
        CLOCK.sleep(1)
        assert failing(SYNC, lambda: asked(api, ["/ready"]))[0][0] == 503


def test_it_writes_a_page_a_second_at_most_however_often_it_is_asked_and_leaves_no_file(app):
    api, written = app.asgi(), app.platform.home / "log.db-wal"
    until(200, lambda: asked(api, ["/ready"]))
    began = CLOCK.elapsed()
    before, there = written.stat().st_size, set(os.listdir(app.platform.home))
    while (took := CLOCK.elapsed() - began) < 2_500_000:
        asked(api, ["/ready", MODEL])
    assert 1 <= (written.stat().st_size - before) / (PAGE + 24) <= took / FRESH + 1
    assert set(os.listdir(app.platform.home)) == there


ON_A_DISK = """
import sys
from pathlib import Path
from tenfold import Platform, VirtualClock
from tests.examples import tiny
from tests.unit.test_ready_disk import asked, until
disk = Path(sys.argv[1])
with tiny.project.open(Platform(home=disk / "home", clock=VirtualClock(tiny.ASK_AT))) as app:
    api = app.asgi()
    look = lambda: asked(api, ["/ready"])
    print(until(200, look)[0][0])
    rest = disk / "more"
    try:
        with rest.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        pass
    ((status, said),) = until(503, look)
    print(status, said.get("error", {}).get("message"))
    rest.unlink()
    print(until(200, look)[0][0])
"""


def test_a_disk_that_fills_up_and_gets_room_again_is_seen_without_a_request(tmp_path):
    if subprocess.run([*INSIDE, "true"], check=False).returncode:
        pytest.skip("unshare is not allowed")
    tiny.build(tmp_path / "home")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'{MADE.replace("8m", "64m")}shift 2 && exec "$@"'
    command = ["sh", "-c", script, "sh", disk, tmp_path / "home", sys.executable, "-c", ON_A_DISK, disk]
    done = subprocess.run(
        [*INSIDE, *command], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.stdout.splitlines() == [
        "200",
        f'503 database "{disk}/home/log.db" cannot grow: the disk is full. Nothing was changed. Make room and try again.',
        "200",
    ], done.stderr
