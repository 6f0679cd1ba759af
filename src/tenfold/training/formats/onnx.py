"""ONNX: graphs made elsewhere, checked when they are registered, scored by ONNX Runtime on one thread."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from tenfold.core.errors import DefinitionError, MissingExtra, SchemaError
from tenfold.training.formats.base import Context

FILE = "model.onnx"
BLOCK = 64
"""Rows scored at once: the runtime adds in another order for one row than for many."""
DTYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


class Onnx:
    """A graph with one input of shape (n, n_columns), or one input (n, 1) for each column.

    Inputs have the names of the columns, which may have "_" for ".". It gives scores, or probabilities of classes; what else it gives, such as labels, is left alone. ONNX computes in 32
    bits where the graph says so, so do its scores.
    """

    format: ClassVar[str] = "onnx"
    libraries: ClassVar[Sequence[str]] = ("onnxruntime",)

    def __init__(self, data: bytes, context: Context) -> None:
        self._data, self._kind = data, context.kind
        self._session = _session(data)
        self._feed = _feed(self._session.get_inputs(), context)
        self._output = _output(self._session.get_outputs(), context.kind)

    @classmethod
    def of(cls, fitted: Any, context: Context) -> Self | None:  # noqa: ARG003 - estimators have formats of their own
        return None

    @classmethod
    def checked(cls, data: bytes, context: Context) -> Self:
        """Return the engine of a file from elsewhere; DefinitionError when it is not a valid graph that fits the model."""
        _check(data)
        return cls(data, context)

    @classmethod
    def load(cls, files: Mapping[str, bytes], context: Context) -> Self:
        return cls(files[FILE], context)

    def files(self) -> dict[str, bytes]:
        return {FILE: self._data}

    def predict(self, rows: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(rows), BLOCK):
            places = np.minimum(np.arange(start, start + BLOCK), len(rows) - 1)
            parts.append(self._session.run([self._output], self._feed(rows[places]))[0])
        found = np.concatenate(parts)[: len(rows)] if parts else np.zeros((0, 1))
        return self._shaped(np.asarray(found, dtype=np.float64).reshape(len(rows), -1))

    def importance(self) -> None:
        return None

    def _shaped(self, found: np.ndarray) -> np.ndarray:
        if self._kind == "multiclass":
            return found
        if self._kind == "binary" and found.shape[1] == 2:
            return np.ascontiguousarray(found[:, 1])
        if found.shape[1] != 1:
            raise DefinitionError(
                f'{FILE}: output "{self._output}" has {found.shape[1]} columns, and a model that is {self._kind} gives one number.'
            )
        return found[:, 0]


def _check(data: bytes) -> None:
    """Refuse what is no complete and valid graph in one file."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtra("registering an ONNX file", "onnx") from error

    try:
        graph = onnx.load_model_from_string(data)
        outside = [
            item.name
            for item in _messages(graph)
            if isinstance(item, onnx.TensorProto) and item.data_location == onnx.TensorProto.EXTERNAL
        ]
        if outside:
            raise DefinitionError(
                f'{FILE}: "{outside[0]}" lies in another file, which is not read. Save the model with save_as_external_data=False.'
            )
        onnx.checker.check_model(graph)
    except DefinitionError:
        raise
    except Exception as error:  # a file made on purpose may fail in any way
        raise DefinitionError(f"{FILE} is not a valid ONNX file: {str(error)[:300]}.") from error


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message and every one inside it: tensors lie in graphs, in nodes, in functions, in sparse tensors."""
    yield message
    for _, value in message.ListFields():
        items = value if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else [value]
        for item in items:
            if hasattr(item, "ListFields"):
                yield from _messages(item)


def _session(data: bytes) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtra("an ONNX model", "onnx") from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no common parent for its errors
        raise SchemaError(f"{FILE} cannot be run here: {str(error)[:300]}.") from error


def _feed(inputs: Sequence[Any], context: Context) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return what makes a graph's inputs of rows."""
    names = list(context.columns)
    plain = {name.replace(".", "_"): name for name in names}
    asked = {plain.get(item.name, item.name): item for item in inputs}
    if len(inputs) == 1 and not set(asked) <= set(names):
        return _matrix(inputs[0], context)
    if sorted(asked) != sorted(names):
        raise DefinitionError(
            f"{FILE} takes {', '.join(sorted(asked))}, and the model has the columns {', '.join(sorted(names))}. Name its inputs "
            "after the columns, or give it one input of all of them in order."
        )
    columns = [_column(place, asked[name], context) for place, name in enumerate(names)]
    return lambda rows: {name: make(rows) for name, make in columns}


def _matrix(item: Any, context: Context) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return what makes the one input of all columns in order."""
    names, name, dtype = list(context.columns), item.name, _dtype(item)
    width = item.shape[1] if len(item.shape) == 2 else 0
    if width != len(names) and isinstance(width, int):
        raise DefinitionError(
            f'{FILE}: input "{name}" has shape {item.shape}, and the model has {len(names)} columns: {", ".join(names)}.'
        )
    if texts := [column for column, kind in context.columns.items() if kind == "str"]:
        raise DefinitionError(
            f'{FILE}: input "{name}" takes numbers, and {", ".join(texts)} is text. Give it one input for each column.'
        )
    return lambda rows: {name: rows.astype(dtype)}


def _column(place: int, item: Any, context: Context) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Return the name of an input and what makes it: (n, 1) of one column; text that is null is empty."""
    (name, kind), dtype = list(context.columns.items())[place], _dtype(item)
    if (kind == "str") != (dtype is object):
        raise DefinitionError(f'{FILE}: input "{item.name}" is a {item.type}, and column {name} is a {kind}.')
    if kind != "str":
        return item.name, lambda rows: rows[:, place : place + 1].astype(dtype)
    texts = np.array([*context.categories.get(name, ()), ""], dtype=object)

    def make(rows: np.ndarray) -> np.ndarray:
        codes = rows[:, place : place + 1]
        return texts[np.where(np.isnan(codes), len(texts) - 1, codes).astype(np.int64)]

    return item.name, make


def _dtype(item: Any) -> Any:
    if item.type not in DTYPES:
        raise DefinitionError(
            f'{FILE}: input "{item.name}" is a {item.type}. Use one of {", ".join(DTYPES)}.'
        )
    return DTYPES[item.type]


def _output(outputs: Sequence[Any], kind: str) -> str:
    """Return the output with the scores: for classes the one of probabilities, else the only one of numbers."""
    numbers = [item for item in outputs if item.type in ("tensor(float)", "tensor(double)")]
    wide = [item for item in numbers if len(item.shape) == 2 and item.shape[1] != 1]
    fits = wide or numbers if kind in ("binary", "multiclass") else numbers
    if len(fits) != 1:
        told = ", ".join(f"{item.name} {item.type}{item.shape}" for item in outputs)
        raise DefinitionError(
            f'{FILE} gives {told}; exactly one tensor of numbers is needed. From skl2onnx, convert with options={{"zipmap": False}}.'
        )
    return str(fits[0].name)
