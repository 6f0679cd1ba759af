"""What a file format of models must do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from tenfold.training.kinds import Kind


@dataclass(frozen=True, slots=True)
class Context:
    """What a model file cannot say of itself.

    Attributes
    ----------
    estimator
        The declared estimator: its class makes estimators again from arrays.
    columns
        The model's columns in order, with their types.
    categories
        The known values of the text columns: a code is a place in them.
    trusted
        What the user allows to be loaded, by name.
    """

    kind: Kind
    columns: Mapping[str, str]
    categories: Mapping[str, Sequence[str]]
    estimator: Any = None
    trusted: Sequence[str] = ()


class Scorer(Protocol):
    """A fitted estimator that can be stored in files that are safe to load, and scores rows.

    A row has the same score, to the bit, alone and among others.
    """

    @property
    def format(self) -> str:
        """What its files are."""
        ...

    @property
    def libraries(self) -> Sequence[str]:
        """The packages whose versions matter."""
        ...

    def files(self) -> dict[str, bytes]:
        """Return the files to store: the same bytes for the same fit."""
        ...

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return (n_rows,) float64, or (n_rows, n_classes) for several classes, for rows as `encode` makes them."""
        ...

    def importance(self) -> np.ndarray | None:
        """Return each column's share, shape (n_columns,) float64 summing to 1; None when the estimator does not say."""
        ...


class Engine(Scorer, Protocol):
    """A scorer of one file format."""

    format: ClassVar[str]
    libraries: ClassVar[Sequence[str]]

    @classmethod
    def of(cls, fitted: Any, context: Context) -> Self | None:
        """Return the engine of a fitted estimator; None when this format is not for it."""
        ...

    @classmethod
    def load(cls, files: Mapping[str, bytes], context: Context) -> Self:
        """Return the engine that `files` were made of; their hashes are checked already."""
        ...
