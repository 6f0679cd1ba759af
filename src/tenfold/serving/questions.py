"""What clients ask, together: rows that fit the spine, each with its moment, its ids and itself as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tenfold.core.errors import SchemaError
from tenfold.core.times import FOREVER, iso
from tenfold.features.records import identity
from tenfold.processing.bring import shown
from tenfold.processing.frame import Frame
from tenfold.serving.asked import Asked
from tenfold.serving.asked_many import AskedMany
from tenfold.serving.tracing import Stage
from tenfold.training.model import Model

_encode = msgspec.json.Encoder().encode
_SHOWN = ("time", "decimal")
"""How the types begin whose values are not JSON as they are."""


class Question(NamedTuple):
    """Rows of the spine that a client asks about as of one moment.

    Attributes
    ----------
    key
        The same key again gives the same answer; the rows have it, "/" and their place as their keys.
    alone
        There is one row, its answer is no list, and it has the key as it is.
    stages
        Gets what the question went through, when it is traced.
    """

    rows: Sequence[Any]
    key: str | None = None
    alone: bool = False
    stages: list[Stage] | None = None


class Asks(NamedTuple):
    """The n rows of several questions.

    Attributes
    ----------
    of
        The place of each row's question.
    id, row, on, request
        The prediction's id, the row's, how it meets its label, the row as JSON.
    at : (n,) int64
        The moment each row is answered for, microseconds UTC.
    values
        The fields of each row.
    frame
        The same as columns, with what the spine derives; None when the rows are few.
    """

    of: Sequence[int]
    id: Sequence[str]
    row: Sequence[str]
    on: Sequence[str]
    request: Sequence[str]
    at: np.ndarray
    values: Sequence[Mapping[str, Any]]
    frame: Frame | None

    def take(self, rows: np.ndarray) -> "Asks":
        """Return the rows at positions."""
        if len(rows) == len(self.of):
            return self

        def some(part: Sequence[Any]) -> Sequence[Any]:
            return [part[row] for row in rows.tolist()]

        return Asks(
            some(self.of),
            some(self.id),
            some(self.row),
            some(self.on),
            some(self.request),
            self.at[rows],
            some(self.values),
            None if self.frame is None else {name: item.take(rows) for name, item in self.frame.items()},
        )


class Questions:
    """Checks questions about rows of a model; one that does not fit costs no other its answer."""

    def __init__(self, model: Model) -> None:
        self._model, self._spine = model, model.spine.root
        self.one = Asked(model.spine)
        self.many = AskedMany(model.spine, self.one)
        self._reach = min((view.source.root.look_back_us for view in model.stored), default=FOREVER)
        self._shown = [name for name, item in self._spine.fields.items() if item.type.startswith(_SHOWN)]
        self._same_order = list(self._spine.fields)

    def __call__(
        self, questions: Sequence[Question], at: int, *, as_columns: bool
    ) -> tuple[Asks, dict[int, SchemaError]]:
        """Return the rows of the questions that fit, asked at a moment, and by its place what is wrong with each other one."""
        failed: dict[int, SchemaError] = {}
        frame: Frame | None = None
        if as_columns:
            try:
                frame = self.many([row for question in questions for row in question.rows])
                return self._asks(
                    questions, failed, self._plain(frame), self.moments(frame, at), frame
                ), failed
            except SchemaError:  # which is said again below, of the question it belongs to
                pass
        values = [self._fitting(place, question, at, failed) for place, question in enumerate(questions)]
        each = [row for rows in values for row in rows]
        if as_columns and each:
            good = [question for place, question in enumerate(questions) if place not in failed]
            frame = self.many([row for question in good for row in question.rows])
        moments = np.array([self.moment(row, at) for row in each], dtype=np.int64)
        return self._asks(questions, failed, each, moments, frame), failed

    def _fitting(
        self, place: int, question: Question, at: int, failed: dict[int, SchemaError]
    ) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        try:
            for row in question.rows:
                values = self.one(row)
                self.moment(values, at)
                found.append(values)
        except SchemaError as error:
            failed[place] = error if question.alone else SchemaError(f"rows[{len(found)}]: {error}")
            return []
        return found

    def _plain(self, frame: Frame) -> Sequence[dict[str, Any]]:
        columns = [frame[name].plain() for name in self._same_order]
        return [dict(zip(self._same_order, values, strict=True)) for values in zip(*columns, strict=True)]

    def _asks(
        self,
        questions: Sequence[Question],
        failed: Mapping[int, SchemaError],
        values: Sequence[dict[str, Any]],
        at: np.ndarray,
        frame: Frame | None,
    ) -> Asks:
        types = [(name, self._spine.fields[name].type) for name in self._spine.ids]
        rows = [identity([(row[name], kind) for name, kind in types]) for row in values]
        of: list[int] = []
        keys: list[str | None] = []
        for place, question in enumerate(questions):
            if place not in failed:
                of += [place] * len(question.rows)
                keys += _keys(question)
        ids = [
            f"{self._model.name}/{row}/{moment}" if key is None else key
            for key, row, moment in zip(keys, rows, at.tolist(), strict=True)
        ]
        on = [str(row[self._model.label.on]) for row in values]
        return Asks(of, ids, rows, on, [self._json(row) for row in values], at, values, frame)

    def _json(self, values: Mapping[str, Any]) -> str:
        """Return a row as JSON that reads back to the same values."""
        if self._shown:
            fields = self._spine.fields
            values = {**values, **{name: shown(values[name], fields[name].type) for name in self._shown}}
        return _encode(values).decode()

    def moments(self, frame: Frame, at: int) -> np.ndarray:
        """Return the moment each row is answered for: (n,) int64."""
        happened = frame[self._spine.time].values
        if self._model.lead is not None:
            return np.full(len(happened), at)
        early = int(happened.min(initial=at))
        if at - early > self._reach:
            place = int(np.flatnonzero(happened == early)[0])
            raise SchemaError(f"rows[{place}]: {self._too_early(early)}")
        return np.minimum(happened, at)

    def moment(self, values: Mapping[str, Any], at: int) -> int:
        """Return the moment a row is answered for: without a lead, when it happened, if that is past.

        So a row is never part of its own history, and a request reads what its training row would.
        """
        happened: int = values[self._spine.time]
        if self._model.lead is not None or happened >= at:
            return at
        if at - happened > self._reach:
            raise SchemaError(self._too_early(happened))
        return happened

    def _too_early(self, happened: int) -> str:
        return (
            f"the row happened at {iso(happened)}, longer ago than states reach back ({self._reach // 1_000_000} s, the "
            "shortest lateness of the sources, an hour where none is declared). Score it in batch, or declare a "
            "longer lateness."
        )


def _keys(question: Question) -> Sequence[str | None]:
    if question.key is None or question.alone:
        return [question.key] * len(question.rows)
    return [f"{question.key}/{place}" for place in range(len(question.rows))]


def put_off_of(questions: Sequence[Question], asks: Asks) -> set[int]:
    """Return the questions without a key of which an earlier one asks about a row with the same id and moment, but other fields."""
    if len(set(asks.id)) == len(asks.id):
        return set()
    first: dict[str, tuple[str, int]] = {}
    found: set[int] = set()
    for of, name, request in zip(asks.of, asks.id, asks.request, strict=True):
        before, by = first.setdefault(name, (request, of))
        if before != request and by != of and questions[of].key is None:
            found.add(of)
    return found
