"""What the functions of an expression are written with: each makes a larger expression of the same kind."""

from typing import Protocol, Self

from tenfold.core.applied import ArrayFunction


class Calls(Protocol):
    """What `Expr` gives to the classes that hold its functions."""

    __slots__ = ()

    def _call(self, fn: str, *args: object, constants: tuple[object, ...] = ()) -> Self: ...

    def _apply(self, function: ArrayFunction, *others: object) -> Self: ...
