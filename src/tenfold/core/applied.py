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


MOST = 4096


class ArrayFunction:
    """A function of arrays, and the type of what it returns; `repr` has a hash of its source code.

    With a `size` it returns so many numbers per row. `widths` says of each argument whether it is a vector, and of how
    many expressions; 0 for an expression. The hash covers the function, the functions of its module that it uses, and the constants it reads by name.

    Raises
    ------
    DefinitionError
        When there is no source code to tell two versions of the function apart.
    """

    __slots__ = ("function", "hash", "returns", "row_by_row", "size", "widths")

    def __init__(
        self,
        function: Callable[..., Any],
        returns: str,
        size: int | None = None,
        row_by_row: bool = False,
        widths: tuple[int, ...] = (0,),
    ) -> None:
        if returns not in RETURNS:
            raise DefinitionError(
                f"apply: returns={returns!r} is not a type.{suggest(str(returns), RETURNS)}"
            )
        if size is not None and (type(size) is not int or not 1 <= size <= MOST):
            raise DefinitionError(f"apply: size={size!r} is not a whole number from 1 to {MOST:,}.")
        if size is not None and returns == "str":
            raise DefinitionError(
                'apply: a vector is of numbers. Write returns="float", or apply one function for each text, without size.'
            )
        if type(row_by_row) is not bool:
            raise DefinitionError(f"apply: row_by_row={row_by_row!r} is neither True nor False.")
        self.function, self.returns = _checked(function), returns
        self.size, self.row_by_row, self.widths = size, row_by_row, widths
        self.hash = fingerprint(*sorted(_sources(self.function, {})))

    def __repr__(self) -> str:
        options = [f"size={self.size}"] if self.size is not None else []
        options += ["row_by_row=True"] if self.row_by_row else []
        options += [f"widths={self.widths}"] if any(self.widths) else []
        return ", ".join([f"{self.function.__qualname__}#{self.hash}", f"returns={self.returns!r}", *options])


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
            value: Any = inspect.unwrap(function.__globals__.get(name))  # type: ignore[arg-type]
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
