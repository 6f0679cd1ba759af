"""Which homes of a state have the files of a version: one that lacks them decides nothing of that while another has them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenfold.automation.askable import Load
from tenfold.automation.homes import own_id
from tenfold.core.clock import Clock
from tenfold.core.errors import FilesElsewhere, FilesGone, TenfoldError
from tenfold.core.times import UNITS
from tenfold.registry.rollouts import Rollout
from tenfold.sources.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS version_at_hand (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    home TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (model, version, home)
) WITHOUT ROWID;
"""
HAVE = "SELECT home, at FROM version_at_hand WHERE model = ? AND version = ?"
NOTE = """
INSERT INTO version_at_hand (model, version, home, at) VALUES (?, ?, ?, ?)
ON CONFLICT (model, version, home) DO UPDATE SET at = excluded.at
"""
FORGET = "DELETE FROM version_at_hand WHERE model = ? AND version = ? AND home = ?"
EVERY, HOLDS = UNITS["h"], UNITS["d"]
"""Microseconds after which a controller says again that it has files, and for which others count on that."""


@dataclass(frozen=True, slots=True)
class AtHand:
    """What is known of the files of a model's versions, here and in other homes."""

    model: str
    database: Database
    clock: Clock
    home: Path

    def only(self, load: Load) -> Load:
        """Return the same, which raises FilesElsewhere for files that are gone here while another home has them."""

        def found(number: int) -> object:
            try:
                return load(number)
            except FilesGone as error:
                have = self._have(number)
                if have.pop(own_id(self.home), None) is not None:
                    self._forget(number)
                if all(at < self.clock.now() - HOLDS for at in have.values()):
                    raise
                raise FilesElsewhere(f"{error} Another home has them: it decides.") from error

        return found

    def given(self, verify: Load, load: Load) -> tuple[Load, Load, Callable[[Rollout], None]]:
        """Return what `Rolling` is given of what loads versions: `verify`, `load` and `note`."""
        return self.only(verify), self.only(load), self.noting(verify)

    def noting(self, load: Load) -> Callable[[Rollout], None]:
        """Return what notes now and then that the files of a rollout's versions are in this home, where they are."""

        def note(rollout: Rollout) -> None:
            for number in (rollout.champion, rollout.candidate):
                noted = self._have(number).get(own_id(self.home))
                if noted is None or noted < self.clock.now() - EVERY:
                    self._note(load, number)

        return note

    def _note(self, load: Load, number: int) -> None:
        try:
            load(number)
        except FilesGone:
            return
        except TenfoldError:  # what else is wrong with them is wrong wherever they are
            pass
        self.database.execute(NOTE, self.model, number, own_id(self.home), self.clock.now())

    def _forget(self, number: int) -> None:
        self.database.execute(FORGET, self.model, number, own_id(self.home))

    def _have(self, number: int) -> dict[str, int]:
        return {row["home"]: row["at"] for row in self.database.query(HAVE, self.model, number)}
