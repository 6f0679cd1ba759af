"""What rollouts need of a process that answers: routes, versions in memory, counters, and the thread that asks aside."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tenfold.core.clock import Clock
from tenfold.serving.answer.aside import Aside, Shadowed, as_shadow
from tenfold.serving.answer.asking import Asking, Matrix, Part
from tenfold.serving.answer.predictions import PredictionLog, Predictions
from tenfold.serving.answer.route import Route, Routes
from tenfold.serving.answer.versions import Versions
from tenfold.serving.seen.counters import Counters
from tenfold.serving.seen.requests import Requests
from tenfold.sources.database import Database
from tenfold.sources.later import WAIT_MS
from tenfold.training.model import Model


class Traffic:
    """The traffic of a project's models in one process; made once, closed at the end.

    Parameters
    ----------
    budgets
        Microseconds that a release allows a version for a row, by the name of its model.
    """

    def __init__(
        self,
        database: Database,
        versions: Versions,
        predictions: PredictionLog,
        clock: Clock,
        budgets: Mapping[str, int | None] = MappingProxyType({}),
    ) -> None:
        self._hurried = database.hurried(WAIT_MS)
        self.routes, self.counters = Routes(database), Counters(self._hurried, clock)
        self.requests = Requests(self._hurried, clock)
        self.aside = Aside(predictions, self.counters, clock)
        self._versions, self._predictions, self._clock = versions, predictions, clock
        self._asking: dict[str, Asking] = {}
        self._budgets = budgets

    def now(self) -> int:
        """Return the present moment, in microseconds UTC."""
        return self._clock.now()

    def asking(self, model: Model) -> Asking:
        """Return what asks the versions of a model."""
        if model.name not in self._asking or self._asking[model.name].model is not model:
            budget = self._budgets.get(model.name)
            self._asking[model.name] = Asking(model, self._versions, self.counters, self._clock, budget)
        return self._asking[model.name]

    def answered(
        self, route: Route, model: Model, answers: Predictions, parts: Sequence[Part], matrix: Matrix
    ) -> None:
        """Hand over rows that were answered together, so that the other version of a rollout is asked about them too.

        To be called when the answers are durable; returns at once. A candidate that had no answer is not asked again.
        """
        self.aside.start()
        if route.candidate is None:
            return
        for part in parts:
            other = route.other(part.version.number)
            if other is not None and not part.instead:
                mine = answers if len(part.rows) == len(answers) else answers.take(part.rows)
                self.aside.put(Shadowed(self.asking(model), other, _some(matrix, part.rows), mine))

    def shadow_batch(
        self, route: Route, model: Model, answers: Predictions, parts: Sequence[Part], matrix: Matrix
    ) -> list[Predictions]:
        """Return what the other version of a rollout says of the rows of a batch, asked here and now."""
        found = []
        for part in parts:
            other = route.other(part.version.number)
            if other is None or part.instead:
                continue
            asking = self.asking(model)
            tried = asking.tried(other, matrix, len(answers), part.rows)
            asking.blame(tried, np.isfinite(answers.score))
            if tried.part is not None:
                found.append(as_shadow([answers], tried.part))
        return found

    def settle(self) -> None:
        """Wait until nothing is left to ask aside in this process, and store the counters."""
        self.aside.settle()

    def close(self) -> None:
        """End the threads; may be called twice."""
        self.aside.close()
        for asking in self._asking.values():
            asking.close()
        self.requests.close()
        self._hurried.close()


def _some(matrix: Matrix, rows: np.ndarray) -> Matrix:
    return lambda categories: matrix(categories)[rows]
