"""Batch scoring by itself: each partition once it is over and what it is made of has arrived."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenfold.automation.audit import Audit, Decision
from tenfold.automation.release import Release
from tenfold.automation.scoring import KIND, Scored, Scoring
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, TenfoldError
from tenfold.core.times import FOREVER, duration, iso
from tenfold.features.view import with_upstream
from tenfold.registry.stages import champions
from tenfold.registry.versions import Registry
from tenfold.training.model import Model

BY = "schedule"
"""Who asks for it, in the audit log."""
BACK = "set back"
"""The decision to score again what was scored by a clock that was ahead."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Scores what is due of a release; `tick` may be called at any time, in any process, and twice.

    It begins with the partition in which the first version in Production was made, and leaves none out: what was missed
    while nothing ran is done when it runs again. How far it is stands in the audit log. What a clock that was ahead had it
    score before its time is scored again when that has come.

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
        self._look_back()
        due = self.due()
        if due is None:
            return []
        start, end = due
        self.flush()
        early = self._early(start)
        end = min(end, early or end)
        cause = f"{BY} after {_seq(self._newest('scored', until=FOREVER))}" if early else BY
        again = bool(early) and self.scoring.holds(start, end)
        every = str(self.release.score_every)
        try:
            done = self.scoring.run(start, end, every=every, again=again, by=BY, cause=cause)
        except Conflict:
            return []  # another process is at it
        except TenfoldError as error:
            evidence = {"error": type(error).__name__, "start": start, "end": end}
            self._record("failed", str(error), evidence, f"{cause}/failed/{start}/{end}")
            return []
        if end > self.clock.now():  # the clock was ahead: more of it is to come
            self._set_back(start, end)
            return []
        period = f"{iso(start)}/{iso(end)}"
        why = f"{done.rows:,} rows of {period}"
        why += f", {done.no_number:,} without a number" if done.no_number else ""
        why += f", {done.left_out:,} left out without features" if done.left_out else ""
        self._record("scored", why, _evidence(done) | {"start": start, "end": end}, f"{cause}/{start}/{end}")
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
        done, last = self._mark(), self._newest()
        return {
            "every": self.release.score_every,
            "until": iso(done.evidence["end"]) if done else None,
            "last": last.why if last else None,
        }

    def _first(self) -> int | None:
        if mark := self._mark():
            return int(mark.evidence["end"])
        name, every = self.release.model.name, duration(self.release.score_every)
        if self.registry.production(name) is None:
            return None
        first = champions(self.registry.history(name))[0]
        return self.registry.get(name, first).created // every * every

    def _mark(self) -> Decision | None:
        """Return the newest decision that says up to when it has scored."""
        return max(self._newest("scored"), self._newest(BACK, until=FOREVER), key=_seq)

    def _early(self, start: int) -> int | None:
        """Return up to when a clock that was ahead had it score, if that is later than the beginning of a period."""
        back = self._newest(BACK, until=FOREVER)
        return back.evidence["early"] if back and back.evidence["early"] > start else None

    def _look_back(self) -> None:
        """Notice while the clock is right that it was ahead: later nobody could tell that its decisions were too early."""
        last = self._newest(until=FOREVER)
        if last is None or last.at <= self.clock.now():
            return
        first = self._first()
        if first is not None:
            self._set_back(first, int(last.evidence.get("end", first)))

    def _set_back(self, first: int, early: int) -> None:
        """Go back to a moment, from which on all up to another one is scored again when its time has come."""
        back = self._newest(BACK, until=FOREVER)
        early = max(early, self._early(first) or early)
        if early <= first or (back and (back.evidence["end"], back.evidence["early"]) == (first, early)):
            return
        why = f"{iso(first)}/{iso(early)} was scored by a clock that was ahead: it is scored again once it is over"
        self._record(BACK, why, {"end": first, "early": early}, f"{BY}/back/{first}/{early}/{_seq(back)}")

    def _newest(self, decision: str | None = None, *, until: int | None = None) -> Decision | None:
        """Return what it last did; what it did by a clock that was ahead does not count when that is right again."""
        until = self.clock.now() if until is None else until
        return self.audit.newest(KIND, self.release.model.name, BY, decision, until=until)

    def _record(self, decision: str, why: str, evidence: dict[str, Any], cause: str) -> None:
        self.audit.record(KIND, self.release.model.name, decision, why, by=BY, evidence=evidence, cause=cause)


def _seq(decision: Decision | None) -> int:
    """Return the place of a decision among all, 0 for none."""
    return decision.seq if decision else 0


def late(model: Model) -> int:
    """Return how long after a moment what happened before it may still arrive, in microseconds: as its sources declare."""
    roots = [model.spine.root, *(view.source.root for view in with_upstream(model.views))]
    return max(root.delay_us + (root.lateness_us or 0) for root in roots)


def _evidence(done: Scored) -> dict[str, Any]:
    return {
        "rows": done.rows,
        "decided": done.decided,
        "no_number": done.no_number,
        "left_out": done.left_out,
        "versions": dict(done.versions),
    }
