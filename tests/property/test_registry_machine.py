"""Whatever is done to a registry, in whatever order, its invariants hold."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, NotFound
from tenfold.registry.versions import SCHEMA, Registry, Stage
from tenfold.sources.sqlite import SQLiteDatabase

MODELS = st.sampled_from(["fraud", "churn"])
NUMBERS = st.integers(1, 5)
ALLOWED = {
    (Stage.NONE, Stage.STAGING),
    (Stage.STAGING, Stage.PRODUCTION),
    (Stage.STAGING, Stage.ARCHIVED),
    (Stage.PRODUCTION, Stage.ARCHIVED),
}


class RegistryMachine(RuleBasedStateMachine):
    """Compare the registry with two dicts: the stage of each version, and each model's line of champions."""

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = VirtualClock(0)
        self.stages = {"fraud": {}, "churn": {}}
        self.line = {"fraud": [], "churn": []}
        self.open()

    def open(self):
        self.database = SQLiteDatabase(Path(self.folder.name) / "state.db", SCHEMA)
        self.registry = Registry(self.database, self.clock)

    def teardown(self):
        self.database.close()
        self.folder.cleanup()

    def champion(self, model):
        return next(
            (number for number, stage in self.stages[model].items() if stage is Stage.PRODUCTION), None
        )

    def enthrone(self, model, number):
        if (old := self.champion(model)) is not None:
            self.stages[model][old] = Stage.ARCHIVED
        self.stages[model][number] = Stage.PRODUCTION

    def last(self, model):
        return max((event.seq for event in self.registry.history(model)), default=0)

    @rule(model=MODELS, run=NUMBERS)
    def register(self, model, run):
        version = self.registry.register(model, run_id=f"r{run}", digest="d", artefact="a", info={"run": run})
        assert version.info == {"run": run}
        self.stages[model].setdefault(version.number, Stage.NONE)
        assert sorted(self.stages[model]) == list(range(1, len(self.stages[model]) + 1))

    @rule(model=MODELS, number=NUMBERS, to=st.sampled_from(Stage), behind=st.sampled_from([None, 0, 0, 0, 1]))
    def move(self, model, number, to, behind):
        stage = self.stages[model].get(number)
        expect = None if behind is None else self.last(model) - behind
        try:
            self.registry.move(model, number, to, by="ann", why="test", evidence={}, expect=expect)
        except NotFound:
            assert stage is None
        except Conflict:
            assert (stage, to) not in ALLOWED or behind == 1
        else:
            assert (stage, to) in ALLOWED
            assert not behind
            self.moved(model, number, to)

    def moved(self, model, number, to):
        if to is Stage.PRODUCTION:
            self.enthrone(model, number)
            self.line[model].append(number)
        else:
            self.stages[model][number] = to

    @rule(model=MODELS, run=NUMBERS)
    def promote(self, model, run):
        number = self.registry.register(
            model, run_id=f"r{run}", digest="d", artefact="a", info={"run": run}
        ).number
        stage = self.stages[model].setdefault(number, Stage.NONE)
        for to in {Stage.NONE: (Stage.STAGING, Stage.PRODUCTION), Stage.STAGING: (Stage.PRODUCTION,)}.get(
            stage, ()
        ):
            self.registry.move(model, number, to, by="ann", why="test", evidence={})
            self.moved(model, number, to)

    @rule(model=MODELS)
    def rollback(self, model):
        line = self.line[model]
        target = line[:-1] if self.champion(model) is not None else line
        try:
            event = self.registry.rollback(model, by="ann", why="test")
        except NotFound:
            assert not target
        else:
            assert event.version == target[-1]
            self.enthrone(model, event.version)
            self.line[model] = list(target)

    @rule(model=MODELS, number=NUMBERS)
    def rollback_to(self, model, number):
        was = {event.version for event in self.registry.history(model) if event.to_stage is Stage.PRODUCTION}
        try:
            self.registry.rollback(model, to=number, by="ann", why="test")
        except NotFound:
            assert number not in self.stages[model]
        except Conflict:
            assert number not in was or number == self.champion(model)
        else:
            assert number in was
            self.enthrone(model, number)
            line = self.line[model]
            self.line[model] = [*(line[: line.index(number)] if number in line else line), number]

    @precondition(lambda self: any(self.stages.values()))
    @rule()
    def reopen(self):
        self.database.close()
        self.open()

    @invariant()
    def stages_are_as_expected_with_one_champion_at_most(self):
        for model, expected in self.stages.items():
            stages = {version.number: version.stage for version in self.registry.versions(model)}
            assert stages == expected
            assert list(stages.values()).count(Stage.PRODUCTION) <= 1
            champion = self.registry.production(model)
            assert (champion and champion.number) == self.champion(model)

    @invariant()
    def history_replays_to_the_stages_with_one_champion_at_most(self):
        for model, expected in self.stages.items():
            stages = dict.fromkeys(expected, Stage.NONE)
            for event in self.registry.history(model):
                assert stages[event.version] is event.from_stage
                stages[event.version] = event.to_stage
                assert list(stages.values()).count(Stage.PRODUCTION) <= 1
            assert stages == expected


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
