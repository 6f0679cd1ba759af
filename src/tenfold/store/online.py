"""Online features: the states of the keys asked for, read at the moment of the request."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tenfold.features.records import OFFSET, Rows, rows_of
from tenfold.features.state.layout import VERSION
from tenfold.features.state.reading import Found, reader_of
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column, Frame, column
from tenfold.store.base import Get, OnlineStore

pack: Callable[[list[Any]], bytes] = msgspec.msgpack.Encoder().encode
"""Returns the values of a key's fields as they stand in the key of a state."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Features of one row as of one moment.

    `ages` says per view how many microseconds old its newest record is, None where nothing is known of the key.
    """

    features: Mapping[str, Mapping[str, Column]]
    ages: Mapping[str, int | None]


def prefix(view: FeatureView) -> bytes:
    """Return what the keys of a view's states begin with; another definition, or layout of states, has another one."""
    return f"{view.name}@{view.fingerprint[:8]}.{VERSION}/".encode()


def group_name(view: FeatureView) -> str:
    """Return the name under which a view's offset is committed."""
    return prefix(view).decode()


def state_keys(view: FeatureView, keys: Iterable[Sequence[Any]]) -> list[bytes]:
    """Return the keys of states in the online store, from the values of the key fields."""
    head = prefix(view)
    return [head + pack(list(values)) for values in keys]


def parts_of(get: Get, key: bytes) -> Get:
    """Return what gives the parts of a divided state by their names, which stand behind its key.

    No state's key goes on behind that of another one: as MessagePack it says itself where it ends.
    """
    return lambda name: get(key + name)


class Lookup:
    """What is read of the online store for a row: prepared once for a set of views."""

    def __init__(self, views: Sequence[FeatureView]) -> None:
        self.views = tuple(views)
        self._readers = [reader_of(view) for view in self.views]
        shared = list(dict.fromkeys(view.keys for view in self.views))
        self._names = [list(names) for names in shared]
        self._heads = [(prefix(view), shared.index(view.keys)) for view in self.views]
        self._include = any(view.plan.includes_self for view in self.views)
        self._nothing = [None] * len(self.views)

    def __call__(
        self, store: OnlineStore, row: Mapping[str, Any], at: int, asked: Frame | None = None
    ) -> list[Found]:
        """Return per view the features of the row's key as of `at`, all from one snapshot.

        Parameters
        ----------
        row
            The values of the key fields, as Python values.
        at
            Microseconds UTC.
        asked
            The row that is asked for, as columns of the source; needed by a view that counts it too.
        """
        keys, readers, own = self._keys(row), self._readers, self._own(asked)

        def work(states: list[Any], get: Get) -> list[Found]:
            return [
                read(state, at, mine, parts_of(get, key))
                for read, state, mine, key in zip(readers, states, own, keys, strict=True)
            ]

        return store.use(keys, work)

    def _keys(self, row: Mapping[str, Any]) -> list[bytes]:
        """Return the key of the row in each view; views of one entity share its bytes."""
        packed = [pack([row[name] for name in names]) for names in self._names]
        return [head + packed[place] for head, place in self._heads]

    def _own(self, asked: Frame | None) -> Sequence[Rows | None]:
        if asked is None or not self._include:
            return self._nothing
        return [_own(view, asked) if view.plan.includes_self else None for view in self.views]


def _own(view: FeatureView, asked: Frame) -> Rows:
    """Return the row that is asked for as a record of a view."""
    zero = Column("int", np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.bool_))
    return rows_of(view, {**asked, OFFSET: zero}, 1)[1]


def lookup(
    store: OnlineStore,
    views: Sequence[FeatureView],
    row: Mapping[str, Any],
    at: int,
    asked: Frame | None = None,
) -> Answer:
    """Return the features of each view for the keys in a row, as of `at` (microseconds UTC), from one snapshot."""
    found = Lookup(views)(store, row, at, asked)
    features = {
        view.name: {
            name: column(view.plan.types[name], [value])
            for name, value in zip(view.features, one.values, strict=True)
        }
        for view, one in zip(views, found, strict=True)
    }
    ages = {view.name: one.age(at) for view, one in zip(views, found, strict=True)}
    return Answer(features, ages)
