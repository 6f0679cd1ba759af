"""The way back, verified: the version to return to is loaded and replays its golden rows before anything moves."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tenfold.automation.audit import Audit, check_by
from tenfold.core.errors import GateFailed, TenfoldError
from tenfold.registry.versions import Registry, StageEvent, Version
from tenfold.serving.answer.service import Versions
from tenfold.sources.base import Blobs
from tenfold.sources.database import Database
from tenfold.training.model import Model


def roll_back(
    model: Model,
    database: Database,
    registry: Registry,
    blobs: Blobs,
    audit: Audit,
    *,
    by: str,
    why: str,
    to: int | None = None,
) -> StageEvent:
    """Make the previous champion champion again, or the one numbered `to`: one transaction with its audit row.

    The files are read from the store, not from memory: their checksums, golden rows and features are checked as when
    a server loads them. Only the version that was checked can become champion, also when somebody moves another one
    meanwhile.

    Raises
    ------
    NotFound
        When there is no earlier champion, or no version `to`.
    GateFailed
        When it cannot be served. Nothing changed, and the refusal is in the audit log.
    Conflict
        When `to` never was champion, or is, or the model moved meanwhile. Nothing changed.
    """
    check_by(by)
    version, seen = registry.fallback(model.name, to)
    check_servable(version, partial(Versions(registry, blobs).get, model), registry, audit, by=by)
    subject = _subject(version)
    left = registry.production(model.name)
    with database.transaction() as tx:
        event = registry.rollback(model.name, to=to, by=by, why=why, expect=seen, tx=tx)
        evidence = {"seq": event.seq, "from": _shown(left), "to": _shown(version)}
        audit.record("rollback", subject, "rolled back", why, by=by, evidence=evidence, tx=tx)
    return event


def _shown(version: Version | None) -> dict[str, Any] | None:
    """Return what is known of a version: its number and what its training measured."""
    return None if version is None else {"version": version.number, "metrics": version.info.get("metrics")}


def check_servable(
    version: Version, load: Callable[[int], object], registry: Registry, audit: Audit, *, by: str
) -> None:
    """Load a version to return to as a server would; GateFailed when that fails, and the refusal is in the audit log."""
    try:
        load(version.number)
    except TenfoldError as error:
        told = _refusal(version, registry.production(version.model), error)
        evidence = {"error": type(error).__name__}
        audit.record("rollback", _subject(version), "refused", told, by=by, evidence=evidence)
        raise GateFailed(told) from error


def _subject(version: Version) -> str:
    return f"{version.model}/{version.number}"


def _refusal(version: Version, champion: Version | None, error: TenfoldError) -> str:
    stays = f"version {champion.number} is still in production" if champion else "none is in production"
    place = f"PROJECT.py {version.model}"
    return (
        f"{version.model} version {version.number} cannot be served, so nothing was changed: {stays}. Why: {error} "
        f"What to do: make its files again (tenfold models rebuild {place} {version.number} --restore), "
        f"or promote another version (tenfold promote {place} NUMBER)."
    )
