"""An estimator from elsewhere, whose file names the model's columns otherwise or takes them in another order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tenfold.training.formats.base import Context, Scorer

Batch = Callable[[np.ndarray], np.ndarray]


class Ordered:
    """An engine that is given the columns as its file takes them, and answers in terms of the model's.

    `inputs` are the names in the file, in its order, each with the column of the model that it is.
    """

    def __init__(self, inner: Scorer, inputs: Mapping[str, str], columns: Sequence[str]) -> None:
        self._inner, self.inputs = inner, dict(inputs)
        self.format, self.libraries = inner.format, inner.libraries
        self._order = np.array([list(columns).index(ours) for ours in inputs.values()])
        self._back = np.argsort(self._order)
        self.importance_of: str = getattr(inner, "importance_of", "gain")
        self.trees: int = getattr(inner, "trees", 0)
        self.losses: Sequence[float] | None = getattr(inner, "losses", None)

    def files(self) -> dict[str, bytes]:
        return self._inner.files()

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._inner.predict(self._theirs(rows))

    def importance(self) -> np.ndarray | None:
        found = self._inner.importance()
        return None if found is None else found[self._back]

    def staged(self, X: np.ndarray, upto: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield what the first trees alone predict, for each of these numbers of trees."""
        found: Iterator[np.ndarray] = self._own("staged")(self._theirs(X), upto)
        return found

    def raw(self, X: np.ndarray) -> np.ndarray:
        """Return the scores before the link: (n_rows, n_scores)."""
        return np.asarray(self._own("raw")(self._theirs(X)))

    @property
    def contributions(self) -> Batch | None:
        """Gives what each of the model's columns adds to each score, where the format can."""
        inner = self._own("contributions")
        places = [*self._back.tolist(), -1]
        return None if inner is None else lambda X: inner(self._theirs(X))[..., places]

    @property
    def linear(self) -> Batch | None:
        """Gives the scores before the link, where they are sums of functions of one column each."""
        inner = self._own("linear")
        return None if inner is None else lambda X: inner(self._theirs(X))

    def _own(self, name: str) -> Any:
        return getattr(self._inner, name, None)

    def _theirs(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows[:, self._order])


def renamed(context: Context, inputs: Mapping[str, str]) -> Context:
    """Return a context with the names and the order of a file's columns."""
    known = context.categories
    return replace(
        context,
        columns={theirs: context.columns[ours] for theirs, ours in inputs.items()},
        categories={theirs: known[ours] for theirs, ours in inputs.items() if ours in known},
    )
