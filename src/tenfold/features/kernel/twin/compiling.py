"""How loops are compiled by numba; `choice` decides whether they are."""

from collections.abc import Callable
from typing import Any

from numba import njit, void


def compiled(*takes: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for arguments of some types, without the GIL, kept on the disk where that can be written."""

    def compile_(function: Callable[..., Any]) -> Any:
        try:
            return njit(void(*takes), nogil=True, cache=True)(function)
        except RuntimeError:  # neither the package nor the user has a directory that can be written
            return njit(void(*takes), nogil=True)(function)

    return compile_


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that others of its module call."""
    return njit(nogil=True)(function)
