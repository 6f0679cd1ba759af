"""Training sets: rows with features as of their predictions and labels as known by now, and what is to be said of them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tenfold.core.errors import MissingExtra, NotFound
from tenfold.core.vector import by_vector
from tenfold.processing.frame import Column, arrow_type, to_arrow
from tenfold.training.leaks import Report, report

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_encode = msgspec.msgpack.Encoder().encode


def _nothing() -> np.ndarray:
    return np.zeros((0, 0))


@dataclass(frozen=True)
class TrainingSet:
    """Rows a model may learn from, ordered by (event time, id): the same declaration and tables give the same rows.

    Attributes
    ----------
    columns
        The model's features, n rows each.
    y : (n_rows,) float64
    at : (n_rows,) int64 microseconds UTC
    ids : (n_rows,) bytes
    dropped
        How many rows of the period were left out, by reason.
    tables
        The lake version read per source.
    digest
        A hash of all of it: equal digests are equal training sets.
    """

    columns: Mapping[str, Column]
    y: np.ndarray
    at: np.ndarray
    ids: np.ndarray
    dropped: Mapping[str, int]
    tables: Mapping[str, int]
    views: Sequence[str] = field(default=(), repr=False)
    ages: Callable[[], np.ndarray] = field(default=_nothing, repr=False)
    """Gives how old the newest known record behind each of `views` is, in microseconds: (n_rows, n_views)."""
    places: np.ndarray | None = field(default=None, repr=False)
    """Where each row is among all rows of its dataset: (n_rows,) int64; None for rows of no dataset."""
    groups: np.ndarray | None = field(default=None, repr=False)
    """A number for each value of the model's `groups`, -1 for null: (n_rows,) int64; None without groups."""
    classes: Sequence[str] = ()
    """What a label stands for where it is a text: its place in these; they are sorted."""

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, name: str) -> Column:
        """Return a feature's column; NotFound names the nearest."""
        if name not in self.columns:
            raise NotFound("feature", name, self.columns, within="the training set")
        return self.columns[name]

    def between(self, start: int, end: int) -> "TrainingSet":
        """Return the rows predicted in [start, end)."""
        return self.take((self.at >= start) & (self.at < end))

    def take(self, rows: np.ndarray) -> "TrainingSet":
        """Return the rows where a mask is true, or at positions."""
        columns = {name: item.take(rows) for name, item in self.columns.items()}
        ages = self.ages
        return TrainingSet(
            columns,
            self.y[rows],
            self.at[rows],
            self.ids[rows],
            self.dropped,
            self.tables,
            self.views,
            lambda: ages()[rows],
            None if self.places is None else self.places[rows],
            None if self.groups is None else self.groups[rows],
            self.classes,
        )

    @property
    def digest(self) -> str:
        """A sha256 over ids, times, labels and every feature's bits."""
        found = hashlib.sha256()
        found.update(_encode(self.ids.tolist()))
        for array in (self.at, self.y):
            found.update(array.tobytes())
        for name, item in self.columns.items():
            found.update(_encode([name, item.type]))
            found.update(_encode(item.values.tolist()) if item.type == "str" else item.values.tobytes())
            found.update(item.valid.tobytes())
        if self.groups is not None:
            found.update(self.groups.tobytes())
        if self.classes:
            found.update(_encode(list(self.classes)))
        return found.hexdigest()[:16]

    @cached_property
    def report(self) -> Report:
        """What to look at before learning from the rows: leaks, nulls, ages, what was left out."""
        ages = self.ages() if self.views else _nothing()
        by_view = {view: ages[:, place] for place, view in enumerate(self.views)}
        y = np.full(len(self), np.nan) if self.classes else self.y  # places of classes are no numbers
        return report(self.columns, y, self.at, self.dropped, self.tables, by_view)

    def to_arrow(self) -> "pa.Table":
        """Return `id`, `at`, the features and `label` as an Arrow table; a vector is one column of lists of fixed size."""
        import pyarrow as pa

        every = np.ones(len(self), dtype=np.bool_)
        ends = to_arrow({"at": Column("time", self.at, every), "label": self._labels(every)})
        ids = pa.array([name.decode() for name in self.ids.tolist()], pa.string())
        columns = {"id": ids, "at": ends["at"]}
        for name, items in by_vector(self.columns).items():
            mine = {item: self.columns[item] for item in items}
            columns |= (
                {name: _lists(list(mine.values()))}
                if _whole(name, items)
                else dict(zip(items, to_arrow(mine).columns, strict=True))
            )
        return pa.table({**columns, "label": ends["label"]})

    def _labels(self, every: np.ndarray) -> Column:
        if not self.classes:
            return Column("float", self.y, every)
        return Column("str", np.array(self.classes, dtype=object)[self.y.astype(np.int64)], every)

    def to_pandas(self) -> "pd.DataFrame":
        """Return the same as a pandas data frame: nulls are its own, decimals are Arrow's, vectors arrays.

        Raises
        ------
        MissingExtra
            When pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra("TrainingSet.to_pandas()", "examples") from error
        table = self.to_arrow()
        decimals = {
            kind: pd.ArrowDtype(kind) for kind in table.schema.types if str(kind).startswith("decimal")
        }
        return table.to_pandas(types_mapper=decimals.get)

    def to_polars(self) -> "pl.DataFrame":
        """Return the same as a polars data frame; MissingExtra without polars."""
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtra("TrainingSet.to_polars()", "dev") from error
        found = pl.from_arrow(self.to_arrow())
        assert isinstance(found, pl.DataFrame)  # noqa: S101 - for the type checker: a table is never a series
        return found


def _whole(name: str, items: Sequence[str]) -> bool:
    """Return whether columns are all numbers of a vector, in order: a model may read some of them only."""
    return items == [f"{name}[{place}]" for place in range(len(items))]


def _lists(items: Sequence[Column]) -> "pa.Array":
    """Return the columns of a vector as lists, null where all of its numbers are."""
    import pyarrow as pa

    values = np.column_stack([item.values for item in items])
    valid = np.column_stack([item.valid for item in items])
    flat = pa.array(values.ravel(), type=arrow_type(items[0].type), mask=~valid.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, len(items), mask=pa.array(~valid.any(axis=1)))
