"""Functions of one row: arithmetic beyond the operators, null logic, dates, text; the closed list is in FUNCTIONS."""

from typing import Self

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.times import UNITS, time_zone


class Scalar:
    """The functions of an expression that are computed row by row."""

    __slots__ = ()

    def _call(self, fn: str, *args: object) -> Self:
        raise NotImplementedError

    def abs(self) -> Self:
        """Return the absolute value."""
        return self._call("abs")

    def is_null(self) -> Self:
        """Return whether the value is missing; never null itself."""
        return self._call("is_null")

    def fill_null(self, value: object) -> Self:
        """Return the value, or `value` where it is missing."""
        return self._call("fill_null", value)

    def hour(self, zone: str = "UTC") -> Self:
        """Return the hour of day, 0 to 23, in a time zone such as "America/New_York"."""
        return self._call("hour", time_zone(zone))

    def minute_of_day(self, zone: str = "UTC") -> Self:
        """Return the minutes since local midnight, 0 to 1439."""
        return self._call("minute_of_day", time_zone(zone))

    def weekday(self, zone: str = "UTC") -> Self:
        """Return the local day of the week, Monday = 0."""
        return self._call("weekday", time_zone(zone))

    def month(self, zone: str = "UTC") -> Self:
        """Return the local month, 1 to 12."""
        return self._call("month", time_zone(zone))

    def age(self, unit: str = "s") -> Self:
        """Return how long before the moment asked about this instant was, in units of ms, s, m, h, d or w."""
        if unit not in UNITS:
            raise DefinitionError(f'age("{unit}") is not a unit of time.{suggest(unit, UNITS)}')
        return self._call("age", UNITS[unit])
