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
from tenfold.cli import cli
from tenfold.core.clock import SharedClock
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


IN_TURN = """
from tenfold import Platform, Project, Release
from tenfold.automation.memory import MemoryMirror
from tests.examples.bare import late_order

project = Project("tiny", releases=[Release(late_order, to=["topic:decisions"])])
platform = Platform(mirrors=[MemoryMirror("there")])
"""
TELLS = {
    "controller": "watching tiny\n",
    "deliver": "delivering to topic:decisions\n",
    "mirror": "showing tiny in there\n",
}


@pytest.mark.parametrize("comes", [True, False])
@pytest.mark.parametrize("verb", TELLS)
def test_what_one_process_of_a_kind_does_waits_for_its_turn(tmp_path, verb, comes):
    declared = tmp_path / "declared.py"
    declared.write_text(IN_TURN)
    options = ["--home", str(tmp_path / "home"), "--supervised", "--in-turn"]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = start(verb, str(declared), *options, *["--follow"] * (verb != "controller"), stdin=theirs)
        theirs.close()
        assert ours.recv(1) == b".", "it is ready"
        if comes:
            ours.send(b".")
            wait_for(process, TELLS[verb])
        process.terminate()
        assert process.wait(60) == 0
    assert TELLS[verb] not in process.stderr.read()
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


@pytest.mark.parametrize("verb", [["run"], ["serve"], ["serve", "--processes", "2"]])
def test_a_signal_for_new_processes_does_not_end_one_that_is_loading(tmp_path, verb):
    declared = tmp_path / "declared.py"
    declared.write_text("import os\nos.kill(os.getpid(), 1)\nraise ValueError('still here')\n")
    process = start(*verb, str(declared), "--home", str(tmp_path / "home"), "--port", free_port())
    assert "cannot be imported: ValueError: still here." in process.communicate(timeout=60)[1]
    assert process.returncode == 2


def test_a_signal_that_comes_while_another_server_takes_over_counts_too(place):
    options = ["--home", str(place / "home"), "--clock", str(place / "clock"), "--port", free_port()]
    process = start("serve", BARE, *options)
    wait_for(process, "serving tiny on")
    process.send_signal(signal.SIGHUP)
    wait_for(process, "server started")
    process.send_signal(signal.SIGHUP)
    wait_for(process, "new processes are asked for once more; the old processes go on")
    wait_for(process, "starting new processes")
    wait_for(process, "the new server has taken over")
    process.terminate()
    assert process.wait(60) == 0
    process.stderr.close()


STUCK = """
import signal, threading, click
from tenfold.automation import supervise
from tenfold.cli import processes

supervise.GRACE = 100_000

@click.command()
@processes.supervised
def stuck():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("at work", flush=True)
    threading.Event().wait()

stuck(["--supervised"])
"""


def test_a_supervised_process_that_does_not_end_outlives_the_one_that_started_it_by_its_grace_at_most():
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"at work\n"
        process.stdin.close()
        assert process.wait(60) == 1


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
    assert sorted(ends) == ["controller", "server", "worker"]
    assert ends.index("server") < ends.index("worker")
    process.stderr.close()
