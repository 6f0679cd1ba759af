"""The loop: watch what was served, decide when to train, gate, promote or refuse. Every decision is durable."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from threading import get_ident
from typing import Any

from tenfold.automation.audit import Audit, Decision, check_by
from tenfold.automation.gates import NOT_COMPARED, Case, judge_candidate, passed, reason, unseen
from tenfold.automation.journal import Journal, JournalRun
from tenfold.automation.release import Release
from tenfold.automation.rollout import LOOP, Rolling
from tenfold.automation.steps import Effect, Step
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, GateFailed, SchemaError, TenfoldError
from tenfold.core.times import FOREVER, UNITS, iso
from tenfold.monitoring.checks import NO_CHAMPION, Check, Verdict, judge
from tenfold.monitoring.performance import Matured
from tenfold.monitoring.skew import Skew
from tenfold.registry.stages import former
from tenfold.registry.versions import Registry, Stage, Version
from tenfold.serving.answer.service import Versions
from tenfold.sources.database import Database, Transaction
from tenfold.training.dataset import Dataset
from tenfold.training.folds import Split, first_row, newest_split
from tenfold.training.package import Package
from tenfold.training.rows import TrainingSet
from tenfold.training.train import Trainer

KIND = "retrain"
WEEK = UNITS["w"]
ADMITTED = "admitted"
"""The decision about a version that passed the gates and now begins its rollout."""
WAITS = "waits"
"""The decision about a training that a monitor asks for and that was done already."""


@dataclass(frozen=True, slots=True)
class Loop:
    """Keeps one release running; `tick` may be called at any time, in any process, and twice.

    Parameters
    ----------
    dataset
        Gives the rows of the model's spine over the newest tables.
    matured
        Gives the served predictions in [start, end) whose outcome is known by now.
    """

    release: Release
    database: Database
    trainer: Trainer
    registry: Registry
    versions: Versions
    journal: Journal
    audit: Audit
    clock: Clock
    dataset: Callable[[], Dataset]
    matured: Callable[[int, int], Matured]
    rolling: Rolling
    skew: Callable[[int], Skew]

    def tick(self, tell: Callable[[str], object] = lambda _: None) -> list[str]:
        """Do what is due now: move the rollout on, judge the monitors once a week, then train if the schedule or one asks for it.

        While a rollout is under way that needs nothing but time, the monitors are judged and no other candidate is trained.
        Returns the causes of the trainings that were run; `tell` is called with what was done of a candidate, and once with
        why nothing is trained where a monitor asks for what was done already.
        """
        if done := self.rolling.advance():
            tell(f"candidate {done}")
        now = self.clock.now()
        self._watch(now)
        if self.rolling.busy():
            return []
        due = [*self._scheduled(now), *self._degraded(now, tell)][:1]
        return [cause for cause, why in due if self._attempt(cause, why)]

    def resume(self) -> int:
        """Finish the trainings that nobody works on, each from its first unfinished step; return how many."""
        mine = [
            run
            for run in self.journal.unfinished()
            if run.kind == KIND and run.input.get("model") == self.release.model.name
        ]
        return sum(self._tried(run.id, run.cause, run.input["why"]) for run in mine)

    def retrain(self, cause: str, why: str, *, by: str = LOOP, split: Split | None = None) -> dict[str, Any]:
        """Train, gate, and promote or refuse; one training per cause, however often it is asked for."""
        return self._run(self._begun(cause, why, by, split))

    def _begun(self, cause: str, why: str, by: str, split: Split | None = None) -> str:
        """Return the durable run of a cause."""
        model = self.release.model
        split = split or newest_split(model, self.clock.now(), first_row(self.dataset()))
        told = {"train": split.train, "test": split.test, "now": split.now}
        return self.journal.begin(KIND, cause, {"model": model.name, "why": why, "by": by, **told})

    def promote(self, number: int, *, by: str, as_of: int | None = None) -> str:
        """Judge a version, as of now or of a moment, and promote it, or begin its rollout where the release declares one.

        Raises
        ------
        GateFailed
            When a gate refuses it; the version is archived and the refusal is in the audit log.
        Conflict, SchemaError
            When it is on its way already, or was judged before; when its features are not declared now. Nothing was changed.
        """
        check_by(by)
        self._check_new(number)
        self.versions.get(self.release.model, number)  # what is declared elsewhere is no fault of the version
        moment = self.clock.now() if as_of is None else as_of
        split = newest_split(self.release.model, moment, first_row(self.dataset()))
        verdict = self._judge(number, split)
        with_tx = self._decide(number, verdict, by=by, cause=f"promote/{number}/{self.clock.now()}")
        with self.database.transaction() as tx:
            with_tx(tx)
        if not verdict["passed"]:
            raise GateFailed(self._refused(number, verdict), verdict["results"])
        return str(verdict["why"])

    def _refused(self, number: int, verdict: Mapping[str, Any]) -> str:
        name, champion = self.release.model.name, verdict["champion"]
        stays = "" if champion is None else f" Version {champion} stays in production."
        return (
            f"{name} version {number} was refused: {verdict['why']}.{stays} A version is judged once: change the data, the model or "
            f"Release(gates=[...]), and train another: tenfold train PROJECT.py {name}."
        )

    def _check_new(self, number: int) -> Stage:
        """Return the stage of a version that may be judged; Conflict when it was, or is on its way to Production."""
        name = self.release.model.name
        stage = self.registry.get(name, number).stage
        if stage not in (Stage.NONE, Stage.STAGING):
            hint = self._instead(number) if stage == Stage.ARCHIVED else ""
            raise Conflict(f"{name} version {number} is already {stage.value}; nothing was changed.{hint}")
        self.rolling.check_apart(number)
        return stage

    def _instead(self, number: int) -> str:
        """Return what to do instead of promoting a version that is archived."""
        name = self.release.model.name
        if number in former(self.registry.history(name)):
            return f" It was in production before and comes back with: tenfold rollback PROJECT.py {name} --to {number}."
        return f" A version is judged once. Train another: tenfold train PROJECT.py {name}."

    def _attempt(self, cause: str, why: str) -> bool:
        """Train, and return whether it was done here; a training that cannot be is a decision too, tried again a day later."""
        try:
            run_id = self._begun(cause, why, LOOP)
        except TenfoldError as error:
            self._failed(cause, why, error)
            return True
        return self._tried(run_id, cause, why)

    def _tried(self, run_id: str, cause: str, why: str) -> bool:
        try:
            self._run(run_id)
        except TenfoldError as error:
            if isinstance(error, Conflict) and self.journal.get(run_id).status != "failed":
                return False  # another process is at it
            self._failed(cause, why, error)
        return True

    def _failed(self, cause: str, why: str, error: TenfoldError) -> None:
        name = self.release.model.name
        evidence = {"trigger": why, "error": type(error).__name__}
        moment = f"{cause}/{self.clock.now()}"
        self.audit.record("training", name, "failed", str(error), by=LOOP, evidence=evidence, cause=moment)

    def _run(self, run_id: str) -> dict[str, Any]:
        declaration = self.release.model.fingerprint
        # threads of a process are owners of their own, and one that was interrupted goes on
        owner = f"loop {get_ident()}"
        return self.journal.run(run_id, self._steps(run_id), owner=owner, declaration=declaration)

    def _steps(self, run_id: str) -> list[Step]:
        model = self.release.model

        def split(results: Mapping[str, Any]) -> Split:
            given = results["input"]
            return Split(tuple(given["train"]), tuple(given["test"]), given["now"])

        def gate(results: Mapping[str, Any]) -> Any:
            return self._judge(results["register"], split(results))

        def decide(results: Mapping[str, Any]) -> Any:
            verdict, given = results["gate"], results["input"]
            apply = self._decide(
                results["register"], verdict, by=given["by"], cause=run_id, trigger=given["why"]
            )
            return Effect(self._decision(verdict), apply)

        training = self.trainer.steps(model, self.dataset, run_id)
        return [*training, ("gate", gate), ("decide", decide)]

    def _judge(self, number: int, split: Split) -> dict[str, Any]:
        model = self.release.model
        dataset = self.dataset()  # once: the tables that the evidence names are those that were read
        rows = dataset.training_set(split.now, start=split.test[0], end=split.test[1])
        production = self.registry.production(model.name)
        champion, told = self._champion(production)
        alone = NOT_COMPARED if told else NO_CHAMPION
        verdicts = [*self._verdicts(number, champion, alone, rows, split), *told]
        return {
            "passed": passed(verdicts),
            "why": reason(verdicts, rows),
            "results": [verdict.evidence() for verdict in verdicts],
            "champion": None if production is None else production.number,
            "compared": champion is not None,
            "on": {
                "rows": [iso(moment) for moment in split.test],
                "known": iso(split.now),
                "tables": dict(dataset.history.versions),
            },
        }

    def _champion(self, production: Version | None) -> tuple[Package | None, list[Verdict]]:
        """Return whom a candidate is compared with; one that cannot be asked any more must not keep out its successor."""
        if production is None:
            return None, []
        try:
            return self.versions.get(self.release.model, production.number).package, []
        except SchemaError as error:
            why = f"version {production.number} in production is not asked any more: {error}"
            return None, [
                Verdict("a champion that can be asked", passed=True, value=None, why=why.rstrip("."))
            ]

    def _verdicts(
        self, number: int, champion: Package | None, alone: str, rows: TrainingSet, split: Split
    ) -> list[Verdict]:
        model = self.release.model
        try:
            candidate = self.versions.get(model, number).package
        except SchemaError as error:
            return [Verdict("fits what is declared", passed=False, value=None, why=str(error).rstrip("."))]

        def skew() -> Skew:
            return self.skew(split.test[0])

        known = 0 if champion is None else champion.manifest.period[1] + model.label.takes_us
        case = Case(
            model, rows, candidate, champion, self.clock, skew, known, self.release.has_rollout, alone
        )
        return [*judge_candidate(self.release.gates, case), *unseen(candidate, model, split)]

    def _decide(
        self, number: int, verdict: Mapping[str, Any], *, by: str, cause: str, trigger: str = ""
    ) -> Callable[[Transaction], None]:
        """Return the effect of a verdict: stage moves and one audit row, all in the caller's transaction."""
        name = self.release.model.name
        evidence = dict(verdict) | ({"trigger": trigger} if trigger else {})

        def move(tx: Transaction, to: Stage) -> None:
            self.registry.move(name, number, to, by=by, why=verdict["why"], evidence=evidence, tx=tx)

        def apply(tx: Transaction) -> None:
            champion = self.registry.production(name)
            if (None if champion is None else champion.number) != verdict["champion"]:
                raise Conflict(
                    f"{name} version {number} was judged against version {verdict['champion']}, which is no longer in "
                    f"production. Nothing was changed. Promote it again: tenfold promote PROJECT.py {name} {number}."
                )
            # again, as another process may have begun its rollout while it was judged
            if self._check_new(number) is Stage.NONE:
                move(tx, Stage.STAGING)
            decision = self._decision(verdict)
            why = f"{trigger}: {verdict['why']}" if trigger else verdict["why"]
            self.audit.record(
                "gate", f"{name}/{number}", decision, why, by=by, evidence=evidence, cause=cause, tx=tx
            )
            if decision == ADMITTED:
                self.rolling.begin(
                    tx, number, verdict["champion"], by=by, why=verdict["why"], evidence=evidence
                )
            else:
                move(tx, Stage.PRODUCTION if verdict["passed"] else Stage.ARCHIVED)

        return apply

    def _decision(self, verdict: Mapping[str, Any]) -> str:
        """Return what follows from a verdict: without a champion that is asked too there is nothing to be rolled out beside."""
        if not verdict["passed"]:
            return "refused"
        compared = verdict.get("compared", verdict["champion"] is not None)  # older runs do not say
        return ADMITTED if self.release.has_rollout and compared else "promoted"

    def _scheduled(self, now: int) -> list[tuple[str, str]]:
        every, gate, failed = self.release.every_us, self._newest("gate", now), self._last_failed()
        newest = self._in_production_since(now) if gate is None else gate.at
        if every is None or newest is None or now - newest < every or self._failed_lately(now):
            return []
        days = (now - newest) // UNITS["d"]
        name, since = self.release.model.name, _since(newest, self._newest("gate"), failed)
        return [(f"schedule/{name}/{since}", f"schedule: the last training was {days} days ago")]

    def _degraded(self, now: int, tell: Callable[[str], object]) -> list[tuple[str, str]]:
        """Return the cause of a training when a monitor of this week asks for one that was not done yet."""
        name, newest = self.release.model.name, self._newest("gate", now)
        if self.registry.production(name) is None:
            return []
        asked = [
            item
            for check, item in self._said(now).items()
            if item.decision == "degraded" and check.then == "retrain"
        ]
        resting = newest is not None and now - newest.at < self.release.cooldown_us
        if not asked or resting or self._failed_lately(now):
            return []
        since = _since(asked[0].at, asked[0], self._last_failed())
        cause, why = f"degraded/{name}/{since}", f"degraded: {asked[0].why}"
        trained = self.journal.find(KIND, cause)
        if trained is not None and trained.status == "done":
            self._say_trained(cause, why, trained, now, tell)
            return []
        return [(cause, why)]

    def _say_trained(
        self, cause: str, why: str, trained: JournalRun, now: int, tell: Callable[[str], object]
    ) -> None:
        """Say, once, that what a monitor asks for was done, and from when on it may ask again."""
        name = self.release.model.name
        said = self._newest("training", decision=WAITS)
        if said is not None and said.evidence["cause"] == cause:
            return
        told = (
            f"nothing is trained until the monitors are judged again, on {iso((now // WEEK + 1) * WEEK)[:10]}: "
            f"{trained.id} was trained because of what they said last ({why})"
        )
        evidence = {"cause": cause, "run": trained.id}
        self.audit.record("training", name, WAITS, told, by=LOOP, evidence=evidence, cause=f"{cause}/{WAITS}")
        tell(told)

    def _said(self, now: int) -> dict[Check, Decision]:
        """Return what the monitors that are declared now said last, in this week, as far as they did."""
        newest = reversed(self.audit.list(self.release.model.name, "monitor"))
        # no further back than to what a clock that was ahead may have said
        week = takewhile(lambda item: item.at // WEEK == now // WEEK, newest)
        said = {(item.evidence["check"], item.evidence.get("window")): item for item in week}
        found = {check: said.get((check.text, check.window)) for check in self.release.monitors}
        return {check: item for check, item in found.items() if item is not None}

    def _watch(self, now: int) -> None:
        """Judge every monitor on matured predictions and record what it says, once a week."""
        model, said = self.release.model, self._said(now)
        new = [check for check in self.release.monitors if check not in said]
        if not new or self.registry.production(model.name) is None:
            return
        last = self.audit.list(model.name, "monitor", 1)
        takes = model.label.takes_us
        longest = max(check.window or 0 for check in new)
        served = self.matured(now - takes - longest, now)
        for check in new:
            rows = served.between(now - takes - (check.window or 0), now)
            told = rows.numbered()
            no_number = len(rows.y) - len(told.y)
            verdict = judge(check, told.metrics([check.metric])[check.metric])
            state = {True: "healthy", False: "degraded", None: "undecided"}[verdict.passed]
            why = f"{verdict.why} over {len(told.y):,} matured predictions"
            why += f", without {no_number:,} that have no number" if no_number else ""
            evidence = verdict.evidence() | {
                "window": check.window,
                "then": check.then,
                "no_number": no_number,
            }
            # after what was said last: a clock that was ahead may have judged the same week
            cause = f"{now // WEEK}/{last[-1].seq if last else 0}/{check.text}/{check.window}"
            self.audit.record("monitor", model.name, state, why, by=LOOP, evidence=evidence, cause=cause)

    def _in_production_since(self, now: int) -> int | None:
        """Return when the version in production was made, for a model that a person trained and promoted."""
        name = self.release.model.name
        version = self.registry.production(name)
        if version is None or version.created <= now:
            return None if version is None else version.created
        made = (one.created for one in self.registry.versions(name))  # that one by a clock that was ahead
        return max((moment for moment in made if moment <= now), default=None)

    def _failed_lately(self, now: int) -> bool:
        failed = self._last_failed(now)
        return failed is not None and now - failed.at < UNITS["d"]

    def _last_failed(self, until: int = FOREVER) -> Decision | None:
        return self._newest("training", until, "failed")

    def _newest(self, kind: str, until: int = FOREVER, decision: str | None = None) -> Decision | None:
        """Return what the loop itself last decided about a training; what a person tried does not count.

        Nor does with `until`, of now, what was decided by a clock that was ahead.
        """
        return self.audit.newest(kind, self.release.model.name, LOOP, decision, until=until)


def _since(moment: int, *decisions: Decision | None) -> str:
    """Return what tells one attempt from the next: when the last of some decisions was taken, by whatever clock, or a moment."""
    known = sorted((item.seq, item.at) for item in decisions if item is not None)
    return iso(known[-1][1] if known else moment)
