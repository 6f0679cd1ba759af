"""What clients ask, together: rows that fit the spine, each with its moment, its ids and itself as JSON."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tenfold.core.errors import Conflict, SchemaError
from tenfold.core.times import FOREVER, iso
from tenfold.features.records import identity
from tenfold.processing.bring import shown as shown_of
from tenfold.processing.frame import Frame
from tenfold.serving.answer.answers import json_lines
from tenfold.serving.rows.asked import Asked
from tenfold.serving.rows.asked_many import AskedMany
from tenfold.serving.seen.tracing import Stage
from tenfold.training.model import Model

_SHOWN = ("time", "decimal")
"""How the types begin whose values are not JSON as they are."""


class TooEarly(SchemaError):
    """A row happened longer ago than states reach back: there is no answer but one that was stored then."""


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
        The fields of each row; nothing when there is a frame.
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

    def field(self, name: str) -> list[Any]:
        """Return the values of a field of the rows."""
        if self.frame is not None:
            return self.frame[name].plain()
        return [values[name] for values in self.values]

    def take(self, rows: Sequence[int]) -> "Asks":
        """Return the rows at positions."""
        if len(rows) == len(self.of):
            return self

        def some(part: Sequence[Any]) -> Sequence[Any]:
            return [part[row] for row in rows]

        at = np.array(rows)
        return Asks(
            some(self.of),
            some(self.id),
            some(self.row),
            some(self.on),
            some(self.request),
            self.at[at],
            some(self.values) if self.values else (),
            None if self.frame is None else {name: item.take(at) for name, item in self.frame.items()},
        )


class Questions:
    """Checks questions about rows of a model; one that does not fit costs no other its answer."""

    def __init__(self, model: Model) -> None:
        self._model, self._spine = model, model.spine.root
        self.one = Asked(model.spine)
        self.many = AskedMany(model.spine, self.one)
        self._reach = min((view.source.root.look_back_us for view in model.stored), default=FOREVER)
        self._fields = self._spine.fields
        self._shown = {name: item.type for name, item in self._fields.items() if item.type.startswith(_SHOWN)}

    def __call__(
        self, questions: Sequence[Question], at: int, *, as_columns: bool
    ) -> tuple[Asks, dict[int, SchemaError], dict[int, TooEarly]]:
        """Return the rows of the questions that fit, asked at a moment, and by its place what is wrong with each other one.

        Those with a key that have a row of too long ago are among the rows, and named at last: they may have been answered.
        """
        failed: dict[int, SchemaError] = {}
        early: dict[int, TooEarly] = {}
        if as_columns:
            try:
                frame = self.many([row for question in questions for row in question.rows])
                return self._many(questions, failed, frame, self.moments(frame, at)), failed, early
            except SchemaError:  # which is said again below, of the question it belongs to
                pass
        values = [
            self._fitting(place, question, at, failed, early) for place, question in enumerate(questions)
        ]
        each = [row for rows in values for row in rows]
        moments = np.array([min(row[self._spine.time], at) for row in each], dtype=np.int64)
        if as_columns and each:
            good = [question for place, question in enumerate(questions) if place not in failed]
            frame = self.many([row for question in good for row in question.rows])
            return self._many(questions, failed, frame, moments), failed, early
        columns = {name: [row[name] for row in each] for name in self._fields}
        return self._asks(questions, failed, columns, moments)._replace(values=each), failed, early

    def _fitting(
        self,
        place: int,
        question: Question,
        at: int,
        failed: dict[int, SchemaError],
        early: dict[int, TooEarly],
    ) -> Sequence[dict[str, Any]]:
        try:
            try:
                return [values for values, _ in self.few(question.rows, at, alone=question.alone)]
            except TooEarly as error:
                if question.key is None:
                    raise
                early[place] = error
                return [values for values, _ in self.few(question.rows, -FOREVER, alone=question.alone)]
        except SchemaError as error:
            failed[place] = error
            return []

    def few(self, rows: Sequence[Any], at: int, *, alone: bool = False) -> list[tuple[dict[str, Any], int]]:
        """Return the values of each row and its moment, one row after the other.

        Raises
        ------
        SchemaError
            When a row does not fit; says which row, unless it is the only one that is asked about.
        """
        found: list[tuple[dict[str, Any], int]] = []
        try:
            for row in rows:
                values = self.one(row)
                found.append((values, self.moment(values, at)))
        except SchemaError as error:
            if alone:
                raise
            raise type(error)(f"rows[{len(found)}]: {error}") from error
        return found

    def _many(
        self, questions: Sequence[Question], failed: Mapping[int, SchemaError], frame: Frame, at: np.ndarray
    ) -> Asks:
        columns = {name: frame[name].plain() for name in self._fields}
        return self._asks(questions, failed, columns, at)._replace(frame=frame)

    def _asks(
        self,
        questions: Sequence[Question],
        failed: Mapping[int, SchemaError],
        columns: Mapping[str, Sequence[Any]],
        at: np.ndarray,
    ) -> Asks:
        of: list[int] = []
        keys: list[str | None] = []
        for place, question in enumerate(questions):
            if place not in failed:
                of += [place] * len(question.rows)
                keys += _keys(question)
        rows, model = self._rows(columns), self._model
        ids = [
            f"{model.name}/{row}/{moment}" if key is None else key
            for key, row, moment in zip(keys, rows, at.tolist(), strict=True)
        ]
        on = list(map(str, columns[model.label.on]))
        return Asks(of, ids, rows, on, self._requests(columns), at, (), None)

    def _rows(self, columns: Mapping[str, Sequence[Any]]) -> list[str]:
        """Return the ids of rows."""
        types = [self._fields[name].type for name in self._spine.ids]
        held = [columns[name] for name in self._spine.ids]
        if types == ["int"]:
            return list(map(str, held[0]))
        return [identity(zip(values, types, strict=True)) for values in zip(*held, strict=True)]

    def _requests(self, columns: Mapping[str, Sequence[Any]]) -> list[str]:
        """Return rows as JSON that reads back to the same values."""
        shown = dict(columns)
        for name, kind in self._shown.items():
            texts = {value: shown_of(value, kind) for value in set(columns[name])}
            shown[name] = [texts[value] for value in columns[name]]
        return json_lines(dict(zip(shown, row, strict=True)) for row in zip(*shown.values(), strict=True))

    def moments(self, frame: Frame, at: int) -> np.ndarray:
        """Return the moment each row is answered for: (n,) int64."""
        happened = frame[self._spine.time].values
        early = int(happened.min(initial=at))
        if at - early > self._reach:
            place = int(np.flatnonzero(happened == early)[0])
            raise TooEarly(f"rows[{place}]: {self._too_early(early, at)}")
        return np.minimum(happened, at)

    def moment(self, values: Mapping[str, Any], at: int) -> int:
        """Return the moment a row is answered for: now, or when it happened, if that is past.

        So a row is never part of its own history, and without a lead a request reads what its training row would.
        """
        happened: int = values[self._spine.time]
        if happened >= at:
            return at
        if at - happened > self._reach:
            raise TooEarly(self._too_early(happened, at))
        return happened

    def _too_early(self, happened: int, at: int) -> str:
        return (
            f"the row happened at {iso(happened)}, longer before this request, as of {iso(at)}, than states reach back "
            f"({self._reach // 1_000_000} s, the shortest lateness of the sources, an hour where none is declared). Score it "
            "in batch, or declare a longer lateness."
        )


def _keys(question: Question) -> list[str | None]:
    if question.key is None or question.alone:
        return [question.key] * len(question.rows)
    return [f"{question.key}/{place}" for place in range(len(question.rows))]


def put_off_of(questions: Sequence[Question], asks: Asks) -> set[int]:
    """Return the questions that an earlier one has to be stored before.

    Those without a key of which an earlier one asks about a row with the same id and moment, but other fields; and those
    with the key of an earlier one and another number of rows.
    """
    if len(set(asks.id)) == len(asks.id):
        return set()
    first: dict[str, tuple[str, int]] = {}
    rows: dict[str, int] = {}
    found = {
        of
        for of, (asked, key, alone, _) in enumerate(questions)
        if key and not alone and rows.setdefault(key, len(asked)) != len(asked)
    }
    for of, name, request in zip(asks.of, asks.id, asks.request, strict=True):
        before, by = first.setdefault(name, (request, of))
        if before != request and by != of and questions[of].key is None:
            found.add(of)
    return found


def unanswered(
    model: str,
    questions: Sequence[Question],
    asks: Asks,
    early: Mapping[int, TooEarly],
    told: Container[str],
) -> dict[int, SchemaError | Conflict]:
    """Return of the questions with a row of too long ago those that were not answered then, and those with a used key."""
    new = {of for of, name in zip(asks.of, asks.id, strict=True) if name not in told} if early else ()
    late = {place: error for place, error in early.items() if place in new}
    return {**late, **_reused(model, questions, told)}


def keyed(questions: Sequence[Question], asks: Asks) -> set[str]:
    """Return the ids under which answers may be stored: of each row with a key, and behind the last of several."""
    several = {_behind(question) for question in questions if question.key and not question.alone}
    return several | {name for of, name in zip(asks.of, asks.id, strict=True) if questions[of].key}


def _reused(model: str, questions: Sequence[Question], told: Container[str]) -> dict[int, Conflict]:
    """Return of the questions about several rows those whose key was used for fewer rows, or for more."""
    found = {}
    for place, question in enumerate(questions):
        if question.key and not question.alone:
            keys = _keys(question)
            used = [name for name in (*keys, _behind(question)) if name in told]
            if used and used != keys:
                found[place] = Conflict(
                    f'key "{question.key}" was already used for another number of rows of model "{model}", or key "{used[-1]}" for '
                    "a single one. The first answer counts; give other rows a new key."
                )
    return found


def taken(model: str, name: str, question: Question) -> Conflict:
    """Return why a row is not answered whose id belongs to an answer for another one."""
    if question.key is None:
        return Conflict(
            f'two rows of model "{model}" that differ have the same id and moment, and so both the answer "{name}". Give each '
            "row an id of its own."
        )
    return Conflict(
        f'key "{name}" was already used for another row of model "{model}". The first answer counts; give another row a new '
        "key."
    )


def _behind(question: Question) -> str:
    return f"{question.key}/{len(question.rows)}"
