"""The prediction log: every answer with its features, ages, version and as-of time, durable before it is returned."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from tenfold.processing.batches import to_bytes, to_table
from tenfold.processing.packed import MARK, columns_of, kinds_of, pack
from tenfold.sources.base import Append, Batch, Ends, Lake, Log

if TYPE_CHECKING:
    import pyarrow as pa

TOPIC = "predictions"
SCORES = "scores"
"""The lake table of what batch scoring answered: a partition is stored, or replaced, as one version."""
ONLINE, BATCH = "online", "batch"
SHADOW = "shadow"
"""The mode of what the other version of a rollout says of a request: kept, never returned."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_PACKED = (
    "prediction_id:texts model:text mode:text version:ints row_id:texts label_key:texts at:times score:floats decision:flags "
    "features:lists ages:lists request:texts answer:texts classes:names probabilities:lists outputs:texts outputs_by:texts"
)
"""The columns of the prediction log, as they are packed."""
STALE, FALLBACK = "stale", "fallback"
"""The modes of answers that are not exact: from states that lag behind, and by another model."""
TEXTS = ("id", "row", "on", "request", "outputs", "outputs_by")
"""The attributes of `Predictions` that are texts."""
NO_CLASSES = np.zeros((0, 0))
"""The probabilities of a model that has no several classes."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers as columns.

    Attributes
    ----------
    id, row : n texts
        The prediction's id, and the id of the row it is for.
    on : n texts
        The value by which the row meets its label.
    version : (n,) int64
    at : (n,) int64 microseconds UTC
    score : (n,) float64
        For a model of several classes the largest of the probabilities.
    decision : (n,) bool
        Whether the score reaches the threshold; None where a version has none.
    features : (n, n_features) float64
    ages : (n, n_views) float64 microseconds, NaN where nothing was known of a key
    request : n texts
        The row as it was asked for, as JSON; empty for batch scoring, whose rows are in the lake.
    probabilities : (n, n_classes) float64
        Of each of `classes`, for a model of several; 0 for a class that a version has not learned.
    outputs : n texts
        What the rules of the model made of it, as a JSON object; empty where it had none.
    outputs_by : n texts
        The short hash of those rules.
    """

    model: str
    mode: str
    id: Sequence[str]
    row: Sequence[str]
    on: Sequence[str]
    version: np.ndarray
    at: np.ndarray
    score: np.ndarray
    decision: np.ndarray
    features: np.ndarray
    ages: np.ndarray
    request: Sequence[str]
    probabilities: np.ndarray = field(default_factory=lambda: NO_CLASSES)
    classes: tuple[str, ...] = ()
    outputs: Sequence[str] = ()
    outputs_by: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("outputs", "outputs_by"):
            if len(getattr(self, name)) != len(self.at):
                object.__setattr__(self, name, [""] * len(self.at))

    def __len__(self) -> int:
        return len(self.at)

    def output(self, name: str) -> list[Any]:
        """Return an output of each row: instants in ISO 8601, decimals as text, None where it is null or not there."""
        return [_decode(text).get(name) if text else None for text in self.outputs]

    def take(self, rows: np.ndarray) -> "Predictions":
        """Return the predictions at positions."""
        if len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        texts: dict[str, Any] = {name: _picked(getattr(self, name), rows) for name in TEXTS}
        arrays: dict[str, Any] = {
            name: getattr(self, name)[rows]
            for name in ("version", "at", "score", "decision", "features", "ages")
        }
        several = self.probabilities[rows] if self.classes else NO_CLASSES
        return Predictions(
            self.model, self.mode, **texts, **arrays, probabilities=several, classes=self.classes
        )


class Answered(NamedTuple):
    """An answer as it is in the log: the row that was asked about, and what the client got, as JSON."""

    request: str
    told: bytes


class PredictionLog:
    """Appends predictions to the log; idempotent by key."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def write(self, answers: Predictions, *, key: str) -> Predictions:
        """Store predictions durably and return what is stored under the key: these, or the ones stored first."""
        data = _bytes(answers, [""] * len(answers))
        batch = self._log.append(TOPIC, data, len(answers), key=key)
        return answers if batch.data == data else _from_table(to_table(batch), answers.model, answers.mode)

    def answer(
        self,
        parts: Sequence[Predictions],
        told: Mapping[str, bytes],
        key: Callable[[str], str],
        *,
        still: Ends | None = None,
    ) -> dict[str, Answered]:
        """Store predictions with different ids, durably and all at once, each part in a form of its own; return them by id.

        `told` is what the client gets, and `key` the key, by id; `still` is as of `Log.append_all`. Of a part nothing is stored
        or returned when an answer is stored under one of its keys.
        """
        appends = [
            Append(TOPIC, _bytes(part, [told[name] for name in part.id]), len(part), list(map(key, part.id)))
            for part in parts
        ]
        held = zip(parts, appends, self._log.append_all(appends, still=still), strict=True)
        return {
            name: Answered(request, told[name])
            for part, one, batch in held
            if batch.data == one.data
            for name, request in zip(part.id, part.request, strict=True)
        }

    def keep(self, answers: Predictions) -> None:
        """Store what was not told to anybody, durably; readers take the first of each id."""
        if len(answers):
            data = _bytes(answers, [""] * len(answers))
            self._log.append(TOPIC, data, len(answers))

    def copy(self, rows: "pa.Table", *, key: str) -> None:
        """Store answers that are kept in a table of their own, for those who are sent what is in the log; once per key."""
        self._log.append(TOPIC, to_bytes(rows), rows.num_rows, key=key)

    def stored(self, keys: Mapping[str, str]) -> dict[str, Answered]:
        """Return the answers that are stored under keys, by the ids of their predictions, of which `keys` gives the keys."""
        read: dict[int, dict[str, Answered]] = {}  # those that were stored together are read once
        batches = self._log.find(TOPIC, list(keys.values())) if keys else {}
        for batch in batches.values():
            if batch.base not in read:
                read[batch.base] = _answered(batch)
        return {name: read[batches[key].base][name] for name, key in keys.items() if key in batches}


def _answered(batch: Batch) -> dict[str, Answered]:
    names = ("prediction_id", "request", "answer")
    if batch.data[0] == MARK:
        held = columns_of(batch.data)
        columns = [held[name] for name in names]
    else:  # an older one
        table = to_table(batch)
        columns = [table.column(name).to_pylist() for name in names]
    return {
        name: Answered(request, told if isinstance(told, bytes) else told.encode())
        for name, request, told in zip(*columns, strict=True)
    }


def read(
    lake: Lake,
    model: str,
    mode: str,
    start: int,
    end: int,
    versions: Sequence[int] = (),
    *,
    without: Collection[str] = (),
    arrow: bool = False,
) -> Predictions:
    """Return the predictions of a model in one mode with `start <= at < end`, each id once: of the log in its order.

    Those of batch scoring, which are not in the log, are in the order of their times. Where versions are given, what others
    said is left out. Of `without` (features, ages, request, outputs, outputs_by) nothing is read: it is empty. With `arrow`
    the texts of many rows are Arrow arrays, which take a fraction of the memory of a list and of the time to make it.
    """
    where = f"model = '{model}' AND mode = '{mode}' AND {within(start, end)}"
    where += f" AND version IN ({', '.join(map(str, versions))})" if versions else ""
    tables = [SCORES] if mode != ONLINE and lake.version(SCORES) >= 0 else []
    tables += [TOPIC] if lake.version(TOPIC) >= 0 else []
    if not tables:
        return nothing(model, mode)
    # a copy for those downstream has no features, and may have been replaced since
    only = {TOPIC: f"{where} AND len(features) > 0" if mode == BATCH else where}
    parts = [
        lake.read(table, columns=_wanted(lake, table, without), where=only.get(table, where))
        for table in tables
    ]
    table = _joined(parts)
    return _from_table(table if tables == [SCORES] else _first_of_each(table), model, mode, arrow=arrow)


def _first_of_each(table: "pa.Table") -> "pa.Table":
    """Return the first row of each id."""
    # numbered in the order in which they come
    numbers = table.column("prediction_id").combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(numbers, return_index=True)
    return table if len(first) == len(numbers) else table.take(first)


def _picked(values: Any, rows: np.ndarray) -> Any:
    """Return texts at positions."""
    return (
        list(map(values.__getitem__, rows.tolist()))
        if isinstance(values, list | tuple)
        else values.take(rows)
    )


def _wanted(lake: Lake, table: str, without: Collection[str]) -> list[str]:
    """Return the columns of a table that predictions are made of: what clients got takes more room than the rest of a row."""
    held = lake.read(table, where="false").column_names
    return [name for name in held if name not in {"model", "mode", "answer", *without}]


def within(start: int, end: int) -> str:
    """Return the SQL condition for what is predicted in [start, end), in microseconds UTC."""
    return f'"at" >= make_timestamptz({start}) AND "at" < make_timestamptz({end})'


def _joined(tables: "Sequence[pa.Table]") -> "pa.Table":
    import pyarrow as pa

    return pa.concat_tables([in_time(table) for table in tables], promote_options="default")


def in_time(table: "pa.Table") -> "pa.Table":
    """Return rows that have no place in the log in the order of their times."""
    if "_offset" in table.column_names:
        return table
    at = table.column("at").to_numpy()
    return table if (at[1:] >= at[:-1]).all() else table.take(np.argsort(at, kind="stable"))


def nothing(model: str, mode: str) -> Predictions:
    """Return no predictions."""
    zero, blank = np.zeros(0), np.zeros((0, 0))
    whole = np.zeros(0, dtype=np.int64)
    return Predictions(model, mode, [], [], [], whole, whole, zero, zero.astype(np.bool_), blank, blank, [])


def to_rows(answers: Predictions, told: Sequence[str | bytes]) -> "pa.Table":
    """Return predictions as rows of the log, with what each client got."""
    import pyarrow as pa

    count, text = len(answers), pa.string()
    columns = [
        pa.array(answers.id, text),
        pa.repeat(pa.scalar(answers.model), count),
        pa.repeat(pa.scalar(answers.mode), count),
        pa.array(answers.version, pa.int64()),
        pa.array(answers.row, text),
        pa.array(answers.on, text),
        pa.array(answers.at, pa.int64()).view(pa.timestamp("us", "UTC")),
        pa.array(answers.score, pa.float64()),
        pa.array(answers.decision, pa.bool_(), from_pandas=True),
        lists(answers.features),
        lists(answers.ages),
        pa.array(answers.request, text),
        pa.array(told, text),
        _texts(answers.classes, count),
        lists(answers.probabilities if answers.classes else np.zeros((count, 0))),
        pa.array(answers.outputs, text),
        pa.array(answers.outputs_by, text),
    ]
    return pa.table(columns, names=[name for name, _ in kinds_of(_PACKED)])


def _bytes(answers: Predictions, told: Sequence[str | bytes]) -> bytes:
    """Return what `to_rows` returns as bytes of the log."""
    columns = [
        answers.id,
        answers.model,
        answers.mode,
        answers.version,
        answers.row,
        answers.on,
        answers.at,
        answers.score,
        answers.decision.tolist(),
        answers.features,
        answers.ages,
        answers.request,
        told,
        answers.classes,
        answers.probabilities if answers.classes else NO_CLASSES,
        answers.outputs,
        answers.outputs_by,
    ]
    return pack(_PACKED, len(answers), columns)


def lists(matrix: np.ndarray) -> "pa.Array":
    """Return the rows of a matrix as lists."""
    import pyarrow as pa

    width = matrix.shape[1] if matrix.ndim == 2 else 0
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(np.ascontiguousarray(matrix).ravel(), pa.float64())
    )


def _texts(values: Sequence[str], rows: int) -> "pa.Array":
    """Return the same list for each row."""
    import pyarrow as pa

    offsets = np.arange(rows + 1, dtype=np.int32) * len(values)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(list(values) * rows, pa.string()))


def _from_table(table: "pa.Table", model: str, mode: str, *, arrow: bool = False) -> Predictions:
    import pyarrow as pa

    def numbers(name: str) -> np.ndarray:
        return np.asarray(table.column(name).combine_chunks().to_numpy(zero_copy_only=False))

    def matrix(name: str) -> np.ndarray:
        if name not in table.column_names:
            return np.zeros((table.num_rows, 0))
        lists = table.column(name).combine_chunks()
        lengths = lists.value_lengths().to_numpy()
        out = np.full((len(lengths), lengths.max(initial=0)), np.nan)  # versions may differ in width
        out[np.arange(out.shape[1]) < lengths[:, None]] = lists.flatten().to_numpy(zero_copy_only=False)
        return out

    at = table.column("at").combine_chunks().cast(pa.int64()).to_numpy()
    columns = {name: table.column(name) for name in ("prediction_id", "row_id", "label_key")}
    texts: dict[str, Any] = {
        name: item.combine_chunks() if arrow else item.to_pylist() for name, item in columns.items()
    }
    return Predictions(
        model,
        mode,
        texts["prediction_id"],
        texts["row_id"],
        texts["label_key"],
        numbers("version"),
        at,
        numbers("score"),
        numbers("decision"),
        matrix("features"),
        matrix("ages"),
        _later(table, "request"),
        *_several(table),
        *(_later(table, name) for name in ("outputs", "outputs_by")),
    )


def _later(table: "pa.Table", name: str) -> list[str]:
    """Return a column of texts that older rows do not have, or that was not read."""
    if name not in table.column_names:
        return [""] * table.num_rows
    return [text or "" for text in table.column(name).to_pylist()]


def _several(table: "pa.Table") -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the probabilities of all classes that versions in a table know, and those classes in their order."""
    if "classes" not in table.column_names:  # logged before there were any
        return NO_CLASSES, ()
    lists = table.column("classes").combine_chunks()
    classes = tuple(sorted(set(lists.flatten().to_pylist())))
    if not classes:
        return NO_CLASSES, ()
    known = lists.to_pylist()
    places = {name: place for place, name in enumerate(classes)}
    out = np.zeros((len(known), len(classes)))
    for row, (names, found) in enumerate(zip(known, table.column("probabilities").to_pylist(), strict=True)):
        out[row, [places[name] for name in names or ()]] = found or ()
    return out, classes
