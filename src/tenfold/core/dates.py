"""Functions of instants, in the local time of a time zone where it matters."""

from typing import Protocol, Self

from tenfold.core.calls import Calls
from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.times import UNITS, duration, time_zone

TRUNCATIONS = ("minute", "hour", "day", "week", "month", "quarter", "year")


class Dates(Calls, Protocol):
    """The functions of a time expression; `zone` is a name such as "America/New_York"."""

    __slots__ = ()

    def year(self, zone: str = "UTC") -> Self:
        """Return the local year."""
        return self._call("year", time_zone(zone))

    def quarter(self, zone: str = "UTC") -> Self:
        """Return the local quarter, 1 to 4."""
        return self._call("quarter", time_zone(zone))

    def month(self, zone: str = "UTC") -> Self:
        """Return the local month, 1 to 12."""
        return self._call("month", time_zone(zone))

    def week(self, zone: str = "UTC") -> Self:
        """Return the local week of the year as ISO 8601 counts, 1 to 53; the first one has the year's first Thursday."""
        return self._call("week", time_zone(zone))

    def day(self, zone: str = "UTC") -> Self:
        """Return the local day of the month, 1 to 31."""
        return self._call("day", time_zone(zone))

    def day_of_year(self, zone: str = "UTC") -> Self:
        """Return the local day of the year, 1 to 366."""
        return self._call("day_of_year", time_zone(zone))

    def weekday(self, zone: str = "UTC") -> Self:
        """Return the local day of the week, Monday = 0."""
        return self._call("weekday", time_zone(zone))

    def is_weekend(self, zone: str = "UTC") -> Self:
        """Return whether it is Saturday or Sunday."""
        return self._call("is_weekend", time_zone(zone))

    def hour(self, zone: str = "UTC") -> Self:
        """Return the hour of day, 0 to 23, in a time zone such as "America/New_York"."""
        return self._call("hour", time_zone(zone))

    def minute(self, zone: str = "UTC") -> Self:
        """Return the minute of the local hour, 0 to 59."""
        return self._call("minute", time_zone(zone))

    def second(self, zone: str = "UTC") -> Self:
        """Return the whole second of the local minute, 0 to 59."""
        return self._call("second", time_zone(zone))

    def minute_of_day(self, zone: str = "UTC") -> Self:
        """Return the minute the local clock shows, counted from 00:00, 0 to 1439."""
        return self._call("minute_of_day", time_zone(zone))

    def date_trunc(self, unit: str, zone: str = "UTC") -> Self:
        """Return the instant at which the local minute, hour, day, week (Monday), month, quarter or year began.

        A day begins at its first instant: where the clocks skip midnight, after the gap; where they show it twice, at
        the first time. The start of an hour is as long ago as the clock shows minutes and seconds.
        """
        if unit not in TRUNCATIONS:
            raise DefinitionError(f"date_trunc: {unit!r} is not a unit.{suggest(str(unit), TRUNCATIONS)}")
        return self._call("date_trunc", unit, time_zone(zone))

    def offset_by(self, by: str) -> Self:
        """Return the instant a duration later, such as "90m" or "-7d"; a day is 24 hours. Null outside of years 1 to 9999."""
        back = isinstance(by, str) and by.startswith("-")
        size = duration(by[1:] if back else by, name="offset_by")
        return self._call("offset_by", constants=(-size if back else size,))

    def since(self, other: object, unit: str = "s") -> Self:
        """Return how long after `other` this instant is, in units of ms, s, m, h, d or w; negative when it is before."""
        return self._call("since", other, constants=(_unit("since", unit),))

    def age(self, unit: str = "s") -> Self:
        """Return how long before the moment asked about this instant was, in units of ms, s, m, h, d or w."""
        return self._call("age", _unit("age", unit))

    def epoch(self, unit: str = "s") -> Self:
        """Return the whole units since 1970-01-01 UTC, rounded down."""
        return self._call("epoch", _unit("epoch", unit))

    def from_epoch(self, unit: str = "s") -> Self:
        """Return the instant so many units after 1970-01-01 UTC; null outside of the years 1 to 9999."""
        return self._call("from_epoch", _unit("from_epoch", unit))


def _unit(fn: str, unit: str) -> int:
    if unit not in UNITS:
        raise DefinitionError(f'{fn}("{unit}") is not a unit of time.{suggest(str(unit), UNITS)}')
    return UNITS[unit]
