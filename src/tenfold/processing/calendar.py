"""Local time: how far each zone is from UTC at an instant, and what the local calendar says.

Everything rests on one question, the offset of a zone at an instant, which `zoneinfo` answers; the rest is arithmetic of
integers, the same for one instant and for an array.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tenfold.core.times import DAY, UNITS, to_datetime

EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The first and the last microsecond of the years 1 to 9999; a computed instant outside of them is null."""

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
    return int(_instant(_first_day(unit, np.array([day])) * DAY, zone)[0])


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
    hours, place = np.unique(moments // UNITS["h"], return_inverse=True)
    steady = [_steady(zone, hour) for hour in hours.tolist()]
    found = np.array([0 if item is None else item for item in steady], dtype=np.int64)[place]
    changing = np.flatnonzero(np.array([item is None for item in steady], dtype=np.bool_)[place])
    found[changing] = [_exact(zone, moment) for moment in moments[changing].tolist()]
    return found


def offset(zone: str, moment: int) -> int:
    """Return what `offsets` does, for one instant."""
    found = _steady(zone, moment // UNITS["h"])
    return _exact(zone, moment) if found is None else found


@lru_cache(maxsize=1 << 17)
def _steady(zone: str, hour: int) -> int | None:
    """Return the offset during an hour of UTC, None when it changes: not every zone changes its clocks on the hour."""
    first, last = _exact(zone, hour * UNITS["h"]), _exact(zone, (hour + 1) * UNITS["h"] - 1)
    return first if first == last else None


def _exact(zone: str, moment: int) -> int:
    inside = min(max(moment, EARLIEST + 2 * DAY), LATEST - 2 * DAY)
    return (to_datetime(inside).astimezone(ZoneInfo(zone)).utcoffset() or timedelta()) // timedelta(
        microseconds=1
    )
