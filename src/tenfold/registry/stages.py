"""Where a version may stand, how it gets from there to where, and who was champion when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Stage(StrEnum):
    """Where a version stands; at most one version of a model is in production."""

    NONE = "none"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


MOVES: Mapping[Stage, tuple[Stage, ...]] = {
    Stage.NONE: (Stage.STAGING,),
    Stage.STAGING: (Stage.PRODUCTION, Stage.ARCHIVED),
    Stage.PRODUCTION: (Stage.ARCHIVED,),
    Stage.ARCHIVED: (),
}
"""What `Registry.move` allows; only `Registry.rollback` leads out of archived."""


@dataclass(frozen=True, slots=True)
class StageEvent:
    """One move of one version: who or what moved it, when (microseconds since 1970 UTC), why, and on what numbers."""

    seq: int
    model: str
    version: int
    from_stage: Stage
    to_stage: Stage
    at: int
    by: str
    why: str
    evidence: dict[str, Any]


def champions(events: Iterable[StageEvent]) -> list[int]:
    """Return the numbers a model can fall back through, the newest champion last.

    A promotion adds its version; a rollback drops every version above the one it restored, so that the next
    rollback goes one further back instead of forth. One that is restored after it was dropped is added again.

    Examples
    --------
    >>> def to_production(version, before):
    ...     return StageEvent(0, "m", version, before, Stage.PRODUCTION, 0, "ann", "", {})
    >>> promotions = [to_production(number, Stage.STAGING) for number in (1, 2, 3)]
    >>> champions(promotions)
    [1, 2, 3]
    >>> champions([*promotions, to_production(2, Stage.ARCHIVED)])
    [1, 2]
    >>> champions([*promotions, to_production(1, Stage.ARCHIVED), to_production(3, Stage.ARCHIVED)])
    [1, 3]
    """
    found: list[int] = []
    for event in events:
        if event.to_stage is not Stage.PRODUCTION:
            continue
        if event.version in found:
            del found[found.index(event.version) :]
        found.append(event.version)
    return found


def former(events: Iterable[StageEvent]) -> list[int]:
    """Return the numbers that were ever in production, sorted."""
    return sorted({event.version for event in events if event.to_stage is Stage.PRODUCTION})
