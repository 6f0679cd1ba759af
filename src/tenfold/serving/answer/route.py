"""Which version answers: Production, or for a sticky share of the entities the candidate of a canary."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec
import numpy as np

from tenfold.registry.rollouts import CANARY
from tenfold.sources.database import Database

# A rollout whose champion is not in Production any more is about to be undone, and takes no traffic.
LOOK = """
SELECT v.number AS production, r.id AS rollout, r.candidate, r.phase, r.share, s.fields
FROM model_version v LEFT JOIN rollout r
ON r.model = v.model AND r.phase IN ('shadow', 'canary') AND r.champion = v.number
LEFT JOIN rollout_sticky s ON s.rollout = r.id
WHERE v.model = ? AND v.stage = 'production'
"""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the requests of a model go at a moment.

    Attributes
    ----------
    production
        The number of the version in Production, None when there is none.
    candidate
        The version on its way, None when no rollout is under way.
    phase, share
        "shadow" or "canary", and the share of the entities that the candidate answers.
    sticky
        The fields by which entities are told apart since the rollout began; none where it began without.

    Examples
    --------
    >>> route = Route("fraud", 1, rollout=7, candidate=2, phase="canary", share=0.25)
    >>> [route.version_for(f"card {number}") for number in range(8)]
    [1, 2, 1, 1, 1, 1, 1, 1]
    >>> route.other(1), route.other(2)
    (2, 1)
    """

    model: str
    production: int | None
    rollout: int | None = None
    candidate: int | None = None
    phase: str | None = None
    share: float = 0.0
    sticky: tuple[str, ...] = ()

    def version_for(self, key: str) -> int | None:
        """Return the version that answers for an entity: the same one as long as the share does not change.

        Who is among a smaller share is among a larger one too.
        """
        if self.candidate is None or self.phase != CANARY:
            return self.production
        return (
            self.candidate if _place(f"{self.model}/{self.rollout}/{key}") < self.share else self.production
        )

    def to_candidate(self, keys: Sequence[str]) -> np.ndarray:
        """Return for which of many entities the candidate answers: (n,) bool."""
        if self.candidate is None or self.phase != CANARY:
            return np.zeros(len(keys), dtype=np.bool_)
        chosen = {key: self.version_for(key) == self.candidate for key in set(keys)}
        return np.array([chosen[key] for key in keys], dtype=np.bool_)

    def other(self, version: int | None) -> int | None:
        """Return the version to ask aside when one has answered; None when no rollout is under way."""
        if self.candidate is None:
            return None
        return self.production if version == self.candidate else self.candidate


class Routes:
    """The routes of a project's models, as they are now; a look costs microseconds while nothing changes."""

    def __init__(self, database: Database) -> None:
        self._changes = database.changes()
        self._known: dict[str, Route] = {}
        self._lock = threading.Lock()

    def look(self, model: str) -> Route:
        """Return where the requests of a model go now: to be looked at once per request, or group of requests."""
        with self._lock:
            if self._changes.since_last():
                self._known.clear()
            if model not in self._known:
                self._known[model] = self._read(model)
            return self._known[model]

    def _read(self, model: str) -> Route:
        rows = self._changes.query(LOOK, model)
        if not rows:
            return Route(model, None)
        found = rows[0]
        share = found["share"] or 0.0
        sticky = tuple(msgspec.json.decode(found["fields"] or "[]"))
        return Route(
            model, found["production"], found["rollout"], found["candidate"], found["phase"], share, sticky
        )


def _place(text: str) -> float:
    """Return where a text lies in [0, 1): evenly, and the same in every process."""
    return int.from_bytes(sha256(text.encode()).digest()[:7]) / 2**56
