"""Rollouts in any order of evidence, time, people, crashes and two controllers: what must hold always holds."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, NotFound
from tenfold.platform import SCHEMA
from tenfold.registry.versions import Stage
from tenfold.sources.sqlite import SQLiteDatabase
from tests.unit.crashing import Crash, Crashing, FailPoints
from tests.unit.rolled import BETTER, EQUAL, MODEL, NO_PAIRS, WORSE, Rolled, failing

evidence = st.sampled_from([NO_PAIRS, EQUAL, BETTER, WORSE])
hours = st.sampled_from([0.0, 0.5, 1.0, 2.0, 24.0 * 8])


class Rollouts(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(mkdtemp())
        self.path, self.clock = self.folder / "state.db", VirtualClock(0)
        Rolled.prepare(self.path)
        self.databases = [SQLiteDatabase(self.path, SCHEMA) for _ in range(2)]
        self.controllers = [Rolled(database, self.clock) for database in self.databases]
        self.undone_before = None

    def teardown(self):
        for database in self.databases:
            database.close()
        shutil.rmtree(self.folder)

    @property
    def one(self):
        return self.controllers[0]

    def production(self):
        return self.one.registry.production(MODEL).number

    @rule()
    def a_version_passes_the_gates(self):
        number = self.one.register()
        before = self.one.newest()
        self.one.begin(number)
        if before is not None and before.is_open:
            assert self.one.registry.get(MODEL, before.candidate).stage is Stage.ARCHIVED

    @rule(known=evidence, hours=hours, which=st.sampled_from([0, 1]), asked=st.sampled_from([0, 5, 100]))
    def a_controller_looks(self, known, hours, which, asked):
        before, champion = self.one.newest(), self.production()
        done = self.controllers[which].advance(known, hours, asked)
        after = self.one.newest()
        if before is None or not before.is_open:
            assert done is None
        elif known is WORSE or champion != before.champion:
            assert after.phase == "undone"
            assert self.production() == champion
        elif after.phase == "done":
            assert known is BETTER or before.approved
            assert not before.paused
            assert self.production() == before.candidate
        else:
            assert self.production() == champion

    @rule(known=evidence)
    def two_controllers_decide_on_the_same_state(self, known):
        seen = self.one.newest()
        if seen is None or not seen.is_open:
            return
        for controller in self.controllers:
            controller.known = known
        decisions = [controller.rolling._decision(seen, outcomes=True) for controller in self.controllers]
        done = []
        for controller, decision in zip(self.controllers, decisions, strict=True):
            try:
                done.append(controller.rolling._apply(seen, decision, outcomes=True))
            except Conflict:
                done.append(None)
        assert done[1] is None

    @rule()
    def the_candidate_fails(self):
        seen = self.one.newest()
        if seen is not None and seen.is_open:
            failing(self.one.rolling.counters, seen.candidate)
            assert "undone" in self.one.rolling.advance(outcomes=False)

    @rule(act=st.sampled_from(["approve", "pause", "resume"]))
    def a_person_acts(self, act):
        seen = self.one.newest()
        try:
            after = getattr(self.one.rolling, act)(by="ann")
        except NotFound:
            assert seen is None or not seen.is_open
        except Conflict:
            idle = {"approve": seen.approved, "pause": seen.paused, "resume": not (seen.paused or seen.held)}
            assert idle[act]
            assert self.one.newest() == seen
        else:
            assert after.seq == seen.seq + 1
            assert (after.phase, after.share) == (seen.phase, seen.share)

    @rule()
    def a_person_undoes(self):
        seen, champion = self.one.newest(), self.production()
        try:
            self.one.rolling.undo(by="ann", why="asked")
        except NotFound:
            assert seen is None or seen.phase == "undone"
        except Conflict:
            assert champion != seen.candidate
        else:
            assert self.production() == (seen.champion if seen.phase == "done" else champion)

    @rule()
    def a_person_promotes_another_version(self):
        number = self.one.register()
        for stage in (Stage.STAGING, Stage.PRODUCTION):
            self.one.registry.move(MODEL, number, stage, by="ann", why="asked", evidence={})

    @precondition(lambda self: self.one.newest() is not None)
    @rule(known=evidence, hours=hours, armed=st.integers(1, 40))
    def a_controller_dies(self, known, hours, armed):
        database = Crashing(SQLiteDatabase(self.path, SCHEMA), FailPoints(armed))
        try:
            Rolled(database, self.clock).advance(known, hours)
        except Crash:
            pass
        finally:
            database.close()

    @invariant()
    def what_always_holds(self):
        self.one.check()


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
