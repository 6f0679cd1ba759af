"""Anything else: a pickle, which can run any code when it is loaded, and only where the user allows it by name."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from tenfold.core.errors import SchemaError
from tenfold.training.formats.base import Context
from tenfold.training.formats.rowwise import Scored

FILE = "model.pickle"
NAME = "pickle"


class Pickled(Scored):
    """A fitted estimator as a pickle."""

    format: ClassVar[str] = NAME
    libraries: ClassVar[Sequence[str]] = ()

    def __init__(self, data: bytes, context: Context) -> None:
        super().__init__(opened(data, context.trusted), context)
        self._data = data

    @classmethod
    def of(cls, fitted: Any, context: Context) -> Self | None:
        return cls(pickle.dumps(fitted, protocol=5), context) if NAME in context.trusted else None

    @classmethod
    def load(cls, files: Mapping[str, bytes], context: Context) -> Self:
        return cls(files[FILE], context)

    def files(self) -> dict[str, bytes]:
        return {FILE: self._data}


def opened(data: bytes, trusted: Sequence[str]) -> Any:
    """Return what is in a pickle; SchemaError where the user does not allow it, and then it was not opened."""
    if NAME not in trusted:
        raise SchemaError(
            f"{FILE} is a pickle, which can run any code when it is opened; it was not opened. If you know who made it, "
            f"add Model(..., trusted=[{NAME!r}])."
        )
    return pickle.loads(data)  # noqa: S301
