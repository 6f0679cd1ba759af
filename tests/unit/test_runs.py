import math
import platform
import subprocess
import sys

import numpy as np
import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, DefinitionError, NotFound
from tenfold.tracking.details import Note, details
from tenfold.tracking.runs import BEST, SCHEMA, Run, Runs
from tests import states


@pytest.fixture
def clock():
    return VirtualClock(10)


@pytest.fixture
def database(address):
    database = states.opened(address, SCHEMA)
    yield database
    database.close()


@pytest.fixture
def runs(database, clock):
    return Runs(database, clock)


def start(runs, subject="fraud"):
    return runs.start("train", subject, params={"trees": 200}, data={"payments": 7}, code={"git": "1a2b3c"})


def test_a_run_reads_back_as_it_was_written(runs, clock, address):
    run = start(runs)
    clock.set(25)
    done = runs.finish(run.id, metrics={"auc": 0.1 + 0.2}, artefact="fraud/r0001")
    assert done == Run(
        id="r0001",
        kind="train",
        subject="fraud",
        title="",
        started=10,
        finished=25,
        status="done",
        params={"trees": 200},
        metrics={"auc": 0.1 + 0.2},
        data={"payments": 7},
        samples={},
        code={"git": "1a2b3c"},
        environment=done.environment,
        artefact="fraud/r0001",
        error=None,
    )
    assert done.environment["python"] == platform.python_version()
    assert done.environment["libraries"]["numpy"] == np.__version__
    reopened = states.opened(address, SCHEMA)
    assert Runs(reopened, clock).get("r0001") == done
    reopened.close()


def test_ids_are_sequential_over_all_subjects(runs):
    assert [start(runs, subject).id for subject in ("fraud", "churn", "fraud")] == ["r0001", "r0002", "r0003"]


def test_a_failed_run_keeps_its_error(runs):
    run = runs.fail(start(runs).id, "SchemaError: amount is null")
    assert (run.status, run.error, run.finished) == ("failed", "SchemaError: amount is null", 10)


@pytest.mark.parametrize("end", ["finish", "fail"])
@pytest.mark.parametrize("again", ["finish", "fail"])
def test_a_finished_run_never_changes(runs, database, end, again):
    run = start(runs)
    ends = {
        "finish": lambda: runs.finish(run.id, metrics={"auc": 1.0}),
        "fail": lambda: runs.fail(run.id, "lost"),
    }
    before = ends[end]()
    with pytest.raises(Conflict, match=r"run r0001 is already (done|failed)"):
        ends[again]()
    for change in (
        lambda: runs.log(run.id, {"loss": 1.0}),
        lambda: runs.describe(run.id, params={"trees": 1}),
        lambda: runs.attach(run.id, "a.txt", digest="d", size=1),
    ):
        with pytest.raises(Conflict, match=r"run r0001 is already (done|failed)"):
            change()
    assert runs.get(run.id) == before


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE run SET params = '{}'", "never changes"),
        ("DELETE FROM run", "never deleted"),
        ("INSERT INTO run_result VALUES (1, 9, 'late', 1.0)", "never changes"),
        ("UPDATE run_result SET value = 1.0", "never changes"),
        ("DELETE FROM run_result", "never deleted"),
        ("INSERT INTO run_metric VALUES (1, 'late', 9, 1.0, 0)", "never changes"),
        (
            "INSERT INTO run_metric VALUES (1, 'loss', 0, 9.0, 0) ON CONFLICT (run, name, step) DO UPDATE SET at = 1",
            "never changes",
        ),
        ("UPDATE run_metric SET value = 1.0", "never changes"),
        ("DELETE FROM run_metric", "never deleted"),
        ("UPDATE run_artefact SET digest = 'other'", "never changes"),
        ("DELETE FROM run_artefact", "never deleted"),
        ("UPDATE run_note SET text = 'other'", "never changes"),
        ("DELETE FROM run_note", "never deleted"),
    ],
)
def test_the_database_refuses_what_runs_never_do(runs, database, clock, statement, message):
    run = start(runs)
    runs.log(run.id, {"loss": 0.5})
    runs.attach(run.id, "a.txt", digest="d", size=1)
    runs.finish(run.id, metrics={"auc": 0.9})
    runs.note(run.id, "good")
    before = runs.get(run.id), details(database, run)
    with pytest.raises(states.refused(), match=message):
        database.execute(statement)
    assert (runs.get(run.id), details(database, run)) == before


def test_what_is_not_a_finite_number_is_kept_as_it_was(runs, database):
    run = start(runs)
    runs.log(run.id, {"loss": math.inf}, step=0)
    runs.log(run.id, {"loss": math.nan}, step=1)
    run = runs.finish(run.id, metrics={"auc": math.nan, "lift": -math.inf, "rows": 3})
    for found in (run, runs.get(run.id), runs.list()[0]):
        assert math.isnan(found.metrics["auc"])
        assert math.isnan(found.metrics["loss"])
        assert (found.metrics["lift"], found.metrics["rows"]) == (-math.inf, 3.0)
    points = details(database, run).curves["loss"]
    assert points[0].value == math.inf
    assert math.isnan(points[1].value)


def test_a_metric_that_is_no_number_is_refused(runs):
    with pytest.raises(DefinitionError, match="metric \"auc\" is 'good', not a number"):
        runs.finish(start(runs).id, metrics={"auc": "good"})
    assert runs.get("r0001").status == "running"


def test_metrics_over_time_end_in_the_results(runs, database, clock):
    run = start(runs)
    assert [runs.log(run.id, {"loss": value, "auc": 1 - value}) for value in (0.5, 0.25)] == [0, 1]
    clock.set(11)
    assert runs.log(run.id, {"loss": 0.125}, step=7) == 7
    runs.log(run.id, {"loss": 0.4}, step=1)  # done again after a crash
    runs.log_curves(run.id, {"train": [3.0, 2.0, 1.0]})
    done = runs.finish(run.id, metrics={"auc": 0.9})
    assert list(done.metrics.items()) == [("auc", 0.9), ("loss", 0.125), ("train", 1.0)]
    curves = details(database, done).curves
    assert [(point.step, point.value, point.at) for point in curves["loss"]] == [
        (0, 0.5, 10),
        (1, 0.4, 11),
        (7, 0.125, 11),
    ]
    assert [point.value for point in curves["train"]] == [3.0, 2.0, 1.0]


def test_a_run_is_described_while_it_is_under_way(runs):
    run = start(runs)
    runs.describe(run.id, params={"depth": 3}, samples={"train": {"rows": 5}})
    runs.describe(run.id, params={"trees": 300})
    found = runs.get(run.id)
    assert (found.params, found.samples) == ({"trees": 300, "depth": 3}, {"train": {"rows": 5}})


def test_the_best_are_ordered_by_the_database(runs):
    values = [0.5, math.nan, 0.9, math.inf, 0.7, -math.inf, 0.6]
    for place, value in enumerate(values):
        runs.finish(start(runs, ["fraud", "churn"][place % 2]).id, metrics={"other": 1.0, "auc": value})
    runs.fail(start(runs).id, "lost")
    start(runs)
    assert [run.metrics["auc"] for run in runs.best("auc", 3)] == [0.9, 0.7, 0.6]
    assert [run.metrics["auc"] for run in runs.best("auc", 9, lowest=True)] == [0.5, 0.6, 0.7, 0.9]
    assert [run.id for run in runs.best("auc", 9, subject="fraud")] == ["r0003", "r0005", "r0007", "r0001"]
    assert runs.best("acu", 9) == []


def test_the_best_are_read_from_the_end_of_an_index(tmp_path):
    database = states.opened(str(tmp_path / "state.db"), SCHEMA)
    plan = database.query(f"EXPLAIN QUERY PLAN {BEST.format('DESC')}", "auc", -math.inf, math.inf, None, 3)
    told = [row["detail"] for row in plan]
    assert any("USING INDEX run_result_best" in line or "run_result_best" in line for line in told), told
    assert not any("TEMP B-TREE" in line for line in told), told
    database.close()


def test_code_that_was_not_committed_is_kept_once(runs, database):
    code = {"git": "1a2b3c", "diff": "-a\n+b\n"}
    made = [runs.start("train", "m", params={}, data={}, code=code) for _ in range(2)]
    assert [sorted(run.code) for run in made] == [["dirty", "git"]] * 2
    assert [details(database, run).diff for run in made] == ["-a\n+b\n"] * 2
    assert database.query("SELECT count(*) AS n FROM code_diff")[0]["n"] == 1
    assert details(database, start(runs)).diff == ""


def test_notes_and_tags_may_come_later(runs, database, clock):
    run = runs.finish(start(runs).id, metrics={})
    runs.note(run.id, "<b>looks good</b>", by="ann")
    clock.set(12)
    runs.note(run.id, "shipped")
    for value in ("a", "b"):
        runs.tag(run.id, "team", value)
    found = details(database, run)
    assert found.notes == [Note(10, "ann", "<b>looks good</b>"), Note(12, "user", "shipped")]
    assert found.tags == {"team": "b"}
    for add in (lambda: runs.note("r9", "x"), lambda: runs.tag("r9", "a", "b")):
        with pytest.raises(NotFound, match='no run "r9"'):
            add()


def test_which_runs_read_a_table(runs):
    for version in (1, 2, 2):
        runs.start("train", "m", params={}, data={"payments": version, "cards": 5}, code={})
    assert [run.id for run in runs.readers("payments", 2)] == ["r0003", "r0002"]
    assert [run.id for run in runs.readers("payments")] == ["r0003", "r0002", "r0001"]
    assert runs.readers("orders") == []


WRITER = """
import sys
from tenfold.core.clock import SystemClock
from tenfold.platform import LAYOUT, SCHEMA
from tenfold.tracking.runs import Runs
from tests import states

print("ready", flush=True)
for address in sys.stdin:
    database = states.opened(address.strip(), SCHEMA, layout=LAYOUT)
    runs = Runs(database, SystemClock())
    for turn in range(int(sys.argv[2])):
        run = runs.start("track", sys.argv[1], params={"turn": turn}, data={}, code={"diff": sys.argv[1]})
        for step in range(3):
            runs.log(run.id, {"loss": 1 / (step + 1)})
        runs.finish(run.id, metrics={"turn": turn})
    database.close()
    print("ready", flush=True)
"""


def at_once(addresses, names, turns):
    """Run writers that open each store at the same moment; return their exit codes and what they said."""
    command = [sys.executable, "-c", WRITER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, name, str(turns)], **pipes) for name in names]
    for address in addresses:
        assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * len(names)
        for writer in writers:
            writer.stdin.write(f"{address}\n")
            writer.stdin.flush()
    told = [writer.communicate(timeout=60)[1] for writer in writers]
    return [writer.returncode for writer in writers], told


def test_a_store_that_six_processes_open_first_at_once(places, clock):
    addresses = [places(), places()]
    codes, told = at_once(addresses, "abcdef", 1)
    assert codes == [0] * 6, told
    for address in addresses:
        database = states.opened(address, SCHEMA)
        assert len(Runs(database, clock).list()) == 6
        database.close()


def test_two_people_write_at_once(address, clock):
    codes, told = at_once([address], ["ann", "bob"], 50)
    assert codes == [0, 0], told
    database = states.opened(address, SCHEMA)
    runs = Runs(database, clock)
    assert [run.id for run in runs.list(limit=200)] == [f"r{n:04}" for n in range(100, 0, -1)]
    for name in ("ann", "bob"):
        mine = runs.list(name)
        assert [run.metrics for run in mine] == [{"turn": n, "loss": 1 / 3} for n in range(49, -1, -1)]
    database.close()


def test_list_is_newest_first_and_filters_by_subject(runs):
    for subject in ("fraud", "churn", "fraud"):
        start(runs, subject)
    assert [run.id for run in runs.list()] == ["r0003", "r0002", "r0001"]
    assert [run.id for run in runs.list("fraud")] == ["r0003", "r0001"]
    assert [run.id for run in runs.list("fraud", limit=1)] == ["r0003"]
    assert runs.list("chrun") == []


def test_an_unknown_run_names_the_nearest(runs):
    start(runs)
    for ask in (runs.get, lambda name: runs.finish(name, metrics={}), lambda name: runs.fail(name, "x")):
        with pytest.raises(NotFound, match=r'no run "r001"\..* Did you mean "r0001"'):
            ask("r001")
