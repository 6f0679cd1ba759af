"""What the service survives: a server that ends, is killed, or is not ready; a full disk; a clock that is set back."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import httpx
import pytest

from tenfold import Platform
from tenfold.core.clock import SystemClock
from tenfold.core.times import UNITS, iso
from tenfold.serving.answer.predictions import ONLINE, read
from tenfold.serving.door import ready
from tenfold.sources import log as logs
from tenfold.sources.sqlite import SQLiteDatabase
from tests.examples import bare
from tests.examples.served import ROOT
from tests.unit import tiny_home
from tests.unit.cli_project import start, wait_for
from tests.unit.tiny_home import one_byte, own_copy

BARE = str(ROOT / "tests/examples/bare.py")
JSON = {"content-type": "application/json"}
CLIENTS = 4
opened = partial(tiny_home.opened, project=bare.project)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare") / "home"
    bare.build(folder)
    return folder


@pytest.fixture
def home(built, tmp_path):
    return own_copy(built, tmp_path)


def get(api, path="/ready"):
    async def send():
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://127.0.0.1"
        ) as client:
            while True:
                answer = await client.get(path)
                if "is loading its versions" not in answer.text:
                    return answer.status_code, answer.json()
                await asyncio.sleep(0.01)

    return asyncio.run(send())


class Load:
    """Clients that ask, each one after the other, until told to stop; every answer must be 200."""

    def __init__(self, port):
        self.port, self.answered, self.lost, self.wrong = port, 0, [], []
        self._ended, self._lock = threading.Event(), threading.Lock()

    def work(self, client):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        place = 0
        while not self._ended.is_set():
            body = json.dumps(bare.order(f"{client}-{place}"))
            try:
                connection.request("POST", "/predict", body, JSON)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.lost.append(repr(error))
                continue  # the same row again: it may have been answered
            place += 1
            with self._lock:
                self.answered += 1
                if answer.status != 200:
                    self.wrong.append((answer.status, content))
        connection.close()

    def until(self, count):
        """Wait until so many more were answered."""
        goal = self.answered + count
        while self.answered < goal and not self.wrong:
            SystemClock().sleep(0.01)

    @contextmanager
    def running(self):
        with ThreadPoolExecutor(CLIENTS) as pool:
            done = [pool.submit(self.work, client) for client in range(CLIENTS)]
            try:
                yield self
            finally:
                self._ended.set()
                for each in done:
                    each.result()


def server(home, fd, **bounds):
    command = [sys.executable, "-m", "tests.examples.bare", str(home), str(fd), json.dumps(bounds)]
    return subprocess.Popen(command, cwd=ROOT, pass_fds=[fd], stdin=subprocess.PIPE)


def test_a_server_is_replaced_under_load_and_no_request_fails(home):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        first = server(home, listening.fileno())
        with Load(listening.getsockname()[1]).running() as load:
            load.until(30)
            first.communicate(timeout=60)
            second = server(home, listening.fileno())
            load.until(60)
    second.communicate(timeout=60)
    assert (load.wrong, load.lost) == ([], [])
    assert (first.returncode, second.returncode) == (0, 0)
    with opened(home) as app:
        app.flush()
        found = app.skew(bare.late_order)
    assert (found.rows, found.mismatches) == (load.answered, 0)


def test_server_processes_share_a_port_and_a_killed_one_loses_only_what_it_was_answering(home):
    port = free_port()
    place = ["--home", str(home), "--clock", str(home / "clock"), "--port", str(port)]
    process = start("serve", BARE, *place, "--processes", "2")
    pids = said(process, "serving tiny on", 2)
    assert list(pids) == ["server 1", "server 2"]
    with Load(port).running() as load:
        load.until(40)
        os.kill(pids["server 1"], signal.SIGKILL)
        load.until(40)
        wait_for(process, "server 1 ended with code -9; it starts again")
        wait_for(process, "serving tiny on")
        load.until(40)
    process.send_signal(signal.SIGTERM)
    assert process.wait(100) == 0
    process.stderr.close()
    assert load.wrong == []
    assert len(load.lost) <= CLIENTS, load.lost


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def said(process, text, times=1):
    """Read what a process says until it has said something so often; return its processes by name."""
    pids = {}
    for line in process.stderr:
        name, _, rest = line.partition(" started (process ")
        if rest:
            pids[name] = int(rest.strip(" )\n"))
        times -= text in line
        if not times:
            return pids
    pytest.fail(f'the process ended without saying "{text}"')


def test_all_processes_are_replaced_under_load_by_a_signal_and_no_request_fails(home, tmp_path):
    declared, port = tmp_path / "declared.py", free_port()
    declared.write_text("from tests.examples.bare import project\n")
    with opened(home) as app:
        assert app.train(bare.late_order).number == 2
    place = ["--home", str(home), "--clock", str(home / "clock"), "--port", str(port)]
    process = start("run", str(declared), *place, "--processes", "2", "--wait", "20", "--drain", "0.2")
    old = said(process, "serving tiny on", 2)
    with Load(port).running() as load:
        load.until(20)
        process.send_signal(signal.SIGHUP)
        with opened(home) as app:
            app.promote(bare.late_order, 2)  # in the middle of it
        new = said(process, "worker stopped")
        assert sorted(new) == sorted(old) == ["controller", "server 1", "server 2", "worker"]
        assert not set(new.values()) & set(old.values())
        load.until(20)
        declared.write_text("a mistake\n")
        process.send_signal(signal.SIGHUP)
        said(process, "; the old processes go on")
        said(process, "worker stopped")
        load.until(20)
    for pid in new.values():
        os.kill(pid, 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(100) == 0
    process.stderr.close()
    assert (load.wrong, load.lost) == ([], [])
    with opened(home) as app:
        app.flush()
        found = app.skew(bare.late_order)
        told = read(app.lake, "late_order", ONLINE, 0, 2**60).version.tolist()
    assert (found.rows, found.mismatches) == (load.answered, 0)
    assert set(told) == {1, 2}


@pytest.mark.slow
def test_a_single_server_is_replaced_under_load_by_a_signal_and_its_process_looks_after_the_new_one(
    home, tmp_path
):
    declared, port = tmp_path / "declared.py", free_port()
    declared.write_text("from tests.examples.bare import project\n")
    place = ["--home", str(home), "--clock", str(home / "clock"), "--port", str(port)]
    process = start("serve", str(declared), *place, "--drain", "0.2")
    said(process, "serving tiny on")
    with Load(port).running() as load:
        load.until(20)
        declared.write_text("a mistake\n")
        process.send_signal(signal.SIGHUP)
        said(process, "; the old processes go on")
        load.until(20)
        declared.write_text("from tests.examples.bare import project\n")
        process.send_signal(signal.SIGHUP)
        new = said(process, "the new server has taken over")
        load.until(40)
    assert (load.wrong, load.lost) == ([], [])
    os.kill(new["server"], signal.SIGKILL)
    again = said(process, "serving tiny on")
    assert again["server"] != new["server"]
    process.send_signal(signal.SIGTERM)
    said(process, "server stopped")
    assert process.wait(60) == 0
    process.stderr.close()


def test_a_server_that_drains_says_it_is_not_ready_and_answers_until_the_time_is_over(home):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = server(home, listening.fileno(), drain=2)
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
            while client.get("/ready").status_code != 200:
                SystemClock().sleep(0.05)
            process.terminate()
            while client.get("/ready").status_code == 200:
                SystemClock().sleep(0.01)
            assert "shutting down" in client.get("/ready").text
            again = httpx.post(f"{client.base_url}/predict", json=bare.order("drained"), timeout=60)
            assert again.status_code == 200, "a new connection is answered too"
        assert process.wait(60) == 0
        process.stdin.close()


def test_ready_waits_for_versions_states_and_says_why_not(home):
    with opened(home) as app:
        api = app.asgi(wait=0.1)
        assert get(api) == (200, {"status": "ready"})
        app.ingest("visits", [bare.visit("new")])
        api = app.asgi(wait=0.1)
        status, answer = get(api)
        assert (status, answer["error"]["kind"]) == (503, "Unavailable")
        assert 'view "shop_visits" has 228 of 229 records' in answer["error"]["message"]
        app.process()
        api = app.asgi(wait=0.1)
        assert get(api)[0] == 200
        api.state.ready.ending = True
        assert get(api)[1]["error"]["message"] == "the server is shutting down."
        assert get(api, "/health")[0] == 200


def test_a_version_that_cannot_be_served_is_not_ready(home):
    stored = next(home.glob("blobs/**/model.safetensors"))
    one_byte(stored.parent, stored.name)
    with opened(home) as app:
        status, answer = get(app.asgi())
    assert status == 503
    assert "late_order" in answer["error"]["message"]


def test_a_model_without_a_version_takes_no_server_out_of_traffic(tmp_path):
    with bare.project.open(Platform(home=tmp_path)) as app:
        assert get(app.asgi()) == (200, {"status": "ready"})


def test_until_it_has_loaded_it_is_not_ready(home, monkeypatch):
    going = threading.Event()
    warm = ready.Service.warm

    def slow(service):
        going.wait()
        warm(service)

    monkeypatch.setattr(ready.Service, "warm", slow)
    with opened(home) as app:

        async def ask():
            transport = httpx.ASGITransport(app.asgi())
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                first = await client.get("/ready")
                going.set()
                while (later := await client.get("/ready")).status_code != 200:
                    assert later.json() == first.json()
                    await asyncio.sleep(0.01)
                return first

        first = asyncio.run(ask())
    assert first.status_code == 503
    assert first.json()["error"]["message"] == "the server is loading its versions."


class Full(SQLiteDatabase):
    """A log on a disk that is full when told so."""

    pages = 1 << 30

    @contextmanager
    def transaction(self):
        with super().transaction() as connection:
            connection.execute(f"PRAGMA max_page_count={self.pages}").fetchone()
            yield connection


def test_a_full_disk_is_told_and_nothing_is_half_stored(home, monkeypatch):
    monkeypatch.setattr(logs, "SQLiteDatabase", Full)
    note = "x" * 900

    def ask(api, place):
        return bare.in_process(api, "/predict", bare.order(f"{note}{place}"))

    def send(api, place):
        events = [bare.visit(f"{note}{place}-{number}") for number in range(50)]
        return bare.in_process(api, "/events/visits", events)

    with opened(home) as app:
        api = app.asgi(wait=10)
        assert ask(api, 0)[0] == 200
        before = app.log.ends().offsets
        monkeypatch.setattr(Full, "pages", 1)
        failed = [act(api, place) for place in range(1, 40) for act in (ask, send)]
        full = [answer for status, answer in failed if status == 503]
        assert {status for status, _ in failed} <= {200, 503}
        assert len(full) > 10
        assert all("the disk is full. Nothing was changed" in answer["error"]["message"] for answer in full)
        app.process()
        now = app.log.ends().offsets
        fine = [answer for status, answer in failed if status == 200]
        stored = sum(answer.get("stored", 0) for answer in fine)
        assert now["visits"] - before["visits"] == stored
        assert now["predictions"] - before["predictions"] == sum("model" in answer for answer in fine)
        monkeypatch.setattr(Full, "pages", 1 << 30)
        assert (ask(api, 99)[0], send(api, 99)[0]) == (200, 200)
        app.process()
        assert app.skew(bare.late_order).mismatches == 0


class Wandering(SystemClock):
    """The machine's clock, which somebody sets."""

    by = 0

    def now(self):
        return super().now() + self.by


def test_a_clock_that_is_set_back_or_far_ahead_changes_no_feature(home):
    clock = Wandering()
    with bare.project.open(Platform(home=home, clock=clock)) as app:
        api = app.asgi(wait=10)
        moments, due = [], iso(clock.now() + 2 * UNITS["d"])
        for place, by in enumerate([0, -3_600_000_000, 86_400_000_000, 0, -86_400_000_000]):
            clock.by = by
            app.ingest("visits", [bare.visit(f"clock-{place}")])
            app.process()
            status, answer = bare.in_process(api, "/predict", bare.order(f"clock-{place}", due=due))
            assert status == 200, answer
            moments.append(answer["as_of"])
        assert moments == sorted(moments)
        app.flush()
        found = app.skew(bare.late_order)
        assert (found.rows, found.mismatches) == (5, 0)


ENDING = """
import duckdb
from tenfold.serving.door.ready import released, settled
connection = duckdb.connect()
types = connection.sql("SELECT 1 AS a, [1] AS b").types
settled(None)
"""


@pytest.mark.parametrize(("last", "complains"), [("", True), ("released()", False)])
def test_what_is_looked_at_no_more_is_freed_when_the_server_ends(last, complains):
    done = subprocess.run([sys.executable, "-c", ENDING + last], cwd=ROOT, capture_output=True, check=True)
    assert (b"leaked" in done.stderr) is complains
