"""Durations and instants: int64 microseconds inside, text with a unit and aware datetimes outside."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from tenfold.core.errors import DefinitionError, suggest

UNITS = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
DAY = UNITS["d"]
LONGEST = 365_000 * DAY
FOREVER = 2**62
"""Later than any instant: the end of what has not ended."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_FORM = re.compile(r"([1-9][0-9]*)(ms|s|m|h|d|w)")


def duration(text: object, *, name: str = "duration") -> int:
    """Return a duration in microseconds.

    Raises
    ------
    DefinitionError
        When the text is not a whole number and a unit.

    Examples
    --------
    >>> duration("90m") == duration("1h") + duration("30m")
    True
    """
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is not None and int(match[1]) * UNITS[match[2]] > LONGEST:
        raise DefinitionError(f'{name}="{text}" is longer than 1,000 years.')
    if match is None:
        raise DefinitionError(
            f'{name}="{text}" is not a duration. Write a whole number and one of ms, s, m, h, d, w, '
            f'for example {name}="10m" or {name}="30d".'
        )
    return int(match[1]) * UNITS[match[2]]


def to_us(moment: Any) -> int:
    """Return an instant in microseconds since 1970 UTC from a datetime, a text or microseconds; naive ones are refused.

    Examples
    --------
    >>> to_us("2013-04-01T00:00:00+00:00") == to_us("2013-04-01")
    True
    >>> to_us(datetime(2013, 4, 1))
    Traceback (most recent call last):
    tenfold.core.errors.DefinitionError: 2013-04-01T00:00:00 has no time zone. Write for example 2013-04-01T00:00:00+00:00.
    """
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        moment = _parse(moment)
    if not isinstance(moment, datetime):
        raise DefinitionError(
            f"{moment!r} is not a date or time. Write for example 2013-04-01T06:00:00+00:00."
        )
    if moment.tzinfo is None:
        raise DefinitionError(
            f"{moment.isoformat()} has no time zone. Write for example {moment.isoformat()}+00:00."
        )
    return (moment - EPOCH) // MICROSECOND


def parsed(text: str) -> datetime:
    r"""Return a time as ISO 8601 writes it; ValueError when it is none.

    Examples
    --------
    >>> parsed("2013-04-01T06:00:00Z").hour
    6
    >>> parsed("2013-04-01T06:00:00Z\0")
    Traceback (most recent call last):
    ValueError: NUL
    """
    if "\0" in text:  # which Python 3.11 takes for an end
        raise ValueError("NUL")
    return datetime.fromisoformat(text)


def _parse(text: str) -> datetime:
    try:
        moment = parsed(text)
    except ValueError as error:
        raise DefinitionError(
            f'"{text}" is not a date or time. Write for example 2013-04-01T06:00:00+00:00.'
        ) from error
    return moment.replace(tzinfo=UTC) if len(text) == len("2013-04-01") else moment


def to_datetime(us: int) -> datetime:
    """Return the aware UTC datetime of an instant in microseconds."""
    return EPOCH + timedelta(microseconds=int(us))


def iso(us: int) -> str:
    """Return an instant as text.

    Examples
    --------
    >>> iso(0), iso(-1)
    ('1970-01-01T00:00:00+00:00', '1969-12-31T23:59:59.999999+00:00')
    """
    return _iso(int(us))


@lru_cache(1 << 12)
def _iso(us: int) -> str:
    second, part = divmod(us, UNITS["s"])
    return f"{_second(second)}.{part:06d}+00:00" if part else f"{_second(second)}+00:00"


@lru_cache(1 << 12)
def _second(second: int) -> str:
    """Return the text of a whole second: instants that are shown together often share it."""
    return to_datetime(second * UNITS["s"]).isoformat()[:-6]


def retry_after(text: str, now: int) -> float:
    """Return for how many seconds from an instant a header `Retry-After` asks, as a number or a date; 0 when it says neither.

    Examples
    --------
    >>> retry_after("7", 0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", to_us("1970-01-01T00:00:59.5Z"))
    (7.0, 0.5)
    >>> retry_after("soon", 0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", to_us("2013-04-01"))
    (0.0, 0.0)
    """
    from email.utils import parsedate_to_datetime

    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        zone = moment.tzinfo or UTC  # a date of HTTP is of GMT, also in the form that does not say so
        return max(to_us(moment.replace(tzinfo=zone)) - now, 0) / 1e6
    except (ValueError, OverflowError):
        return 0.0


def time_zone(name: str) -> str:
    """Return the name of a time zone that is known; DefinitionError names the nearest."""
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        known = zoneinfo.available_timezones()
        city = str(name).replace(" ", "_").casefold()
        cities = sorted(zone for zone in known if zone.rpartition("/")[2].casefold() == city)
        hint = f' Did you mean "{cities[0]}"?' if cities else suggest(str(name), known)
        raise DefinitionError(f'"{name}" is not a time zone.{hint}') from error
    return name
