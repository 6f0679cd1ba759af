"""What persons ask for of a rollout, beside a controller that moves it on meanwhile."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from tenfold.core.errors import Conflict
from tenfold.registry.rollouts import Moved, Rollout, Rollouts


class Driven(Protocol):
    """Whoever has the rollouts."""

    @property
    def rollouts(self) -> Rollouts:
        """All of them."""
        ...


Owner = TypeVar("Owner", bound=Driven)
Given = ParamSpec("Given")
Act = Callable[Concatenate[Owner, Given], Rollout]


def insisting(act: Act[Owner, Given]) -> Act[Owner, Given]:
    """Do what a person asks for once more where a step came between the look and the deed, if it still is that rollout."""

    @wraps(act)
    def wrapped(owner: Owner, /, *args: Given.args, **given: Given.kwargs) -> Rollout:
        try:
            return act(owner, *args, **given)
        except Moved as moved:
            newest = owner.rollouts.newest(moved.seen.model)
            if newest is None or newest.id != moved.seen.id:
                raise
            return act(owner, *args, **given)

    return wrapped


def in_vain(seen: Rollout, stands: str, wish: str, verb: str) -> Conflict:
    """Return the error of what a person asked for in vain."""
    return Conflict(
        f"the rollout of {seen.model} version {seen.candidate}, {seen.where}, {stands}; nothing was changed. "
        f"To {wish}: tenfold rollout {verb} PROJECT.py {seen.model}."
    )
