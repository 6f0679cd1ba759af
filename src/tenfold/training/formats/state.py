"""Estimators of one's own: their arrays as safetensors; the class comes from the declaration, never from the file."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, Self

import msgspec
import numpy as np

from tenfold.core.errors import DefinitionError, MissingExtra, SchemaError
from tenfold.training.formats.base import Context
from tenfold.training.formats.rowwise import Scored

FILE, NAME = "model.safetensors", "class.json"


class State(Scored):
    """An estimator with `get_state()`, which gives arrays by name, and the class method `from_state(arrays)`."""

    format: ClassVar[str] = "safetensors"
    libraries: ClassVar[Sequence[str]] = ("safetensors",)

    def __init__(self, name: str, data: bytes, context: Context) -> None:
        super().__init__(_class(name, context).from_state(_arrays(data)), context)
        self._name, self._data = name, data

    @classmethod
    def of(cls, fitted: Any, context: Context) -> Self | None:
        kind = type(fitted)
        if not (hasattr(kind, "get_state") and hasattr(kind, "from_state")):
            return None
        arrays = fitted.get_state()
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
                raise DefinitionError(
                    f'{kind.__name__}.get_state(): "{name}" is a {type(array).__name__}, not a numpy array of numbers. '
                    "Texts and settings belong to the class or to its parameters."
                )
        data = _safetensors().save(
            {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
        )
        return cls(_name_of(kind), data, context)

    @classmethod
    def load(cls, files: Mapping[str, bytes], context: Context) -> Self:
        return cls(msgspec.json.decode(files[NAME], type=str), files[FILE], context)

    def files(self) -> dict[str, bytes]:
        return {FILE: self._data, NAME: msgspec.json.encode(self._name)}


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _class(name: str, context: Context) -> Any:
    """Return the class of that name, if it is the declared estimator's or one that the user trusts."""
    declared = type(context.estimator)
    if _name_of(declared) == name:
        return declared
    if name not in context.trusted:
        raise SchemaError(
            f"{FILE} is the state of a {name}, and the declared estimator is a {_name_of(declared)}. Declare that class, or "
            f"add Model(..., trusted=[{name!r}]), which allows it to be imported."
        )
    module, _, qualname = name.rpartition(".")
    try:
        return getattr(import_module(module), qualname)
    except (ImportError, AttributeError) as error:
        raise SchemaError(f"{name}, whose state {FILE} is, cannot be imported: {error}.") from error


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    try:
        found: dict[str, np.ndarray] = _safetensors().load(data)
    except MissingExtra:
        raise
    except Exception as error:  # a file made on purpose may fail in any way
        raise SchemaError(f"{FILE} is not a safetensors file: {error}. Nothing was loaded.") from error
    return found


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise MissingExtra("an estimator with get_state()", "safetensors") from error
    return safetensors.numpy
