"""The state of a home, brought from SQLite to Postgres."""

import sqlite3
from contextlib import closing

import pytest

from tenfold.automation.journal import Journal
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, NotFound, SchemaError
from tenfold.platform import LAYOUT, SCHEMA
from tenfold.registry.versions import Registry, Stage
from tenfold.tracking.details import details
from tenfold.tracking.runs import Runs
from tests import states

CLOCK = VirtualClock(10)


@pytest.fixture
def home(tmp_path):
    """A home with finished runs, versions, and a durable run that another one superseded."""
    with closing(states.opened(str(tmp_path / "state.db"), SCHEMA, layout=LAYOUT)) as database:
        runs, registry = Runs(database, CLOCK), Registry(database, CLOCK)
        for loss in (0.5, float("inf"), float("nan")):
            run = runs.start("train", "fraud", params={"ä": 1}, data={"t": 3}, code={"diff": "+1"})
            runs.log(run.id, {"loss": loss})
            runs.note(run.id, "tried", by="ann")
            runs.finish(run.id, metrics={})
            registry.register("fraud", run_id=run.id, digest="d", artefact=run.id, info={})
        for stage in (Stage.STAGING, Stage.PRODUCTION):
            registry.move("fraud", 1, stage, by="ann", why="good", evidence={})
        journal = Journal(database, CLOCK)
        begun = journal.begin("train", "once", {})
        with pytest.raises(ZeroDivisionError):
            journal.run(begun, [("a", lambda results: 1), ("b", lambda results: 1 // 0)], owner="me")
        journal.run(begun, [("a", lambda results: 2), ("b", lambda results: 3)], owner="me")
    return tmp_path


def seen(database):
    runs, registry = Runs(database, CLOCK), Registry(database, CLOCK)
    found = runs.list()
    told = [runs.list(), [details(database, run) for run in found], registry.versions("fraud")]
    return repr([*told, registry.history("fraud"), Journal(database, CLOCK).get("j0001")])


def test_everything_is_moved_and_goes_on(home, postgres):
    from tenfold.adapters.postgres import move

    with closing(states.state(states.fresh(postgres.url))) as database:
        counts = move(home, database)
        assert (counts["run"], counts["model_version"], counts["journal_run"]) == (3, 3, 2)
        with closing(states.opened(str(home / "state.db"), SCHEMA, layout=LAYOUT)) as before:
            assert seen(database) == seen(before)
        with pytest.raises(Conflict, match=r'something in table "run" already\. Name a schema that is empty'):
            move(home, database)
        registry = Registry(database, CLOCK)
        assert registry.move("fraud", 2, Stage.STAGING, by="ann", why="x", evidence={}).seq == 3
        assert Runs(database, CLOCK).start("train", "fraud", params={}, data={}, code={}).id == "r0004"
        with pytest.raises(states.refused(), match="never changes"):
            database.execute("UPDATE run_result SET value = 1.0")


def test_what_cannot_be_moved_is_refused(home, postgres):
    from tenfold.adapters.postgres import move

    database = states.state(states.fresh(postgres.url))
    with pytest.raises(NotFound, match="Give the folder of a home"):
        move(home / "nowhere", database)
    with closing(sqlite3.connect(home / "state.db")) as changed:
        changed.execute(f"PRAGMA user_version = {LAYOUT - 1}")
    with pytest.raises(SchemaError, match=r"by another version of tenfold\. Move it with that one"):
        move(home, database)
