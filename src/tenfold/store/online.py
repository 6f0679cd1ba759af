"""Online features: the state of the keys asked for, evaluated at the moment of the request by the kernel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.features.records import pack_key
from tenfold.features.state import read
from tenfold.features.view import FeatureView
from tenfold.processing.frame import Column
from tenfold.store.base import OnlineStore


@dataclass(frozen=True, slots=True)
class Answer:
    """Features of one row as of one moment.

    `ages` says per view how many microseconds old its newest record is, None where nothing is known of the key.
    """

    features: Mapping[str, Mapping[str, Column]]
    ages: Mapping[str, int | None]


def prefix(view: FeatureView) -> bytes:
    """Return what the keys of a view's states begin with; another definition of the view has another one."""
    return f"{view.name}@{view.fingerprint[:8]}/".encode()


def group_name(view: FeatureView) -> str:
    """Return the name under which a view's offset is committed."""
    return prefix(view).decode()


def state_key(view: FeatureView, values: Sequence[Any]) -> bytes:
    """Return the key of a state in the online store."""
    return prefix(view) + pack_key(values)


def lookup(store: OnlineStore, views: Sequence[FeatureView], row: Mapping[str, Any], at: int) -> Answer:
    """Return the features of each view for the keys in a row, as of `at` (microseconds UTC), from one snapshot."""
    keys = [state_key(view, [row[name] for name in view.keys]) for view in views]
    features: dict[str, Mapping[str, Column]] = {}
    ages: dict[str, int | None] = {}
    for view, state in zip(views, store.read(keys), strict=True):
        features[view.name], newest = read(view, state, at)
        ages[view.name] = None if newest is None else at - newest
    return Answer(features, ages)
