import math
import os
import signal
import subprocess
import sys

import pytest

from tenfold.automation.journal import SCHEMA, Journal
from tenfold.automation.steps import Effect
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.errors import Conflict, DefinitionError, NotFound
from tenfold.sources.owner import Process
from tests import states

LEASE = 60_000_000
FULL_SCHEMA = SCHEMA + "CREATE TABLE IF NOT EXISTS effect (run_id TEXT, step TEXT);"
ADD_EFFECT = "INSERT INTO effect VALUES (?, ?)"
STEPS = ("train", "gate", "promote")

WORKER = """
import os, signal, sys
from tenfold.automation.journal import Journal
from tenfold.automation.steps import Effect
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Conflict
from tests import states

path, owner, task = sys.argv[1:]
database = states.opened(path, "")
journal = Journal(database, SystemClock())


def step(run_id, name):
    apply = lambda tx: tx.execute("INSERT INTO effect VALUES (?, ?)", (run_id, name))
    return name, lambda results: Effect(owner, apply)


def die(results):
    os.kill(os.getpid(), signal.SIGKILL)


def stop(results):
    os.kill(os.getpid(), signal.SIGSTOP)


if task == "stop":
    journal = Journal(database, SystemClock(), lease="300ms")
    try:
        journal.run("j0001", [step("j0001", "train"), ("gate", stop)], owner=owner)
    except Conflict:
        sys.exit(3)
if task == "die":
    journal.run("j0001", [step("j0001", "train"), ("gate", die)], owner=owner)
for run in journal.unfinished():
    try:
        journal.run(run.id, [step(run.id, name) for name in ("train", "gate", "promote")], owner=owner)
    except Conflict:
        continue
database.close()
"""


@pytest.fixture
def clock():
    return VirtualClock(10)


@pytest.fixture
def wall():
    return VirtualClock(10**15)


@pytest.fixture
def database(address):
    database = states.opened(address, FULL_SCHEMA)
    yield database
    database.close()


@pytest.fixture
def journal(database, clock, wall):
    return Journal(database, clock, wall=wall)


def constant(value):
    return lambda results: value


def interrupted(results):
    raise KeyboardInterrupt


def test_steps_run_in_order_and_see_what_came_before(journal):
    seen = []

    def step(name, value):
        return name, lambda results: (seen.append(dict(results)), value)[1]

    run_id = journal.begin("release", "drift", {"model": "m"})
    results = journal.run(run_id, [step("a", 1), step("b", [2])], owner="me")
    assert seen == [{"input": {"model": "m"}}, {"input": {"model": "m"}, "a": 1}]
    assert results == {"input": {"model": "m"}, "a": 1, "b": [2]}
    run = journal.get(run_id)
    assert (run.status, run.results, run.begun, run.ended, run.owner) == (
        "done",
        {"a": 1, "b": [2]},
        10,
        10,
        "me",
    )


def test_one_cause_is_one_run_and_is_done_once(journal):
    run_id = journal.begin("release", "drift", {"model": "m"})
    assert journal.run(run_id, [("a", constant(1))], owner="me")["a"] == 1
    assert journal.begin("release", "drift", {"model": "other"}) == run_id
    assert journal.run(run_id, [("a", constant(2))], owner="you") == {"input": {"model": "m"}, "a": 1}
    assert journal.begin("release", "other drift", {}) != run_id
    assert journal.begin("retrain", "drift", {}) != run_id


def test_a_step_that_raises_fails_the_run_which_resumes_there(journal):
    calls = []
    run_id = journal.begin("release", "drift", {})
    steps = [("a", calls.append), ("b", lambda results: 1 // 0)]
    with pytest.raises(ZeroDivisionError):
        journal.run(run_id, steps, owner="me")
    run = journal.get(run_id)
    assert (run.status, run.error) == ("failed", "ZeroDivisionError: integer division or modulo by zero")
    assert journal.unfinished() == []
    assert journal.run(run_id, [steps[0], ("b", constant(2))], owner="you") == {
        "input": {},
        "a": None,
        "b": 2,
    }
    assert len(calls) == 1
    assert (journal.get(run_id).status, journal.get(run_id).error) == ("done", None)


def test_an_effect_that_raises_leaves_nothing_and_fails_the_run(journal, database):
    def apply(tx):
        tx.execute(ADD_EFFECT, ("j0001", "a"))
        raise Conflict("moved meanwhile")

    run_id = journal.begin("release", "drift", {})
    with pytest.raises(Conflict, match="moved meanwhile"):
        journal.run(run_id, [("a", lambda results: Effect(1, apply))], owner="me")
    assert database.query("SELECT * FROM effect") == []
    assert (journal.get(run_id).status, journal.get(run_id).results) == ("failed", {})


def test_results_look_the_same_at_once_and_after_a_restart(journal):
    run_id = journal.begin("release", "drift", {})
    steps = [("a", constant({"pair": (1, 2), "nan": math.nan})), ("b", lambda results: results["a"])]
    first = journal.run(run_id, steps, owner="me")
    assert first["a"] == first["b"] == {"pair": [1, 2], "nan": None}
    assert journal.run(run_id, steps, owner="me") == first


@pytest.mark.parametrize("value", [object(), {1j: 1}, "\ud800"])
def test_a_result_that_json_cannot_hold_is_refused(journal, value):
    run_id = journal.begin("release", "drift", {})
    with pytest.raises(DefinitionError, match='step "a" returned what JSON cannot hold'):
        journal.run(run_id, [("a", constant(value))], owner="me")
    assert journal.get(run_id).status == "failed"


@pytest.mark.parametrize("names", [["a", "a"], ["input"]])
def test_names_of_steps_must_differ(journal, names):
    run_id = journal.begin("release", "drift", {})
    with pytest.raises(DefinitionError, match="each needs its own name"):
        journal.run(run_id, [(name, constant(1)) for name in names], owner="me")
    assert journal.get(run_id).status == "waiting"


def test_an_unknown_run_names_the_nearest(journal):
    journal.begin("release", "drift", {})
    for ask in (journal.get, lambda name: journal.run(name, [], owner="me")):
        with pytest.raises(NotFound, match=r'no durable run "j001"\. Did you mean "j0001"'):
            ask("j001")


def test_a_committed_step_cannot_be_changed(journal, database):
    journal.run(journal.begin("release", "drift", {}), [("a", constant(1))], owner="me")
    with pytest.raises(states.refused(), match="never changes"):
        database.execute("UPDATE journal_step SET result = '2'")


def test_unfinished_runs_are_those_waiting_or_under_way_oldest_first(journal):
    ids = [journal.begin("release", cause, {}) for cause in ("a", "b", "c")]
    journal.run(ids[1], [], owner="me")
    seen = []
    journal.run(ids[0], [("look", lambda results: seen.extend(journal.unfinished()))], owner="me")
    assert [(run.id, run.status) for run in seen] == [(ids[0], "running"), (ids[2], "waiting")]


def test_a_live_owner_is_left_alone_until_its_lease_ends(journal, wall):
    run_id = journal.begin("release", "drift", {})

    def step(results):
        wall.set(wall.now() + LEASE - 1)
        with pytest.raises(Conflict, match=f'{run_id} is being executed by "me"'):
            journal.run(run_id, [("a", constant(2))], owner="you")
        return 1

    results = journal.run(run_id, [("a", step), ("b", step)], owner="me")
    assert results == {"input": {}, "a": 1, "b": 1}, "each committed step renews the lease"


def test_a_run_waits_for_those_it_must_be_apart_from(journal, wall):
    ids = {
        name: journal.begin(kind, name, {"part": part})
        for name, kind, part in (("a", "score", 1), ("b", "score", 1), ("c", "score", 2), ("d", "other", 1))
    }

    def go(name, step, part=1):
        return journal.run(ids[name], [(name, step)], owner=name, apart=lambda other: other["part"] == part)

    def step(results):
        with pytest.raises(Conflict, match=f'run {ids["a"]} is being executed by "a"'):
            go("b", constant(1))
        assert go("c", constant(2), part=2)["c"] == 2
        assert go("d", constant(3))["d"] == 3
        assert journal.get(ids["b"]).status == "waiting"
        return 1

    assert go("a", step)["a"] == 1
    assert go("b", constant(1))["b"] == 1
    journal.withdraw(ids["b"], "too late")
    assert journal.get(ids["b"]).status == "done"


def test_a_run_that_is_withdrawn_is_not_taken_up(journal):
    run_id = journal.begin("score", "a", {})
    journal.withdraw(run_id, "another one is at it")
    assert (journal.get(run_id).status, journal.get(run_id).error) == ("failed", "another one is at it")
    assert journal.stuck() == []


def test_an_overtaken_owner_commits_nothing(journal, database, wall):
    run_id = journal.begin("release", "drift", {})
    executed = []

    def made(owner, name, meanwhile=None):
        def step(results):
            executed.append((owner, name))
            if meanwhile:
                meanwhile()
            return Effect(owner, lambda tx: tx.execute(ADD_EFFECT, (run_id, name)))

        return name, step

    def takeover():
        wall.set(wall.now() + LEASE)
        journal.run(run_id, [made("you", name) for name in STEPS], owner="you")

    mine = [made("me", "train"), made("me", "gate", takeover), made("me", "promote")]
    with pytest.raises(Conflict, match='taken over while step "gate" was under way'):
        journal.run(run_id, mine, owner="me")
    assert executed == [("me", "train"), ("me", "gate"), ("you", "gate"), ("you", "promote")]
    assert [row["step"] for row in database.query("SELECT step FROM effect")] == list(STEPS)
    run = journal.get(run_id)
    assert (run.status, run.error, run.fence) == ("done", None, 2)
    assert run.results == {"train": "me", "gate": "you", "promote": "you"}


@pytest.mark.parametrize(
    ("outcome", "error"), [(constant(1), Conflict), (lambda results: 1 // 0, ZeroDivisionError)]
)
def test_an_overtaken_owner_changes_nothing_while_the_new_one_is_at_work(journal, wall, outcome, error):
    run_id = journal.begin("release", "drift", {})

    def overtaken(results):
        wall.set(wall.now() + LEASE)
        with pytest.raises(KeyboardInterrupt):
            journal.run(run_id, [("a", interrupted)], owner="you")
        return outcome(results)

    with pytest.raises(error):
        journal.run(run_id, [("a", overtaken)], owner="me")
    run = journal.get(run_id)
    assert (run.status, run.owner, run.error, run.results) == ("running", "you", None, {})


def test_the_same_owner_in_the_same_process_goes_on_at_once(journal):
    run_id = journal.begin("release", "drift", {})
    with pytest.raises(KeyboardInterrupt):
        journal.run(run_id, [("a", interrupted)], owner="me")
    assert [run.id for run in journal.unfinished()] == [run_id]
    assert journal.run(run_id, [("a", constant(1))], owner="me")["a"] == 1


def wait_until(true):
    for _ in range(200):
        if true():
            return
        SystemClock().sleep(0.05)
    raise AssertionError("it did not become true within 10 s")


def worker(address, owner, task):
    return subprocess.Popen([sys.executable, "-c", WORKER, address, owner, task])


def test_a_run_of_a_killed_process_is_taken_over_at_once(database, address, clock):
    journal = Journal(database, clock)
    run_id = journal.begin("release", "drift", {})
    dead = worker(address, "dead", "die")
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet collected: a zombie
    run = journal.get(run_id)
    assert (run.status, run.results) == ("running", {"train": "dead"})
    steps = [(name, constant("me")) for name in STEPS]
    assert journal.run(run_id, steps, owner="me", edited="continue") == {
        "input": {},
        "train": "dead",
        "gate": "me",
        "promote": "me",
    }
    assert dead.wait() == -signal.SIGKILL
    assert [row["step"] for row in database.query("SELECT step FROM effect")] == ["train"]


def test_two_processes_share_the_runs_and_each_effect_happens_once(database, address, clock):
    journal = Journal(database, clock)
    ids = [journal.begin("release", f"tick {number}", {}) for number in range(60)]
    assert [process.wait() for process in [worker(address, name, "work") for name in ("a", "b")]] == [0, 0]
    assert journal.unfinished() == []
    rows = [(row["run_id"], row["step"]) for row in database.query("SELECT * FROM effect")]
    assert sorted(rows) == sorted((run_id, step) for run_id in ids for step in STEPS)


def test_a_process_is_dead_when_it_is_gone_or_its_number_is_used_again():
    me = Process.current()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not me.is_dead()
    assert not Process(me.host, me.pid, 0).is_dead()
    assert not Process(me.host, 1, 0).is_dead()
    assert Process(me.host, me.pid, me.birth - 1).is_dead()
    assert Process(me.host, gone.pid, me.birth).is_dead()
    assert Process(me.host, gone.pid, 0).is_dead()
    assert not Process("another machine", gone.pid, me.birth).is_dead()


def test_a_step_may_take_longer_than_the_lease(database, clock):
    """The wall is the machine's: a lease of 0.3 s is renewed during a step of 1 s, and another owner keeps out."""
    journal = Journal(database, clock, lease="300ms")
    run_id = journal.begin("release", "drift", {})

    def step(results):
        SystemClock().sleep(1)
        with pytest.raises(Conflict):
            journal.run(run_id, [("a", step)], owner="you")
        return 1

    assert journal.run(run_id, [("a", step)], owner="me")["a"] == 1


def test_a_process_that_was_stopped_and_goes_on_commits_nothing(database, address, clock):
    """SIGSTOP, takeover, SIGCONT: the zombie finds that its fence is old."""
    journal = Journal(database, clock, lease="300ms")
    run_id = journal.begin("release", "drift", {})
    zombie = worker(address, "zombie", "stop")
    os.waitid(os.P_PID, zombie.pid, os.WSTOPPED)
    wait_until(lambda: journal.stuck())
    results = journal.run(run_id, [(name, constant("me")) for name in STEPS], owner="me", edited="continue")
    assert results == {"input": {}, "train": "zombie", "gate": "me", "promote": "me"}
    os.kill(zombie.pid, signal.SIGCONT)
    assert zombie.wait() == 3, "a Conflict: it was taken over"
    assert [row["step"] for row in database.query("SELECT step FROM effect")] == ["train"]
    assert journal.get(run_id).results == {"train": "zombie", "gate": "me", "promote": "me"}


def test_what_nobody_works_on_is_named(journal, wall):
    ids = [journal.begin("release", str(number), {}) for number in range(3)]
    with pytest.raises(KeyboardInterrupt):
        journal.run(ids[0], [("a", interrupted)], owner="me")
    seen = []
    journal.run(
        ids[1], [("look", lambda results: seen.extend(run.id for run in journal.stuck()))], owner="me"
    )
    assert seen == [ids[2]], "the first is held by this very process until its lease ends"
    wall.set(wall.now() + LEASE)
    assert [run.id for run in journal.stuck()] == [ids[0], ids[2]]
