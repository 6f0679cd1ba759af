"""Batch scoring by itself: each partition once it is over and what it is made of has arrived."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenfold.automation.audit import Audit, Decision
from tenfold.automation.release import Release
from tenfold.automation.scoring import KIND, Scored, Scoring
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, TenfoldError
from tenfold.core.times import duration, iso
from tenfold.features.view import with_upstream
from tenfold.registry.stages import champions
from tenfold.registry.versions import Registry
from tenfold.training.model import Model

BY = "schedule"
"""Who asks for it, in the audit log."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Scores what is due of a release; `tick` may be called at any time, in any process, and twice.

    It begins with the partition in which the first version in Production was made, and leaves none out: what was missed
    while nothing ran is done when it runs again. How far it is stands in the audit log.

    Parameters
    ----------
    flush
        Moves everything that is in the log into the lake.
    """

    release: Release
    scoring: Scoring
    registry: Registry
    audit: Audit
    clock: Clock
    flush: Callable[[], object]

    def tick(self) -> list[str]:
        """Score the partitions that are due, and return the periods that were scored."""
        due = self.due()
        if due is None:
            return []
        start, end = due
        self.flush()
        try:
            done = self.scoring.run(start, end, every=str(self.release.score_every), by=BY, cause=BY)
        except Conflict:
            return []  # another process is at it
        except TenfoldError as error:
            evidence = {"error": type(error).__name__}
            self._record("failed", str(error), evidence, f"failed/{start}/{end}")
            return []
        if end > self.clock.now():
            return []  # the clock was ahead: more of it is to come
        period = f"{iso(start)}/{iso(end)}"
        why = f"{done.rows:,} rows of {period}"
        why += f", {done.no_number:,} without a number" if done.no_number else ""
        self._record("scored", why, _evidence(done) | {"start": start, "end": end}, f"{start}/{end}")
        return [period]

    def due(self) -> tuple[int, int] | None:
        """Return the period to be scored now, whole partitions; None when there is none."""
        first = None if self.release.score_every is None else self._first()
        if first is None:
            return None
        every = duration(self.release.score_every)
        end = (self.clock.now() - late(self.release.model)) // every * every
        return (first, end) if first < end else None

    def state(self) -> dict[str, Any] | None:
        """Return how often it scores, up to when it has, and what it did last; None without a schedule."""
        if self.release.score_every is None:
            return None
        done, last = self._newest("scored"), self._newest()
        return {
            "every": self.release.score_every,
            "until": iso(done.evidence["end"]) if done else None,
            "last": last.why if last else None,
        }

    def _first(self) -> int | None:
        if done := self._newest("scored"):
            return int(done.evidence["end"])
        name, every = self.release.model.name, duration(self.release.score_every)
        if self.registry.production(name) is None:
            return None
        first = champions(self.registry.history(name))[0]
        return self.registry.get(name, first).created // every * every

    def _newest(self, decision: str | None = None) -> Decision | None:
        """Return what it last did; what it did by a clock that was ahead does not count when that is right again."""
        return self.audit.newest(KIND, self.release.model.name, BY, decision, until=self.clock.now())

    def _record(self, decision: str, why: str, evidence: dict[str, Any], cause: str) -> None:
        self.audit.record(
            KIND, self.release.model.name, decision, why, by=BY, evidence=evidence, cause=f"{BY}/{cause}"
        )


def late(model: Model) -> int:
    """Return how long after a moment what happened before it may still arrive, in microseconds: as its sources declare."""
    roots = [model.spine.root, *(view.source.root for view in with_upstream(model.views))]
    return max(root.delay_us + (root.lateness_us or 0) for root in roots)


def _evidence(done: Scored) -> dict[str, Any]:
    return {
        "rows": done.rows,
        "decided": done.decided,
        "no_number": done.no_number,
        "versions": dict(done.versions),
    }
