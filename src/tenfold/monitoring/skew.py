"""Training-serving skew on values: every served feature vector, recomputed from the lake and compared bit by bit."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from tenfold.processing.conform import convert
from tenfold.processing.frame import Frame, column
from tenfold.serving.answer.predictions import Predictions
from tenfold.store.offline import History
from tenfold.training.dataset import features_of
from tenfold.training.model import Model
from tenfold.training.package import Manifest
from tenfold.training.vector import encode


@dataclass(frozen=True, slots=True)
class Skew:
    """How many feature values were compared, how many differ, and where: mismatches per feature."""

    rows: int
    cells: int
    mismatches: int
    features: dict[str, int]


def skew(model: Model, history: History, served: Predictions, manifest: Callable[[int], Manifest]) -> Skew:
    """Recompute what was served online and count the cells whose 64 bits differ; null equals null.

    Parameters
    ----------
    manifest
        Gives the manifest of a version, which holds the codes of its text features.
    """
    if not len(served):
        return Skew(0, 0, 0, {})
    spine = _rows(model, served)
    columns = features_of(model, history, spine, served.at)
    differs = np.zeros(served.features.shape, dtype=np.bool_)
    for number in np.unique(served.version).tolist():
        rows = served.version == number
        again = encode({name: item.take(rows) for name, item in columns.items()}, manifest(number).categories)
        differs[rows] = _differ(again, served.features[rows])
    found = {
        name: int(count) for name, count in zip(model.columns, differs.sum(axis=0), strict=True) if count
    }
    return Skew(len(served), differs.size, int(differs.sum()), found)


def _rows(model: Model, served: Predictions) -> Frame:
    fields = model.spine.root.fields
    rows = [convert(fields, msgspec.json.decode(request)) for request in served.request]
    return {name: column(field.type, [row[name] for row in rows]) for name, field in fields.items()}


def _differ(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    same = np.ascontiguousarray(one).view(np.int64) == np.ascontiguousarray(two).view(np.int64)
    return ~(same | (np.isnan(one) & np.isnan(two)))
