"""The steps of a durable run, and whether their code is what it was when the run began."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import msgspec

from tenfold.core.errors import DefinitionError
from tenfold.core.fingerprint import fingerprint
from tenfold.sources.database import Transaction


@dataclass(frozen=True, slots=True)
class Effect:
    """What a step returns to change the state database together with its own commit: exactly once.

    `apply` receives the open transaction. It must not commit, roll back or open another one.
    """

    result: Any
    apply: Callable[[Transaction], object]


Step = tuple[str, Callable[[Mapping[str, Any]], Any]]
"""A name and a function from the results so far to a JSON value or an `Effect`."""


def codes(steps: Sequence[Step], declaration: str = "") -> dict[str, str]:
    """Return a hash of the code of each step by name: of its function, of those it closes over, and of `declaration`.

    What a function calls by a global name is not followed; what can change there belongs into `declaration`.

    Examples
    --------
    >>> same = codes([("a", lambda results: 1)]) == codes([("a", lambda results: 1)])
    >>> same, codes([("a", lambda results: 1)]) == codes([("a", lambda results: 2)])
    (True, False)
    """
    check_names([name for name, _ in steps])
    return {name: fingerprint(declaration, list(_parts(step))) for name, step in steps}


def first_edited(committed: Mapping[str, str], present: Mapping[str, str]) -> str | None:
    """Return the first committed step, in the order of commits, that is now another one or gone; None when all are the same."""
    return next((name for name, code in committed.items() if present.get(name) != code), None)


def check_names(names: Sequence[str]) -> None:
    """Refuse steps that cannot be told apart."""
    if len(set(names)) < len(names) or "input" in names:
        raise DefinitionError(
            f'steps {", ".join(names)}: each needs its own name, and "input" is taken by the input of the run. '
            "Rename the step that repeats a name."
        )


def result_json(name: str, result: Any) -> str:
    """Return what a step gave as JSON; DefinitionError when JSON cannot hold it."""
    try:
        return msgspec.json.encode(result).decode()
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            f'step "{name}" returned what JSON cannot hold: {error}. '
            "Return numbers, text, lists and dicts; store anything larger elsewhere and return its name."
        ) from error


def _parts(step: object, seen: tuple[object, ...] = ()) -> Iterator[object]:
    """Yield what tells one version of a function from another; data that it closes over does not."""
    if isinstance(step, partial):
        yield from _parts(step.func, seen)
    elif isinstance(step, MethodType):
        yield from _parts(step.__func__, seen)
    elif isinstance(step, FunctionType) and step not in seen:
        yield from _of_code(step.__code__)
        for cell in step.__closure__ or ():
            if cell != CellType():  # empty: the name it stands for has no value yet
                yield from _parts(cell.cell_contents, (*seen, step))


def _of_code(code: CodeType) -> Iterator[object]:
    yield code.co_code
    yield code.co_names
    for constant in code.co_consts:
        yield list(_of_code(constant)) if isinstance(constant, CodeType) else constant
