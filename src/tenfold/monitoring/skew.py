"""Training-serving skew on values: every served feature vector, recomputed from the lake and compared bit by bit."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from tenfold.core.errors import SchemaError
from tenfold.processing.conform import convert
from tenfold.processing.frame import Frame, column
from tenfold.serving.answer.predictions import Predictions
from tenfold.training.dataset import Dataset, features_of
from tenfold.training.model import Model
from tenfold.training.package import Manifest
from tenfold.training.vector import encode


@dataclass(frozen=True, slots=True)
class Skew:
    """How many feature values were compared, how many differ, and where: mismatches per feature.

    `left` rows were answered by versions that do not fit what is declared now, or whose files are damaged, so they are not
    computed again.
    """

    rows: int
    cells: int
    mismatches: int
    features: dict[str, int]
    left: int = 0


def skew(
    model: Model,
    data: Callable[[], Dataset],
    served: Iterable[Predictions],
    manifest: Callable[[int], Manifest],
) -> Skew:
    """Recompute what was served online and count the cells whose 64 bits differ; null equals null.

    Parameters
    ----------
    data
        Gives the rows of the model as of now; asked after each part was read, as its answers may be made from records that came since.
    served
        Answers in parts of as many rows as fit memory.
    manifest
        Gives the manifest of a version, which names its features and the codes of texts; raises SchemaError for one that
        does not fit or is damaged.
    """
    # by `map`, which holds no part while the next one is read
    found = list(map(partial(_part, model, data, manifest), served))
    differ = sum((Counter(one.features) for one in found), Counter[str]())
    return Skew(
        sum(one.rows for one in found),
        sum(one.cells for one in found),
        differ.total(),
        {name: differ[name] for name in model.columns if differ[name]},
        sum(one.left for one in found),
    )


def _part(
    model: Model, data: Callable[[], Dataset], manifest: Callable[[int], Manifest], served: Predictions
) -> Skew:
    known = _known(served, manifest)
    left = len(served)
    served = served.take(np.flatnonzero(np.isin(served.version, list(known))))
    left -= len(served)
    cells, found = 0, Counter[str]()
    if known:
        columns = features_of(model, data().history, _rows(model, served), served.at)
    for number, one in known.items():
        rows = np.flatnonzero(served.version == number)
        again = encode({name: columns[name].take(rows) for name in one.columns}, one.categories)
        differs = _differ(again, served.features[rows, : len(one.columns)])
        cells += differs.size
        found.update(dict(zip(one.columns, differs.sum(axis=0).tolist(), strict=True)))
    return Skew(len(served), cells, found.total(), dict(found), left)


def _known(served: Predictions, manifest: Callable[[int], Manifest]) -> dict[int, Manifest]:
    """Return the manifests of those versions that fit what is declared now and are whole."""
    found = {}
    for number in np.unique(served.version).tolist():
        with suppress(SchemaError):
            found[number] = manifest(number)
    return found


def _rows(model: Model, served: Predictions) -> Frame:
    fields = model.spine.root.fields
    rows = [convert(fields, msgspec.json.decode(request)) for request in served.request]
    return {name: column(field.type, [row[name] for row in rows]) for name, field in fields.items()}


def _differ(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    same = np.ascontiguousarray(one).view(np.int64) == np.ascontiguousarray(two).view(np.int64)
    return ~(same | (np.isnan(one) & np.isnan(two)))
