"""Rollouts: a candidate goes from shadow through the steps of a canary to Production, or is undone.

Every transition is one transaction: the rollout's row, changed only if it still is what was seen, the moves of versions,
and the audit row with the evidence. So however processes die, and however many decide at once, each happens once or not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.automation.askable import Load, Standing, alone, is_left, other_kind, unasked
from tenfold.automation.audit import Audit, check_by
from tenfold.automation.deciding import FEW, Decision, Facts, decide, is_shown
from tenfold.automation.pairs import Pairs
from tenfold.automation.persons import in_vain, insisting
from tenfold.automation.release import Release
from tenfold.automation.rollback import check_servable
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, NotFound, TenfoldError, Unavailable
from tenfold.core.times import UNITS, iso
from tenfold.registry.rollouts import CANARY, DONE, SHADOW, UNDONE, Rollout, Rollouts
from tenfold.registry.versions import Registry, Stage
from tenfold.serving.answer.sticky import sticky_fields
from tenfold.serving.seen.counters import Counters
from tenfold.sources.database import Database, Transaction

KIND = "rollout"
LOOP = "loop"
AHEAD = UNITS["m"]
"""Clocks of several machines may differ by this many microseconds."""


@dataclass(frozen=True, slots=True)
class Rolling:
    """The rollouts of one release: driven by `advance`, which may be called at any time, in any process, and twice.

    `approve`, `pause`, `resume` and `undo` are for persons; each is in the audit log, and holds for the rollout however far it
    went in that moment.

    Parameters
    ----------
    outcomes
        Gives the pairs of a rollout whose outcomes are final.
    verify
        Loads a version as a server would, files checked and golden rows replayed; raises when it cannot be served.
    load
        Gives a version that is kept in memory, once it was loaded like that.
    note
        Notes in the state that this home has the files of a rollout's versions, where it has them.
    """

    release: Release
    database: Database
    registry: Registry
    rollouts: Rollouts
    audit: Audit
    counters: Counters
    clock: Clock
    outcomes: Callable[[Rollout], Pairs]
    verify: Callable[[int], object]
    load: Load
    note: Callable[[Rollout], None]

    def show(self, *, outcomes: bool = True) -> Standing | None:
        """Return where the newest rollout stands, with the evidence; None when there was none yet. Nothing is changed.

        `outcomes` is as in `advance`.
        """
        found = self.rollouts.newest(self._model)
        if found is None:
            return None
        decision = self._decision(found, outcomes=outcomes) if found.is_open else None
        return Standing(found, decision, unasked(self.load, found))

    def busy(self) -> bool:
        """Return whether a rollout keeps its place, in which no other candidate is trained: while it needs nothing but time.

        So does one that is held while outcomes of its rows are to come: until twice the time a label takes after it began.
        """
        found = self.rollouts.open(self._model)
        return found is not None and (not found.held or self._outcomes_come(found))

    def advance(self, *, outcomes: bool = True) -> str | None:
        """Decide about the rollout that is under way and do it; return what was done, None when nothing.

        Parameters
        ----------
        outcomes
            Whether to look at outcomes too, or only at what the candidate did: errors and latency, which costs little.
        """
        seen = self.rollouts.open(self._model)
        if seen is None:
            return None
        self.note(seen)
        try:
            seen = self._by_the_clock(seen)
            found = self._servable(seen, self._decision(seen, outcomes=outcomes))
            return self._apply(seen, found, outcomes=outcomes)
        except Conflict:
            return None  # another process, or a person, decided meanwhile

    def begin(
        self,
        tx: Transaction,
        number: int,
        champion: int,
        *,
        by: str,
        why: str,
        evidence: Mapping[str, Any],
    ) -> Rollout:
        """Begin the rollout of a version in staging, in an open transaction; one of another version is undone.

        Raises
        ------
        Conflict
            When the version is on its way already.
        """
        self.check_apart(number)
        under_way = self.rollouts.open(self._model)
        if under_way is not None:
            told = f"version {number} took its place"
            self._undo(tx, under_way, by=by, why=told, evidence={"superseded_by": number})
        first = SHADOW if self.release.shadow is not None else CANARY
        share = 0.0 if first == SHADOW else self.release.canary[0]
        begun = self.rollouts.begin(
            tx,
            self._model,
            candidate=number,
            champion=champion,
            phase=first,
            at=self.clock.now(),
            share=share,
            sticky=sticky_fields(self.release.model),
        )
        self._record(tx, begun, 0, f"began in {begun.where}", why, by=by, evidence=evidence)
        return begun

    def check_apart(self, number: int) -> None:
        """Refuse a version that is on its way already: to begin again would end its rollout, and archive it."""
        seen = self.rollouts.open(self._model)
        if seen is not None and seen.candidate == number:
            raise Conflict(
                f'version {number} of model "{self._model}" is on its way already, in {seen.where}; nothing was changed. '
                f"See: tenfold rollout show PROJECT.py {self._model}."
            )

    @insisting
    def approve(self, *, by: str, why: str = "asked for") -> Rollout:
        """Agree to the promotion: needed where the release says so; else it stands in for outcomes that do not come.

        Raises
        ------
        NotFound
            When no rollout is under way.
        Conflict
            When somebody approved already. Nothing is changed; so it is with `pause` and `resume` where they would do nothing.
        DefinitionError
            When `by` names nobody; so it is with all that a person decides.
        """
        seen = self.rollouts.the(self._model)
        if seen.approved:
            raise in_vain(seen, f"is approved already, by {seen.approved}", "end it", "undo")
        return self._told(seen, "approved", by=by, why=why, outcomes=True, approved=by)

    @insisting
    def pause(self, *, by: str, why: str = "asked for") -> Rollout:
        """Let it go no further; a candidate that something speaks against is still undone."""
        seen = self.rollouts.the(self._model)
        if seen.paused:
            raise in_vain(seen, "is paused already", "let it go on", "resume")
        return self._told(seen, "paused", by=by, why=why, paused=True)

    @insisting
    def resume(self, *, by: str, why: str = "asked for") -> Rollout:
        """Let one that is paused or held go on; the time of its present step begins again."""
        seen, now = self.rollouts.the(self._model), self.clock.now()
        if not (seen.paused or seen.held):
            raise in_vain(seen, "is not paused and goes on by itself", "stop it there", "pause")
        return self._told(seen, "resumed", by=by, why=why, paused=False, held=False, since=now)

    @insisting
    def undo(self, *, by: str, why: str = "asked for") -> Rollout:
        """End the rollout that is under way, or take back the newest promotion: the champion answers everything again.

        Raises
        ------
        NotFound
            When there is nothing to undo.
        Conflict
            When another version was promoted since.
        GateFailed
            When the champion before cannot be served. Nothing is changed, and the refusal is in the audit log.
        """
        check_by(by)
        seen = self.rollouts.newest(self._model)
        if seen is None or seen.phase == UNDONE:
            raise NotFound("rollout to undo of model", self._model, (), hint=self._undone(seen))
        if seen.phase == DONE:
            self._check_in_production(seen)
            champion = self.registry.get(seen.model, seen.champion)
            check_servable(champion, self.verify, self.registry, self.audit, by=by)
        evidence = self._shown(seen)  # without the outcomes, for which the requests would wait
        with self.database.transaction() as tx:
            return self._undo(tx, seen, by=by, why=why, evidence=evidence)

    # what is decided -------------------------------------------------------------------------------

    @property
    def _model(self) -> str:
        return self.release.model.name

    def _by_the_clock(self, seen: Rollout) -> Rollout:
        """Begin the time of a step again that began by a clock that was ahead: it would last until then.

        Not where all of the rollout began later than now: there the clock may be behind, and the time would be over at once.
        """
        now = self.clock.now()
        if not seen.begun <= now < seen.since - AHEAD:
            return seen
        why = f"the step had begun at {iso(seen.since)}, by a clock that was ahead: its time begins again"
        with self.database.transaction() as tx:
            after = self.rollouts.change(tx, seen, since=now)
            self._record(tx, after, seen.seq, "began its time again", why, by=LOOP, evidence={})
        return after

    def _outcomes_come(self, seen: Rollout) -> bool:
        """Return whether a rollout that is held may go on by outcomes that are to come soon."""
        over = seen.begun + 2 * self.release.model.label.takes_us
        asked = self.counters.total(seen.model, seen.candidate).asked
        if self.clock.now() >= over or asked < FEW:
            return False
        # what is left to a person takes as long as it takes
        return not self.release.approval or not is_shown(self._decision(seen, outcomes=True).evidence)

    def _decision(self, seen: Rollout, *, outcomes: bool) -> Decision:
        moved = self._moved(seen) or other_kind(self.load, seen)
        if moved:
            return Decision("undo", moved, {"pairs": 0})
        pairs = self.outcomes(seen) if outcomes else None
        self.counters.flush()
        served = self.counters.total(seen.model, seen.candidate)
        here = self.counters.total(seen.model, seen.candidate, seen.since)
        facts = Facts(served, here, self.release.budget_us, pairs)
        found = decide(seen, self.release, facts, self.clock.now())
        # without the outcomes, only what speaks against it is decided, or against its champion
        if not outcomes and found.action != "undo":
            found = Decision("wait", found.why, found.evidence)
        return alone(self.load, seen, self.release, found)

    def _servable(self, seen: Rollout, found: Decision) -> Decision:
        """Return what to do with a candidate that may go further: it is undone when it could not be loaded any more."""
        if found.action in ("advance", "promote"):
            try:
                self.verify(seen.candidate)
            except TenfoldError as error:
                action = "wait" if isinstance(error, Unavailable) else "undo"
                why = f"it cannot be loaded any more: {error}"
                return Decision(action, why.rstrip("."), found.evidence)
        return found

    def _moved(self, seen: Rollout) -> str | None:
        """Return what a person changed below a rollout, None when nothing."""
        champion = self.registry.production(seen.model)
        if champion is None or champion.number != seen.champion:
            now = "none" if champion is None else f"version {champion.number}"
            return f"it was compared with version {seen.champion}, and {now} is in production now"
        stage = self.registry.get(seen.model, seen.candidate).stage
        return None if stage is Stage.STAGING else f"the candidate was moved to {stage.value}"

    def _apply(self, seen: Rollout, found: Decision, *, outcomes: bool) -> str | None:
        # a look without the outcomes, or at one that is paused, does not know whether anything is still missing
        held = found.action == "hold" or (seen.held and (seen.paused or not outcomes))
        idle = found.action in ("wait", "hold") and held == seen.held
        if idle or (found.action != "undo" and is_left(self.load, seen)):
            return None
        with self.database.transaction() as tx:
            if found.action == "undo":
                self._undo(tx, seen, by=LOOP, why=found.why, evidence=found.evidence)
                return f"undone: {found.why}"
            if found.action == "promote":
                return self._promote(tx, seen, found)
            if found.action in ("wait", "hold"):
                after = self.rollouts.change(tx, seen, held=held)
                said = f"{'held' if held else 'no longer held'} in {after.where}"
            else:
                after = self._step(tx, seen)
                said = f"to {after.where}"
            self._record(tx, after, seen.seq, said, found.why, by=LOOP, evidence=found.evidence)
            return f"{said}: {found.why}"

    def _step(self, tx: Transaction, seen: Rollout) -> Rollout:
        now, share = self.clock.now(), self.release.above(seen.share)[0]
        step = self.release.canary.index(share)
        return self.rollouts.change(tx, seen, phase=CANARY, step=step, share=share, since=now, held=False)

    def _promote(self, tx: Transaction, seen: Rollout, found: Decision) -> str:
        after = self.rollouts.change(tx, seen, phase=DONE, share=1.0, since=self.clock.now(), held=False)
        if moved := self._moved(seen):
            raise Conflict(f"{moved}. Nothing was changed.")
        self.registry.move(
            seen.model,
            seen.candidate,
            Stage.PRODUCTION,
            by=LOOP,
            why=found.why,
            evidence=found.evidence,
            tx=tx,
        )
        self._record(tx, after, seen.seq, "promoted", found.why, by=LOOP, evidence=found.evidence)
        return f"promoted: {found.why}"

    def _undo(
        self, tx: Transaction, seen: Rollout, *, by: str, why: str, evidence: Mapping[str, Any]
    ) -> Rollout:
        """Undo an open rollout, or the promotion a finished one came to, in an open transaction."""
        now = self.clock.now()
        after = self.rollouts.change(tx, seen, phase=UNDONE, share=0.0, since=now, held=False)
        if seen.phase == DONE:
            self._restore(tx, seen, by=by, why=why, evidence=evidence)
        elif self.registry.get(seen.model, seen.candidate).stage is Stage.STAGING:
            self.registry.move(
                seen.model, seen.candidate, Stage.ARCHIVED, by=by, why=why, evidence=evidence, tx=tx
            )
        self._record(tx, after, seen.seq, "undone", why, by=by, evidence=evidence)
        return after

    def _check_in_production(self, seen: Rollout) -> None:
        """Refuse to take back a promotion that another one, or a person, ended."""
        champion = self.registry.production(seen.model)
        if champion is None or champion.number != seen.candidate:
            raise Conflict(
                f"{seen.model} version {seen.candidate} is not in production any more, so its promotion cannot be undone. "
                f"Nothing was changed. See: tenfold models PROJECT.py {seen.model} --history."
            )

    def _restore(
        self, tx: Transaction, seen: Rollout, *, by: str, why: str, evidence: Mapping[str, Any]
    ) -> None:
        self._check_in_production(seen)
        event = self.registry.rollback(seen.model, by=by, why=why, evidence=evidence, tx=tx)
        if event.version != seen.champion:
            raise Conflict(
                f"before version {seen.candidate}, version {event.version} of {seen.model} was in production, not "
                f"{seen.champion}. Nothing was changed. Use: tenfold rollback PROJECT.py {seen.model}."
            )

    def _undone(self, newest: Rollout | None) -> str:
        """Return why there is nothing to undo, and what there is to do instead."""
        if newest is None:
            return " There was none yet."
        champion = self.registry.production(self._model)
        now = "none" if champion is None else f"version {champion.number}"
        stands = (
            f" The last one, of version {newest.candidate}, was undone already, and {now} is in production."
        )
        try:
            self.registry.fallback(self._model)
        except NotFound:
            return (
                f"{stands} None was there before. To train another: tenfold train PROJECT.py {self._model}."
            )
        return f"{stands} To go back to the one before: tenfold rollback PROJECT.py {self._model}."

    def _told(
        self, seen: Rollout, decision: str, *, by: str, why: str, outcomes: bool = False, **changes: Any
    ) -> Rollout:
        """Do what a person asks for."""
        check_by(by)
        evidence = self._shown(seen, outcomes=outcomes)
        with self.database.transaction() as tx:
            after = self.rollouts.change(tx, seen, **changes)
            self._record(
                tx, after, seen.seq, decision, why, by=by, evidence=evidence | {"phase": after.where}
            )
            return after

    def _shown(self, seen: Rollout, *, outcomes: bool = False) -> dict[str, Any]:
        """Return what there was to be seen of a candidate when a person decided."""
        if seen.is_open:
            return dict(self._decision(seen, outcomes=outcomes).evidence)
        served = self.counters.total(seen.model, seen.candidate)
        return {"asked": served.asked, "failed": served.failed}

    def _record(
        self,
        tx: Transaction,
        after: Rollout,
        seq: int,
        decision: str,
        why: str,
        *,
        by: str,
        evidence: Mapping[str, Any],
    ) -> None:
        told = {**evidence, "rollout": after.id, "champion": after.champion, "seq": after.seq}
        subject, cause = f"{after.model}/{after.candidate}", f"{after.id}/{seq}"
        self.audit.record(KIND, subject, decision, why, by=by, evidence=told, cause=cause, tx=tx)
