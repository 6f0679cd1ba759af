"""Answers rows, one or many at once: state of the row's keys, the kernel, the Production version, the prediction log."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tenfold.core.errors import Conflict, SchemaError
from tenfold.core.times import FOREVER, iso
from tenfold.features.records import identities
from tenfold.processing.bring import shown
from tenfold.processing.frame import Frame, column
from tenfold.serving.answers import as_dict
from tenfold.serving.asked import Asked
from tenfold.serving.asked_many import AskedMany
from tenfold.serving.asking import joined, numbers, sticky_fields
from tenfold.serving.many import FEW, KnownMany, KnownRows, ManyPlan, of_rows
from tenfold.serving.outputs import Deciding
from tenfold.serving.plan import Known, ServingPlan, vector
from tenfold.serving.predictions import ONLINE, Answered, PredictionLog, Predictions
from tenfold.serving.traffic import Traffic
from tenfold.serving.versions import Loaded as Loaded
from tenfold.serving.versions import Versions as Versions
from tenfold.sources.base import Ends, Log
from tenfold.sources.declare import Field
from tenfold.store.base import OnlineStore
from tenfold.store.online import group_name
from tenfold.training.model import Model
from tenfold.training.vector import Categories

_encode = msgspec.json.Encoder().encode


class _Ask(NamedTuple):
    """What is stored of a row beside its answer: the prediction's id, the row's, how it meets its label, the row as JSON."""

    id: str
    row: str
    on: str
    request: str


class Service:
    """Predicts rows of one model online.

    A feature as of a moment is read from state that holds every record that arrived before it: take `mark()`, wait until
    the worker has `reached` it, and predict at its moment.
    """

    def __init__(
        self,
        model: Model,
        *,
        store: OnlineStore,
        log: Log,
        versions: Versions,
        predictions: PredictionLog,
        traffic: Traffic,
    ) -> None:
        self.model = model
        self._store, self._log, self._versions = store, log, versions
        self._predictions, self._traffic = predictions, traffic
        self._asking, self._sticky = traffic.asking(model), sticky_fields(model)
        self._plan, self._checked = ServingPlan(model), Asked(model.spine)
        self._plan_many, self._checked_many = ManyPlan(model), AskedMany(model.spine, self._checked)
        self._deciding = Deciding(model)
        self._includes_self = any(view.plan.includes_self for view in model.stored)
        self._time = model.spine.root.time
        self._reach = min((view.source.root.look_back_us for view in model.stored), default=FOREVER)
        self._topics = {group_name(view): view.source.root.name for view in model.stored}

    def mark(self) -> Ends:
        """Return the moment at which a request now is answered, and the offsets that the states must reach for that.

        Whatever was acknowledged before lies before the mark.
        """
        return self._log.ends()

    def reached(self, mark: Ends) -> bool:
        """Return whether the states hold everything that arrived before a mark's moment."""
        offsets = self._store.offsets()
        return all(
            offsets.get(group, 0) >= mark.offsets.get(topic, 0) for group, topic in self._topics.items()
        )

    def why_late(self, mark: Ends, seconds: float) -> str:
        """Return what to say when the states have not reached a mark: which views lag, and how far."""
        offsets = self._store.offsets()
        lags = [
            f'view "{group.partition("@")[0]}" has {offsets.get(group, 0):,} of {mark.offsets[topic]:,} records'
            for group, topic in self._topics.items()
            if offsets.get(group, 0) < mark.offsets.get(topic, 0)
        ]
        return (
            f"{too_late(seconds)} So far {', '.join(lags)}; a new definition catches up on its own."
            if lags
            else too_late(seconds)
        )

    def version(self) -> int | None:
        """Return the number of the version in Production, None when there is none."""
        return self._versions.number(self.model)

    def predict(self, row: Any, *, at: int, key: str | None = None) -> dict[str, Any]:
        """Return the answer for one row of the spine, logged durably.

        Parameters
        ----------
        at
            The moment of the request in microseconds UTC, of a mark that the states have reached. States answer for the
            present: no record may have arrived later than this by more than its source's lateness.
        key
            The same key again gives the same answer, whatever changed in between.

        Raises
        ------
        SchemaError
            When the row does not fit the spine; says which field and why.
        Conflict
            When the key was used for another row; the first answer counts.
        """
        spine = self.model.spine.root
        values = self._checked(row)
        at = self._asked_at(values, at)
        request = _request(spine.fields, values)
        row_id = identities([column(spine.fields[name].type, [values[name]]) for name in spine.ids])[
            0
        ].decode()
        prediction_id = key or f"{self.model.name}/{row_id}/{at}"
        place = self._place(prediction_id)
        told = None if key is None else self._predictions.find(place, prediction_id)
        if told is None:
            on = str(values[self.model.label.on])
            told = self._answer(values, at, (prediction_id, row_id, on, request), place)
        return self._same(told, prediction_id, request)

    def predict_many(self, rows: Sequence[Any], *, at: int, key: str | None = None) -> list[dict[str, Any]]:
        """Return the answer for each row, as `predict` gives them, all of one moment; they are logged together.

        Parameters
        ----------
        key
            The rows have this key, "/" and their place as their keys.

        Raises
        ------
        SchemaError
            When a row does not fit the spine; says which row, which field and why, and nothing is answered.
        Conflict
            When a key was used for another row; the first answer counts.
        """
        if not rows:
            return []
        frame = self._checked_many(rows)
        moments = self._asked_at_many(frame, at)
        asks = self._asks(frame, moments, key)
        told: dict[str, Answered] = {} if key is None else self._stored(asks)
        while missing := [place for place, ask in enumerate(asks) if ask.id not in told]:
            once = {asks[place].id: place for place in reversed(missing)}
            told |= self._answer_many(frame, moments, asks, np.sort(list(once.values()))) or self._stored(
                asks
            )
        return [self._same(told[ask.id], ask.id, ask.request) for ask in asks]

    def _same(self, told: Answered, prediction_id: str, request: str) -> dict[str, Any]:
        """Return what was answered; Conflict when it was for another row."""
        if told.request != request:
            raise Conflict(
                f'key "{prediction_id}" was already used for another row of model "{self.model.name}". The first answer '
                "counts; give another row a new key."
            )
        return told.answer

    def _place(self, prediction_id: str) -> str:
        """Return the key of an answer in the log."""
        return f"{self.model.name}/{ONLINE}/{prediction_id}"

    def _stored(self, asks: Sequence["_Ask"]) -> dict[str, Answered]:
        """Return the answers that are stored, by id."""
        found = {ask.id: self._predictions.find(self._place(ask.id), ask.id) for ask in asks}
        return {name: told for name, told in found.items() if told is not None}

    def _asks(self, frame: Frame, at: np.ndarray, key: str | None) -> list["_Ask"]:
        spine = self.model.spine.root
        columns = {name: frame[name].plain() for name in spine.fields}
        each = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        ids = [name.decode() for name in identities([frame[name] for name in spine.ids]).tolist()]
        asks = []
        for place, (row_id, moment, values) in enumerate(zip(ids, at.tolist(), each, strict=True)):
            name = f"{self.model.name}/{row_id}/{moment}" if key is None else f"{key}/{place}"
            asks.append(_Ask(name, row_id, str(values[self.model.label.on]), _request(spine.fields, values)))
        return asks

    def _answer_many(
        self, frame: Frame, at: np.ndarray, asks: Sequence["_Ask"], rows: np.ndarray
    ) -> dict[str, Answered]:
        """Answer some rows and store the answers; nothing when one of them has been answered meanwhile."""
        route = self._traffic.routes.look(self.model.name)
        mine_of = {name: item.take(rows) for name, item in frame.items()}
        known = self._known_many(mine_of, at[rows])
        parts = self._asking.many(route, partial(self._entities, mine_of), known.matrix, len(rows))
        found = joined(parts)
        mine = [asks[row] for row in rows.tolist()]
        predictions = Predictions(
            self.model.name,
            ONLINE,
            [ask.id for ask in mine],
            [ask.row for ask in mine],
            [ask.on for ask in mine],
            numbers(parts),
            at[rows],
            found.said.score,
            found.said.decision,
            found.X,
            known.ages,
            [ask.request for ask in mine],
            found.said.probabilities,
            found.said.classes,
            self._deciding.many(lambda: mine_of, at[rows], known.columns, found.said, numbers(parts)),
            [self._deciding.by] * len(rows),
        )
        views = [view.name for view in self.model.stored]
        manifests = {part.version.number: part.version.package.manifest for part in parts}
        answers = [
            as_dict(predictions, place, manifests[number], views)
            for place, number in enumerate(predictions.version.tolist())
        ]
        told = self._predictions.answer_many(predictions, answers, keys=[self._place(ask.id) for ask in mine])
        if told:
            self._traffic.answered_many(route, self.model, predictions, parts, known.matrix)
        return told

    def _entities(self, frame: Frame) -> list[str]:
        """Return the entity of each row: by it a canary knows who is among its share."""
        columns = [frame[name].plain() for name in self._sticky]
        return ["/".join(map(str, values)) for values in zip(*columns, strict=True)]

    def features(self, row: Any, at: int) -> Known:
        """Return the features of a row as `predict` would read them at that moment; nothing is logged."""
        values = self._checked(row)
        return self._known(values, self._asked_at(values, at))

    def features_many(self, rows: Sequence[Any], at: int) -> KnownMany | KnownRows:
        """Return the features of rows as `predict_many` would read them at that moment; nothing is logged."""
        frame = self._checked_many(rows)
        return self._known_many(frame, self._asked_at_many(frame, at))

    def _known_many(self, frame: Frame, at: np.ndarray) -> KnownMany | KnownRows:
        if len(at) > FEW:
            return self._plan_many(self._store, frame, at, frame if self._includes_self else None)
        fields = self.model.spine.root.fields
        each = zip(*(frame[name].plain() for name in fields), at.tolist(), strict=True)
        rows = [self._known(dict(zip(fields, values, strict=False)), values[-1]) for values in each]
        return of_rows(self.model, rows)

    def _asked_at_many(self, frame: Frame, at: int) -> np.ndarray:
        """Return the moment each row is answered for."""
        happened = frame[self._time].values
        if self.model.lead is not None:
            return np.full(len(happened), at)
        early = int(happened.min(initial=at))
        if at - early > self._reach:
            place = int(np.flatnonzero(happened == early)[0])
            raise SchemaError(f"rows[{place}]: {self._too_early(early)}")
        return np.minimum(happened, at)

    def _known(self, values: Mapping[str, Any], at: int) -> Known:
        own = self._checked.columns(values) if self._includes_self else None
        return self._plan(self._store, values, at, own)

    def _asked_at(self, values: Mapping[str, Any], at: int) -> int:
        """Return the moment a row is answered for: without a lead, when it happened, if that is past.

        So a row is never part of its own history, and a request reads what its training row would.
        """
        happened: int = values[self._time]
        if self.model.lead is not None or happened >= at:
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

    def _answer(
        self, values: Mapping[str, Any], at: int, texts: tuple[str, str, str, str], place: str
    ) -> Answered:
        """Answer a row by the version that the route names, durably; then have the other one of a rollout asked."""
        route = self._traffic.routes.look(self.model.name)
        known = self._known(values, at)
        entity = "/".join([str(values[name]) for name in self._sticky])

        def matrix(categories: Categories) -> np.ndarray:
            return vector(known, categories)

        part = self._asking.one(route, entity, matrix)
        ages = [np.nan if age is None else float(age) for age in known.ages.values()]
        prediction_id, row_id, on, request = texts
        prediction = Predictions(
            self.model.name,
            ONLINE,
            [prediction_id],
            [row_id],
            [on],
            np.array([part.version.number], dtype=np.int64),
            np.array([at], dtype=np.int64),
            part.said.score,
            part.said.decision,
            part.X,
            np.array([ages], dtype=np.float64),
            [request],
            part.said.probabilities,
            part.said.classes,
            [self._deciding.one(values, known, part.said, part.version.number)],
            [self._deciding.by],
        )
        answer = as_dict(prediction, 0, part.version.package.manifest, list(known.ages))
        told = self._predictions.answer(prediction, answer, key=place)
        self._traffic.answered(route, self.model, prediction, part, matrix)
        return told


def _request(fields: Mapping[str, Field], values: Mapping[str, Any]) -> str:
    """Return the row as JSON that reads back to the same values."""
    return _encode({name: shown(values[name], item.type) for name, item in fields.items()}).decode()


def too_late(seconds: float) -> str:
    """Return what to say when the worker lags behind the log."""
    return (
        f"the worker did not reach the newest acknowledged event within {seconds:g} s, so no exact answer can be given. "
        "Nothing was stored; it is safe to retry. Is a worker running? See: tenfold status PROJECT.py"
    )
