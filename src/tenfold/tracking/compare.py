"""What changed between two runs: first whether their rows and labels are the same, then only what is not."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
"""A run as `tenfold.ui.documents` tells it: plain JSON values, except that numbers may be NaN or infinite."""
Gain = Callable[[str, float, float], float | None]
"""By how much the second value of a metric is better than the first; None when it is not known which way is better."""

UNTOLD = ("train", "test", "now", "champion", "journal")
"""Parameters that say which rows, or beside what and by which durable run: they change nothing of a model."""


def compare(a: Document, b: Document, gain: Gain) -> dict[str, Any]:
    """Return what differs between two runs, as JSON values.

    `rows` comes first: two results can only be weighed against each other when they were measured on the same rows
    with the same labels. Of everything else only what differs is told, so an empty list means nothing changed.

    Examples
    --------
    >>> a = {"name": "r1", "params": {"trees": 9, "seed": 1}, "metrics": {"auc": 0.7}, "samples": {}}
    >>> b = {"name": "r2", "params": {"trees": 50, "seed": 1}, "metrics": {"auc": 0.8}, "samples": {}}
    >>> found = compare(a, b, lambda name, before, after: after - before)
    >>> found["rows"]["same"], found["params"], found["metrics"][0]["better"]
    (None, [{'name': 'trees', 'a': 9, 'b': 50}], 'r2')
    """
    return {
        "a": a["name"],
        "b": b["name"],
        "rows": _rows(a, b),
        "metrics": _metrics(a, b, gain),
        "params": _changed(a, b, "params", leave=UNTOLD),
        "features": _features(a, b),
        "data": _changed(a, b, "data"),
        "code": _changed(a, b, "code"),
        "environment": _environment(a, b),
        "slices": _slices(a, b, gain),
    }


def _rows(a: Document, b: Document) -> dict[str, Any]:
    """Return whether the rows and labels of training and of test are the same; None where that is not known."""
    parts = {name: _same_part(a, b, name) for name in ("train", "test")}
    told = [part["same"] for part in parts.values()]
    same = False if False in told else None if None in told else True
    return {"same": same, **parts}


def _same_part(a: Document, b: Document, name: str) -> dict[str, Any]:
    one, other = (side.get("samples", {}).get(name, {}) for side in (a, b))
    found: dict[str, Any] = {"a": one.get("rows"), "b": other.get("rows")}
    if one.get("digest") and other.get("digest"):
        labels = one.get("labels") == other.get("labels") if "labels" in one and "labels" in other else None
        same = one["digest"] == other["digest"]
        return {**found, "same": same, "why": "their digests" if same else _why_other(one, other, labels)}
    periods = [side.get("params", {}).get(name) for side in (a, b)]
    if None in periods or not a.get("data"):
        return {**found, "same": None, "why": "one of them did not record its rows"}
    if periods[0] != periods[1]:
        return {**found, "same": False, "why": "other periods"}
    if a.get("data") != b.get("data"):
        return {**found, "same": None, "why": "the same period of other versions of the tables"}
    return {**found, "same": True, "why": "the same period of the same versions of the tables"}


def _why_other(one: Mapping[str, Any], other: Mapping[str, Any], labels: bool | None) -> str:
    if one.get("rows") != other.get("rows"):
        return "another number of rows"
    return "the same labels, other features" if labels else "other rows, features or labels"


def _changed(a: Document, b: Document, part: str, leave: Sequence[str] = ()) -> list[dict[str, Any]]:
    one, other = a.get(part) or {}, b.get(part) or {}
    return [
        {"name": name, "a": one.get(name), "b": other.get(name)}
        for name in _both(one, other)
        if name not in leave and not _equal(one.get(name), other.get(name))
    ]


def _environment(a: Document, b: Document) -> list[dict[str, Any]]:
    """Return other versions; a package that only one of them had loaded says nothing about the other."""
    flat = []
    for side in (a, b):
        told = side.get("environment") or {}
        flat.append({k: v for k, v in told.items() if k != "libraries"} | dict(told.get("libraries") or {}))
    return _changed({"all": flat[0]}, {"all": flat[1]}, "all", leave=sorted(flat[0].keys() ^ flat[1].keys()))


def _metrics(a: Document, b: Document, gain: Gain) -> list[dict[str, Any]]:
    one, other = a.get("metrics") or {}, b.get("metrics") or {}
    ranges = [side.get("evaluation", {}).get("metrics", {}) for side in (a, b)]
    return [
        {"name": name, "a": one.get(name), "b": other.get(name)}
        | _verdict(a, b, name, (one.get(name), other.get(name)), [part.get(name) for part in ranges], gain)
        for name in _both(one, other)
        if not _equal(one.get(name), other.get(name))
    ]


def _verdict(
    a: Document,
    b: Document,
    name: str,
    values: tuple[float | None, float | None],
    ranges: Sequence[Mapping[str, Any] | None],
    gain: Gain,
) -> dict[str, Any]:
    """Return the difference, which side is better, and whether the 95 % intervals lie apart (None when not known)."""
    before, after = values
    if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
        return {"difference": None, "better": None, "apart": None}
    by = gain(name, before, after)
    better = None if by is None or by == 0 else b["name"] if by > 0 else a["name"]
    return {"difference": after - before, "better": better, "apart": _apart(*ranges)}


def _apart(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool | None:
    if not one or not other or None in (one.get("low"), one.get("high"), other.get("low"), other.get("high")):
        return None
    return bool(one["high"] < other["low"] or other["high"] < one["low"])


def _features(a: Document, b: Document) -> dict[str, Any]:
    one, other = ({item["name"]: item["type"] for item in side.get("features") or ()} for side in (a, b))
    before, after = (
        {item["name"]: item.get("definition") for item in side.get("features") or ()} for side in (a, b)
    )
    return {
        "added": sorted(other.keys() - one.keys()) if one else [],
        "removed": sorted(one.keys() - other.keys()) if other else [],
        "retyped": [name for name in one if name in other and one[name] != other[name]],
        "redefined": [name for name, told in before.items() if told and (after.get(name) or told) != told],
    }


def _slices(a: Document, b: Document, gain: Gain) -> list[dict[str, Any]]:
    """Return the slices of which the 95 % intervals lie apart, the largest move first; small ones are left out."""
    found = []
    one, other = (
        {_key(item): item for item in side.get("evaluation", {}).get("slices") or ()} for side in (a, b)
    )
    for key in _both(one, other):
        if key not in one or key not in other or one[key].get("small") or other[key].get("small"):
            continue
        for name, before in one[key]["metrics"].items():
            after = other[key]["metrics"].get(name)
            if not _apart(before, after):
                continue
            verdict = _verdict(a, b, name, (before["value"], after["value"]), (before, after), gain)
            slice_ = {"feature": key[0], "value": one[key]["value"], "metric": name}
            found.append(slice_ | {"a": before["value"], "b": after["value"]} | verdict)
    return sorted(found, key=lambda item: -abs(item["difference"] or 0.0))


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["feature"], repr(item["value"])


def _both(one: Iterable[Any], other: Iterable[Any]) -> list[Any]:
    """Return the names of both, in the order of the first."""
    return list(dict.fromkeys([*one, *other]))


def _equal(one: Any, other: Any) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return (
        both_nan
        or (one == other and type(one) is type(other))
        or (_real(one) and _real(other) and one == other)
    )


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
