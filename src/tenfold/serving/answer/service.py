"""Answers rows, one or many at once: state of the row's keys, the kernel, the Production version, the prediction log."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tenfold.core.errors import SchemaError, TenfoldError
from tenfold.processing.frame import Frame
from tenfold.serving.answer import again
from tenfold.serving.answer.answers import apart, as_json
from tenfold.serving.answer.asking import joined, numbers, some
from tenfold.serving.answer.marks import Marks
from tenfold.serving.answer.outputs import Deciding
from tenfold.serving.answer.predictions import FALLBACK, ONLINE, STALE, Answered, PredictionLog, Predictions
from tenfold.serving.answer.questions import Asks, Question, Questions, keyed, put_off_of, taken, unanswered
from tenfold.serving.answer.sticky import entities
from tenfold.serving.answer.traffic import Traffic
from tenfold.serving.answer.versions import Loaded as Loaded
from tenfold.serving.answer.versions import Versions as Versions
from tenfold.serving.rows.asked import BLANKS
from tenfold.serving.rows.degraded import Away, Patience, behind, stale, why_late
from tenfold.serving.rows.many import FEW, KnownMany, KnownRows, ManyPlan, of_rows
from tenfold.serving.rows.plan import Known, ServingPlan
from tenfold.serving.seen.tracing import Stages
from tenfold.sources.base import Ends, Log
from tenfold.sources.turn import WATCH, Locked
from tenfold.store.base import OnlineStore
from tenfold.store.online import group_name
from tenfold.training.model import Model


class Service:
    """Predicts rows of one model online.

    A feature as of a moment is read from state that holds every record that arrived before it: take `mark()`, wait until
    the worker has `reached` it, and predict at its moment.

    Parameters
    ----------
    degraded
        What is answered when the states are not reached or the store is away: nothing, when true what the states say as they
        are, or what the service of another model says, which reads no states.
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
        degraded: "Service | bool" = False,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self.model = model
        self._stale, self.instead = degraded is True, None if isinstance(degraded, bool) else degraded
        self._patience = Patience()
        self._store, self.log, self._versions = store, log, versions
        self._predictions, self.traffic = predictions, traffic
        self._asking, self._questions = traffic.asking(model), Questions(model)
        self._plan, self._plan_many = ServingPlan(model), ManyPlan(model)
        self._deciding, self._hurried = Deciding(model), False
        self._includes_self = any(view.plan.includes_self for view in model.stored)
        self.closing: list[Callable[[], None]] = []
        self._views = [view.name for view in model.stored]
        self._topics = {group_name(view): view.source.root.name for view in model.stored}
        self._marks = Marks(self._topics, store, log, check)

    @property
    def degrades(self) -> bool:
        """Whether there is an answer when there is no exact one."""
        return self._stale or self.instead is not None

    def gives_up(self, waited: float, wait: float) -> bool:
        """Return whether a request that may wait so many seconds has waited enough for the states, as another answer is there."""
        return self.degrades and self._patience.over(self._store.offsets(), waited, wait)

    def prompt(self) -> "Service":
        """Return the same for who keeps others waiting: it raises `Locked` rather than to wait for another writer or a candidate."""
        found = copy(self)
        found._hurried, found.log = True, self.log.prompt()
        found._predictions, found._marks = PredictionLog(found.log), self._marks.of(found.log)
        return found

    def close(self) -> None:
        """End what answers beside the caller; may be called twice."""
        for close in self.closing:
            close()

    def mark(self) -> Ends:
        """Return the moment at which a request now is answered, and the offsets that the states must reach for that.

        Whatever was acknowledged before lies before the mark.
        """
        return self._marks.now()

    def expected(self, mark: Ends) -> Ends:
        """Return the mark of now, if nothing came to the views since one that was reached; whether it did, `answer` finds out."""
        topics = self._topics.values()
        return Ends(max(self.traffic.now(), mark.at), {topic: mark.offsets.get(topic, 0) for topic in topics})

    def reached(self, mark: Ends, *, away: bool = True) -> bool:
        """Return whether the states hold everything that arrived before a mark's moment; `away` where another model answers."""
        try:
            return self._marks.reached(mark)
        except Away:
            if self.instead is None:
                raise
            return away

    def why_late(self, mark: Ends, seconds: float) -> str:
        """Return what to say when the states have not reached a mark: which views lag, and how far."""
        return why_late(self._topics, self._store.offsets(), mark, seconds)

    def late(self, mark: Ends) -> Mapping[str, Any]:
        """Return what a stale answer says of states that have not reached a mark; raises what there is instead of an answer."""
        if self.instead is not None:
            self.instead._versions.production(self.instead.model)
        return stale(self._topics, self._store.offsets(), mark, self.log) if self._stale else {}

    def lag(self) -> dict[str, dict[str, float]]:
        """Return how far states lag behind the log as it is now, of the views that do, in records and in seconds.

        Locked when somebody else keeps the log: who watches is not to wait for that.
        """
        log = self.log.prompt(WATCH)
        return behind(self._topics, self._store.offsets(), log.ends(), log)

    def version(self) -> int | None:
        """Return the number of the version in Production, None when there is none."""
        return self._versions.number(self.model)

    def warm(self) -> None:
        """Load the versions that answer now and read the features of a row of blanks, so that no request is the first."""
        route = self.traffic.routes.look(self.model.name)
        for number in (route.production, route.candidate):
            if number is not None:
                getattr(self._versions.get(self.model, number).package.predictor, "warm", lambda: None)()
        blank = {name: BLANKS[item.type] for name, item in self.model.spine.root.fields.items()}
        with suppress(Exception):  # a function of the user's need not take a row of blanks
            self._plan(self._store, blank, self.mark().at)

    def predict(
        self, row: Any, *, at: int, key: str | None = None, late: Ends | None = None
    ) -> dict[str, Any]:
        """Return the answer for one row of the spine, logged durably.

        Parameters
        ----------
        at
            The moment of the request in microseconds UTC, of a mark that the states have reached. States answer for the
            present: no record may have arrived later than this by more than its source's lateness.
        key
            The same key again gives the same answer, whatever changed in between; without one, what is so now is told.
        late
            The mark that the states have not reached; then the answer is that of the degraded mode.

        Raises
        ------
        SchemaError
            When the row does not fit the spine; says which field and why.
        Conflict
            When the key was used for another row; the first answer counts.
        """
        found: dict[str, Any] = self._only(Question([row], key, alone=True), at, late)
        return found

    def predict_many(
        self, rows: Sequence[Any], *, at: int, key: str | None = None, late: Ends | None = None
    ) -> list[dict[str, Any]]:
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
        found: list[dict[str, Any]] = self._only(Question(rows, key), at, late)
        return found

    def _only(self, question: Question, at: int, late: Ends | None) -> Any:
        (told,) = self.answer([question], at, late=late)
        if not isinstance(told, bytes):
            raise told or AssertionError  # one question is never put off
        return msgspec.json.decode(told)

    def answer(
        self,
        questions: Sequence[Question],
        at: int,
        *,
        wanted: Callable[[int], bool] = lambda _: True,
        late: Ends | None = None,
        still: Ends | None = None,
    ) -> list[bytes | TenfoldError | None]:
        """Return the answer of each question as JSON, or what it is refused with; all are logged together, durably.

        None of them costs another one its answer, and each gets what it would get alone.

        Parameters
        ----------
        wanted
            Whether the question at a place is still to be answered; asked right before answers are stored. What is not
            wanted any more is not stored, and its answer is None.
        late
            The mark that the states have not reached; then the answers are those of the degraded mode.
        still
            What is expected of the log; when it is not so as answers are to be stored, `Overtaken` is raised and none is.

        Returns
        -------
        None too for a question that is to be asked again, later: without keys, an answer is known by its row and its moment,
        and another question asks about another form of one of its rows at the same moment.
        """
        stages = Stages(question.stages for question in questions)
        few = sum(len(question.rows) for question in questions) <= FEW
        asks, failed, early = self._questions(questions, at, as_columns=not few)
        put_off = put_off_of(questions, asks)
        told = self._stored(keyed(questions, asks))
        lost = unanswered(self.model.name, questions, asks, early, told)
        first: dict[str, int] = {}
        for place, (of, name) in enumerate(zip(asks.of, asks.id, strict=True)):
            if name not in told and of not in put_off and of not in lost:
                first.setdefault(name, place)
        if first:
            new = self._answer(questions, asks.take(list(first.values())), wanted, late, still, stages)
            if new is None:
                return self.answer(questions, at, wanted=wanted, late=late, still=still)
            told |= new
        found: list[bytes | TenfoldError | None] = []
        rows = range(0)
        for place, question in enumerate(questions):
            if place in failed:
                found.append(failed[place])
                continue
            rows = range(rows.stop, rows.stop + len(question.rows))
            error = lost.get(place)
            found.append(error or (None if place in put_off else self._told(question, rows, asks, told)))
        return found

    def _told(
        self, question: Question, rows: Sequence[int], asks: Asks, told: Mapping[str, Answered]
    ) -> bytes | TenfoldError | None:
        """Return the answer of a question: Conflict when a row's key was used for another row, None when it was not wanted."""
        found = []
        for row in rows:
            name = asks.id[row]
            stored = told.get(name)
            if stored is None:
                return None
            if stored.request != asks.request[row]:
                return taken(self.model.name, name, question)
            found.append(stored.told)
        return found[0] if question.alone else b"[" + b",".join(found) + b"]"

    def _place(self, prediction_id: str) -> str:
        """Return the key of an answer in the log."""
        return f"{self.model.name}/{ONLINE}/{prediction_id}"

    def _stored(self, ids: Iterable[str]) -> dict[str, Answered]:
        """Return the answers that are stored, by id."""
        return self._predictions.stored({name: self._place(name) for name in ids})

    def _how(self, asks: Asks, late: Ends | None) -> tuple["_How", KnownMany | KnownRows]:
        """Return who answers rows and how, with the features: another model when this one has no answer."""
        other = self.instead
        try:
            if late is None:
                return _How(ONLINE, self, {}), self._known_of(asks)
            if other is None:
                told = {"degraded": STALE, "behind": self.late(late)}
                return _How(STALE, self, told), self._known_of(asks)
        except Away:
            if other is None:
                raise
        said = {"degraded": FALLBACK, "answered_by": other.model.name}
        return _How(FALLBACK, other, said), other._known_of(asks)

    def _answer(
        self,
        questions: Sequence[Question],
        asks: Asks,
        wanted: Callable[[int], bool],
        late: Ends | None,
        still: Ends | None,
        stages: Stages,
    ) -> dict[str, Answered] | None:
        """Answer rows with different ids and store the answers: those of this call, or the ones that were first.

        None when a key of several rows was used meanwhile: what counts then is to be looked up once more.
        """
        route = self.traffic.routes.look(self.model.name)
        if self._hurried and route.candidate is not None:
            raise Locked(f"version {route.candidate} is asked too, and may take its time.")
        how, known = self._how(asks, late)
        stages.ended("features")
        by = how.by
        route = route if by is self else self.traffic.routes.look(by.model.name)
        who = partial(entities, by.model, route.sticky, asks.field, len(asks.of))
        parts = by._asking.many(route, who, known.matrix, len(asks.of))
        stages.ended("model")
        found, versions = joined(parts), numbers(parts)
        answers = Predictions(
            self.model.name,
            how.mode,
            asks.id,
            asks.row,
            asks.on,
            versions,
            asks.at,
            found.said.score,
            found.said.decision,
            found.X,
            known.ages,
            asks.request,
            found.said.shares,
            found.said.classes,
            by._deciding.asked(asks, known, found.said, versions),
            [by._deciding.by] * len(asks.of),
        )
        told: dict[str, Answered] = {}
        manifests = {part.version.number: part.version.package.manifest for part in parts}
        as_text = partial(as_json, manifests=manifests, views=by._views, besides=how.told)
        texts = dict(zip(asks.id, as_text(answers), strict=True))
        while left := [
            place for place, name in enumerate(answers.id) if name not in told and wanted(asks.of[place])
        ]:
            some_left = answers if len(left) == len(answers) else answers.take(np.array(left))
            mine = self._predictions.answer(apart(some_left, manifests), texts, self._place, still=still)
            if not mine:
                stored = self._stored(answers.id[place] for place in left)
                if again.of_lists(questions, asks, stored):
                    return None
                answers, texts = again.renamed(questions, asks.of, answers, texts, stored, as_text)
                told |= stored
                continue
            told |= mine
            stages.ended("log")
            kept = None if len(mine) == len(asks.id) else [at for at in left if answers.id[at] in mine]
            by._asking.count(parts, kept)
            if how.mode == ONLINE:  # what is not exact says nothing of a candidate
                new = parts if kept is None else some(parts, kept)
                self.traffic.answered(route, self.model, answers, new, known.matrix)
        if answers.id is asks.id:
            return told
        return {name: told[now] for name, now in zip(asks.id, answers.id, strict=True) if now in told}

    def features(self, row: Any, at: int) -> Known:
        """Return the features of a row as `predict` would read them at that moment; nothing is logged."""
        values = self._questions.one(row)
        return self._plan(self._store, values, self._questions.moment(values, at), self._own(values))

    def features_many(self, rows: Sequence[Any], at: int) -> KnownMany | KnownRows:
        """Return the features of rows as `predict_many` would read them at that moment; nothing is logged."""
        if len(rows) > FEW:
            with suppress(SchemaError):  # which is said again below, of the first row that does not fit
                frame = self._questions.many(rows)
                return self._columns(frame, self._questions.moments(frame, at))
        each = self._questions.few(rows, at)
        return self._rows([values for values, _ in each], np.array([at for _, at in each], dtype=np.int64))

    def _known_of(self, asks: Asks) -> KnownMany | KnownRows:
        if asks.frame is not None:
            return self._columns(asks.frame, asks.at)
        return self._rows(asks.values, asks.at)

    def _rows(self, values: Sequence[Mapping[str, Any]], at: np.ndarray) -> KnownRows:
        found = self._plan.each(self._store, values, at.tolist(), list(map(self._own, values)))
        return of_rows(self.model, found, at)

    def _columns(self, frame: Frame, at: np.ndarray) -> KnownMany:
        return self._plan_many(self._store, frame, at, frame if self._includes_self else None)

    def _own(self, values: Mapping[str, Any]) -> Frame | None:
        """Return a row as columns for views that count it."""
        return self._questions.one.columns(values) if self._includes_self else None


class _How(NamedTuple):
    """How rows are answered: the mode, the service whose features, version and rules count, and what answers say of it."""

    mode: str
    by: Service
    told: Mapping[str, Any]
