"""Functions of the user's own: Python over arrays, known by their source code."""

import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.fingerprint import fingerprint

RETURNS = ("int", "float", "bool", "str")


class ArrayFunction:
    """A function of arrays, and the type of what it returns; `repr` has a hash of its source code.

    The hash covers the function, the functions of its module that it uses, and the constants it reads by name.

    Raises
    ------
    DefinitionError
        When there is no source code to tell two versions of the function apart.
    """

    __slots__ = ("function", "hash", "returns")

    def __init__(self, function: Callable[..., Any], returns: str) -> None:
        if returns not in RETURNS:
            raise DefinitionError(
                f"apply: returns={returns!r} is not a type.{suggest(str(returns), RETURNS)}"
            )
        self.function, self.returns = _checked(function), returns
        self.hash = fingerprint(*sorted(_sources(self.function, {})))

    def __repr__(self) -> str:
        return f"{self.function.__qualname__}#{self.hash}, returns={self.returns!r}"


def _checked(function: object) -> FunctionType:
    again = "Define it with `def` at the top level of its module."
    if not isinstance(function, FunctionType):
        raise DefinitionError(f"apply: {function!r} has no Python source code of its own. {again}")
    if function.__name__ == "<lambda>":
        raise DefinitionError(
            f"apply: a lambda has no source code of its own, so a change of it would go unnoticed. {again}"
        )
    if function.__closure__:
        raise DefinitionError(
            f'apply: "{function.__qualname__}" depends on {", ".join(function.__code__.co_freevars)} of the function '
            f"around it, which its source code does not tell. {again}"
        )
    try:
        inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise DefinitionError(
            f'apply: the source code of "{function.__qualname__}" is not in a file. {again}'
        ) from error
    return function


def _sources(function: FunctionType, seen: dict[str, str]) -> list[str]:
    if function.__qualname__ not in seen:
        seen[function.__qualname__] = textwrap.dedent(inspect.getsource(function))
        for name in sorted(set(_globals(function.__code__))):
            value = function.__globals__.get(name)
            if isinstance(value, FunctionType) and value.__module__ == function.__module__:
                _sources(_checked(value), seen)
            elif not callable(value) and not isinstance(value, ModuleType) and name in function.__globals__:
                seen[f"constant {name}"] = f"{name} = {_constant(function, name, value)}"
    return list(seen.values())


def _constant(function: FunctionType, name: str, value: object) -> str:
    if isinstance(value, (str, int, float, bytes, type(None))):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_constant(function, name, item) for item in value)}]"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(_constant(function, name, item) for item in value))}}}"
    if isinstance(value, dict):
        return _constant(function, name, list(value.items()))
    raise DefinitionError(
        f'apply: "{function.__qualname__}" reads {name}, a {type(value).__name__}, which its source code does not tell. '
        "Make it inside of the function, or of numbers, text, tuples, lists, sets and dicts."
    )


def _globals(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner)
