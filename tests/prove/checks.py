"""What is compared: two ways to compute the features of one world, to the bit."""

from dataclasses import dataclass, replace

from tests.prove import declare, drivers, generate
from tests.prove.choose import Seeded
from tests.prove.compare import differences
from tests.prove.oracle import Frames

ALL = declare.ANY + declare.ORDERED + declare.SKETCHES
SMALL = {"most_keys": 4, "most_rows": 40, "queries": 40, "fns": ALL}
LOOK_UPS = {
    "fns": ("count", "sum", "mean", "var", "std", "min", "max", "first", "last", "lag"),
    "kinds": ("time", "time", "all", "rows"),
    "own": False,
}
"""What is read of the states of many keys as columns."""
SWEPT = {
    "fns": ("count", "sum", "mean", "var", "std", "min", "max"),
    "kinds": ("time", "time", "all"),
    "own": False,
}
"""What the compiled twin of the kernel knows."""
BLOCKS = (16, 1000)
"""How many questions it answers at a time."""
CROWDED = {
    "fns": ("min", "max", "min", "max", "sum"),
    "most": 16,
    "kinds": ("time",),
    "spans": ("1h", "90m", "3h"),
    "most_keys": 3,
}
"""What the twin looks for in blocks of records."""
MANY_KEYS = {"most_keys": 1000, "most_rows": 100}
HOT_KEYS = {"most_keys": 4, "most_rows": 20_000}
LARGE = {"most_keys": 150, "most_rows": 40, "queries": 20_000, "most": 10}


@dataclass(frozen=True)
class Failure:
    """A check of a seed in which cells differ."""

    check: str
    seed: int
    cells: int


def reference(world, seed):
    """Offline = the reference, in plain Python with fractions."""
    return world, drivers.by_reference(world), drivers.by_offline(world)


def sql(world, seed):
    """Offline = SQL, a join of every question with every record of its key."""
    return world, drivers.by_sql(world), drivers.by_offline(world)


def frames(world, seed):
    """Offline = SQL window frames, on a history in order."""
    held = {record["offset"] for record in world.records}
    world = replace(world, queries=[query for query in world.queries if query[2]["offset"] in held])
    return world, drivers.by_frames(world), drivers.by_offline(world)


def shuffled(world, seed):
    """Offline = offline with records and questions in another order, in several calls."""
    return world, drivers.by_offline(world), drivers.shuffled(world, Seeded(seed))


def alone(world, seed):
    """Offline = one call for each question."""
    return world, drivers.by_offline(world), drivers.alone(world)


def states(world, seed):
    """Offline = the states of keys, as records arrive in batches and workers die."""
    world, found = drivers.play(world, Seeded(seed))
    return world, drivers.by_offline(world), found


def together(world, seed):
    """Offline = the states of many keys, read at once."""
    world, found = drivers.together(world, Seeded(seed))
    return world, drivers.by_offline(world), found


def lake(world, seed):
    """Offline = the tables of the lake."""
    return world, drivers.by_offline(world), drivers.by_lake(world, Seeded(seed))


def divided(world, seed):
    """Offline = the tables of the lake, divided by keys on disk."""
    return world, drivers.by_offline(world), drivers.by_lake(world, Seeded(seed), memory=1)


def rebalanced(world, seed):
    """Offline = the states of keys that are shared out to three projects."""
    world, found = drivers.rebalanced(world, Seeded(seed))
    return world, drivers.by_offline(world), found


def by_sweep(world, seed):
    """Offline = the compiled twin, which sweeps through time."""
    return world, drivers.by_offline(world), drivers.by_sweep(world, BLOCKS[seed % len(BLOCKS)])


CHECKS = {
    "reference": reference,
    "SQL": sql,
    "window frames": frames,
    "any order": shuffled,
    "one call each": alone,
    "swept": by_sweep,
    "states": states,
    "many at once": together,
    "rebalanced": rebalanced,
    "lake": lake,
    "divided": divided,
}


def failing(name, world, seed):
    """Return the cells that differ by a check of a world, the questions it was asked, and how many cells there are."""
    asked, one, two = CHECKS[name](world, seed)
    if not asked.queries:
        return [], [], 0
    found, cells = differences(one, two)
    return found, asked.queries, cells


def prove(seed):
    """Run the checks of one seed; return how many cells each compared, and the failures."""
    cells, failures = {}, []
    for name, world in worlds(seed):
        try:
            found, _, cells[name] = failing(name, world, seed)
        except Exception as error:
            error.add_note(f"while checking {name}: python -m tests.prove --only --seed {seed}")
            raise
        if found:
            failures.append(Failure(name, seed, len(found)))
    return cells, failures


LARGE_SEEDS = (0, 4, 6, 8)
"""Last digits of the seeds of large worlds."""


def worlds(seed):
    """Yield the checks of a seed, each with a world; half of the seeds are small, one in ten is in order."""
    choose = Seeded(seed)
    if seed % 10 == 1:
        size = choose.of((MANY_KEYS, HOT_KEYS))
        world = generate.world(choose, queries=0, fns=Frames.FNS, kinds=Frames.KINDS, **size)
        yield "window frames", generate.in_order(world)
    elif seed % 10 not in LARGE_SEEDS:
        world = generate.world(choose, own=choose.often(0.3), **SMALL)
        yield from [("reference", world), ("any order", world), ("one call each", part(world, 10))]
        yield ("lake", "divided")[seed % 2], world
        # A project that has some of the keys does not see where a record went.
        yield from [("states", world), ("rebalanced", part(generate.unmoved(world), 10))]
        if choose.often(0.7):
            world = generate.world(choose, **SMALL | LOOK_UPS)
        yield "many at once", world
        yield "swept", shaped(choose, generate.world(choose, **SMALL | SWEPT))
    else:
        world = generate.world(choose, **LARGE)
        yield from [("SQL", world), ("any order", world), ("reference", part(world, 50))]
        if choose.often(0.5):
            yield "swept", crowded(choose, most_rows=4000, queries=5000)
        else:
            yield "swept", shaped(choose, generate.world(choose, **LARGE | SWEPT))


def shaped(choose, world):
    """Return a world as it is, or one that more of is swept: keys with corrections are not."""
    return choose.of((lambda made: made, generate.uncorrected, generate.in_order))(world)


def crowded(choose, **size):
    """Return a world that is swept, in which hundreds of records lie in a window and some are late by as long."""
    world = generate.world(choose, **SWEPT | CROWDED | size)
    world = choose.of((generate.uncorrected, generate.in_order))(world)
    return generate.dense(world, choose.of((-2, 0, 2)))


def part(world, queries):
    """Return a world with its first questions only."""
    return replace(world, queries=world.queries[:queries])
