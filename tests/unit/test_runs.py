import math
import sqlite3

import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, NotFound
from tenfold.sources.database import Database
from tenfold.tracking.runs import SCHEMA, Run, Runs


@pytest.fixture
def clock():
    return VirtualClock(10)


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "state.db", SCHEMA)
    yield database
    database.close()


@pytest.fixture
def runs(database, clock):
    return Runs(database, clock)


def start(runs, subject="fraud"):
    return runs.start("train", subject, params={"trees": 200}, data={"payments": 7}, code={"git": "1a2b3c"})


def test_a_run_reads_back_as_it_was_written(runs, clock, tmp_path):
    run = start(runs)
    clock.set(25)
    done = runs.finish(run.id, metrics={"auc": 0.1 + 0.2}, artefact="fraud/r0001")
    assert done == Run(
        id="r0001",
        kind="train",
        subject="fraud",
        started=10,
        finished=25,
        status="done",
        params={"trees": 200},
        metrics={"auc": 0.1 + 0.2},
        data={"payments": 7},
        code={"git": "1a2b3c"},
        artefact="fraud/r0001",
        error=None,
    )
    reopened = Database(tmp_path / "state.db", SCHEMA)
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
    with pytest.raises(sqlite3.IntegrityError, match="never changes"):
        database.execute("UPDATE run SET metrics = '{}' WHERE id = ?", run.id)
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
        database.execute("DELETE FROM run")
    assert runs.get(run.id) == before


def test_a_metric_that_is_not_a_number_reads_back_as_nan(runs):
    run = runs.finish(start(runs).id, metrics={"auc": float("nan"), "rows": 3})
    assert math.isnan(run.metrics["auc"])
    assert math.isnan(runs.get(run.id).metrics["auc"])
    assert run.metrics["rows"] == 3.0


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
