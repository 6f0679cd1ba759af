"""Offline features: every query answered from the history in the lake, as it was known then."""

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel import Records, aggregate
from tenfold.features.records import Rows, in_order, key_codes, outputs, rows_of, versions
from tenfold.features.view import FeatureView
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Column, Frame, column, concat, from_arrow, types_of
from tenfold.sources.base import Lake
from tenfold.sources.declare import Events

ROWS_PER_CHUNK = 200_000
WORKERS = 2


class History:
    """What a set of sources held at fixed table versions; reads each source once.

    Parameters
    ----------
    versions
        The table version to read per source; the newest where none is given. `versions` afterwards holds them all.
    """

    def __init__(self, lake: Lake, versions: Mapping[str, int] | None = None) -> None:
        self._lake = lake
        self.versions: dict[str, int] = dict(versions or {})
        self._frames: dict[str, Frame] = {}
        self._prepared: dict[str, tuple[list[Column], Rows]] = {}

    def frame(self, source: Events) -> Frame:
        """Return all records of a source in log order, with from when each was known."""
        if source.name not in self._frames:
            version = self.versions.setdefault(source.name, self._lake.version(source.name))
            types = types_of(source.fields) | {KNOWN: "int", "_offset": "int"}
            if version < 0:
                self._frames[source.name] = _no_rows(types)
            else:
                table = self._lake.read(source.name, version=version, columns=list(types))
                self._frames[source.name] = from_arrow(table, types)
        return self._frames[source.name]

    def features(self, view: FeatureView, keys: Sequence[Column], at: np.ndarray) -> dict[str, Column]:
        """Return the features of a view for queries (key, moment), in the order given.

        Parameters
        ----------
        keys
            One column per key field of the view's entity, each of shape (n,).
        at
            int64 microseconds UTC, shape (n,).
        """
        return _features(view, *self.records(view), keys, at)

    def records(self, view: FeatureView) -> tuple[list[Column], Rows]:
        """Return the key columns and the records of a view, each version with the moment it was replaced."""
        if view.fingerprint not in self._prepared:
            self._prepared[view.fingerprint] = prepare(view, self.frame(view.source.root))
        return self._prepared[view.fingerprint]


def prepare(view: FeatureView, frame: Frame) -> tuple[list[Column], Rows]:
    """Return the key columns and the records of a view from a frame of its source in log order."""
    keys, rows = rows_of(view, frame, len(frame[KNOWN]))
    rows = replace(
        rows, offset=np.arange(len(rows.offset))
    )  # positions: they order versions as the offsets did
    rows = versions(rows)
    return [item.take(rows.offset) for item in keys], rows


def features(view: FeatureView, frame: Frame, keys: Sequence[Column], at: np.ndarray) -> dict[str, Column]:
    """Return the features of a view for queries, computed from a frame of its source's records."""
    return _features(view, *prepare(view, frame), keys, at)


def _features(
    view: FeatureView, own: list[Column], rows: Rows, keys: Sequence[Column], at: np.ndarray
) -> dict[str, Column]:
    (group, query_code), size = key_codes([own, keys])
    known_key = group >= 0
    rows, group = rows.take(known_key), group[known_key]
    order = in_order(rows, group)
    rows, group = rows.take(order), group[order]
    query_code = np.where(query_code < 0, size, query_code)  # a missing key is a key nothing is known of
    asked = np.lexsort((at, query_code))
    results = _in_chunks(view, rows.records(group), query_code[asked], at[asked], size + 1)
    back = np.empty(len(asked), dtype=np.int64)
    back[asked] = np.arange(len(asked))
    return {name: item.take(back) for name, item in outputs(view, results, at[asked]).items()}


def _in_chunks(
    view: FeatureView, records: Records, group: np.ndarray, at: np.ndarray, size: int
) -> list[Column]:
    """Run the kernel over pieces of whole keys: they fit the cache, bound memory and run side by side."""
    cuts = _cuts(records, group, at, size)
    pieces = list(itertools.pairwise(cuts))

    def run(piece: tuple[int, int]) -> list[Column]:
        first, behind = piece
        mine = slice(*np.searchsorted(records.group, [first, behind]))
        asked = slice(*np.searchsorted(group, [first, behind]))
        part = records.take(mine)
        part = Records(part.group - first, part.event, part.known, part.until, part.inputs)
        return aggregate(part, group[asked] - first, at[asked], view.plan.aggregates)

    with ThreadPoolExecutor(WORKERS) as pool:
        parts = list(pool.map(run, pieces))
    return [concat([part[place] for part in parts]) for place in range(len(view.plan.aggregates))]


def _cuts(records: Records, group: np.ndarray, at: np.ndarray, size: int) -> list[int]:
    load = np.bincount(records.group, minlength=size) + np.bincount(group, minlength=size)
    moments = [array for array in (records.event, records.known, at) if len(array)]
    span = (
        max(int(array.max()) for array in moments) - min(int(array.min()) for array in moments) + 8
        if moments
        else 8
    )
    most = max(1, (FOREVER - 1) // span)  # so that (key, moment) fits one int64
    cuts, total = [0], 0
    for code in range(size):
        if code > cuts[-1] and (total + load[code] > ROWS_PER_CHUNK or code - cuts[-1] >= most):
            cuts.append(code)
            total = 0
        total += int(load[code])
    return [*cuts, size]


def _no_rows(types: Mapping[str, str]) -> Frame:
    return {name: column(type_, []) for name, type_ in types.items()}
