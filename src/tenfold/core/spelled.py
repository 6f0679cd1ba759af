"""Names of parameters: where one is wrong, the nearest right one is named."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar, cast

from tenfold.core.errors import DefinitionError, suggest

Declaration = TypeVar("Declaration", bound=Callable[..., Any])


def spelled(declaration: Declaration) -> Declaration:
    """Have a class or a function refuse a parameter that it does not have, with the nearest one that it has.

    Examples
    --------
    >>> @spelled
    ... class Window:
    ...     def __init__(self, size, offset=0): ...
    >>> Window("1h", ofset="1d")
    Traceback (most recent call last):
    tenfold.core.errors.DefinitionError: Window has no parameter "ofset". Did you mean "offset"? Known: offset, size.
    """
    if not isinstance(declaration, type):
        return cast(Declaration, _checked(declaration, declaration.__name__))
    made: Any = declaration
    made.__init__ = _checked(made.__init__)
    return declaration


def _checked(call: Callable[..., Any], function: str = "") -> Callable[..., Any]:
    known = list(signature(call).parameters)[not function :]

    @wraps(call)
    def checked(*args: Any, **given: Any) -> Any:
        for one in given:
            if one not in known:
                name = function or type(args[0]).__name__
                raise DefinitionError(f'{name} has no parameter "{one}".{suggest(one, known, len(known))}')
        return call(*args, **given)

    return checked
