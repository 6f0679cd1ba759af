"""Online features: the states of the keys asked for, read at the moment of the request."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from tenfold.core.errors import Inexact
from tenfold.features.records import OFFSET, Rows, rows_of
from tenfold.features.state.layout import VERSION
from tenfold.features.state.reading import Reader, reader_of
from tenfold.features.state.written import Found
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column, Frame, column
from tenfold.store.base import Get, OnlineStore
from tenfold.store.refused import named

pack: Callable[[Sequence[Any]], bytes] = msgspec.msgpack.Encoder().encode
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


def key_values(view: FeatureView, key: bytes) -> Sequence[Any]:
    """Return the values of the key fields from the key of a state."""
    values: Sequence[Any] = msgspec.msgpack.decode(key[len(prefix(view)) :])
    return values


class Lookup:
    """What is read of the online store for a row: prepared once for a set of views."""

    def __init__(self, views: Sequence[FeatureView]) -> None:
        self.views = tuple(views)
        self._readers = [reader_of(view) for view in self.views]
        self._keys, self._look = _written(self.views, [read.quick for read in self._readers])
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
        keys = self._keys(row)

        def work(states: list[Any], get: Get) -> list[Found]:
            found = self._look(states, at)
            return self._rest(found, states, keys, at, asked, get) if None in found else found

        return store.use(keys, work)

    def each(
        self,
        store: OnlineStore,
        rows: Sequence[Mapping[str, Any]],
        at: Sequence[int],
        asked: Sequence[Frame | None],
    ) -> list[list[Found]]:
        """Return the same of each of several rows, all from one snapshot; for more than a few `LookupMany` is faster."""
        keys = [self._keys(row) for row in rows]
        views = len(self.views)

        def work(states: list[Any], get: Get) -> list[list[Found]]:
            every = []
            for place, moment in enumerate(at):
                some = states[place * views : (place + 1) * views]
                found = self._look(some, moment)
                if None in found:
                    found = self._rest(found, some, keys[place], moment, asked[place], get)
                every.append(found)
            return every

        return store.use(list(chain.from_iterable(keys)), work)

    def _rest(
        self,
        found: Sequence[Found | None],
        states: list[Any],
        keys: Sequence[bytes],
        at: int,
        asked: Frame | None,
        get: Get,
    ) -> list[Found]:
        """Return the features of each view, of those that take more than a look too."""
        each = zip(found, self._readers, states, self._own(asked), keys, strict=True)
        return [
            _read(read, state, at, mine, key, get) if one is None else one
            for one, read, state, mine, key in each
        ]

    def _own(self, asked: Frame | None) -> Sequence[Rows | None]:
        if asked is None or not self._include:
            return self._nothing
        return [_own(view, asked) if view.plan.includes_self else None for view in self.views]


def _written(
    views: Sequence[FeatureView], quick: Sequence[Callable[[Any, int], Found | None]]
) -> tuple[Callable[..., list[bytes]], Callable[..., list[Any]]]:
    """Return what gives the key of a row in each view, and what reads the states with one look each where that is enough.

    Both are written for the views: a loop over two of them takes as long as the looks. Views of one entity share its bytes.
    """
    shared = list(dict.fromkeys(view.keys for view in views))
    values = [", ".join(f"row[{name!r}]" for name in names) for names in shared]
    keys = ", ".join(f"h{place} + p{shared.index(view.keys)}" for place, view in enumerate(views))
    looks = ", ".join(f"q{place}(states[{place}], at)" for place in range(len(views)))
    lines = [
        "def keys(row):",
        *(f"    p{place} = pack(({several},))" for place, several in enumerate(values)),
        f"    return [{keys}]",
        "def look(states, at):",
        f"    return [{looks}]",
    ]
    space: dict[str, Any] = {"pack": pack}
    space |= {f"h{place}": prefix(view) for place, view in enumerate(views)}
    space |= {f"q{place}": one for place, one in enumerate(quick)}
    exec("\n".join(lines), space)  # noqa: S102 - made of places and of names of fields, as literals
    return space["keys"], space["look"]


def _read(read: Reader, state: Any, at: int, own: Rows | None, key: bytes, get: Get) -> Found:
    try:
        return read(state, at, own, parts_of(get, key))
    except Inexact as error:
        raise error.of(named(read.view, key_values(read.view, key), at)) from error


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
