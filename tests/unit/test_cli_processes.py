"""The commands that keep running: how they start, stop and restart."""

import fcntl
import os
import platform
import signal
import socket
import subprocess
import sys
import termios

import pytest
from click.testing import CliRunner

from tenfold import Platform
from tenfold.automation import supervise
from tenfold.automation.supervise import Supervisor
from tenfold.cli import cli
from tenfold.core.clock import SharedClock, SystemClock
from tenfold.sources.locked import among
from tests.examples import bare
from tests.unit.cli_project import ROOT, start, wait_for

BARE = str(ROOT / "tests/examples/bare.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    bare.build(folder / "home")
    SharedClock(folder / "clock").set(bare.ASK_AT)
    return folder


def run(place, verb, *args):
    options = ["--home", str(place / "home"), "--clock", str(place / "clock")]
    return CliRunner().invoke(cli, [verb, BARE, *args, *options])


def test_a_worker_moves_what_is_left_into_the_lake_when_it_is_told_to_stop(tmp_path):
    clock = SharedClock(tmp_path / "clock")
    clock.set(bare.ASK_AT)
    with among(tmp_path / "home/running", "worker"), among(tmp_path / "home/running", "controller"):
        process = start("worker", BARE, "--home", str(tmp_path / "home"), "--clock", str(tmp_path / "clock"))
        assert [process.stderr.readline() for _ in range(3)] == [
            f"loading {BARE} for the worker\n",
            f"another worker is at work on this home, process {os.getpid()} on {platform.node()}: that is safe, "
            "every record counts once, but one is enough\n",
            "processing tiny\n",
        ]
    with bare.project.open(Platform(home=tmp_path / "home", clock=clock)) as app:
        app.ingest("orders", [bare.order()])
        process.terminate()
        assert process.wait(60) == 0
        assert app.lake.position("orders", "log") == 1
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_cleanly(place, kind):
    port = free_port()
    options = ["--home", str(place / "home"), "--port", port]
    process = start("serve", BARE, *options)
    assert process.stderr.readline() == f"loading {BARE} for the server\n"
    assert process.stderr.readline() == f"serving tiny on http://127.0.0.1:{port}\n"
    process.send_signal(kind)
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_server_on_which_every_request_would_be_late_is_refused(place):
    refused = run(place, "serve", "--wait", "0")
    assert refused.exit_code == 2
    assert "Invalid value for '--wait': 0.0 is not in the range 0.1<=x<=3600." in refused.stderr


def test_a_supervised_process_ends_with_the_one_that_started_it(place):
    options = ["--home", str(place / "home"), "--clock", str(place / "clock"), "--supervised"]
    # the old controller of the same supervisor, which the new one takes over from, is none to be told of
    with among(place / "home/running", "controller", os.getpid()):
        process = start("controller", BARE, *options, stdin=subprocess.PIPE)
        assert process.stderr.readline() == f"loading {BARE} for the controller\n"
        assert process.stderr.readline() == "watching tiny\n"
    process.stdin.close()
    assert process.wait(60) == 0
    process.stderr.close()


def test_who_was_killed_is_at_work_no_more(tmp_path):
    waits = (
        "import pathlib, sys; from tenfold.sources.locked import among\n"
        "with among(pathlib.Path(sys.argv[1]), 'worker'): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", waits, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with among(tmp_path, "worker") as others:
            assert others == [f"process {process.pid} on {platform.node()}"]
        process.kill()
    with among(tmp_path, "worker") as others:
        assert others == []
        assert len(list(tmp_path.glob("worker-*"))) == 1


def test_status_says_who_is_missing_and_what_comes_of_it(place):
    without = run(place, "status").stdout
    assert (
        f"\nNo worker is at work on this home, so states stand still: tenfold worker {BARE}, or " in without
    )
    assert "\nNo controller is at work on this home, so candidates and schedules stand still: " in without
    with among(place / "home/running", "worker"), among(place / "home/running", "controller"):
        assert "at work" not in run(place, "status").stdout


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_a_port_in_use_is_told(place):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = run(place, "serve", "--port", port)
    assert result.exit_code == 75
    assert result.stderr == (
        f"error: port {port} is used by another process. Stop it, or choose another one with --port.\n"
    )


WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]
DIES = [sys.executable, "-c", "raise SystemExit(7)"]


def test_the_supervisor_restarts_what_dies_and_stops_the_rest_in_order(monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    told: list[str] = []

    def stopped() -> bool:
        return sum("ended" in line for line in told) == 3 and told[-1].startswith("b started")

    Supervisor({"a": WAITS, "b": DIES, "c": WAITS}, SystemClock(), tell=told.append).run(stopped)
    words = [" ".join(line.split()[:2]) for line in told]
    assert words == [
        "a started",
        "b started",
        "c started",
        *["b ended", "b started"] * 3,
        "c stopped",
        "b stopped",
        "a stopped",
    ]
    pauses = [line.partition("again in ")[2] for line in told if "ended with code 7" in line]
    assert pauses == ["0.05 s", "0.1 s", "0.2 s"]


def test_the_supervisor_kills_what_does_not_end(monkeypatch, tmp_path):
    monkeypatch.setattr(supervise, "GRACE", 200_000)
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    deaf = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(ready)!r}, 'w').close(); sys.stdin.read()"
    )
    told: list[str] = []
    child = supervise.Child("deaf", [sys.executable, "-c", deaf], SystemClock(), told.append)
    child.look()
    assert ready.read_bytes() == b"", "returns when the child has opened its end"
    child.ask_to_end()
    child.wait()
    assert told[-1] == "deaf stopped"
    pid = int(told[0].split()[-1].rstrip(")"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


SAYS = [sys.executable, "-c", "import os, sys; os.write(0, b'.'); sys.stdin.read()"]


def words_of(told):
    return [" ".join(line.split()[:2]) for line in told]


def test_new_processes_take_over_when_all_are_ready_and_those_of_a_kind_end_together(tmp_path):
    gate, told = tmp_path / "gate", []
    os.mkfifo(gate)
    slow = [
        sys.executable,
        "-c",
        f"import os, sys; open({str(gate)!r}).read(); os.write(0, b'.'); sys.stdin.read()",
    ]
    commands = {"worker": SAYS, "server 1": SAYS, "server 2": SAYS}
    asked = iter([True])

    def stopped():
        if told.count("") == 0 and sum("server 2 started" in line for line in told) == 2:
            assert not any("stopped" in line for line in told), "the old ones wait for the slow one"
            gate.write_text("go")
            told.append("")
        return sum("worker stopped" in line for line in told) == 1

    supervisor = Supervisor(commands, SystemClock(), tell=told.append, replacing={"server 2": slow})
    supervisor.run(stopped, lambda: next(asked, False))
    ends = ["server 1 stopped", "server 2 stopped", "worker stopped"]
    assert sorted(line for line in told if "stopped" in line) == sorted(2 * ends)
    pids = [line.split()[-1] for line in told if "started (process" in line]
    assert len(set(pids)) == 6


@pytest.mark.parametrize("late", [False, True])
def test_the_old_processes_stay_when_a_new_one_does_not_get_ready(monkeypatch, late):
    monkeypatch.setattr(supervise, "PATIENCE", 1_000_000)
    told: list[str] = []
    asked = iter([True])
    Supervisor(
        {"a": SAYS, "b": SAYS}, SystemClock(), tell=told.append, replacing={"b": WAITS if late else DIES}
    ).run(lambda: any("old processes go on" in line for line in told), lambda: next(asked, False))
    why = "not ready after 1 s: new b" if late else "new b ended with code 7"
    assert f"{why}; the old processes go on" in told
    after = told[told.index(f"{why}; the old processes go on") + 1 :]
    assert words_of(after) == ["b stopped", "a stopped"] * 2


def test_a_process_may_take_the_time_of_its_drain_to_end(monkeypatch):
    monkeypatch.setattr(supervise, "GRACE", 10_000)
    slow = (
        "import os, signal, sys, threading; ended = threading.Event(); "
        "signal.signal(signal.SIGTERM, lambda *_: ended.set()); os.write(0, b'.'); "
        "ended.wait(); threading.Event().wait(0.3); print('by itself', flush=True)"
    )
    child = supervise.Child("slow", [sys.executable, "-c", slow], SystemClock(), print)
    child.start()
    while not child.ready:
        assert child.hear() is None
    child.ask_to_end()
    child.wait(drain=60_000_000)


def test_a_closed_terminal_ends_it_and_a_signal_renews_it(place):
    ours, theirs = os.openpty()

    def in_terminal():
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    command = [sys.executable, "-m", "tenfold.cli", "serve", BARE, "--processes", "2", "--port", free_port()]
    process = subprocess.Popen(
        [*command, "--home", str(place / "home")],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=in_terminal,
    )
    os.close(theirs)
    wait_for(process, "server 2 started")
    process.send_signal(signal.SIGHUP)
    wait_for(process, "starting new processes")
    wait_for(process, "server 2 stopped")
    os.close(ours)
    assert process.wait(100) == 0
    process.stderr.close()


@pytest.mark.slow
def test_run_keeps_three_processes_going(place):
    options = ["--home", str(place / "home"), "--clock", str(place / "clock"), "--port", free_port()]
    process = start("run", BARE, *options)
    pids = {}
    for line in process.stderr:
        name, _, rest = line.partition(" started (process ")
        if rest:
            pids[name] = int(rest.strip(" )\n"))
        if "processing tiny" in line:
            break
    os.kill(pids["worker"], signal.SIGKILL)
    wait_for(process, "worker ended with code -9; it starts again in 0.5 s")
    wait_for(process, "worker started")
    wait_for(process, "processing tiny")
    process.send_signal(signal.SIGINT)
    assert process.wait(100) == 0
    ends = [line.split()[0] for line in process.stderr if "stopped" in line]
    assert ends == ["server", "controller", "worker"]
    process.stderr.close()
