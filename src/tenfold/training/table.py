"""What a pipeline gets that names columns: a pandas data frame of the model's columns."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd


class Table:
    """Makes data frames of rows as `encode` makes them: text again where there were codes, numbers as float64.

    Null is NaN. Text that the model has not seen is null too, as for every other estimator.
    """

    def __init__(self, columns: Mapping[str, str], categories: Mapping[str, Sequence[str]]) -> None:
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise MissingExtra("a pipeline that names columns", "sklearn") from error

        self._pandas, self._names = pd, list(columns)
        self._texts = {
            place: np.array([*categories.get(name, ()), np.nan], dtype=object)
            for place, (name, kind) in enumerate(columns.items())
            if kind == "str"
        }

    def __call__(self, X: np.ndarray) -> "pd.DataFrame":
        """Return a data frame of X (n_rows, n_columns) float64."""
        return self._pandas.DataFrame(
            {name: self._column(place, X[:, place]) for place, name in enumerate(self._names)}
        )

    def _column(self, place: int, values: np.ndarray) -> Any:
        texts = self._texts.get(place)
        if texts is None:
            return values
        return texts[np.where(np.isnan(values), len(texts) - 1, values).astype(np.int64)]


def names_columns(estimator: Any, columns: Mapping[str, str]) -> bool:
    """Return whether an estimator is one of several steps that may name columns or takes text as it is."""
    steps = list(parts(estimator))
    if len(steps) < 2:
        return False
    own = any(not type(part).__module__.startswith("sklearn.") for part in steps[:-1])
    by_name = any(type(part).__name__ == "ColumnTransformer" for part in steps)
    return by_name or own or "str" in columns.values()


def parts(estimator: Any) -> list[Any]:
    """Return an estimator's steps, those of steps among them, itself when it has none."""
    steps = [
        step
        for name in ("steps", "transformers", "transformer_list")
        for step in getattr(estimator, name, ())
    ]
    found = [part for step in steps if not isinstance(step[1], str) for part in parts(step[1])]
    return [estimator, *found] if steps else [estimator]
