"""The supervisor: what dies starts again, new processes take over, and all end in time."""

import os
import signal
import socket
import sys

import pytest

from tenfold.automation import supervise
from tenfold.automation.supervise import Supervisor
from tenfold.core.clock import SystemClock

WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]
DIES = [sys.executable, "-c", "raise SystemExit(7)"]
SAYS = [sys.executable, "-c", "import os, sys; os.write(0, b'.'); sys.stdin.read()"]


def end(child):
    child.ask_to_end()
    while not child.has_ended():
        SystemClock().sleep(0.01)


def words_of(told):
    return [" ".join(line.split()[:2]) for line in told]


def on_term(act, ready):
    """Return a program that does something when it is asked to end; a file says that it runs."""
    return [
        sys.executable,
        "-c",
        "import pathlib, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: {act})\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "sys.stdin.read()",
    ]


def in_turn(log, last):
    """Return a program that says it is ready, and works from when its turn comes until some time after it is asked to end."""
    return [
        sys.executable,
        "-c",
        "import os, signal, sys, time\n"
        f"def say(what): print(what, os.getpid(), file=open({str(log)!r}, 'a'))\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (time.sleep({last}), say('ends'), sys.exit()))\n"
        "os.write(0, b'.')\n"
        "os.read(0, 1) and say('works')\n"
        "sys.stdin.read()",
    ]


def test_the_supervisor_restarts_what_dies_and_stops_the_rest(monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    told: list[str] = []

    def stopped() -> bool:
        return sum("ended" in line for line in told) == 3 and told[-1].startswith("b started")

    Supervisor({"a": WAITS, "b": DIES, "c": WAITS}, SystemClock(), tell=told.append).run(stopped)
    words = [" ".join(line.split()[:2]) for line in told]
    assert words[:-3] == ["a started", "b started", "c started", *["b ended", "b started"] * 3]
    assert sorted(words[-3:]) == ["a stopped", "b stopped", "c stopped"]
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
    end(child)
    assert told[-1] == "deaf killed after 0.2 s"
    pid = int(told[0].split()[-1].rstrip(")"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


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


def test_who_takes_over_is_given_its_turn_when_the_one_before_has_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    log, gate, told = tmp_path / "log", tmp_path / "gate", []
    os.mkfifo(gate)
    slow = f"import os, sys; open({str(gate)!r}).read(); os.write(0, b'.'); sys.stdin.read()"
    asked, opened = iter([True]), []

    def said():
        return log.read_text().splitlines() if log.exists() else []

    def stopped():
        new = [line for line in told if line.startswith("controller started")]
        if len(new) == 2 and not opened:
            SystemClock().sleep(0.5)
            assert len(said()) == 1, "the new one waits while the old one works"
            opened.append(gate.write_text("go"))
        if len(said()) == 3 and not any("ended" in line for line in told):
            os.kill(int(said()[2].split()[1]), signal.SIGKILL)
        return len(said()) == 4

    Supervisor(
        {"controller": in_turn(log, 0.5), "server": SAYS},
        SystemClock(),
        tell=told.append,
        replacing={"server": [sys.executable, "-c", slow]},
    ).run(stopped, lambda: bool(said()) and next(asked, False))
    pids = [line.split()[-1].rstrip(")") for line in told if line.startswith("controller started")]
    works = [f"works {pid}" for pid in pids]
    assert said() == [works[0], f"ends {pids[0]}", *works[1:], f"ends {pids[2]}"]


def test_what_cannot_be_started_is_tried_again_and_costs_the_others_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    told: list[str] = []
    program = tmp_path / "python"

    def stopped():
        if any("b could not be started" in line for line in told) and not program.exists():
            program.symlink_to(sys.executable)
        return any("b started" in line for line in told)

    Supervisor({"a": WAITS, "b": [str(program), *WAITS[1:]]}, SystemClock(), tell=told.append).run(stopped)
    assert words_of(told)[:2] == ["a started", "b could"]
    assert told[1].endswith(f"'{program}'; it starts again in 0.05 s")
    assert sorted(words_of(told)[-2:]) == ["a stopped", "b stopped"]


def test_the_old_processes_stay_when_a_new_one_cannot_be_started():
    told: list[str] = []
    asked = iter([True])
    Supervisor(
        {"a": SAYS, "b": SAYS}, SystemClock(), tell=told.append, replacing={"b": ["/nowhere/python"]}
    ).run(lambda: any("old processes go on" in line for line in told), lambda: next(asked, False))
    (why,) = (line for line in told if line.endswith("; the old processes go on"))
    assert why.startswith("new b could not be started, ")
    assert sorted(words_of(told)[-3:]) == ["a stopped", "a stopped", "b stopped"]


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
    assert sorted(words_of(after)) == ["a stopped", "a stopped", "b stopped", "b stopped"]


def test_those_that_wait_to_take_over_end_when_others_are_asked_for_and_these_run_the_code_of_then(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(supervise, "PATIENCE", 20_000_000)
    told, code, fresh = [], tmp_path / "code.py", tmp_path / "fresh"
    code.write_text(f"import pathlib, sys; pathlib.Path({str(fresh)!r}).touch(); sys.stdin.read()")
    asked = iter([True])

    def again():
        if fresh.exists():
            fresh.unlink()
            code.write_text(SAYS[-1])
            return True
        return next(asked, False)

    Supervisor(
        {"a": SAYS, "b": SAYS},
        SystemClock(),
        tell=told.append,
        replacing={"b": [sys.executable, str(code)]},
    ).run(lambda: sum("stopped" in line for line in told) == 4, again)
    starting = "starting new processes; the old ones go on until all of the new ones are ready"
    why = "new processes are asked for once more; the old processes go on"
    assert [line for line in told if line[:2] not in ("a ", "b ")] == [starting, why, starting]
    each = [f"{name} {done}" for name in "ab" for done in ("started", "stopped")]
    assert sorted(words_of(line for line in told if line[:2] in ("a ", "b "))) == sorted(3 * each)


def test_a_process_may_take_the_time_of_its_drain_to_end(monkeypatch):
    monkeypatch.setattr(supervise, "GRACE", 10_000)
    slow = (
        "import os, signal, sys, threading; ended = threading.Event(); "
        "signal.signal(signal.SIGTERM, lambda *_: ended.set()); os.write(0, b'.'); "
        "ended.wait(); threading.Event().wait(0.3); print('by itself', flush=True)"
    )
    told: list[str] = []
    child = supervise.Child(
        "slow", [sys.executable, "-c", slow], SystemClock(), told.append, drain=60_000_000
    )
    child.start()
    while not child.ready:
        assert child.hear() is None
    end(child)
    assert told[-1] == "slow stopped"


def test_only_servers_inherit_the_listening_socket():
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        holds = f"import os\ntry: os.fstat({listening.fileno()})\nexcept OSError: raise SystemExit(4)\nraise SystemExit(3)"
        names = ["worker", "controller", "deliver", "mirror", "server", "server 2"]
        commands = {name: [sys.executable, "-c", holds] for name in names}
        supervisor = Supervisor(commands, SystemClock(), tell=told.append, listening=listening)
        supervisor.run(lambda: {line.split(" ended")[0] for line in told if "ended" in line} == set(names))
    codes = {line.split(" ended")[0]: line.split("code ")[1][0] for line in told if "ended" in line}
    assert codes == dict.fromkeys(names[:4], "4") | dict.fromkeys(names[4:], "3")


def test_the_port_is_free_and_the_worker_has_ended_while_the_controller_still_has_its_time(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(supervise, "GRACE", 4_000_000)
    told: list[str] = []
    refused: list[bool] = []
    commands = {
        "worker": SAYS,
        "controller": on_term("None", tmp_path / "controller"),
        "server": on_term("(time.sleep(0.3), sys.exit())", tmp_path / "server"),
    }

    def tell(line):
        told.append(line)
        if line == "worker stopped":
            with socket.socket() as client:
                refused.append(client.connect_ex(address) != 0)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        Supervisor(commands, SystemClock(), tell=tell, listening=listening).run(
            lambda: len(list(tmp_path.iterdir())) == 2
        )
    assert told[3:] == ["server stopped", "worker stopped", "controller killed after 4 s"]
    assert refused == [True]


def test_new_processes_are_looked_after_while_an_old_one_takes_its_time_to_end(monkeypatch, tmp_path):
    monkeypatch.setattr(supervise, "GRACE", 3_000_000)
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    told: list[str] = []
    asked = iter([True])

    def tell(line):
        told.append(line)
        if line == "server stopped" and len(told) < 8:
            started = [line for line in told if line.startswith("server started")]
            os.kill(int(started[-1].split()[-1].rstrip(")")), signal.SIGKILL)

    Supervisor(
        {"controller": on_term("None", tmp_path / "controller"), "server": SAYS},
        SystemClock(),
        tell=tell,
        replacing={"controller": SAYS},
    ).run(
        lambda: "controller killed after 3 s" in told,
        lambda: (tmp_path / "controller").exists() and next(asked, False),
    )
    again = ["server stopped", "server ended", "server started", "controller killed"]
    assert words_of(told)[5:9] == again
