"""What batch scoring answered: a lake table in which a partition is stored, or replaced, as one version."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.times import iso
from tenfold.serving.answer.predictions import BATCH, SCORES, TEXTS, Predictions, within
from tenfold.sources.base import Lake

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of a model that are predicted in [start, end), in microseconds UTC, and how many there are.

    Examples
    --------
    >>> Partition("fraud", 0, 86_400_000_000, 12).name
    '1970-01-01T00:00:00+00:00/1970-01-02T00:00:00+00:00'
    """

    model: str
    start: int
    end: int
    rows: int = 0

    @property
    def name(self) -> str:
        """The period as text."""
        return f"{iso(self.start)}/{iso(self.end)}"

    @property
    def writer(self) -> str:
        """Who writes it to the lake; its position there is the number of the run that wrote it last."""
        return f"{self.model}/{self.start}/{self.end}"


def partitions(model: str, at: np.ndarray, start: int, end: int, every: int | None) -> list[Partition]:
    """Return the partitions of a period that rows with these prediction times lie in, cut at multiples of `every`, if given.

    Examples
    --------
    >>> [(part.start, part.end, part.rows) for part in partitions("fraud", np.array([7, 12, 31]), 5, 32, 10)]
    [(5, 10, 1), (10, 20, 1), (30, 32, 1)]
    """
    within_it = at[(at >= start) & (at < end)]
    if every is None:
        return [Partition(model, start, end, len(within_it))] if len(within_it) else []
    places, counts = np.unique(within_it // every, return_counts=True)
    return [
        Partition(model, max(start, place * every), min(end, (place + 1) * every), count)
        for place, count in zip(places.tolist(), counts.tolist(), strict=True)
    ]


@dataclass(slots=True)
class Tally:
    """What was answered, added up: rows, those decided true, the sum of the scores, and rows by version.

    `no_number` rows have no score, as their version gave no finite number; nothing is added up of them. `left_out` rows are none of
    the answered: they have no features.
    """

    rows: int = 0
    decided: int = 0
    no_number: int = 0
    left_out: int = 0
    total: float = 0.0
    versions: dict[str, int] = field(default_factory=dict)

    def add(self, score: np.ndarray, decision: np.ndarray, version: np.ndarray) -> None:
        """Count answers."""
        self.rows += len(score)
        self.decided += int((decision == True).sum())  # noqa: E712 - None where a version has no threshold
        known = score[np.isfinite(score)]
        self.no_number += len(score) - len(known)
        self.total += float(known.sum())
        for number, count in zip(*np.unique(version, return_counts=True), strict=True):
            self.versions[str(number)] = self.versions.get(str(number), 0) + int(count)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "rows": self.rows,
            "decided": self.decided,
            "no_number": self.no_number,
            "left_out": self.left_out,
            "total": self.total,
            "versions": dict(self.versions),
        }


def stored(
    lake: Lake,
    model: str,
    start: int,
    end: int,
    columns: Sequence[str] | None = None,
    version: int | None = None,
) -> "pa.Table":
    """Return what batch scoring answered for rows predicted in [start, end), in no order; no rows when nothing was.

    As it is in a version of the table, the newest unless given.
    """
    import pyarrow as pa

    if lake.version(SCORES) < 0:
        return pa.table({name: [] for name in columns or ()})
    where = f"{among(model, start, end)} AND mode = '{BATCH}'"
    return lake.read(SCORES, version=version, columns=columns, where=where)


def tally(lake: Lake, part: Partition) -> Tally:
    """Return what is stored for a partition, added up."""
    found = stored(lake, part.model, part.start, part.end, ["score", "decision", "version"])
    made = Tally()
    if found.num_rows:  # columns of a table that is not there have no type
        made.add(*(column.to_numpy() for column in found.columns))
    return made


def among(model: str, start: int, end: int) -> str:
    """Return the condition for the rows of a model that are predicted in [start, end)."""
    return f"model = '{model}' AND {within(start, end)}"


def texts(values: np.ndarray) -> "pa.Array":
    """Return bytes, texts or whole numbers as an Arrow array of texts."""
    import pyarrow as pa

    return pa.array(values).cast(pa.string())


def same(text: str, rows: int) -> "pa.Array":
    """Return the same text for each row."""
    import pyarrow as pa

    return pa.repeat(pa.scalar(text), rows)


def ids(model: str, row: "pa.Array", at: np.ndarray) -> "pa.Array":
    """Return the ids of batch predictions: of the row and its prediction time, so that the same question has the same one.

    Examples
    --------
    >>> ids("fraud", texts(np.array([b"p1", b"p2"])), np.array([5, 7])).to_pylist()
    ['fraud/p1/5/batch', 'fraud/p2/7/batch']
    """
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(model, row, texts(at), "batch", "/")


def listed(answers: Predictions) -> Predictions:
    """Return predictions whose texts are lists, where they were Arrow arrays."""
    held: dict[str, Any] = {name: getattr(answers, name) for name in TEXTS}
    plain: dict[str, Any] = {
        name: values if isinstance(values, list) else values.to_pylist() for name, values in held.items()
    }
    return replace(answers, **plain)
