"""Model versions, their stages and the append-only history of every move."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, NotFound
from tenfold.registry.schema import (
    ADD_EVENT,
    BY_NUMBER,
    BY_RUN,
    EVENTS,
    LAST_EVENT,
    MODELS,
    PRODUCTION,
    REGISTER,
    SET_STAGE,
    VERSIONS,
)
from tenfold.registry.schema import SCHEMA as SCHEMA
from tenfold.registry.stages import MOVES, champions, former
from tenfold.registry.stages import Stage as Stage
from tenfold.registry.stages import StageEvent as StageEvent
from tenfold.sources.database import Database, Row, Transaction

MOST = 2**31
"""No version has this number: a database may hold no larger one."""


@dataclass(frozen=True, slots=True)
class Version:
    """One trained result of a model. Only its stage ever changes.

    `created` is in microseconds since 1970 UTC; `digest` is the sha256 of the blob named `artefact`.
    """

    model: str
    number: int
    run_id: str
    digest: str
    artefact: str
    created: int
    stage: Stage
    info: dict[str, Any]
    drawn: Callable[["Version"], str | None] | None = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str | None:
        """Return its card, for a notebook; None leaves it at the text."""
        return None if self.drawn is None else self.drawn(self)


class Registry:
    """The model versions of a project; durable when a method returns, usable from several processes.

    At every moment at most one version of a model is in production. A version's stage and the event that explains it
    commit together; events are never changed or deleted. `move` and `rollback` take an open transaction as `tx`, to
    commit together with a step of the journal (see `tenfold.automation.steps.Effect`).

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.core.clock import VirtualClock
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> with TemporaryDirectory() as folder:
    ...     database = SQLiteDatabase(Path(folder) / "state.db", SCHEMA)
    ...     registry = Registry(database, VirtualClock(0))
    ...     for run_id in ("r0001", "r0002"):
    ...         version = registry.register("fraud", run_id=run_id, digest="d", artefact=run_id, info={})
    ...         for stage in (Stage.STAGING, Stage.PRODUCTION):
    ...             event = registry.move("fraud", version.number, stage, by="ann", why="passed", evidence={})
    ...     event = registry.rollback("fraud", by="ann", why="errors rose")
    ...     stages = [(version.number, version.stage.value) for version in registry.versions("fraud")]
    ...     database.close()
    >>> event.version, stages
    (1, [(1, 'production'), (2, 'archived')])
    """

    def __init__(
        self, database: Database, clock: Clock, *, drawn: Callable[[Version], str | None] | None = None
    ) -> None:
        self._database, self._clock, self._drawn = database, clock, drawn

    def register(
        self, model: str, *, run_id: str, digest: str, artefact: str, info: Mapping[str, Any]
    ) -> Version:
        """Number the result of a run; the same run again returns the version it already has.

        Raises
        ------
        Conflict
            When the run is registered with another digest.
        """
        values = (model, run_id, digest, artefact, self._clock.now(), _json(info))
        with self._database.transaction() as tx:
            tx.execute(REGISTER, values)
            version = self._version(tx.execute(BY_RUN, (model, run_id)).fetchone())
        if version.digest != digest:
            raise Conflict(
                f"run {run_id} is already {_name(version)} with digest {version.digest}, not {digest}. "
                "Register the new files under a new run."
            )
        return version

    def get(self, model: str, number: int) -> Version:
        """Return a version; NotFound names the known models or versions."""
        rows = self._database.query(BY_NUMBER, model, number) if 0 < number < MOST else []
        if not rows:
            raise self._missing(model, number)
        return self._version(rows[0])

    def versions(self, model: str) -> list[Version]:
        """Return the versions of a model by number; an empty list when nothing is registered yet."""
        return [self._version(row) for row in self._database.query(VERSIONS, model)]

    def production(self, model: str) -> Version | None:
        """Return the version in production, None when there is none."""
        rows = self._database.query(PRODUCTION, model)
        return self._version(rows[0]) if rows else None

    def models(self) -> list[str]:
        """Return the names of the models that have a version, sorted."""
        return [row["model"] for row in self._database.query(MODELS)]

    def history(self, model: str) -> list[StageEvent]:
        """Return every move of a model's versions, oldest first."""
        return [_event(row) for row in self._database.query(EVENTS, model)]

    def move(
        self,
        model: str,
        number: int,
        to: Stage,
        *,
        by: str,
        why: str,
        evidence: Mapping[str, Any],
        expect: int | None = None,
        tx: Transaction | None = None,
    ) -> StageEvent:
        """Move a version to a stage; a move to production archives the champion in the same transaction.

        `expect` is the seq of the model's last event that the caller saw, 0 when it saw none: compare and swap.

        Raises
        ------
        NotFound
            When there is no such version.
        Conflict
            When the model moved since `expect`, or the stage cannot be reached from the present one. Nothing changed.
        """
        with self._transaction(tx) as tx:
            row = tx.execute(BY_NUMBER, (model, number)).fetchone()
            if row is None:
                raise self._missing(model, number)
            version = self._version(row)
            if expect is not None:
                _check_last(tx, model, expect)
            _check_move(version, to)
            if to is Stage.PRODUCTION:
                self._archive_champion(tx, version, by=by, why=why)
            return self._set(tx, version, to, by=by, why=why, evidence=evidence)

    def fallback(self, model: str, to: int | None = None) -> tuple[Version, int]:
        """Return the version that `rollback` would make champion, and the seq of the model's last event, to expect.

        Raises as `rollback` does.
        """
        with self._database.transaction() as tx:
            last = tx.execute(LAST_EVENT, (model,)).fetchone()["seq"]
            return self._fallback(tx, model, to), last

    def rollback(
        self,
        model: str,
        *,
        by: str,
        why: str,
        to: int | None = None,
        evidence: Mapping[str, Any] | None = None,
        expect: int | None = None,
        tx: Transaction | None = None,
    ) -> StageEvent:
        """Make the champion before the present one champion again, or the one numbered `to`, and archive the present one.

        The order is that of the promotions, not of the numbers. Each call goes one further back. When the champion
        was archived by hand and none is in production, that last champion returns. `expect` is as in `move`.

        Raises
        ------
        NotFound
            When there is no earlier champion, or no version `to`. Nothing changed.
        Conflict
            When `to` never was champion, or is, or the model moved since `expect`. Nothing changed.
        """
        with self._transaction(tx) as tx:
            if expect is not None:
                _check_last(tx, model, expect)
            version = self._fallback(tx, model, to)
            self._archive_champion(tx, version, by=by, why=why)
            return self._set(tx, version, Stage.PRODUCTION, by=by, why=why, evidence=evidence or {})

    def _fallback(self, tx: Transaction, model: str, to: int | None) -> Version:
        events = [_event(row) for row in tx.execute(EVENTS, (model,))]
        if to is not None:
            return self._former(tx, model, to, events)
        found = champions(events)
        if tx.execute(PRODUCTION, (model,)).fetchone():
            found.pop()
        if not found:
            raise self._no_champion(model, events)
        return self._version(tx.execute(BY_NUMBER, (model, found[-1])).fetchone())

    def _former(self, tx: Transaction, model: str, number: int, events: Sequence[StageEvent]) -> Version:
        """Return a version that was champion and is not: the gates let it in then."""
        row = tx.execute(BY_NUMBER, (model, number)).fetchone() if 0 < number < MOST else None
        if row is None:
            raise self._missing(model, number)
        version = self._version(row)
        if version.stage is Stage.PRODUCTION:
            raise Conflict(f"{_name(version)} is in production already; nothing was changed.")
        known = former(events)
        if number not in known:
            were = ", ".join(map(str, known)) or "none"
            new = f" To have it judged: tenfold promote PROJECT.py {model} {number}."
            raise Conflict(
                f"{_name(version)} was never in production, so no rollback leads there; nothing was changed. "
                f"Those that were: {were}.{new if version.stage is Stage.NONE else ''}"
            )
        return version

    def _transaction(self, tx: Transaction | None) -> AbstractContextManager[Transaction]:
        return self._database.transaction() if tx is None else nullcontext(tx)

    def _archive_champion(self, tx: Transaction, successor: Version, *, by: str, why: str) -> None:
        row = tx.execute(PRODUCTION, (successor.model,)).fetchone()
        if row is not None:
            evidence = {"replaced_by": successor.number}
            self._set(tx, self._version(row), Stage.ARCHIVED, by=by, why=why, evidence=evidence)

    def _set(
        self,
        tx: Transaction,
        version: Version,
        to: Stage,
        *,
        by: str,
        why: str,
        evidence: Mapping[str, Any],
    ) -> StageEvent:
        place = (version.model, version.number)
        tx.execute(SET_STAGE, (to, *place))
        values = (*place, version.stage, to, self._clock.now(), by, why, _json(evidence))
        (row,) = tx.execute(ADD_EVENT, values).fetchall()
        return _event(row)

    def _version(self, row: Row) -> Version:
        return Version(
            model=row["model"],
            number=row["number"],
            run_id=row["run_id"],
            digest=row["digest"],
            artefact=row["artefact"],
            created=row["created"],
            stage=Stage(row["stage"]),
            info=msgspec.json.decode(row["info"]),
            drawn=self._drawn,
        )

    def _no_champion(self, model: str, events: Sequence[StageEvent]) -> NotFound:
        if model not in self.models():
            return self._no_version(model)
        versions = self.versions(model)
        new = [version.number for version in versions if version.stage is Stage.NONE]
        archived = {version.number for version in versions if version.stage is Stage.ARCHIVED}
        later = [number for number in former(events) if number in archived]
        coming = [version.number for version in versions if version.stage is Stage.STAGING]
        hint = "" if new or later or coming else _no_other(model, len(versions))
        if coming:
            hint += (
                f" Version {coming[-1]} is on its way to production; see: tenfold rollout show PROJECT.py {model}. "
                f"To agree to it or end it: tenfold rollout approve|undo PROJECT.py {model}."
            )
        if later:
            hint += (
                f" One that was there later comes back: tenfold rollback PROJECT.py {model} --to {later[-1]}."
            )
        if new:
            hint += (
                f" Promote a version that was not judged yet: tenfold promote PROJECT.py {model} {new[-1]}."
            )
        return NotFound("earlier production version of model", model, (), hint=hint)

    def _missing(self, model: str, number: int) -> NotFound:
        numbers = [str(version.number) for version in self.versions(model)]
        if not numbers:
            return self._no_version(model)
        return NotFound("version", str(number), numbers, within=f'model "{model}"')

    def _no_version(self, model: str) -> NotFound:
        models = self.models()
        others = f" Models with versions: {', '.join(models)}." if models else ""
        hint = f" None exists yet; train one: tenfold train PROJECT.py {model}.{others}"
        return NotFound("version of model", model, models, hint=hint)


def _no_other(model: str, count: int) -> str:
    others = "Every other was refused" if count > 1 else "There is no other version yet"
    return f" {others}. Train one: tenfold train PROJECT.py {model}."


def _check_last(tx: Transaction, model: str, expect: int) -> None:
    last = tx.execute(LAST_EVENT, (model,)).fetchone()["seq"]
    if last != expect:
        raise Conflict(
            f'model "{model}" moved since you looked: its last event is {last}, you saw {expect}. '
            f'Look again with registry.history("{model}") and decide anew.'
        )


def _check_move(version: Version, to: Stage) -> None:
    if to in MOVES[version.stage]:
        return
    moves = [stage.value for stage in MOVES[version.stage]]
    if version.stage is Stage.ARCHIVED:
        moves.append(f'production by registry.rollback("{version.model}", by=..., why=...)')
    raise Conflict(
        f"{_name(version)} is in stage {version.stage.value} and cannot move to {to.value}. "
        f"From {version.stage.value} it can move to: {', '.join(moves)}."
    )


def _name(version: Version) -> str:
    return f"{version.model} version {version.number}"


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _event(row: Row) -> StageEvent:
    return StageEvent(
        seq=row["seq"],
        model=row["model"],
        version=row["version"],
        from_stage=Stage(row["from_stage"]),
        to_stage=Stage(row["to_stage"]),
        at=row["at"],
        by=row["by"],
        why=row["why"],
        evidence=msgspec.json.decode(row["evidence"]),
    )
