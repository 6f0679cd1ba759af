import subprocess
import sys

import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, NotFound
from tenfold.registry.stages import MOVES, Stage, StageEvent, champions
from tenfold.registry.versions import SCHEMA, Registry
from tests import states

NONE, STAGING, PRODUCTION, ARCHIVED = Stage

LOOK = """
SELECT (SELECT count(*) FROM stage_event) AS events,
    (SELECT count(*) FROM model_version WHERE stage = 'production') AS champions
"""
PROMOTER = """
import sys
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Conflict
from tenfold.registry.versions import SCHEMA, Registry, Stage
from tests import states

database = states.opened(sys.argv[1], SCHEMA)
registry = Registry(database, SystemClock())


def promote(number):
    while True:
        history = registry.history("m")
        try:
            why = {"by": sys.argv[2], "why": "race", "evidence": {}}
            return registry.move("m", number, Stage.PRODUCTION, expect=history[-1].seq, **why)
        except Conflict:
            continue


for turn in range(50):
    version = registry.register("m", run_id=f"{sys.argv[2]}-{turn}", digest="d", artefact="a", info={})
    registry.move("m", version.number, Stage.STAGING, by=sys.argv[2], why="race", evidence={})
    promote(version.number)
database.close()
"""


RACER = """
import sys
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Conflict
from tenfold.registry.versions import SCHEMA, Registry, Stage
from tests import states

database = states.opened(sys.argv[1], SCHEMA)
registry = Registry(database, SystemClock())
print("ready", flush=True)
for line in sys.stdin:
    number, seen = map(int, line.split())
    try:
        why = {"by": "racer", "why": "race", "evidence": {}}
        registry.move("m", number, Stage.PRODUCTION, expect=seen, **why)
        print("won", flush=True)
    except Conflict:
        print("lost", flush=True)
database.close()
"""


@pytest.fixture
def clock():
    return VirtualClock(10)


@pytest.fixture
def database(address):
    database = states.opened(address, SCHEMA)
    yield database
    database.close()


@pytest.fixture
def registry(database, clock):
    return Registry(database, clock)


def register(registry, run_id="r0001", model="m", digest="d"):
    return registry.register(
        model, run_id=run_id, digest=digest, artefact=f"{model}/{run_id}", info={"rows": 5}
    )


def move(registry, number, *stages, **more):
    for stage in stages:
        event = registry.move("m", number, stage, by="ann", why="test", evidence={"auc": 0.9}, **more)
    return event


def promoted(registry, count):
    for number in range(1, count + 1):
        register(registry, f"r{number:04}")
        move(registry, number, STAGING, PRODUCTION)


def stages(registry):
    return {version.number: version.stage for version in registry.versions("m")}


def test_versions_are_numbered_per_model(registry):
    numbers = [register(registry, run, model).number for run, model in [("a", "m"), ("b", "m"), ("c", "n")]]
    assert numbers == [1, 2, 1]
    assert registry.models() == ["m", "n"]
    version = registry.get("m", 2)
    assert (version.run_id, version.artefact, version.created, version.info) == ("b", "m/b", 10, {"rows": 5})
    assert version.stage is NONE


def test_the_same_run_again_is_the_same_version(registry, clock):
    first = register(registry)
    clock.set(99)
    assert register(registry) == first
    assert registry.versions("m") == [first]
    with pytest.raises(Conflict, match="r0001 is already m version 1 with digest d, not other"):
        register(registry, digest="other")


@pytest.mark.parametrize("before", Stage)
@pytest.mark.parametrize("to", Stage)
def test_only_the_declared_moves_are_possible(registry, before, to):
    ways = {NONE: [], STAGING: [STAGING], PRODUCTION: [STAGING, PRODUCTION], ARCHIVED: [STAGING, ARCHIVED]}
    register(registry)
    for stage in ways[before]:
        move(registry, 1, stage)
    history = registry.history("m")
    if (before, to) in {(NONE, STAGING), (STAGING, PRODUCTION), (STAGING, ARCHIVED), (PRODUCTION, ARCHIVED)}:
        event = move(registry, 1, to)
        assert (event.from_stage, event.to_stage, event.evidence) == (before, to, {"auc": 0.9})
        assert stages(registry) == {1: to}
        return
    with pytest.raises(Conflict) as caught:
        move(registry, 1, to)
    assert f"m version 1 is in stage {before} and cannot move to {to}" in str(caught.value)
    assert all(allowed in str(caught.value) for allowed in MOVES[before])
    assert stages(registry) == {1: before}
    assert registry.history("m") == history


def test_a_promotion_archives_the_champion_with_an_event_of_its_own(registry):
    promoted(registry, 2)
    assert stages(registry) == {1: ARCHIVED, 2: PRODUCTION}
    assert registry.production("m") == registry.get("m", 2)
    archived, production = registry.history("m")[-2:]
    assert (archived.version, archived.to_stage, archived.evidence) == (1, ARCHIVED, {"replaced_by": 2})
    assert production == StageEvent(
        production.seq, "m", 2, STAGING, PRODUCTION, 10, "ann", "test", {"auc": 0.9}
    )


def test_a_move_after_somebody_else_moved_is_refused(registry):
    register(registry)
    register(registry, "r0002")
    seen = move(registry, 1, STAGING, expect=0).seq
    move(registry, 2, STAGING, expect=seen)
    with pytest.raises(Conflict, match=r'its last event is 2, you saw 1.*registry.history\("m"\)'):
        move(registry, 1, PRODUCTION, expect=seen)
    assert stages(registry) == {1: STAGING, 2: STAGING}


def test_another_model_does_not_disturb_a_compare_and_swap(registry):
    register(registry)
    seen = move(registry, 1, STAGING).seq
    register(registry, model="n")
    registry.move("n", 1, STAGING, by="bob", why="test", evidence={})
    assert move(registry, 1, PRODUCTION, expect=seen).to_stage is PRODUCTION


def test_each_rollback_goes_one_further_back(registry):
    promoted(registry, 3)
    event = registry.rollback("m", by="ann", why="errors", evidence={"errors": 7})
    assert (event.version, event.from_stage, event.to_stage) == (2, ARCHIVED, PRODUCTION)
    assert (event.why, event.evidence) == ("errors", {"errors": 7})
    assert stages(registry) == {1: ARCHIVED, 2: PRODUCTION, 3: ARCHIVED}
    assert registry.rollback("m", by="ann", why="errors").version == 1
    history = registry.history("m")
    with pytest.raises(NotFound) as caught:
        registry.rollback("m", by="ann", why="errors")
    assert str(caught.value) == (
        'no earlier production version of model "m". '
        "One that was there later comes back: tenfold rollback PROJECT.py m --to 3."
    )
    number = register(registry, "r0004").number
    with pytest.raises(NotFound, match=f"that was not judged yet: tenfold promote PROJECT.py m {number}\\."):
        registry.rollback("m", by="ann", why="errors")
    assert stages(registry) == {1: PRODUCTION, 2: ARCHIVED, 3: ARCHIVED, 4: NONE}
    assert registry.history("m") == history


def test_where_no_rollback_leads_a_version_on_its_way_is_named(registry):
    promoted(registry, 1)
    with pytest.raises(NotFound) as caught:
        registry.rollback("m", by="ann", why="errors")
    assert str(caught.value) == (
        'no earlier production version of model "m". There is no other version yet. Train one: tenfold train PROJECT.py m.'
    )
    move(registry, register(registry, "r0002").number, STAGING)
    with pytest.raises(NotFound) as caught:
        registry.rollback("m", by="ann", why="errors")
    assert str(caught.value) == (
        'no earlier production version of model "m". Version 2 is on its way to production; see: tenfold rollout show '
        "PROJECT.py m. To agree to it or end it: tenfold rollout approve|undo PROJECT.py m."
    )
    move(registry, 2, ARCHIVED)
    with pytest.raises(NotFound, match="Every other was refused"):
        registry.rollback("m", by="ann", why="errors")


def test_a_rollback_by_mistake_is_taken_back_by_naming_the_version(registry):
    promoted(registry, 3)
    for _ in range(2):
        registry.rollback("m", by="ann", why="mistaken")
    event = registry.rollback("m", to=3, by="ann", why="it was none of its")
    assert (event.version, event.from_stage, event.to_stage) == (3, ARCHIVED, PRODUCTION)
    assert stages(registry) == {1: ARCHIVED, 2: ARCHIVED, 3: PRODUCTION}
    assert registry.rollback("m", by="ann", why="errors").version == 1  # the one that it replaced
    assert registry.rollback("m", to=2, by="ann", why="better").version == 2


def test_only_a_version_that_was_in_production_is_returned_to(registry):
    promoted(registry, 2)
    for run, stage in (("r0003", ARCHIVED), ("r0004", None)):
        number = register(registry, run).number
        if stage:
            move(registry, number, STAGING)
            move(registry, number, stage)
    history = registry.history("m")
    for number, more in ((3, ""), (4, r" To have it judged: tenfold promote PROJECT\.py m 4\.")):
        with pytest.raises(
            Conflict, match=f"m version {number} was never in production.*that were: 1, 2\\.{more}$"
        ):
            registry.rollback("m", to=number, by="ann", why="test")
    with pytest.raises(Conflict, match="m version 2 is in production already; nothing was changed"):
        registry.rollback("m", to=2, by="ann", why="test")
    for number in (0, 5, 2**40):
        with pytest.raises(NotFound, match=f'no version "{number}"'):
            registry.rollback("m", to=number, by="ann", why="test")
    assert registry.history("m") == history


def test_rollback_follows_the_promotions_not_the_numbers(registry):
    for number in (1, 2, 3):
        register(registry, f"r{number:04}")
        move(registry, number, STAGING)
    move(registry, 3, PRODUCTION)
    move(registry, 2, ARCHIVED)
    move(registry, 1, PRODUCTION)
    assert registry.rollback("m", by="ann", why="errors").version == 3


def test_a_promotion_after_a_rollback_falls_back_to_the_restored_champion(registry):
    promoted(registry, 3)
    registry.rollback("m", by="ann", why="errors")
    register(registry, "r0004")
    move(registry, 4, STAGING, PRODUCTION)
    assert [registry.rollback("m", by="ann", why="errors").version for _ in range(2)] == [2, 1]


def test_rollback_without_a_champion_brings_the_last_one_back(registry):
    promoted(registry, 2)
    move(registry, 2, ARCHIVED)
    assert registry.production("m") is None
    assert [registry.rollback("m", by="ann", why="errors").version for _ in range(2)] == [2, 1]


def test_a_rollback_is_refused_when_somebody_moved_meanwhile(registry):
    promoted(registry, 2)
    version, seen = registry.fallback("m")
    assert (version.number, seen) == (1, registry.history("m")[-1].seq)
    register(registry, "r0003")
    move(registry, 3, STAGING, PRODUCTION)
    history = registry.history("m")
    with pytest.raises(Conflict, match="moved since you looked"):
        registry.rollback("m", by="ann", why="errors", expect=seen)
    assert registry.history("m") == history
    version, seen = registry.fallback("m")
    assert registry.rollback("m", by="ann", why="errors", expect=seen).version == version.number == 2


NOT_YET = (
    'no version of model "frud". None exists yet; train one: tenfold train PROJECT.py frud. '
    "Models with versions: fraud."
)


def test_what_does_not_exist_says_what_to_do(registry):
    assert registry.production("m") is None
    assert registry.versions("m") == []
    register(registry, model="fraud")
    with pytest.raises(NotFound) as caught:
        registry.get("frud", 1)
    assert str(caught.value) == NOT_YET
    with pytest.raises(NotFound, match='no version "2" in model "fraud"'):
        registry.move("fraud", 2, STAGING, by="ann", why="test", evidence={})
    with pytest.raises(NotFound) as caught:
        registry.rollback("frud", by="ann", why="test")
    assert str(caught.value) == NOT_YET


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE stage_event SET why = 'other'", "append-only"),
        ("DELETE FROM stage_event", "append-only"),
        ("UPDATE model_version SET digest = 'other'", "never changes"),
        ("DELETE FROM model_version", "never deleted"),
        ("UPDATE model_version SET stage = 'production'", "(?i)unique"),
    ],
)
def test_the_database_refuses_what_the_registry_never_does(registry, database, statement, message):
    promoted(registry, 2)
    before = (registry.versions("m"), registry.history("m"))
    with pytest.raises(states.refused(), match=message):
        database.execute(statement)
    assert (registry.versions("m"), registry.history("m")) == before


def test_moves_commit_with_the_transaction_they_are_given(registry, database):
    promoted(registry, 2)
    register(registry, "r0003")
    before = (registry.versions("m"), registry.history("m"))

    def lost():
        with database.transaction() as tx:
            move(registry, 3, STAGING, PRODUCTION, tx=tx)
            registry.rollback("m", by="ann", why="test", tx=tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lost()
    assert (registry.versions("m"), registry.history("m")) == before


def test_two_processes_promoting_never_leave_two_champions(registry, database, address):
    racers = [subprocess.Popen([sys.executable, "-c", PROMOTER, address, name]) for name in ("ann", "bob")]
    looks = []
    while any(racer.poll() is None for racer in racers):
        looks += [tuple(row) for row in database.query(LOOK)]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len({events for events, _ in looks}) > 20, "the watcher did not look while the race was on"
    assert {count for _, count in looks} <= {0, 1}
    history = registry.history("m")
    promotions = [event.version for event in history if event.to_stage is PRODUCTION]
    assert sorted(promotions) == list(range(1, 101))
    assert [event.version for event in history if event.to_stage is ARCHIVED] == promotions[:-1]
    assert stages(registry) == dict.fromkeys(promotions[:-1], ARCHIVED) | {promotions[-1]: PRODUCTION}
    assert champions(history) == promotions


def test_of_two_promoters_at_once_exactly_one_wins(registry, database, address):
    races = 300
    with (
        database.transaction() as tx
    ):  # the versions alone, in one commit: only the races are to be durable here
        rows = [("m", n, f"r{n}", "d", "a", 0, "{}", "staging") for n in range(1, 2 * races + 1)]
        tx.executemany("INSERT INTO model_version VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    command = [sys.executable, "-c", RACER, address]
    racers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2
    seen, winners = 0, set()
    for race in range(races):
        lines = [f"{number} {seen}\n" for number in (2 * race + 1, 2 * race + 2)]
        for place in (race % 2, 1 - race % 2):
            racers[place].stdin.write(lines[place])
        told = [racer.stdout.readline().strip() for racer in racers]
        assert sorted(told) == ["lost", "won"]
        champion = database.query("SELECT number FROM model_version WHERE stage = 'production'")
        assert [row["number"] for row in champion] == [2 * race + 1 + told.index("won")]
        seen = database.query("SELECT max(seq) AS seq FROM stage_event")[0]["seq"]
        winners.add(told.index("won"))
    assert winners == {0, 1}, "one of the two was always first: that was no race"
    for racer in racers:
        racer.communicate(timeout=20)
        assert racer.returncode == 0
    history = registry.history("m")
    assert len([event for event in history if event.to_stage is PRODUCTION]) == races
