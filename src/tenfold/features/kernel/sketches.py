"""Approximate aggregates through Apache DataSketches, fed in an order that depends on the values alone."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tenfold.core.errors import MissingExtra
from tenfold.features.kernel.inputs import Aggregate
from tenfold.features.kernel.listed import Listed
from tenfold.features.kernel.windowed import Windowed
from tenfold.processing.frame import Column


def sketch(windowed: Windowed, item: Aggregate) -> Column:
    """Return an approximate aggregate; null where the sketch has no answer."""
    used, values = windowed.parts.used(item.input), windowed.parts.column(item.input).values

    def work(rows: Listed) -> np.ndarray:
        kept = rows.keep(used[rows.rows])
        parts = np.split(values[kept.rows], kept.edges[1:-1])
        return np.array([_SKETCHES[item.fn](part, item.n) for part in parts], dtype=np.float64)

    everything = np.arange(len(windowed.ranges.at))
    found = windowed.by_list(item, np.full(len(everything), np.nan), work, everything)
    valid = ~np.isnan(found)
    return Column("float", np.where(valid, found, 0.0), valid)


def n_unique(values: np.ndarray, _: Any) -> float:
    """Return about how many different values there are: a theta sketch of 4,096 hashes."""
    sketch = _library("theta sketches").update_theta_sketch(12)
    for value in values.tolist():
        sketch.update(_hashable(value))
    sketch.trim()  # the estimate then depends on the set of values and not on their order
    return float(sketch.get_estimate())


def _hashable(value: Any) -> Any:
    """Return a value as the sketch takes it; it would skip an empty text."""
    if isinstance(value, str):
        return f"={value}"
    return value + 0.0 if isinstance(value, float) else int(value)


def quantile(values: np.ndarray, q: float) -> float:
    """Return about the q-quantile: a t-digest with compression 200; NaN of no values."""
    if not len(values):
        return float("nan")
    digest = _library("quantile sketches").tdigest_double(200)
    digest.update(np.sort(values.astype(np.float64)) + 0.0)
    return float(digest.get_quantile(q))


_SKETCHES: dict[str, Callable[[np.ndarray, Any], float]] = {
    "approx_n_unique": n_unique,
    "approx_quantile": quantile,
}


def _library(what: str) -> Any:
    try:
        import datasketches
    except ImportError as error:
        raise MissingExtra(what, "sketches") from error
    return datasketches
