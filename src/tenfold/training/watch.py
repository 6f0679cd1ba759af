"""Who looks on while a training runs."""

from typing import Protocol


class Step(Protocol):
    """A step that is under way."""

    def advance(self, n: int = 1, at: str = "") -> None:
        """Count `n` more as done; `at` says which that were."""
        ...


class Watch(Protocol):
    """Told of each step as it begins; `ui.terminal.Progress` is one."""

    def step(self, description: str, total: int | None = None) -> Step:
        """End the step under way and start the next one."""
        ...


class Unwatched:
    """Nobody looks on."""

    def step(self, description: str, total: int | None = None) -> Step:  # noqa: ARG002 - nothing is shown
        return self

    def advance(self, n: int = 1, at: str = "") -> None:
        """Do nothing."""
