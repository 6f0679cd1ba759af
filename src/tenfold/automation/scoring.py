"""Batch scoring as durable runs: a period is cut into partitions, and each is a step that is done once."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tenfold.automation.audit import Audit, check_by
from tenfold.automation.journal import Journal, JournalRun
from tenfold.automation.steps import Effect, Step
from tenfold.core.errors import Conflict, NotFound, Unavailable
from tenfold.core.times import duration, iso
from tenfold.processing.frame import from_arrow
from tenfold.serving.answer.predictions import SCORES, PredictionLog
from tenfold.serving.answer.traffic import Traffic
from tenfold.serving.batch import score, send
from tenfold.serving.scores import Partition, partitions, stored, tally
from tenfold.sources.base import Lake
from tenfold.training.model import Model
from tenfold.training.ranges import Ranges
from tenfold.training.watch import Step as Shown
from tenfold.training.watch import Unwatched, Watch

KIND = "score"


@dataclass(frozen=True, slots=True)
class Scored:
    """What a run of batch scoring did.

    Attributes
    ----------
    rows, decided
        How many rows it answered or found answered, and how many of them are decided true; None without a threshold.
    mean
        The mean score of the rows that have one; None when there are none.
    no_number
        How many of the rows have neither score nor decision, because the version that answered gave no finite number.
    left_out
        How many more rows were not answered, as a window of theirs holds more than can be summed exactly; the log says of one why.
    versions
        Rows by the version that answered.
    partitions
        What was done of each, by its period; where it was scored again, `before` says how many rows it had, and in which
        version of the table they still are.
    """

    rows: int
    decided: int | None
    mean: float | None
    versions: Mapping[str, int]
    partitions: Mapping[str, Mapping[str, Any]]
    no_number: int = 0
    left_out: int = 0


class Scoring:
    """Scores the rows of one model in batch; usable in any process, and several at once for periods that do not overlap.

    Parameters
    ----------
    ranges
        Gives the rows of the model's spine over the newest tables.
    log
        Where answers are put too, when they go downstream.
    """

    def __init__(
        self,
        model: Model,
        ranges: Callable[[], Ranges],
        lake: Lake,
        traffic: Callable[[], Traffic],
        journal: Journal,
        audit: Audit,
        log: PredictionLog | None = None,
    ) -> None:
        self.model = model
        self._ranges, self._lake, self._traffic = ranges, lake, traffic
        self._journal, self._audit, self._log = journal, audit, log

    def run(
        self,
        start: int,
        end: int,
        *,
        every: str | None = "1d",
        again: bool = False,
        by: str = "user",
        cause: str | None = None,
        watch: Watch | None = None,
    ) -> Scored:
        """Score the rows predicted in [start, end), partition by partition, and return what was done.

        A run that a crash interrupted goes on at its first unfinished partition when the same is asked for again.

        Parameters
        ----------
        every
            How long a partition is, such as "1h"; partitions begin at multiples of it since 1970 UTC. None takes the period
            as one.
        again
            Replace what was answered before.
        by
            Who asks, for the audit log: it says what was replaced.
        cause
            Makes it one run, however many processes ask for it.

        Raises
        ------
        Conflict
            When another process, or thread, scores rows of that period now. Nothing was done.
        """
        check_by(by)
        _span(every)
        wanted = {"model": self.model.name, "start": start, "end": end, "every": every, "again": again}
        if again:
            wanted["by"] = by
        left = self._left(start, end, again=again)
        for run in left:
            if {name: run.input.get(name) for name in wanted} == wanted:
                return self._finished(run.id, run.input, watch)
        for run in left:
            self._settle(run, start, end, by)
        given = wanted | {"by": by}
        name = f"{self.model.name}/{iso(start)}/{iso(end)}/{cause or uuid.uuid4().hex}"
        run_id = self._journal.begin(KIND, name, given)
        given = self._journal.get(run_id).input  # a cause that is known keeps the partitions it began with
        try:
            return self._finished(run_id, given, watch)
        except Conflict as error:
            if not cause:  # who asked is told so, and asks again
                self._journal.withdraw(run_id, str(error))
            raise

    def _left(self, start: int, end: int, *, again: bool) -> list[JournalRun]:
        """Return the runs over rows of a period that have not come to their end, those of the same kind of asking.

        One that failed may have stored answers that it did not send, and nobody else would. What is scored again is sent
        in any case.
        """
        failed = [] if again else [run for run in self._journal.failed(KIND) if run.results]
        return [
            run
            for run in (*failed, *self._journal.unfinished())
            if run.kind == KIND
            and (run.input["model"], run.input["again"]) == (self.model.name, again)
            and run.input["start"] < end
            and start < run.input["end"]
        ]

    def _settle(self, run: JournalRun, start: int, end: int, by: str) -> None:
        """Finish another run that nobody is at, or end it, where all of its period is scored again by somebody else."""
        if run.status != "failed" and run.id not in {stuck.id for stuck in self._journal.stuck()}:
            return  # a process that lives is at it
        if not run.input["again"]:
            self._finished(run.id, run.input, None)
        elif start <= run.input["start"] and run.input["end"] <= end:
            self._journal.withdraw(run.id, f"{by} has its period scored again", fence=run.fence)

    def holds(self, start: int, end: int) -> bool:
        """Return whether anything is stored for rows predicted in [start, end)."""
        return bool(stored(self._lake, self.model.name, start, end, ["at"]).num_rows)

    def resume(self) -> int:
        """Finish the runs that nobody works on, each from its first unfinished partition; return how many."""
        mine = [
            run
            for run in self._journal.stuck()
            if run.kind == KIND and run.input.get("model") == self.model.name
        ]
        done = 0
        for run in mine:
            with suppress(Conflict, NotFound):  # another process is at it, or there is no version any more
                self._finished(run.id, run.input, None)
                done += 1
        return done

    def _finished(self, run_id: str, given: Mapping[str, Any], watch: Watch | None) -> Scored:
        with closing(self._ranges()) as ranges:
            return self._done(ranges, run_id, given, watch)

    def _done(self, ranges: Ranges, run_id: str, given: Mapping[str, Any], watch: Watch | None) -> Scored:
        start, end, every = given["start"], given["end"], _span(given["every"])
        parts = self._partitions(ranges.times(start, end), start, end, every, again=given["again"])
        shown = (watch or Unwatched()).step(f"score {self.model.name}", sum(part.rows for part in parts))
        # each call is an owner of its own: another thread of this process may be at the same run
        owner = f"score {self.model.name}/{iso(start)}/{iso(end)}/{uuid.uuid4().hex}"
        hold = partial(self._journal.hold, run_id, owner)
        steps = [step for part in parts for step in self._steps(ranges, part, run_id, given, shown, hold)]

        def overlaps(other: Mapping[str, Any]) -> bool:
            return other["model"] == self.model.name and other["start"] < end and start < other["end"]

        try:
            done = self._journal.run(
                run_id,
                steps,
                owner=owner,
                declaration=self.model.fingerprint,
                edited="continue",
                apart=overlaps,  # each would store, and send, rows that the other does not see yet
            )
        except Unavailable as error:
            stored_upto = int(run_id[1:]) if given["again"] else 1
            count = sum(self._lake.position(SCORES, part.writer) >= stored_upto for part in parts)
            if not count:
                raise
            raise halfway(error, count, len(parts)) from error
        return self._scored({part.name: done[part.name] for part in parts})

    def _partitions(
        self, at: np.ndarray, start: int, end: int, every: int | None, *, again: bool
    ) -> list[Partition]:
        """Return the partitions that have rows; when they are scored again, also those that had some."""
        found = {part.name: part for part in partitions(self.model.name, at, start, end, every)}
        if again:
            held = from_arrow(stored(self._lake, self.model.name, start, end, ["at"]), {"at": "time"})
            before = partitions(self.model.name, held["at"].values, start, end, every)
            gone = [Partition(part.model, part.start, part.end) for part in before if part.name not in found]
            found |= {part.name: part for part in gone}
        return sorted(found.values(), key=lambda part: part.start)

    def _steps(
        self,
        ranges: Ranges,
        part: Partition,
        run_id: str,
        given: Mapping[str, Any],
        shown: Shown,
        hold: Callable[[], None],
    ) -> list[Step]:
        run = int(run_id[1:])

        def before(results: Mapping[str, Any]) -> Any:  # noqa: ARG001
            rows = tally(self._lake, part).rows if given["again"] else None
            return {"rows": rows, "table": self._lake.version(SCORES)}

        def answer(results: Mapping[str, Any]) -> Any:  # noqa: ARG001
            told = score(
                ranges,
                part,
                self._lake,
                self._traffic(),
                run=run,
                again=given["again"],
                advance=shown.advance,
                hold=hold,
            ).plain()
            return {"told": told, "table": self._lake.version(SCORES)}

        def sent(results: Mapping[str, Any]) -> Any:
            found, made = results[f"before {part.name}"], results[f"answer {part.name}"]
            told, before = made["told"], -1 if given["again"] else found["table"]
            if self._log is not None:
                hold()
                send(self._lake, part, self._log, run=run, version=made["table"], before=before)
            return (
                self._replaced(part, run, given["by"], told | {"before": found}) if given["again"] else told
            )

        # steps of their own: after a crash, nobody could say what was there before, and which rows were sent as a piece
        return [(f"before {part.name}", before), (f"answer {part.name}", answer), (part.name, sent)]

    def _replaced(self, part: Partition, run: int, by: str, told: Mapping[str, Any]) -> Effect:
        """Return what was done, with its audit row, which is recorded with it."""
        why = f"{told['rows']:,} rows of {part.name}, instead of {told['before']['rows']:,}"
        cause = f"{run}/{part.name}"

        def record(tx: Any) -> None:
            self._audit.record(
                KIND, self.model.name, "scored again", why, by=by, evidence=told, cause=cause, tx=tx
            )

        return Effect(told, record)

    def _scored(self, done: Mapping[str, Mapping[str, Any]]) -> Scored:
        rows = sum(told["rows"] for told in done.values())
        versions: dict[str, int] = {}
        for told in done.values():
            for number, count in told["versions"].items():
                versions[number] = versions.get(number, 0) + count
        decided = None if self.model.threshold is None else sum(told["decided"] for told in done.values())
        no_number, left_out = (
            sum(told.get(name, 0) for told in done.values()) for name in ("no_number", "left_out")
        )
        # an older release counted neither, and its total was null where one was among the rows
        known = [told for told in done.values() if told["total"] is not None]
        numbers = sum(told["rows"] - told.get("no_number", 0) for told in known)
        mean = sum(told["total"] for told in known) / numbers if numbers else None
        return Scored(rows, decided, mean, versions, done, no_number, left_out)


def halfway(error: Unavailable, done: int, count: int) -> Unavailable:
    """Return an error that says how many partitions are stored, in the place of one by which nothing was changed.

    Examples
    --------
    >>> halfway(Unavailable("the disk is full. Nothing was changed. Make room and try again."), 2, 7)
    Unavailable('the disk is full. 2 of 7 partitions are stored, and the same call goes on behind them. Make room and try again.')
    """
    so_far = f"{done} of {count} partitions are stored, and the same call goes on behind them"
    return Unavailable(str(error).replace("Nothing was changed", so_far))


def _span(every: str | None) -> int | None:
    """Return how long a partition is, in microseconds; None when a period is one."""
    return None if every is None else duration(every, name="every")
