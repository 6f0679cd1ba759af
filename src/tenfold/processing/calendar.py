"""Local time: how far each zone is from UTC at an instant, and what the local calendar says.

Everything rests on one question, the offset of a zone at an instant, which `zoneinfo` answers; the rest is arithmetic of
integers, the same for one instant and for an array.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tenfold.core.times import DAY, UNITS, to_datetime

EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The first and the last microsecond of the years 1 to 9999; a computed instant outside of them is null."""

_SPAN, _MANY = 512 * DAY, 128
"""Offsets are looked up in tables of so many days; up to so many tables in a row are made without looking for gaps."""

_CLOCK: Mapping[str, Callable[[Any], Any]] = {
    "hour": lambda local: local // UNITS["h"] % 24,
    "minute": lambda local: local // UNITS["m"] % 60,
    "second": lambda local: local // UNITS["s"] % 60,
    "minute_of_day": lambda local: local // UNITS["m"] % 1440,
    "weekday": lambda local: (local // DAY + 3) % 7,  # 1970-01-01 was a Thursday
    "is_weekend": lambda local: (local // DAY + 3) % 7 >= 5,
}
"""What integer arithmetic tells of a local time, for one and for an array alike."""


def part(fn: str, moments: np.ndarray, zone: str) -> np.ndarray:
    """Return a part of the local date or time of instants in microseconds."""
    local = moments + offsets(zone, moments)
    return _CLOCK[fn](local) if fn in _CLOCK else _DATES[fn](local // DAY)


@lru_cache(maxsize=1 << 16)
def _part_of_day(fn: str, day: int) -> int:
    return int(_DATES[fn](np.array([day]))[0])


def part_of_one(fn: str, moment: int, zone: str) -> int:
    """Return what `part` does, for one instant."""
    local = moment + offset(zone, moment)
    return _CLOCK[fn](local) if fn in _CLOCK else _part_of_day(fn, local // DAY)


def truncate(moments: np.ndarray, unit: str, zone: str) -> np.ndarray:
    """Return the instants at which the local units of instants began."""
    shift = offsets(zone, moments)
    local = moments + shift
    if unit in ("minute", "hour"):
        return moments - local % UNITS[unit[0]]
    return _instant(_first_day(unit, local // DAY) * DAY, zone)


def truncate_one(moment: int, unit: str, zone: str) -> int:
    """Return what `truncate` does, for one instant."""
    local = moment + offset(zone, moment)
    if unit in ("minute", "hour"):
        return moment - local % UNITS[unit[0]]
    return _began(unit, zone, local // DAY)


@lru_cache(maxsize=1 << 16)
def _began(unit: str, zone: str, day: int) -> int:
    local = int(_first_day(unit, np.array([day]))[0]) * DAY
    early, late = local - offset(zone, local - DAY), local - offset(zone, local + DAY)
    met, met_late = early + offset(zone, early) == local, late + offset(zone, late) == local
    return early if met or not met_late else late


def _first_day(unit: str, days: np.ndarray) -> np.ndarray:
    if unit == "day":
        return days
    if unit == "week":
        return days - (days + 3) % 7
    months = _months(days)
    size = {"month": 1, "quarter": 3, "year": 12}[unit]
    return (months - months % size).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _instant(local: np.ndarray, zone: str) -> np.ndarray:
    """Return the first instant at which the local clock shows a time, or that follows the gap it lies in."""
    early = local - offsets(zone, local - DAY)
    late = local - offsets(zone, local + DAY)
    met = early + offsets(zone, early) == local
    met_late = late + offsets(zone, late) == local
    return np.where(met | ~met_late, early, late)


def _months(days: np.ndarray) -> np.ndarray:
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def _year(days: np.ndarray) -> np.ndarray:
    return days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def _day_of_year(days: np.ndarray) -> np.ndarray:
    first = days.astype("datetime64[D]").astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return days - first + 1


def _day(days: np.ndarray) -> np.ndarray:
    return days - _months(days).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + 1


_DATES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "year": _year,
    "quarter": lambda days: _months(days) % 12 // 3 + 1,
    "month": lambda days: _months(days) % 12 + 1,
    "week": lambda days: (_day_of_year(days - (days + 3) % 7 + 3) - 1) // 7 + 1,  # of the week's Thursday
    "day": _day,
    "day_of_year": _day_of_year,
}
"""What the calendar tells of a local day, counted from 1970-01-01."""

PARTS = (*_CLOCK, *_DATES)


def offsets(zone: str, moments: np.ndarray) -> np.ndarray:
    """Return how far local time is ahead of UTC at each moment, in microseconds."""
    if zone == "UTC" or not len(moments):
        return np.zeros(len(moments), dtype=np.int64)
    first, last = int(moments.min()) // _SPAN, int(moments.max()) // _SPAN
    spans = range(first, last + 1) if last - first < _MANY else np.unique(moments // _SPAN).tolist()
    tables = [_changes(zone, span) for span in spans]
    starts = np.array([start for table in tables for start in table[0]], dtype=np.int64)
    found = np.array([shift for table in tables for shift in table[1]], dtype=np.int64)
    return found[np.searchsorted(starts, moments, side="right") - 1]


def offset(zone: str, moment: int) -> int:
    """Return what `offsets` does, for one instant."""
    starts, found = _changes(zone, moment // _SPAN)
    return found[bisect_right(starts, moment) - 1]


def changes(zone: str, first: int, last: int) -> list[int]:
    """Return the instants from one to another at which a zone changes its clocks."""
    tables = [_changes(zone, span) for span in range(first // _SPAN, last // _SPAN + 1)]
    return sorted({start for starts, _ in tables for start in starts[1:] if first <= start <= last})


@lru_cache(maxsize=1 << 14)
def _changes(zone: str, span: int) -> tuple[list[int], list[int]]:
    """Return the instants from which an offset holds, and the offsets, over one span; the first is its begin."""
    starts, found = [span * _SPAN], [_exact(zone, span * _SPAN)]
    for low in range(span * _SPAN, (span + 1) * _SPAN, DAY):  # no zone has changed twice within three days
        shift = _exact(zone, low + DAY)
        if shift != found[-1]:
            starts.append(_change(zone, low, low + DAY))
            found.append(shift)
    return starts, found


def _change(zone: str, before: int, after: int) -> int:
    """Return the first instant with the offset of `after`, found by halving."""
    wanted = _exact(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _exact(zone, middle) == wanted else (middle, after)
    return after


def _exact(zone: str, moment: int) -> int:
    inside = min(max(moment, EARLIEST + 2 * DAY), LATEST - 2 * DAY)
    return (to_datetime(inside).astimezone(ZoneInfo(zone)).utcoffset() or timedelta()) // timedelta(
        microseconds=1
    )
