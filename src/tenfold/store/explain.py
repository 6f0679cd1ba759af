"""What is behind a feature's value: the very records, each counted or why not."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tenfold.core.errors import Inexact, NotFound, SchemaError
from tenfold.core.times import UNITS, iso
from tenfold.features.kernel.compute import Aggregate, Records, aggregate
from tenfold.features.kernel.windowed import Windowed
from tenfold.features.records import inputs_of, outputs
from tenfold.features.view import FeatureView, InputSpec, aggregate_type, slot
from tenfold.processing.bring import shown
from tenfold.processing.conform import KNOWN, Misfit, convert
from tenfold.processing.derive import apply
from tenfold.processing.frame import Column, Frame, column
from tenfold.store.offline import History

COUNTED = "counted"


@dataclass(frozen=True, slots=True)
class Part:
    """One aggregate of a feature, and what became of each record of the key, the newest first.

    Attributes
    ----------
    aggregate
        Such as `sum(amount, window=3600s)`.
    value
        What the aggregate is as of the moment.
    records
        Dicts of `id`, `event`, `known`, `value` and `status`: "counted", or why it is not.
    reasons
        How many records have each status, also those not among `records`.
    """

    aggregate: str
    value: Any
    records: Sequence[Mapping[str, Any]]
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A feature of a key as of a moment, and what it is made of; instants in ISO 8601."""

    feature: str
    key: Mapping[str, Any]
    at: str
    value: Any
    parts: Sequence[Part]
    note: str


def find(views: Mapping[str, FeatureView], feature: str) -> tuple[FeatureView, str]:
    """Return the view and the name of a feature written as "view.feature".

    Raises
    ------
    NotFound
        When there is none; names the nearest.
    """
    stored = {name: view for name, view in views.items() if view.entity is not None}
    known = [f"{name}.{one}" for name, view in stored.items() for one in view.features]
    if feature not in known:
        raise NotFound("stored feature", feature, known)
    view, _, name = feature.partition(".")
    return stored[view], name


def key_of(view: FeatureView, key: Any) -> dict[str, Any]:
    """Return the values of a view's key fields: a mapping, one value, or one for each field in order.

    Raises
    ------
    SchemaError
        When they are not the values of the key's fields.
    """
    names = view.keys
    if not isinstance(key, Mapping):
        values = list(key) if isinstance(key, (tuple, list)) else [key]
        if len(values) != len(names):
            raise SchemaError(
                f'the key of view "{view.name}" is {", ".join(names)}: {len(names)} values, not {len(values)}.'
            )
        key = dict(zip(names, values, strict=True))
    try:
        return convert({name: view.source.fields[name] for name in names}, key)
    except Misfit as error:
        raise SchemaError(f'the key does not fit view "{view.name}": {error}.') from error


def explain(
    history: History, view: FeatureView, name: str, key: Any, at: int, limit: int = 50
) -> Explanation:
    """Return what a feature of a key is made of, as of a moment, from the records in the lake.

    Parameters
    ----------
    at
        Microseconds UTC.
    limit
        How many records to give for each aggregate, the newest first.
    """
    values = key_of(view, key)
    mine = _Mine(history, view, values, at)
    moment = np.array([at], dtype=np.int64)
    plan = view.plan
    wanted = [replace(item, window=replace(item.window, include_self=False)) for item in plan.aggregates]
    results, why = mine.results(wanted)
    used = plan.outputs[name].columns()
    parts = [
        mine.part(item, plan.inputs[item.input], shown(results[place].plain()[0], results[place].type), limit)
        for place, item in enumerate(wanted)
        if slot(place) in used
    ]
    found = shown(outputs(view, results, moment)[name].plain()[0], view.plan.types[name])
    notes = ["A request counts the row that is asked for too."] if plan.includes_self else []
    notes += [f"It has no value: {why[place]}" for place in sorted(why) if slot(place) in used]
    return Explanation(f"{view.name}.{name}", values, iso(at), found, parts, " ".join(notes))


class _Mine:
    """The records of one key, with their place in the source's frame."""

    def __init__(self, history: History, view: FeatureView, key: Mapping[str, Any], at: int) -> None:
        self._view, self._at = view, at
        root = view.source.root
        known = history.with_features(view.source)
        columns, inputs = inputs_of(view, known.frame, len(known.event))
        same = np.ones(len(known.event), dtype=np.bool_)
        for name, value in key.items():
            same &= columns[name].valid & (columns[name].values == value)
        rows = np.flatnonzero(same)
        zero = np.zeros(len(known.event), dtype=np.int64)
        self.records = Records(zero, known.event, known.frame[KNOWN].values, known.until, inputs).take(rows)
        self._frame: Frame = {name: item.take(rows) for name, item in known.frame.items()}
        parts = [_shown(self._frame[name]) for name in root.ids]
        self.ids = [", ".join(map(str, row)) for row in zip(*parts, strict=True)]
        _, self._keep = apply(view.source, self._frame, len(rows))

    def results(self, wanted: Sequence[Aggregate]) -> tuple[list[Column], dict[int, Inexact]]:
        """Return each aggregate, and why those have no value that cannot be summed exactly."""
        found: list[Column] = []
        why: dict[int, Inexact] = {}
        group, moment = np.zeros(1, dtype=np.int64), np.array([self._at], dtype=np.int64)
        for place, item in enumerate(wanted):
            try:
                found += aggregate(self.records, group, moment, [item])
            except Inexact as error:
                kind = self._view.plan.inputs[item.input].type
                found.append(column(aggregate_type(item.fn, kind), [None]))
                why[place] = error
        return found, why

    def part(self, item: Aggregate, spec: InputSpec, value: Any, limit: int) -> Part:
        """Return one aggregate with the status of every record."""
        found, moment = self.records, np.array([self._at], dtype=np.int64)
        group = np.zeros(1, dtype=np.int64)
        windowed = Windowed(found, group, moment, [item], None)
        counted = {row for piece in windowed.lists(item, group) for row in piece.rows.tolist()}
        told = list(self._told(item, spec, counted))
        values = _shown(found.inputs[item.input].column)
        records = [
            {
                "id": self.ids[row],
                "event": iso(int(found.event[row])),
                "known": iso(int(found.known[row])),
                "value": values[row],
                "status": told[row],
            }
            for row in range(len(told) - 1, -1, -1)[:limit]
        ]
        reasons = dict(Counter(told).most_common())
        return Part(_text(item, spec), value, records, reasons)

    def _told(self, item: Aggregate, spec: InputSpec, counted: set[int]) -> Iterator[str]:
        found, at = self.records, self._at
        member = found.inputs[item.input].member
        behind = at - item.window.offset
        for row in range(len(found.event)):
            if row in counted:
                yield COUNTED
            elif found.known[row] >= at:
                yield "not yet known"
            elif found.until[row] < at:
                yield f"replaced by a later version, known {iso(int(found.until[row]))}"
            elif found.event[row] >= behind:
                yield "not yet happened" if found.event[row] >= at else "newer than the offset"
            elif not member[row]:
                yield self._why_not(row, spec)
            else:
                yield "outside the window"

    def _why_not(self, row: int, spec: InputSpec) -> str:
        """Return why a record takes no part."""
        root = self._view.source.root
        if root.deleted is not None and self._frame[root.deleted].values[row]:
            return "deleted"
        if self._keep is not None and not self._keep.values[row]:
            return f'not in source "{self._view.source.name}": its where is not met'
        return f"where not met: {'' if spec.where is None else spec.where.text}"


def _text(item: Aggregate, spec: InputSpec) -> str:
    """Return an aggregate as it reads in an expression."""
    how = (
        f"half_life={item.n / UNITS['s']:g}s" if item.fn == "decayed_sum" else repr(item.n) if item.n else ""
    )
    where = "" if spec.where is None else f"where={spec.where.text}"
    parts = (spec.value.text, how, item.window.text, where)
    return f"{item.fn}({', '.join(part for part in parts if part)})"


def _shown(item: Column) -> list[Any]:
    return [shown(value, item.type) for value in item.plain()]
