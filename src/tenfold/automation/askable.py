"""Whether the versions of a rollout can be asked under the declaration that runs, and what follows where one cannot."""

from collections.abc import Callable
from dataclasses import dataclass

from tenfold.automation.deciding import Decision
from tenfold.automation.release import Release
from tenfold.core.errors import FilesElsewhere, OtherKind, SchemaError
from tenfold.registry.rollouts import Rollout

Load = Callable[[int], object]
"""Gives a version as a server holds it; SchemaError when no server that runs this declaration could ask it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rollout stands, what would be decided of it now, and why its champion cannot be asked, where that is so."""

    rollout: Rollout
    decision: Decision | None
    unasked: str | None = None


def refusal(load: Load, number: int) -> SchemaError | None:
    """Return why a version cannot be asked, None when it can, or when that cannot be told."""
    try:
        load(number)
    except SchemaError as error:
        return error
    except Exception:  # noqa: BLE001 - what it raises is counted where it is asked
        return None
    return None


def unasked(load: Load, rollout: Rollout) -> str | None:
    """Return why the champion of an open rollout cannot be asked, None when it can."""
    error = refusal(load, rollout.champion) if rollout.is_open else None
    return None if error is None else str(error)


def other_kind(load: Load, rollout: Rollout) -> str | None:
    """Return why no outcome says anything of a rollout: what one of its versions said is not what is predicted now."""
    found = (refusal(load, number) for number in (rollout.champion, rollout.candidate))
    return next((_told(error) for error in found if isinstance(error, OtherKind)), None)


def is_left(load: Load, rollout: Rollout) -> bool:
    """Return whether another home has to say how a rollout stands: it has the files of both versions, this one has not."""
    for number in (rollout.champion, rollout.candidate):
        try:
            load(number)
        except FilesElsewhere:
            return True
        except Exception:  # noqa: BLE001, S110 - what it raises is counted where it is asked
            pass
    return False


def alone(load: Load, rollout: Rollout, release: Release, found: Decision) -> Decision:
    """Return what to do where the champion cannot be asked: the gates, which let the candidate in, decide without it.

    What speaks against the candidate, and what a person wants, goes before that.
    """
    champion = refusal(load, rollout.champion)
    if champion is None or found.action == "undo":
        return found
    why = f"the champion cannot be asked: {_told(champion)}"
    candidate = refusal(load, rollout.candidate)
    if rollout.paused:
        return Decision("wait", f"paused; {why}", found.evidence)
    if candidate is not None:
        return Decision("hold", f"{why}; nor can the candidate: {_told(candidate)}", found.evidence)
    if release.approval and not rollout.approved:
        ask = f"tenfold rollout approve PROJECT.py {rollout.model}"
        return Decision("hold", f"{why}; the candidate waits for a person: {ask}", found.evidence)
    return Decision("promote", f"{why}. So the gates alone decide, and they let it in", found.evidence)


def _told(error: SchemaError) -> str:
    return str(error).rstrip(".")
