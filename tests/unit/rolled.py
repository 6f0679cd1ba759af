"""Rollouts without a server: a registry, counters and outcomes that tests say; run alone, it rolls out until it is killed."""

import sys

import numpy as np

from tenfold import Release
from tenfold.automation.at_hand import AtHand
from tenfold.automation.audit import Audit
from tenfold.automation.pairs import Pairs
from tenfold.automation.rollout import Rolling
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.errors import Conflict, TenfoldError
from tenfold.core.times import UNITS
from tenfold.platform import SCHEMA
from tenfold.registry.rollouts import DONE, Rollouts
from tenfold.registry.versions import Registry, Stage
from tenfold.serving.seen.counters import Counters
from tests import states
from tests.examples import tiny

MODEL = tiny.late_order.name
RELEASE = Release(tiny.late_order, shadow="7d", canary=(0.1, 0.5), bake="1h")
NO_PAIRS = Pairs(np.zeros(0), np.zeros(0), 1.0)


def pairs(worse, rows=2_000):
    """Return the losses of a candidate that is worse by a share on the same rows."""
    champion = (np.arange(rows) % 5 == 0).astype(np.float64)
    candidate = champion.copy()
    changed = int(abs(worse) * rows)
    candidate[np.flatnonzero(champion == (worse < 0))[:changed]] = float(worse > 0)
    return Pairs(champion, candidate, 1.0)


BETTER, WORSE, EQUAL = pairs(-0.05), pairs(0.05), pairs(0.0, rows=100)


def failing(counters, number):
    """Let a version fail for a tenth of its rows."""
    counters.add(MODEL, number, rows=1_000, took=500, raised=100)
    counters.flush()


class Rolled:
    """The rollouts of a model whose versions are names, on a database."""

    def __init__(self, database, clock, release=RELEASE, home=None):
        self.database, self.clock, self.known, self.refused = database, clock, NO_PAIRS, {}
        self.registry = Registry(database, clock)
        self.rolling = Rolling(
            release,
            database,
            self.registry,
            Rollouts(database),
            Audit(database, clock),
            Counters(database, clock),
            clock,
            lambda _: self.known,
            *self.given(home),
        )

    def given(self, home):
        """Return what loads versions, and notes where it is told in which home it does."""

        def verify(number):
            return self.registry.get(MODEL, number)

        if home is None:
            return verify, self.load, lambda _: None
        return AtHand(MODEL, self.database, self.clock, home).given(self.load, self.load)

    def load(self, number):
        """Raise what keeps a version from being asked, where a test says so."""
        if number in self.refused:
            raise self.refused[number]

    @classmethod
    def prepare(cls, path):
        """Make two versions, the first of them in Production; nothing when that is done."""
        database = states.opened(str(path), SCHEMA)
        self = cls(database, VirtualClock(0))
        if not self.registry.versions(MODEL):
            self.register()
            for stage in (Stage.STAGING, Stage.PRODUCTION):
                self.registry.move(MODEL, 1, stage, by="ann", why="first", evidence={})
            self.register()
        database.close()

    def register(self):
        count = len(self.registry.versions(MODEL)) + 1
        return self.registry.register(MODEL, run_id=f"r{count}", digest="d", artefact="a", info={}).number

    def newest(self):
        return self.rolling.rollouts.newest(MODEL)

    def begin(self, number=2):
        """Begin a rollout beside the champion, as the loop does when a gate has passed."""
        with self.database.transaction() as tx:
            champion = self.registry.production(MODEL).number
            why = {"by": "loop", "why": "passed", "evidence": {"gate": 1}}
            self.registry.move(MODEL, number, Stage.STAGING, **why, tx=tx)
            return self.rolling.begin(tx, number, champion, **why)

    def advance(self, known, hours=0.0, asked=100):
        """Let time pass with requests and outcomes, and look."""
        self.known = NO_PAIRS if known is None else known
        found = self.newest()
        if found is not None and found.is_open:
            self.clock.set(max(self.clock.now(), found.since) + int(hours * UNITS["h"]))
            if asked:
                self.rolling.counters.add(MODEL, found.candidate, rows=asked, took=500)
                self.rolling.counters.flush()
        return self.rolling.advance()

    def check(self):
        """Check what holds at all times; return the phase of the newest rollout and the number in Production."""
        stages = {version.number: version.stage for version in self.registry.versions(MODEL)}
        champions = [number for number, stage in stages.items() if stage is Stage.PRODUCTION]
        assert len(champions) == 1
        rows = self.database.query("SELECT * FROM rollout ORDER BY id")
        assert sum(row["phase"] in ("shadow", "canary") for row in rows) <= 1
        told = self.rolling.audit.list(kind="rollout", limit=100_000)
        for row in rows:
            mine = [item for item in told if item.evidence["rollout"] == row["id"]]
            assert [item.evidence["seq"] for item in mine] == list(range(1, row["seq"] + 1)), (
                "audited, each once"
            )
            assert all(
                item.why and item.by and item.subject == f"{MODEL}/{row['candidate']}" for item in mine
            )
            ending = {"done": "promoted", "undone": "undone"}.get(row["phase"])
            assert ending in (None, mine[-1].decision)
            if row["phase"] in ("shadow", "canary"):
                assert stages[row["candidate"]] is Stage.STAGING
            if row["phase"] == "undone":
                assert stages[row["candidate"]] is Stage.ARCHIVED
        return (rows[-1]["phase"] if rows else None), champions[0]


def forever(path):
    """Roll out one version after the other until killed, beside others that do the same."""
    database = states.opened(str(path), SCHEMA)
    quick = Release(tiny.late_order, shadow="7d", canary=(0.1, 0.5), bake="1ms")
    rolled = Rolled(database, SystemClock(), quick)
    rolled.known = BETTER
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    while True:
        try:
            found = rolled.newest()
            if found is None or not found.is_open:
                rolled.begin(rolled.register())
            rolled.rolling.counters.add(MODEL, rolled.newest().candidate, rows=100, took=500)
            rolled.rolling.counters.flush()
            rolled.rolling.advance()
            if rolled.newest().phase == DONE and rolled.newest().id % 3 == 0:
                rolled.rolling.undo(by="ann")
        except (Conflict, TenfoldError):
            continue


if __name__ == "__main__":
    forever(sys.argv[1])
