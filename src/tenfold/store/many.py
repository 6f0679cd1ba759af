"""Online features of many rows: the states of all their keys from one snapshot, read as columns."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tenfold.core.errors import Inexact
from tenfold.features.records import OFFSET, Rows, rows_of
from tenfold.features.state.many import FoundMany, many_reader_of
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column, Frame
from tenfold.store.base import Get, OnlineStore
from tenfold.store.online import key_values, pack, parts_of, prefix
from tenfold.store.refused import named


class LookupMany:
    """What is read of the online store for many rows: prepared once for a set of views; the values are those of `Lookup`.

    Attributes
    ----------
    places
        Per view, of each feature its block and its row there.
    """

    def __init__(self, views: Sequence[FeatureView]) -> None:
        self.views = tuple(views)
        self._readers = [many_reader_of(view) for view in self.views]
        self.places = [read.places for read in self._readers]
        self._heads = [prefix(view) for view in self.views]
        self._names = list(dict.fromkeys(view.keys for view in self.views))

    def __call__(
        self, store: OnlineStore, keys: Frame, at: np.ndarray, asked: Frame | None = None
    ) -> list[FoundMany]:
        """Return per view the features of the rows' keys, all from one snapshot.

        Parameters
        ----------
        keys
            Columns that hold the key fields, n rows; a key may occur several times.
        at : (n,) int64
            The moment of each row in microseconds UTC.
        asked
            The rows that are asked for, as columns of the source; needed by views that count them too.
        """
        distinct = {names: _distinct([keys[name] for name in names]) for names in self._names}
        wanted = [
            head + key
            for head, view in zip(self._heads, self.views, strict=True)
            for key in distinct[view.keys][0]
        ]
        own = [self._own(view, asked, len(at)) for view in self.views]

        def work(states: list[Any], get: Get) -> list[FoundMany]:
            found, begin = [], 0
            for view, read, mine in zip(self.views, self._readers, own, strict=True):
                packed, of = distinct[view.keys]
                keys = wanted[begin : begin + len(packed)]
                parts = partial(_parts, get, keys)
                try:
                    found.append(read(states[begin : begin + len(packed)], of, at, mine, parts))
                except Inexact as error:
                    place, moment = error.rows
                    raise error.of(named(view, key_values(view, keys[place]), moment)) from error
                begin += len(packed)
            return found

        return store.use(wanted, work)

    def _own(self, view: FeatureView, asked: Frame | None, rows: int) -> Rows | None:
        """Return the rows that are asked for as records of a view."""
        if asked is None or not view.plan.includes_self:
            return None
        zero = Column("int", np.zeros(rows, dtype=np.int64), np.ones(rows, dtype=np.bool_))
        return rows_of(view, {**asked, OFFSET: zero}, rows)[1]


def _parts(get: Get, keys: Sequence[bytes], place: int) -> Get:
    return parts_of(get, keys[place])


def _distinct(columns: Sequence[Column]) -> tuple[list[bytes], np.ndarray]:
    """Return the distinct keys of rows as the store has them, and which of them each row has."""
    plain = [item.values.tolist() if item.valid.all() else item.plain() for item in columns]
    each = plain[0] if len(plain) == 1 else list(zip(*plain, strict=True))
    distinct = list(dict.fromkeys(each))
    packed = [pack([key]) for key in distinct] if len(plain) == 1 else [pack(list(key)) for key in distinct]
    if len(distinct) == len(each):
        return packed, np.arange(len(each))
    places = {key: place for place, key in enumerate(distinct)}
    return packed, np.array([places[key] for key in each], dtype=np.int64)
