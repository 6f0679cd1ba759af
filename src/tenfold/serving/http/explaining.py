"""POST /explain: the answer of a row as /predict would give it now, not logged, and what each feature adds to its score."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from tenfold.core.errors import SchemaError, Unavailable
from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.answers import Said, as_dict
from tenfold.serving.answer.asking import Part
from tenfold.serving.answer.outputs import Deciding
from tenfold.serving.answer.predictions import FALLBACK, ONLINE, STALE, Predictions
from tenfold.serving.answer.service import Service
from tenfold.serving.answer.sticky import entities
from tenfold.serving.door.web import PREDICT, Scoped, as_json, content, guarded
from tenfold.serving.http.predicting import MAX_BODY, chosen
from tenfold.serving.rows.asked import Asked
from tenfold.serving.rows.degraded import Away
from tenfold.serving.rows.plan import Known, vector
from tenfold.sources.base import Ends
from tenfold.training.contributions import contributed

AT_ONCE = 1
"""How many explanations are made at the same time: each costs as much as about eighty predictions."""
WAITING = 8
"""How many may wait for that; more are told to come back."""


class Explaining:
    """Explains the answers of a service."""

    def __init__(self, service: Service) -> None:
        self._service, model = service, service.model
        self._checked, self._deciding = Asked(model.spine), Deciding(model)

    def __call__(self, row: Any, at: int, late: Ends | None = None) -> dict[str, Any]:
        """Return what `predict` would answer at a moment, and why: in the degraded mode, `late` is the mark that states have not reached.

        Returns
        -------
        The answer without a prediction's id; `raw_score`, before the link and the calibration; `base`, the raw score of
        which nothing of the row is known; and `contributions`, which add up to the raw score with the base: per feature
        its value, what it adds, and for a stored one how many seconds old it is; the largest first. Where they are
        `approximate` they are of the score itself, each with its standard `error`.

        Raises
        ------
        SchemaError
            When the row does not fit, or there is no number to explain.
        """
        service, name, other = self._service, self._service.model.name, self._service.instead
        try:
            if late is None:
                return self._explained(row, at, name, {})
            if other is None:
                return self._explained(row, at, name, {"degraded": STALE, "behind": service.late(late)})
        except Away:
            if other is None:
                raise
        told = {"degraded": FALLBACK, "answered_by": other.model.name}
        return Explaining(other)._explained(row, at, name, told)

    def _explained(self, row: Any, at: int, name: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer of this service in the name of a model, and why, with what is said of how it is answered."""
        model, service = self._service.model, self._service
        values, known = self._checked(row), service.features(row, at)
        route = service.traffic.routes.look(model.name)
        asking = service.traffic.asking(model).uncounted()
        (part,) = asking.many(
            route,
            lambda: entities(model, route.sticky, lambda name: [values[name]], 1),
            lambda codes: vector(known, codes),
            1,
        )
        return {**self._answer(values, known, part, name), **told, **why(part, known, self._ages(known))}

    def _ages(self, known: Known) -> dict[str, float | None]:
        """Return per stored feature how many seconds old it is."""
        ages = {name: None if age is None else age / 1e6 for name, age in known.ages.items()}
        return {
            f"{view.name}.{name}": ages[view.name]
            for view in self._service.model.stored
            for name in view.features
        }

    def _answer(self, values: Mapping[str, Any], known: Known, part: Part, name: str) -> dict[str, Any]:
        ages = [np.nan if age is None else float(age) for age in known.ages.values()]
        number = part.version.number
        answers = Predictions(
            name,
            ONLINE,
            id=[""],
            row=[""],
            on=[""],
            version=np.array([number]),
            at=np.array([known.at]),
            score=part.said.score,
            decision=part.said.decision,
            features=part.X,
            ages=np.array([ages]).reshape(1, -1),
            request=[""],
            probabilities=part.said.probabilities,
            classes=part.said.classes,
            outputs=[self._deciding.one(values, known, part.said, number)],
            outputs_by=[self._deciding.by],
        )
        found = as_dict(answers, 0, part.version.package.manifest, list(known.ages))
        del found["prediction_id"]
        return found


def why(part: Part, known: Known, ages: Mapping[str, float | None]) -> dict[str, Any]:
    """Return what the features of a row add to its raw score, or to its score, the largest first."""
    place = _class(part.said)
    found = contributed(part.version.package, part.X, place)
    order = np.argsort(-np.abs(found.each), kind="stable").tolist()
    values = known.values
    names = list(part.version.package.manifest.columns)
    each = [
        {
            "feature": names[at],
            "value": values[names[at]],
            "contribution": float(found.each[at]),
            **({} if found.errors is None else {"error": float(found.errors[at])}),
            **({"age_s": ages[names[at]]} if names[at] in ages else {}),
        }
        for at in order
    ]
    approximate = found.errors is not None
    return {
        "raw_score": found.raw,
        "base": found.base,
        "approximate": approximate,
        "contributions": each,
    }


def _class(said: Said) -> int:
    """Return the place of the likeliest class, 0 where there are none."""
    return int(said.probabilities[0].argmax()) if said.classes else 0


def routes(models: Mapping[str, Answering]) -> list[Scoped]:
    """Return the route that explains."""
    from anyio import CapacityLimiter, to_thread

    explaining = {name: Explaining(answering.service) for name, answering in models.items()}
    limiter = CapacityLimiter(AT_ONCE)

    under_way = 0

    async def explain(request: Request) -> Response:
        nonlocal under_way
        answering, asked = chosen(models, await content(request, MAX_BODY))
        if "row" not in asked:
            raise SchemaError('one row is explained at a time. Send {"model": ..., "row": {...}}.')
        if under_way >= AT_ONCE + WAITING:
            raise Unavailable(
                f"{under_way} explanations are asked for already; nothing was done. Repeat it later."
            )
        under_way += 1
        try:
            mark, reached = await answering.moment()
            late = None if reached else mark
            act = explaining[answering.service.model.name]
            return as_json(200, await to_thread.run_sync(act, asked["row"], mark.at, late, limiter=limiter))
        finally:
            under_way -= 1

    return [Scoped("/explain", guarded(explain), methods=["POST"], needs=PREDICT)]
