"""What the kernel is given: records with their aggregated columns, the rows asked for, and what is wanted of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.windows import Window
from tenfold.processing.frame import Column


@dataclass(frozen=True, slots=True)
class Input:
    """One aggregated column of the records: values with validity, and which records take part (`where`)."""

    name: str
    column: Column
    member: np.ndarray

    def take(self, rows: np.ndarray) -> "Input":
        """Return the rows at positions, or where a mask is true."""
        return Input(self.name, self.column.take(rows), self.member[rows])


@dataclass(frozen=True, slots=True)
class Records:
    """Records sorted by (group, event, id): int64 arrays of shape (n,), instants in microseconds.

    `until` is the moment a later version of the record became known, FOREVER if there is none.
    """

    group: np.ndarray
    event: np.ndarray
    known: np.ndarray
    until: np.ndarray
    inputs: tuple[Input, ...]

    def take(self, rows: np.ndarray | slice) -> "Records":
        """Return the rows at positions, in a slice, or where a mask is true."""
        inputs = tuple(item.take(rows) for item in self.inputs)  # type: ignore[arg-type]
        return Records(self.group[rows], self.event[rows], self.known[rows], self.until[rows], inputs)


@dataclass(frozen=True, slots=True)
class Own:
    """The rows that are asked for, for aggregates that include them.

    Attributes
    ----------
    inputs
        Their values, one row per query.
    earlier : (m,) int64
        The position of a visible earlier version of the same record, which does not count then; -1 if there is none.
    """

    inputs: tuple[Input, ...]
    earlier: np.ndarray

    def cut(self, asked: slice, records: slice) -> "Own":
        """Return the rows of some queries over some of the records."""
        earlier = self.earlier[asked]
        inputs = tuple(item.take(asked) for item in self.inputs)  # type: ignore[arg-type]
        return Own(inputs, np.where(earlier < 0, -1, earlier - records.start))


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What to compute: a function of one input over one window; `n` is its parameter, such as which lag."""

    fn: str
    input: int
    window: Window
    n: Any = 0
